//! R1, R2, R4. How a connection ends, and what its last word says of its answers.

use super::view::{SLACK, View};
use crate::{
    client::seen::{Ask, Framing},
    tunnels,
    world::TunnelEnd,
};

/// R1. Every ended connection gets close_notify.
///
/// R2 takes back those with a close-delimited answer, or with an alert. It can't be sent to a peer
/// that takes no bytes or has reset. Without a layer nobody knows how an HTTP/1 answer ends, so that
/// it may be withheld once one has begun.
pub fn notify(view: &View<'_>) -> Option<String> {
    let seen = &view.conn.seen;
    if !view.shook_hands() || seen.notify.is_some() || seen.tls_error.is_some() {
        return None;
    }
    let begun = view.asks().any(|(_, ask)| ask.answer.begun.is_some());
    let unknown = !view.facts.kind.layer && !view.http2() && (begun || any_cut(view));
    let took_nothing = view.blocked_for(view.patience()) || view.flush_exhausted();
    if view.left() || view.close_delimited() || took_nothing || unknown {
        return None;
    }
    seen.fin.map(|fin| format!("a bare FIN at {fin}"))
}

fn any_cut(view: &View<'_>) -> bool {
    view.asks()
        .any(|(n, ask)| view.served(n).is_some() && !ask.answer.is_over())
}

/// R1. close_notify is the last thing that is said (RFC 9846 6.1).
pub fn silent_after_close_notify(view: &View<'_>) -> Option<String> {
    let n = view.conn.seen.after_notify;
    (n > 0).then(|| format!("{n} bytes"))
}

/// R2. Behind a fatal alert nothing follows.
pub fn silent_after_alert(view: &View<'_>) -> Option<String> {
    let n = view.conn.seen.after_alert;
    (n > 0).then(|| format!("{n} bytes"))
}

/// R2. close_notify never makes a truncated answer look whole, nor a truncated tunnel.
pub fn never_lie(view: &View<'_>) -> Option<String> {
    view.asks().find_map(|(n, ask)| {
        let answer = &ask.answer;
        answer.whole?;
        let (length, came) = (ask.length(), answer.bytes);
        match answer.framing {
            Framing::UntilClose if came < length => Some(format!(
                "request {n} got {came} of {length} bytes and close_notify"
            )),
            Framing::Tunnel if ask.endpoint.is_unframed_tunnel() => {
                let first = tunnels::ends_first(view.number, view.http2());
                let short = ask.complete.is_some() && came < length && !first;
                short.then(|| format!("the tunnel gave {came} of {length} bytes and close_notify"))
            }
            _ => None,
        }
    })
}

/// What shows its own end has the length that the handler gave it.
pub fn whole(view: &View<'_>) -> Option<String> {
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

/// R2. A tunnel that is cut gives its reader no EOF, and what the client sent before its end all
/// arrives.
pub fn tunnel(view: &View<'_>) -> Option<String> {
    let tunnels = view.asks().filter(|(_, ask)| ask.endpoint.is_tunnel());
    let mut ended = tunnels.filter_map(|(n, ask)| Some((n, ask, view.served(n)?.tunnel?)));
    ended.find_map(|(n, ask, end)| {
        let what = judge_tunnel(view, ask, end)?;
        Some(format!(
            "request {n}: {what} after {} of {}",
            end.bytes, ask.upload
        ))
    })
}

fn judge_tunnel(view: &View<'_>, ask: &Ask, end: TunnelEnd) -> Option<&'static str> {
    let short = end.bytes < ask.upload && ask.complete.is_some() && !view.left();
    let ended = view.notified().is_some() || view.conn.log.fin_arrived.is_some();
    match end.eof {
        true if !ended => Some("an EOF that the client did not send"),
        true if short => Some("an EOF"),
        false if short && view.notified().is_some() && !may_be_cut(view, end) => Some("an error"),
        _ => None,
    }
}

fn may_be_cut(view: &View<'_>, end: TunnelEnd) -> bool {
    let reset = view.conn.log.rst_arrived.is_some();
    view.is_forced(end.at) || view.cancelled() || view.peer_gone() || reset
}

/// R4. TLS 1.2 answers a close_notify at once.
pub fn tls12_at_once(view: &View<'_>) -> Option<String> {
    let (ended, notified) = (view.ended()?, view.notified()?);
    let log = &view.conn.log;
    let read = log.read.last().map_or(0, |(total, _)| *total);
    let unread = view
        .conn
        .seen
        .own_notify
        .is_some_and(|notify| read < notify);
    let one = view.asks().count() == 1 && view.asks().all(|(_, ask)| !ask.endpoint.takes_upload());
    if !view.conn.plan.tls12 || log.blocked.is_some() || unread || !one {
        return None;
    }
    let patience = view.lag() + SLACK;
    // What TLS holds by then has to go first.
    let writes = log.written.iter().map(|(_, stamp)| stamp.at);
    let busy = writes.fold(notified.at, |busy, at| match at < busy + patience {
        true => at.max(busy),
        false => busy,
    });
    let late = ended.at > busy + patience;
    late.then(|| format!("notified {notified}, ended {ended}"))
}
