//! R6 and R7 in time: no connection lives for ever, none is idle for longer than its time-out, none
//! ends before it, and a shutdown takes no longer than it says.

use std::time::Duration;

use graceful_tls::Phase;

use super::{
    excuses,
    view::{SLACK, View},
};
use crate::{
    client::{
        plan::{Reading, Step},
        seen::Ask,
    },
    endpoints::Endpoint,
    net::reached,
    run::Facts,
    trace::Stamp,
    world::Work,
};

/// A stall may be noticed a quarter of the write time-out late.
fn stall(view: &View<'_>) -> Duration {
    view.facts.settings.write_timeout * 5 / 4
}

/// What a teardown may take: the flush, and the drain.
fn teardown(facts: &Facts) -> Duration {
    let drain = &facts.settings.drain;
    drain.flush_timeout.max(facts.settings.write_timeout) + drain.total_timeout
}

/// What the answers to a flood may hold up: rustls holds 64 KiB for a link that is full, hyper reads
/// 16 KiB ahead of what it has answered, and all of it goes before what ends the connection. To a
/// client that takes its time so do the buffers on the way, and the answers to what has arrived: 39
/// bytes to a PING of 17, where each has a record of its own.
pub fn backlog(view: &View<'_>) -> Duration {
    let (nature, plan) = (&view.conn.nature, &view.conn.plan);
    if plan.flood.is_none() {
        return Duration::ZERO;
    }
    let ours = OURS;
    let slow = plan.steps.iter().find_map(|step| match step {
        Step::Read(Reading::Rate(n, every)) => {
            let asked = nature.receive_buffer + (16 << 10);
            let all = ours + nature.send_buffer + nature.receive_buffer + asked * 39 / 17;
            Some(*every * all.div_ceil(*n) as u32)
        }
        _ => None,
    });
    trickle(view) + slow.unwrap_or_default()
}

/// What rustls holds for a link that is full, and hyper has read ahead.
const OURS: usize = 80 << 10;

/// How long that takes through the link, to a client that reads.
fn trickle(view: &View<'_>) -> Duration {
    let nature = &view.conn.nature;
    let at_once = nature.send_buffer.min(nature.receive_buffer);
    nature.delay * OURS.div_ceil(at_once.max(1)) as u32
}

/// Who has begun something when the time is over may end it; in HTTP/2 it can be refused. A head has a
/// time-out of its own, here that of keep-alive, which is noticed an eighth late; what drips in of one
/// is worth less than a second.
fn last_words(view: &View<'_>) -> Duration {
    let settings = &view.facts.settings;
    let head = settings.keep_alive * 9 / 8 + Duration::from_secs(1);
    match (view.conn.plan.dawdles(), view.http2()) {
        (false, _) => Duration::ZERO,
        (true, true) => head,
        (true, false) => settings.handshake_timeout.max(head),
    }
}

/// The last time the connection was in use: it shook hands, was asked something, a handler worked
/// or some of an answer moved. Control frames are no use, in either direction.
fn last_use(view: &View<'_>) -> Option<Stamp> {
    let (log, seen) = (&view.conn.log, &view.conn.seen);
    let served = view
        .asks()
        .filter_map(|(n, _)| view.served(n))
        .map(|served| served.last);
    let written = log.written.iter().map(|(_, stamp)| *stamp);
    let moved = written.filter(|_| view.conn.plan.flood.is_none());
    // What the teardown itself writes is no use.
    let moved = moved
        .filter(|stamp| view.ended().is_none_or(|ended| stamp.at < ended.at))
        .max();
    let before_end = |stamp: &Stamp| view.ended().is_none_or(|ended| *stamp < ended);
    let known = [
        log.accepted,
        seen.handshake,
        view.useful(),
        seen.last_answer,
        moved,
    ];
    let used = known
        .into_iter()
        .flatten()
        .chain(served)
        .filter(before_end)
        .max();
    // A handler that was dropped at its work had worked until the end.
    let worked = view
        .asks()
        .filter_map(|(n, _)| view.served(n))
        .any(|served| served.work == Work::Dropped && served.before == Work::Busy);
    // And answers that arrived after it were on their way.
    let moved = seen.last_answer >= view.ended() && view.ended().is_some();
    used.max(view.ended().filter(|_| worked || moved))
}

