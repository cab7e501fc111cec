//! What must hold of every run. Each oracle has a name and the rule it stands for, and says what it
//! saw where the rule was broken.
//!
//! The oracles know everything: what the client saw, what the handlers did, which byte was where and
//! when. The server knows less. Where a rule depends on what it can't know, the oracle says so and
//! keeps still. Bounds come from the settings; the slack on top is named.

mod bounds;
mod excuses;
mod server;
mod view;

use graceful_tls::Phase;

use self::view::View;
use crate::{
    client::{
        http2::stream,
        seen::{Ask, Framing, Own},
    },
    run::Facts,
    trace::Stamp,
};

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    pub oracle: &'static str,
    pub conn: Option<usize>,
    pub what: String,
}

impl Failure {
    /// The one line that a failing seed prints.
    pub fn line(&self, seed: u64, facts: &Facts) -> String {
        let kind = facts.kind;
        let by = format!(
            "{:?}{}",
            kind.driver,
            if kind.layer { "" } else { " without layer" }
        );
        let whom = self.conn.map_or(String::new(), |conn| {
            let plan = &facts.conns[conn].plan;
            let protocol = if plan.http2 { "HTTP/2" } else { "HTTP/1" };
            format!(
                " #{conn} ({}, {protocol}{})",
                plan.role,
                if plan.tls12 { ", TLS 1.2" } else { "" }
            )
        });
        let Self { oracle, what, .. } = self;
        format!("SEED={seed} [{oracle}] {by}{whom}: {what}")
    }
}

