//! R4 to R7. What was asked is answered, once, and who may ask is let.

use std::time::Duration;

use graceful_tls::Phase;

use super::{excuses, view::View};
use crate::{
    client::seen::{Ask, Own},
    endpoints::Endpoint,
    net::reached,
    trace::Stamp,
};

/// R4, R6, R7. A request that was in the socket when the server began to end the connection is
/// answered, whole, or there is a reason.
pub fn lost(view: &View<'_>) -> Option<String> {
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

/// R6. An upload that moves is in use, though its answer is out.
pub fn upload(view: &View<'_>) -> Option<String> {
    view.conn.log.accepted?;
    let ended = view.ended()?;
    view.asks().find_map(|(n, ask)| {
        let early = matches!(ask.endpoint, Endpoint::Early(_));
        let answered = view.served(n).is_some() && ask.answer.whole.is_some();
        let complete = view.complete(ask).is_some_and(|complete| complete < ended);
        if !early || !answered || complete || excuses::upload(view, n, ask, ended) {
            return None;
        }
        let moved = view.useful().unwrap_or_default();
        Some(format!("request {n}: cut at {ended}, moved at {moved}"))
    })
}

/// R7. A request whose head has begun when its connection has to go may come to its end.
pub fn half_a_head(view: &View<'_>) -> Option<String> {
    let (leaves, ended) = (view.leaves()?, view.ended()?);
    let aged = view
        .aged()
        .is_some_and(|(earliest, _)| earliest <= leaves.at);
    if view.http2() || aged {
        // It can be refused: the GOAWAY says that it was not looked at. For its age it had to go before.
        return None;
    }
    view.asks().find_map(|(n, ask)| {
        let begun = view.conn.log.arrived(ask.begun?)?;
        let whole = view.arrived(ask).is_some_and(|at| at <= ended);
        if whole || ended < leaves || may_end_half_a_head(view, n, ended) {
            return None;
        }
        let age = leaves.at.saturating_sub(begun.at);
        let heard = begun < leaves && begun.at + view.conn.nature.late <= leaves.at;
        let settings = &view.facts.settings;
        let left = settings.keep_alive.saturating_sub(age) / 2;
        let early = ended.at - leaves.at < settings.handshake_timeout.min(left) * 9 / 10;
        (heard && age < settings.keep_alive / 2 && early)
            .then(|| format!("request {n}: begun {begun}, to go {leaves}, ended {ended}"))
    })
}

fn may_end_half_a_head(view: &View<'_>, number: usize, ended: Stamp) -> bool {
    let before = &view.conn.seen.asks[..number];
    let told = before.iter().any(|ask| ask.answer.closes);
    let written = |ask: &Ask| reached(&view.conn.log.written, ask.answer.ends);
    let answered = before.iter().filter(|ask| ask.answer.whole.is_some());
    let idle_since = answered.filter_map(written).max();
    let idle_since = idle_since.or(view.conn.seen.handshake).unwrap_or_default();
    let idle = ended.at.saturating_sub(idle_since.at) + view.conn.nature.delay * 2;
    let idle = idle >= view.facts.settings.keep_alive * 9 / 10;
    told || idle || excuses::pinged(view) || view.is_excused(ended)
}

/// R7. An HTTP/1 answer says that it is the last, once the shutdown has begun.
pub fn says_close(view: &View<'_>) -> Option<String> {
    let lame = view.phase(Phase::LameDuck)?;
    if !view.facts.kind.layer || view.http2() {
        return None;
    }
    view.asks().find_map(|(n, ask)| {
        let begun = view.served(n)?.begun;
        let answer = &ask.answer;
        let said = answer.closes || answer.begun.is_none() || ask.endpoint.is_tunnel();
        let silent = begun.at > lame.at && !said && answer.status < 400;
        silent.then(|| format!("request {n}, begun {begun}"))
    })
}

/// The answer to the last request that a connection may have says so, where none before it did.
pub fn says_last(view: &View<'_>) -> Option<String> {
    let max = view.facts.settings.max_requests? as usize;
    if !view.facts.kind.layer || view.http2() {
        return None;
    }
    let (n, ask) = view.asks().nth(max - 1)?;
    let told = view.asks().take(max).any(|(_, ask)| ask.answer.closes);
    let no_answer = ask.answer.begun.is_none() || ask.answer.status >= 400;
    let silent = !told && !no_answer && !ask.endpoint.is_tunnel() && view.served(n).is_some();
    silent.then(|| format!("request {n}"))
}

/// R7. What has been accepted may finish its handshake and its first request.
pub fn newcomers(view: &View<'_>) -> Option<String> {
    let (log, seen) = (&view.conn.log, &view.conn.seen);
    let (accepted, ended) = (log.accepted?, view.ended()?);
    let first = seen.asks.first()?;
    let asked = view.arrived(first).is_some_and(|arrived| arrived < ended);
    // A loop that accepts by itself, and once more when it has been told.
    let late = view.facts.kind.accepts && view.is_past(Phase::Draining, accepted);
    let (plain, cut) = (view.conn.plan.plain, view.conn.plan.handshake_cut);
    let given_up = plain || cut.is_some() || seen.own(Own::Notify).is_some();
    if asked || late || given_up || view.is_excused(ended) {
        return None;
    }
    let (since, patience) = newcomers_time(view, accepted);
    let early = ended.at.saturating_sub(since.at) < patience * 9 / 10;
    early.then(|| format!("accepted at {accepted}, ended at {ended}, before its first request"))
}

/// Who has been ready for as long as it took to become so has had the time for a request. Who came
/// in the shutdown has the time of a handshake in all.
fn newcomers_time(view: &View<'_>, accepted: Stamp) -> (Stamp, Duration) {
    let seen = &view.conn.seen;
    let lame = view.phase(Phase::LameDuck);
    let in_time = lame.is_none_or(|lame| accepted.at <= lame.at);
    let ready = view.conn.log.arrived(seen.shaken);
    let ready = ready.filter(|_| seen.handshake.is_some() && in_time);
    match ready {
        None => (accepted, view.facts.settings.handshake_timeout),
        Some(ready) => (ready, ready.at.saturating_sub(accepted.at)),
    }
}

/// No request is handed to a handler twice.
pub fn once(view: &View<'_>) -> Option<String> {
    let twice = |(n, _): &(usize, &Ask)| view.served(*n).is_some_and(|served| served.times > 1);
    view.asks()
        .find(twice)
        .map(|(n, _)| format!("request {n} was handled twice"))
}

/// R7. What is in the listener's queue when accepting ends is accepted.
pub fn queue(view: &View<'_>) -> Option<String> {
    let log = &view.conn.log;
    // A loop that does not sweep leaves what is there to the kernel.
    let reset = !view.facts.kind.accepts && log.accepted.is_none() && !view.conn.seen.refused;
    (reset && log.dropped.is_some()).then(|| "reset in the listener's queue".into())
}

/// R5. Plain HTTP is answered in plain HTTP.
pub fn plain_http(view: &View<'_>) -> Option<String> {
    let (log, seen) = (&view.conn.log, &view.conn.seen);
    let (accepted, ended) = (log.accepted?, view.ended()?);
    let over = view.is_past(Phase::Deadline, ended);
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
pub fn sense(view: &View<'_>) -> Option<String> {
    view.conn.seen.confused.clone()
}