/// R6. What is not in use is let go: after the longest time-out, the flush and the drain.
///
/// A tunnel lasts as long as its handler likes, and so does an upload whose client has no window to go on
/// in. At the deadline they end too.
pub fn let_go(view: &View<'_>) -> Option<String> {
    let log = &view.conn.log;
    log.accepted?;
    let dropped = log.dropped.map_or(Duration::MAX, |stamp| stamp.at);
    if let Some(deadline) = view.phase(Phase::Deadline) {
        let latest = deadline.at + teardown(view.facts) + 2 * SLACK;
        if dropped > latest {
            return Some(format!(
                "held until {dropped:?}, the deadline was at {deadline}"
            ));
        }
    }
    let used = last_use(view)?;
    // h2 does not open a small window again that was exceeded before its client knew of it.
    let exceeded =
        view.http2() && view.facts.settings.http2.window.is_some() && waits_for_an_upload(view);
    let no_window = exceeded || view.asks().any(|(_, ask)| ask.waited);
    let waits = view.has_tunnel() || no_window;
    let settings = &view.facts.settings;
    let patience = match view.conn.seen.handshake {
        None => settings.handshake_timeout,
        // The kernel is first asked when the keep-alive time is over.
        Some(_) if view.conn.nature.asked => settings.keep_alive + stall(view),
        Some(_) => settings.keep_alive.max(stall(view)),
    };
    let taken = log.acknowledged.last().filter(|_| view.conn.nature.asked);
    let used = used.max(taken.map_or(used, |(_, stamp)| *stamp));
    let held_up = view.lag() + backlog(view) + last_words(view) + SLACK;
    // Noticed an eighth late, when it has waited for a while for something else.
    let upload = match waits_for_an_upload(view) {
        true => settings.body_timeout * 9 / 4,
        false => Duration::ZERO,
    };
    let latest = used.at + patience + upload + teardown(view.facts) + held_up;
    (!waits && dropped > latest).then(|| {
        format!(
            "in use until {used}, held until {dropped:?}, {:?} too long",
            dropped - latest
        )
    })
}

fn waits_for_an_upload(view: &View<'_>) -> bool {
    view.asks().any(|(n, ask)| {
        let waited = view.served(n).is_some_and(|served| {
            // The end of the connection is what a handler that reads an upload fails of.
            let by_the_end = served.work == Work::Failed && Some(served.last) >= view.ended();
            served.before == Work::Busy || served.work == Work::Busy || by_the_end
        });
        let in_time = |notified: Stamp| view.ended().is_none_or(|ended| notified < ended);
        let given_up = view.notified().is_some_and(in_time);
        waited && ask.endpoint.needs_upload() && view.complete(ask).is_none() && !given_up
    })
}

/// R6. A connection on which everything has been answered ends at the keep-alive time-out.
pub fn idle(view: &View<'_>) -> Option<String> {
    let seen = &view.conn.seen;
    let handshake = seen.handshake?;
    let ended = view.ended()?;
    let over = view.asks().all(|(n, ask)| {
        ask.head.is_none()
            || ask.answer.whole.is_some_and(|whole| whole < ended)
            || view.served(n).is_none() && view.arrived(ask).is_none_or(|arrived| arrived >= ended)
    });
    let reads = view.asks().any(|(_, ask)| ask.endpoint.takes_upload());
    if !over || reads || view.has_tunnel() || !view.conn.plan.reads_eagerly() {
        return None;
    }
    let used = last_use(view)?.max(handshake);
    let settings = &view.facts.settings;
    let held_up = view.lag() + backlog(view) + last_words(view) + SLACK;
    let latest = used.at + settings.keep_alive + held_up;
    (ended.at > latest).then(|| format!("idle since {used}, ended at {ended}"))
}

/// R6. An idle connection is not ended before its keep-alive time, but for a shutdown.
pub fn too_early(view: &View<'_>) -> Option<String> {
    let ended = view.ended()?;
    if view.is_past(Phase::LameDuck, ended)
        || view.ended_before(ended)
        || view.cancelled()
        || view.is_retired(ended)
    {
        return None;
    }
    let (since, due) = due_idle(view)?;
    // A kernel that can be asked says when the client has got the last of it.
    let ends = view.conn.seen.asks.iter().map(|ask| ask.answer.ends).max();
    let taken = ends.and_then(|ends| reached(&view.conn.log.acknowledged, ends));
    let taken = taken.filter(|_| view.conn.nature.asked).unwrap_or_default();
    let early = ended.at < due || ended < taken;
    early.then(|| format!("idle since {since}, ended at {ended}, answer taken at {taken}"))
}