type OfConnection = fn(&View<'_>) -> Option<String>;
type OfServer = fn(&Facts) -> Option<String>;

/// The rules for each connection, and their names.
const OF_CONNECTION: &[(&str, OfConnection)] = &[
    ("notify", notify),
    ("silent after close_notify", silent_after_close_notify),
    ("never lie", never_lie),
    ("whole", whole),
    ("drain", drain),
    ("lost", lost),
    ("upload", upload),
    ("half a head", half_a_head),
    ("stalled stream", stalled_stream),
    ("reset stream", reset_stream),
    ("says close", says_close),
    ("silent after alert", silent_after_alert),
    ("prompt", prompt),
    ("silence", silence),
    ("places", places),
    ("tail", tail),
    ("bytes", bytes),
    ("tunnel", tunnel),
    ("TLS 1.2", tls12_at_once),
    ("newcomers", newcomers),
    ("goaway", goaway),
    ("exact goaway", exact_goaway),
    ("once", once),
    ("queue", queue),
    ("plain HTTP", plain_http),
    ("sense", sense),
    ("let go", bounds::let_go),
    ("idle", bounds::idle),
    ("too early", bounds::too_early),
    ("held", bounds::held),
];

/// The rules for the server as a whole.
const OF_SERVER: &[(&str, OfServer)] = &[
    ("closed in time", bounds::closed_in_time),
    ("report counts", server::report_counts),
    ("report is honest", server::report_is_honest),
    (
        "report knows the deadline",
        server::report_knows_the_deadline,
    ),
    ("nothing left", server::nothing_left),
    ("no panic", server::no_panic),
    ("identity", server::identity),
    ("cause", server::cause),
];

/// Every rule that was broken.
pub fn judge(facts: &Facts) -> Vec<Failure> {
    let mut failures = Vec::new();
    for number in 0..facts.conns.len() {
        let view = View::new(facts, number);
        for (oracle, check) in OF_CONNECTION {
            failures.extend(check(&view).map(|what| Failure {
                oracle,
                conn: Some(number),
                what,
            }));
        }
    }
    for (oracle, check) in OF_SERVER {
        failures.extend(check(facts).map(|what| Failure {
            oracle,
            conn: None,
            what,
        }));
    }
    failures
}

/// R1. Every ended connection gets close_notify.
///
/// R2 takes back those with a close-delimited answer, or with an alert. It can't be sent to a peer
/// that takes no bytes or has reset. Without a layer nobody knows how an HTTP/1 answer ends, so that
/// it may be withheld once one has begun.
fn notify(view: &View<'_>) -> Option<String> {
    let seen = &view.conn.seen;
    if !view.shook_hands() || seen.notify.is_some() || seen.tls_error.is_some() {
        return None;
    }
    let settings = &view.facts.settings;
    let patience = settings.write_timeout.min(settings.drain.flush_timeout) * 9 / 10;
    let begun = view.asks().any(|(_, ask)| ask.answer.begun.is_some());
    let unknown = !view.facts.kind.layer && !view.http2() && (begun || any_cut(view));
    let took_nothing = view.blocked_for(patience) || view.flush_exhausted();
    if view.left() || view.close_delimited() || took_nothing || unknown {
        return None;
    }
    seen.fin.map(|fin| format!("a bare FIN at {fin}"))
}

fn any_cut(view: &View<'_>) -> bool {
    view.asks()
        .any(|(n, ask)| view.served(n).is_some() && !ask.answer.is_over())
}

/// R1. close_notify is the last thing that is said (RFC 8446 6.1).
fn silent_after_close_notify(view: &View<'_>) -> Option<String> {
    let n = view.conn.seen.after_notify;
    (n > 0).then(|| format!("{n} bytes"))
}

/// R2. close_notify never makes a truncated answer look whole, nor a truncated tunnel.
fn never_lie(view: &View<'_>) -> Option<String> {
    if view.pipeline_flush() {
        return None;
    }
    view.asks().find_map(|(n, ask)| {
        let answer = &ask.answer;
        answer.whole?;
        let (length, came) = (ask.length(), answer.bytes);
        match answer.framing {
            Framing::UntilClose if came < length => Some(format!(
                "request {n} got {came} of {length} bytes and close_notify"
            )),
            Framing::Tunnel if ask.endpoint.is_unframed_tunnel() => {
                let first = view.number % 2 == 1 && !view.http2();
                let short = ask.complete.is_some() && came < length && !first;
                short.then(|| format!("the tunnel gave {came} of {length} bytes and close_notify"))
            }
            _ => None,
        }
    })
}

/// What shows its own end has the length that the handler gave it.
fn whole(view: &View<'_>) -> Option<String> {
    view.asks().find_map(|(n, ask)| {
        ask.answer.whole?;
        let (length, came) = (ask.length(), ask.answer.bytes);
        let wrong =
            ask.answer.framing == Framing::Framed && came != length && !ask.endpoint.is_tunnel();
        // A failure that comes before the head is an answer of its own, which hyper gives.
        (wrong && ask.answer.status < 400)
            .then(|| format!("request {n} got {came} of {length} bytes"))
    })
}

/// R3. No RST while the drain's bounds have not been reached.
fn drain(view: &View<'_>) -> Option<String> {
    let (log, settings) = (&view.conn.log, &view.facts.settings);
    let (reset, dropped) = (log.reset_sent?, log.dropped?);
    log.accepted?;
    let flush = settings.drain.flush_timeout.min(settings.write_timeout) * 9 / 10;
    if view.left() || view.blocked_for(flush) || view.flush_exhausted() {
        return None;
    }
    // What follows a client's close_notify is its own fault.
    let junk =
        |step: &crate::client::plan::Step| matches!(step, crate::client::plan::Step::Junk(_));
    let babbles = view.conn.seen.own_notify.is_some() && view.conn.plan.steps.iter().any(junk);
    if view.flooded() || babbles {
        return None;
    }
    if settings.drain.max_connections < view.facts.conns.len() {
        // It may have given its place to a newer one.
        return None;
    }
    let patience = settings
        .drain
        .idle_timeout
        .min(settings.drain.total_timeout)
        * 9
        / 10;
    let waited = log.fin.map(|fin| dropped.at - fin.at);
    let early = waited.is_none_or(|waited| waited < patience);
    early.then(|| format!("reset at {reset}, let go at {dropped}, drained for {waited:?}"))
}

/// R4, R6, R7. A request that was in the socket when the server began to end the connection is
/// answered, whole, or there is a reason.
fn lost(view: &View<'_>) -> Option<String> {
    view.conn.log.accepted?;
    let ended = view.ended()?;
    view.asks().find_map(|(n, ask)| {
        if ask.answer.whole.is_some() {
            return None;
        }
        let begun = ask.answer.begun.is_some();
        if ask.endpoint.is_tunnel() || !(view.in_time(ask) || begun) {
            return None;
        }
        if excuses::excuse(view, n, ask, ended).is_some() {
            return None;
        }
        Some(describe(view, n, ask))
    })
}

const SLACK: std::time::Duration = std::time::Duration::from_millis(500);

fn over(view: &View<'_>, by: Stamp) -> bool {
    view.phase(Phase::Deadline)
        .is_some_and(|deadline| deadline.at <= by.at)
        || view.left()
        || view.peer_gone()
        || view.cancelled()
}

/// R7. A request whose head has begun when draining begins may come to its end.
fn half_a_head(view: &View<'_>) -> Option<String> {
    let (draining, ended) = (view.phase(Phase::Draining)?, view.ended()?);
    let settings = &view.facts.settings;
    view.asks().find_map(|(n, ask)| {
        let begun = view.conn.log.arrived(ask.begins?)?;
        let whole = view.arrived(ask).is_some_and(|at| at <= ended);
        let told =
            view.conn.seen.asks[..n].iter().any(|ask| ask.answer.closes) || excuses::pinged(view);
        let waited = ended.at.saturating_sub(draining.at);
        let patience = settings.handshake_timeout.min(
            settings
                .keep_alive
                .saturating_sub(draining.at.saturating_sub(begun.at))
                / 2,
        );
        let before = view.conn.seen.asks[..n]
            .iter()
            .filter_map(|ask| ask.answer.whole)
            .max();
        let before = before.or(view.conn.seen.handshake).unwrap_or_default();
        let idle = ended.at.saturating_sub(before.at) + view.conn.nature.delay * 2
            >= settings.keep_alive * 9 / 10;
        let soon = !idle && begun < draining && begun.at + settings.keep_alive / 2 > draining.at;
        let late = begun.at + view.conn.nature.late > draining.at;
        let hyper =
            view.facts.kind.tells_hyper && view.facts.kind.driver != crate::servers::Driver::Serve;
        (soon
            && !late
            && ended >= draining
            && !whole
            && !told
            && !hyper
            && !over(view, ended)
            && waited < patience * 9 / 10)
            .then(|| format!("request {n}: begun {begun}, draining {draining}, ended {ended}"))
    })
}

/// R6. A stream that its client holds up is reset, though others live.
fn stalled_stream(view: &View<'_>) -> Option<String> {
    let settings = &view.facts.settings;
    let ended = view.ended()?;
    view.conn.plan.stalled.iter().find_map(|n| {
        let ask = view.conn.seen.asks.get(*n)?;
        let since = ask.answer.last?;
        let latest = since.at
            + settings.write_timeout * 5 / 4
            + view.conn.nature.delay * 4
            + view.conn.nature.late * 2
            + SLACK;
        let none = !ask.answer.is_over() && ended.at > latest;
        let gone = view.conn.log.blocked.is_some()
            || view.conn.nature.send_buffer < 8192
            || view.peer_gone()
            || view.left()
            || view.conn.seen.own_notify.is_some();
        (none && !gone).then(|| format!("request {n}: held up since {since}, ended {ended}"))
    })
}

/// R6. What was reset the server has let go of.
fn reset_stream(view: &View<'_>) -> Option<String> {
    view.asks().find_map(|(n, ask)| {
        let reset = ask.answer.reset_at?;
        let dropped = view
            .served(n)?
            .dropped
            .map_or(std::time::Duration::MAX, |stamp| stamp.at);
        (dropped > reset.at + SLACK)
            .then(|| format!("request {n}: reset {reset}, its handler lived until {dropped:?}"))
    })
}

/// R7. An HTTP/1 answer says that it is the last, once the shutdown has begun.
fn says_close(view: &View<'_>) -> Option<String> {
    let lame = view.phase(Phase::LameDuck)?;
    view.asks().find_map(|(n, ask)| {
        let begun = view.served(n)?.begun;
        let said = ask.answer.closes || ask.answer.begun.is_none() || ask.endpoint.is_tunnel();
        let silent = begun.at > lame.at && !said && ask.answer.status < 400;
        (view.facts.kind.layer && !view.http2() && silent)
            .then(|| format!("request {n}, begun {begun}"))
    })
}

/// R2. Behind a fatal alert nothing follows.
fn silent_after_alert(view: &View<'_>) -> Option<String> {
    let n = view.conn.seen.after_alert;
    (n > 0).then(|| format!("{n} bytes"))
}

/// R7. A connection on which everything is answered ends when draining begins.
fn prompt(view: &View<'_>) -> Option<String> {
    let (draining, ended) = (view.phase(Phase::Draining)?, view.ended()?);
    let seen = &view.conn.seen;
    let asked = seen.asks.iter().any(|ask| ask.answer.whole.is_some());
    let done = seen.asks.iter().all(|ask| {
        ask.head.is_none() && ask.begins.is_none()
            || ask.answer.whole.is_some()
                && !ask.endpoint.takes_upload()
                && !ask.endpoint.is_tunnel()
    });
    if !asked || !done || !view.conn.plan.reads_eagerly() || view.conn.plan.role == "dribbled head"
    {
        return None;
    }
    let used = seen.asks.iter().filter_map(|ask| ask.answer.whole).max()?;
    let latest =
        used.at.max(draining.at) + view.conn.nature.delay * 4 + view.conn.nature.late * 2 + SLACK;
    (ended.at > latest).then(|| format!("draining {draining}, answered {used}, ended {ended}"))
}

/// R3. A drain in which nothing comes ends after its idle time.
fn silence(view: &View<'_>) -> Option<String> {
    let (log, idle) = (&view.conn.log, view.facts.settings.drain.idle_timeout);
    let (fin, dropped) = (log.fin?, log.dropped?);
    let heard = [log.read.last(), log.acknowledged.last()];
    let last = heard
        .into_iter()
        .flatten()
        .map(|(_, stamp)| stamp.at)
        .max()?
        .max(fin.at);
    let latest = last + idle * 2 + view.conn.nature.late + SLACK;
    let held = !view.has_tunnel() && log.acknowledged.last()?.0 + 32 >= log.written.last()?.0;
    (held && dropped.at > latest).then(|| format!("silent since {last:?}, let go at {dropped}"))
}

/// R3. No more connections drain than may.
fn places(view: &View<'_>) -> Option<String> {
    let most = view.facts.settings.drain.max_connections;
    let at = view.conn.log.fin?.at + SLACK;
    let drains = |number: &usize| {
        let view = View::new(view.facts, *number);
        let log = &view.conn.log;
        let begun = log.fin.is_some_and(|fin| fin.at <= at);
        begun && log.dropped.is_some_and(|dropped| dropped.at > at) && !view.has_tunnel()
    };
    let n = (0..view.facts.conns.len()).filter(drains).count();
    (n > most).then(|| format!("{n} drain at {at:?}"))
}

/// R3. The drain does not end while the kernel holds bytes that the client goes on taking.
fn tail(view: &View<'_>) -> Option<String> {
    let (log, settings) = (&view.conn.log, &view.facts.settings);
    let (dropped, fin) = (log.dropped?, log.fin?);
    let before = |marks: &[(u64, Stamp)]| {
        let before = marks.iter().rev().find(|(_, stamp)| *stamp < dropped);
        before.map_or((0, fin), |(total, stamp)| (*total, *stamp))
    };
    let (written, _) = before(&log.written);
    let (taken, moved) = before(&log.acknowledged);
    let over = view
        .phase(Phase::Deadline)
        .is_some_and(|deadline| deadline.at <= dropped.at);
    let evicted = settings.drain.max_connections < view.facts.conns.len();
    let reset = log.rst_arrived.is_some() || log.reset_sent.is_some_and(|at| at < dropped);
    if !view.conn.nature.asked || over || evicted || reset || view.left() || written - taken <= 32 {
        return None;
    }
    let moved = moved.max(fin);
    let waited = dropped.at - moved.at;
    (waited < settings.write_timeout * 9 / 10).then(|| {
        format!(
            "{} bytes held, moved at {moved}, let go at {dropped}",
            written - taken
        )
    })
}

/// R3, R4. What comes after the client's close_notify, or the server's end, is read up to a bound.
fn bytes(view: &View<'_>) -> Option<String> {
    // Half-closed, and then the drain; each may overshoot by a read.
    let most = 2 * view.facts.settings.drain.max_bytes + (64 << 10);
    let n = view.discarded();
    (n > most).then(|| format!("{n} bytes discarded"))
}

/// R2. A tunnel that is cut gives its reader no EOF, and what the client sent before its end all
/// arrives.
fn tunnel(view: &View<'_>) -> Option<String> {
    view.asks()
        .filter(|(_, ask)| ask.endpoint.is_tunnel())
        .find_map(|(n, ask)| {
            let (ended, read) = view.served(n)?.tunnel?;
            let own = view.notified().is_some() || view.conn.log.fin_arrived.is_some();
            match ended {
                true if !own => Some(format!("request {n}: an EOF that the client did not send")),
                true if read < ask.upload && ask.complete.is_some() && !view.left() => Some(
                    format!("request {n}: an EOF after {read} of {}", ask.upload),
                ),
                false if view.notified().is_some() && ask.complete.is_some() => {
                    let excused = view.left()
                        || view.cancelled()
                        || view.peer_gone()
                        || view
                            .phase(Phase::Deadline)
                            .is_some_and(|d| d.at <= view.ended().unwrap_or_default().at)
                        || read >= ask.upload
                        || view.conn.log.rst_arrived.is_some();
                    (!excused)
                        .then(|| format!("request {n}: an error after {read} of {}", ask.upload))
                }
                _ => None,
            }
        })
}

/// R6. An upload that moves is in use, though its answer is out.
fn upload(view: &View<'_>) -> Option<String> {
    view.conn.log.accepted?;
    let ended = view.ended()?;
    view.asks().find_map(|(n, ask)| {
        let early = matches!(ask.endpoint, crate::endpoints::Endpoint::Early(_));
        let begun = view.served(n).is_some() && ask.answer.whole.is_some();
        let complete = view.complete(ask).is_some_and(|complete| complete < ended);
        if !early || !begun || complete || excuses::upload(view, n, ask, ended) {
            return None;
        }
        let moved = view.useful().unwrap_or_default();
        Some(format!("request {n}: cut at {ended}, moved at {moved}"))
    })
}

/// R4. TLS 1.2 answers a close_notify at once.
fn tls12_at_once(view: &View<'_>) -> Option<String> {
    let (ended, notified) = (view.ended()?, view.notified()?);
    let busy = view.conn.log.blocked.is_some()
        || view
            .conn
            .log
            .read
            .last()
            .is_none_or(|(n, _)| *n < view.conn.seen.own_notify.unwrap_or(0));
    let late = ended.at.saturating_sub(notified.at) > std::time::Duration::from_millis(600);
    (view.conn.plan.tls12
        && late
        && !busy
        && view.asks().all(|(_, ask)| !ask.endpoint.takes_upload())
        && view.asks().count() == 1)
        .then(|| format!("notified {notified}, ended {ended}"))
}

fn describe(view: &View<'_>, number: usize, ask: &Ask) -> String {
    let answer = &ask.answer;
    let what = match (answer.begun, view.served(number)) {
        (Some(_), _) => format!("cut after {} of {} bytes", answer.bytes, ask.length()),
        (None, Some(_)) => "handled, and not answered".into(),
        (None, None) => "discarded".into(),
    };
    let arrived = view.arrived(ask).unwrap_or_default();
    let ended = view.ended().unwrap_or_default();
    let half_closed = match view.notified() {
        Some(notified) if notified < ended => ", half-closed",
        _ => "",
    };
    let reset = answer
        .reset
        .map_or(String::new(), |code| format!(", RST_STREAM {code}"));
    let draining = match view.phase(Phase::Draining) {
        Some(draining) if draining.at <= ended.at => format!(", draining since {draining}"),
        _ => String::new(),
    };
    format!(
        "request {number} {:?} was {what}: arrived {arrived}, end {ended}{half_closed}{reset}{draining}",
        ask.endpoint
    )
}

/// R7. What has been accepted may finish its handshake and its first request.
fn newcomers(view: &View<'_>) -> Option<String> {
    let (log, seen) = (&view.conn.log, &view.conn.seen);
    let (accepted, ended) = (log.accepted?, view.ended()?);
    let first = seen.asks.first()?;
    let asked = view.arrived(first).is_some_and(|arrived| arrived < ended);
    let over = view
        .phase(Phase::Deadline)
        .is_some_and(|deadline| deadline.at <= ended.at);
    // A loop that accepts by itself, and once more when it has been told.
    let draining = view.phase(Phase::Draining);
    let late = draining.is_some_and(|draining| accepted.at >= draining.at);
    let given_up = view.facts.kind.accepts && late
        || view.cancelled()
        || view.conn.plan.plain
        || view.conn.plan.handshake_cut.is_some()
        || view.peer_gone()
        || view.left();
    if asked || over || given_up || seen.own(Own::Notify).is_some() {
        return None;
    }
    // Who has been ready for as long as it took to become so has had the time for a request.
    let ready = view
        .conn
        .log
        .arrived(seen.shaken)
        .filter(|_| seen.handshake.is_some());
    let lame = view
        .phase(Phase::LameDuck)
        .is_some_and(|lame| accepted.at > lame.at);
    let (since, patience) = match ready {
        _ if lame => (accepted, view.facts.settings.handshake_timeout),
        None => (accepted, view.facts.settings.handshake_timeout),
        Some(ready) => (ready, ready.at.saturating_sub(accepted.at)),
    };
    let waited = ended.at.saturating_sub(since.at);
    let early = waited < patience * 9 / 10;
    early.then(|| format!("accepted at {accepted}, ended at {ended}, before its first request"))
}

/// R7. An HTTP/2 connection that the server ends by itself is told by GOAWAY; an idle one by one.
///
/// In the middle of a frame there is no place for it.
fn goaway(view: &View<'_>) -> Option<String> {
    let seen = &view.conn.seen;
    let (ended, _) = (view.ended()?, seen.notify?);
    if !view.http2()
        || !seen.settings
        || seen.mid_frame
        || view.peer_gone()
        || seen.own_notify.is_some()
    {
        return None;
    }
    let second = std::time::Duration::from_secs(1);
    // Who was at work when draining began has been told in two steps.
    let settings = &view.facts.settings;
    let from = match settings.handover || settings.lame_duck_goaway {
        true => Phase::LameDuck,
        false => Phase::Draining,
    };
    let told = view
        .phase(from)
        .map_or(ended.at, |told| told.at.min(ended.at));
    let idle = view.asks().all(|(_, ask)| {
        let before = |stamp: Option<Stamp>| stamp.is_some_and(|s| s.at + second < told);
        let uploaded = !ask.endpoint.takes_upload() || before(view.complete(ask));
        ask.head.is_none() || before(ask.answer.whole) && uploaded
    });
    match seen.goaways.len() {
        0 => Some(format!("none before close_notify at {ended}")),
        1 => None,
        n if idle => Some(format!("{n} of them to an idle client")),
        _ => None,
    }
}

/// R7. What GOAWAY says was not processed, no handler has seen (RFC 9113 6.8).
fn exact_goaway(view: &View<'_>) -> Option<String> {
    let (last, _) = view.conn.seen.goaways.last()?;
    let ended = view.ended()?;
    let asks = view
        .asks()
        .filter(|(_, ask)| view.arrived(ask).is_some_and(|at| at <= ended));
    let highest = asks.map(|(n, _)| stream(n)).max().unwrap_or(0);
    if *last > highest && *last != u32::MAX >> 1 {
        return Some(format!(
            "GOAWAY names stream {last}, and {highest} was the last to come"
        ));
    }
    let beyond = |n: &usize| stream(*n) > *last && view.served(*n).is_some();
    let asked = (0..view.conn.seen.asks.len()).find(beyond)?;
    Some(format!(
        "GOAWAY names stream {last}, and request {asked} was handled"
    ))
}

/// No request is handed to a handler twice.
fn once(view: &View<'_>) -> Option<String> {
    let twice = |(n, _): &(usize, &Ask)| view.served(*n).is_some_and(|served| served.times > 1);
    view.asks()
        .find(twice)
        .map(|(n, _)| format!("request {n} was handled twice"))
}

/// R7. What is in the listener's queue when accepting ends is accepted.
fn queue(view: &View<'_>) -> Option<String> {
    let log = &view.conn.log;
    // A loop that does not sweep leaves what is there to the kernel.
    let reset = !view.facts.kind.accepts && log.accepted.is_none() && !view.conn.seen.refused;
    (reset && log.dropped.is_some()).then(|| "reset in the listener's queue".into())
}

/// R5. Plain HTTP is answered in plain HTTP.
fn plain_http(view: &View<'_>) -> Option<String> {
    let (log, seen) = (&view.conn.log, &view.conn.seen);
    let (accepted, ended) = (log.accepted?, view.ended()?);
    let over = view
        .phase(Phase::Deadline)
        .is_some_and(|deadline| deadline.at <= ended.at);
    let arrived = log.arrived(1).is_some_and(|arrived| arrived < ended);
    if !view.conn.plan.plain || over || !arrived || seen.plain.starts_with("HTTP/1.1 400 ") {
        return None;
    }
    Some(format!(
        "accepted at {accepted}, ended at {ended}, answered {:?}",
        seen.plain
    ))
}

/// The server speaks HTTP.
fn sense(view: &View<'_>) -> Option<String> {
    view.conn.seen.confused.clone()
}
