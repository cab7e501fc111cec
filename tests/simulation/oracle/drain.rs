//! R3. The drain: long enough, not for ever, and not for more than its share.

use graceful_tls::Phase;

use super::view::{SLACK, View};

/// R3. No RST while the drain's bounds have not been reached.
pub fn drain(view: &View<'_>) -> Option<String> {
    let (log, settings) = (&view.conn.log, &view.facts.settings);
    let (reset, dropped) = (log.reset_sent?, log.dropped?);
    log.accepted?;
    let took_nothing = view.blocked_for(view.patience());
    if view.left() || took_nothing || view.flush_exhausted() || out_of_time(view) {
        return None;
    }
    // What follows a client's close_notify is its own fault.
    let babbles = view.conn.seen.own_notify.is_some() && view.conn.plan.babbles();
    if view.flooded() || babbles || crowded(view) {
        return None;
    }
    let bounds = &settings.drain;
    let patience = bounds.idle_timeout.min(bounds.total_timeout) * 9 / 10;
    let waited = log.fin.map(|fin| dropped.at - fin.at);
    let early = waited.is_none_or(|waited| waited < patience);
    early.then(|| format!("reset at {reset}, let go at {dropped}, drained for {waited:?}"))
}

/// So long after the deadline everything has a bound.
fn out_of_time(view: &View<'_>) -> bool {
    let (deadline, dropped) = (view.phase(Phase::Deadline), view.conn.log.dropped);
    let settings = &view.facts.settings;
    let most = settings.drain.flush_timeout.max(settings.write_timeout) * 9 / 10;
    let times = deadline.zip(dropped);
    times.is_some_and(|(deadline, dropped)| dropped.at >= deadline.at + most)
}

/// Connections may have had to give their places to newer ones.
pub fn crowded(view: &View<'_>) -> bool {
    view.facts.settings.drain.max_connections < view.facts.conns.len()
}

/// R3. A drain in which nothing comes ends after its idle time.
pub fn silence(view: &View<'_>) -> Option<String> {
    let (log, idle) = (&view.conn.log, view.facts.settings.drain.idle_timeout);
    let (fin, dropped) = (log.fin?, log.dropped?);
    let heard = [log.read.last(), log.acknowledged.last()];
    let heard = heard.into_iter().flatten().map(|(_, stamp)| stamp.at);
    let last = heard.max()?.max(fin.at);
    let latest = last + idle * 2 + view.conn.nature.late + SLACK;
    let taken = log.acknowledged.last()?.0 + 32 >= log.written.last()?.0;
    let held = !taken || view.has_tunnel();
    (!held && dropped.at > latest).then(|| format!("silent since {last:?}, let go at {dropped}"))
}

/// R3. No more connections drain than may.
pub fn places(view: &View<'_>) -> Option<String> {
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
///
/// A kernel that can't be asked may hold anything.
pub fn tail(view: &View<'_>) -> Option<String> {
    let log = &view.conn.log;
    let (dropped, fin) = (log.dropped?, log.fin?);
    let reset = log.rst_arrived.is_some() || log.reset_sent.is_some_and(|at| at < dropped);
    let over = view.is_past(Phase::Deadline, dropped) || view.flooded();
    if !view.conn.nature.asked || over || crowded(view) || reset || view.left() {
        return None;
    }
    let (held, moved) = view.held_at_the_close()?;
    let moved = moved.max(fin);
    let early = dropped.at - moved.at < view.facts.settings.write_timeout * 9 / 10;
    early.then(|| format!("{held} bytes held, moved at {moved}, let go at {dropped}"))
}

/// R3. Behind an RST nothing is waited for, if the kernel tells of it.
pub fn reset(view: &View<'_>) -> Option<String> {
    let (log, settings) = (&view.conn.log, &view.facts.settings);
    let (told, dropped) = (log.rst_told?, log.dropped?);
    let latest = told.at.max(log.fin.unwrap_or(told).at) + settings.drain.idle_timeout;
    let latest = latest + view.lag() + SLACK;
    let late = view.conn.nature.asked && !view.has_tunnel() && dropped.at > latest;
    late.then(|| format!("told of the RST {told}, let go at {dropped}"))
}

/// R3, R4. What comes after the client's close_notify, or the server's end, is read up to a bound.
pub fn bytes(view: &View<'_>) -> Option<String> {
    // Half-closed, and then the drain; each may overshoot by a read.
    let most = 2 * view.facts.settings.drain.max_bytes + (64 << 10);
    let n = view.discarded();
    (n > most).then(|| format!("{n} bytes discarded"))
}