/// R7. An idle connection is held until its client has been told, as long as that is wanted: of HTTP/2
/// at a handover alone.
pub fn held(view: &View<'_>) -> Option<String> {
    let (ended, begun) = (view.ended()?, view.phase(Phase::LameDuck)?);
    let over = view.is_past(Phase::Deadline, ended) || view.cancelled() || view.is_retired(ended);
    let http2 = view.agreed_on_http2();
    let told = http2 && !(view.facts.settings.handover && is_untold(view, begun.at));
    if told || ended.at < begun.at || over {
        return None;
    }
    let (since, due) = due_idle(view)?;
    let held = begun.at + view.facts.settings.held_at_least(http2);
    let early = ended.at + Duration::from_millis(2) < due.min(held);
    early.then(|| format!("idle since {since}, held until {ended} and not {held:?}"))
}

/// Since when the connection has been idle, and when its keep-alive time is over. `None` where
/// something else may have ended it.
fn due_idle(view: &View<'_>) -> Option<(Stamp, Duration)> {
    let seen = &view.conn.seen;
    let handshake = seen.handshake?;
    let asked = || seen.asks.iter().filter(|ask| ask.head.is_some());
    let unanswered = asked().any(|ask| ask.answer.whole.is_none());
    if unanswered || ends_otherwise(view) || asked_at_the_edge(view) {
        return None;
    }
    let shaken = view.conn.log.arrived(seen.shaken).unwrap_or(handshake);
    let written = asked().filter_map(|ask| reached(&view.conn.log.written, ask.answer.ends));
    let since = written.max().unwrap_or(shaken).max(shaken);
    let tick = Duration::from_millis(2);
    let least = view.facts.settings.keep_alive.saturating_sub(tick);
    Some((since, since.at + least))
}

/// Something but idleness may end the connection.
fn ends_otherwise(view: &View<'_>) -> bool {
    let (seen, plan) = (&view.conn.seen, &view.conn.plan);
    let own = view.peer_gone() || seen.own_notify.is_some() || view.left();
    let endpoints = || seen.asks.iter().map(|ask| ask.endpoint);
    let closes = endpoints().any(Endpoint::fails) || seen.asks.iter().any(|ask| ask.answer.closes);
    let unread = endpoints().any(|endpoint| endpoint.takes_upload() || endpoint.is_tunnel());
    let error = seen.goaways.iter().any(|(_, code)| *code != 0) || seen.tls_error.is_some();
    let refused = error || plan.babbles() || excuses::pinged(view);
    own || closes || unread || refused || !plan.reads_eagerly()
}

/// R7. A connection on which everything is answered ends as soon as it has to go.
pub fn prompt(view: &View<'_>) -> Option<String> {
    let (ended, plan) = (view.ended()?, &view.conn.plan);
    let asks = &view.conn.seen.asks;
    let answered = |ask: &Ask| {
        let unasked = ask.head.is_none();
        let done = ask.answer.whole.is_some() && !ask.endpoint.is_tunnel();
        unasked || done && !ask.endpoint.takes_upload()
    };
    // A client that agreed on HTTP/2 and speaks HTTP/1 is held as one of HTTP/1, by what it speaks.
    let mixed = view.agreed_on_http2() && !view.http2();
    let begun = plan.dawdles() && !view.http2();
    if mixed || !asks.iter().all(answered) || !plan.reads_eagerly() || begun {
        return None;
    }
    let used = asks.iter().filter_map(|ask| ask.answer.whole).max()?;
    let goes = departure(view).into_iter().chain(retirement(view)).min()?;
    // Its age may have come when its last answer could not say so any more: it is held as an idle one.
    let untold = match view.aged().is_some() && !view.http2() {
        true => view.facts.settings.keep_alive,
        false => Duration::ZERO,
    };
    let latest = used.at.max(goes) + untold + view.lag() + backlog(view) + SLACK;
    (ended.at > latest).then(|| format!("has to go at {goes:?}, answered {used}, ended {ended}"))
}

/// Nothing was answered since then, behind which a GOAWAY could have come.
fn is_untold(view: &View<'_>, by: Duration) -> bool {
    let answered = |ask: &Ask| match ask.answer.whole {
        Some(_) => reached(&view.conn.log.written, ask.answer.ends),
        None => None,
    };
    let before = |ask: &Ask| answered(ask).is_none_or(|answered| answered.at < by);
    view.conn.seen.asks.iter().all(before)
}

/// The last request may have been on its way before the client had all answers, and so may another.
///
/// The server takes the time from the handshake to the client's first acknowledgement for a round trip. By
/// its first answer the client has acknowledged.
///
/// When it was answered before the shutdown began the server has not noted.
fn crossed(view: &View<'_>, began: Duration) -> bool {
    let (asks, handshake) = (&view.conn.seen.asks, view.conn.seen.handshake);
    let asked = |ask: &Ask| ask.asked.map(|stamp| stamp.at);
    let whole = |ask: &Ask| ask.answer.whole.map(|stamp| stamp.at);
    let (Some(last), Some(handshake)) = (asks.iter().filter_map(asked).max(), handshake) else {
        return false;
    };
    let acknowledged = asks.iter().filter_map(whole).min();
    let round_trip = acknowledged.map_or(view.lag(), |by| by.saturating_sub(handshake.at));
    let together = asks.iter().filter(|ask| asked(ask) == Some(last)).count() > 1;
    let mut before = asks.iter().filter(|ask| asked(ask) < Some(last));
    let crosses = |since| last < since + round_trip + SLACK;
    together || before.any(|ask| whole(ask).is_none_or(|had| crosses(had.max(began))))
}

/// When its age or its requests want an idle connection to be gone at the latest.
fn retirement(view: &View<'_>) -> Option<Duration> {
    let answered = |ask: &&Ask| ask.answer.whole.is_some();
    let answered = view.conn.seen.asks.iter().filter(answered).count();
    let max = view.facts.settings.max_requests;
    match max.is_some_and(|max| answered >= max as usize) {
        true => Some(Duration::ZERO),
        false => view.aged().map(|(_, latest)| latest),
    }
}

/// R6. Whatever it is used for, it ends when the grace of its age is over.
pub fn old(view: &View<'_>) -> Option<String> {
    let (grace, ended) = (view.facts.settings.max_age_grace?, view.ended()?);
    let (_, latest) = view.aged()?;
    if view.conn.log.blocked.is_some() || !view.conn.plan.reads_eagerly() {
        return None;
    }
    // What TLS holds by then has to go first.
    let latest = latest + grace + trickle(view) + SLACK;
    (ended.at > latest).then(|| format!("to end by {latest:?}, ended {ended}"))
}

/// When the shutdown wants an idle connection to be gone at the latest.
fn departure(view: &View<'_>) -> Option<Duration> {
    let settings = &view.facts.settings;
    let (lame, draining) = (view.phase(Phase::LameDuck)?, view.phase(Phase::Draining)?);
    let told = view.conn.seen.asks.iter().any(|ask| ask.answer.closes);
    let held = lame.at + settings.held_for() + settings.close_spread;
    Some(match view.agreed_on_http2() {
        true if settings.handover && is_untold(view, lame.at + view.lag() + SLACK) => held,
        true if settings.handover && crossed(view, lame.at) => {
            let deadline = draining.at + settings.shutdown_timeout;
            lame.at + (deadline - lame.at) / 2 + settings.close_spread
        }
        true => draining.at + settings.close_spread,
        false if told => draining.at,
        false => held,
    })
}

/// R7. A shutdown takes the lame duck, its time-out, a flush, a drain and two seconds at most.
pub fn closed_in_time(facts: &Facts) -> Option<String> {
    let (began, closed) = (
        facts.phases.get(&Phase::LameDuck)?,
        facts.phases.get(&Phase::Closed)?,
    );
    let settings = &facts.settings;
    let most =
        settings.lame_duck + settings.shutdown_timeout + teardown(facts) + Duration::from_secs(2);
    let took = closed.at - began.at;
    (took > most).then(|| format!("took {took:?}, of {most:?}"))
}

/// The last request crossed the end of the keep-alive time: that it was answered is all that it can
/// expect.
fn asked_at_the_edge(view: &View<'_>) -> bool {
    let soon = view.facts.settings.keep_alive / 8;
    let Some((last, ask)) = view.asks().filter(|(_, ask)| ask.head.is_some()).last() else {
        return false;
    };
    let asked = ask.asked.map_or(Duration::ZERO, |stamp| stamp.at);
    // Of those that it was asked together with, the first is at the edge.
    let before = view
        .asks()
        .take(last)
        .filter_map(|(_, ask)| ask.answer.whole)
        .filter(|whole| whole.at < asked)
        .max();
    before
        .or(view.conn.seen.handshake)
        .is_some_and(|before| asked.saturating_sub(before.at) > soon)
}
