//! R6, R7 in HTTP/2: what GOAWAY says, and what becomes of streams that their clients hold up.

use std::time::Duration;

use graceful_tls::Phase;

use super::view::{SLACK, View};
use crate::{
    client::{
        http2::stream,
        plan::{Reading, Step},
    },
    trace::Stamp,
};

/// So much the server's TLS may hold, and what it holds has to go out first.
const TLS_HOLDS: usize = 128 << 10;

/// R7. An HTTP/2 connection that the server ends by itself is told by GOAWAY; an idle one by one.
///
/// In the middle of a frame there is no place for it.
pub fn goaway(view: &View<'_>) -> Option<String> {
    let seen = &view.conn.seen;
    let (accepted, ended, _) = (view.conn.log.accepted?, view.ended()?, seen.notify?);
    if !view.http2()
        || !seen.settings
        || seen.mid_frame
        || view.peer_gone()
        || seen.own_notify.is_some()
    {
        return None;
    }
    let second = Duration::from_secs(1);
    // Who was at work when draining began has been told in two steps.
    let leaves = view.leaves().into_iter().chain(view.left_before());
    let retired = view.aged().map(|(earliest, _)| earliest);
    let told = leaves.chain([ended]).map(|stamp| stamp.at);
    let told = told.chain(retired).chain(view.spent()).min()?;
    let idle = view.asks().all(|(_, ask)| {
        let before = |stamp: Option<Stamp>| stamp.is_some_and(|s| s.at + second < told);
        let uploaded = !ask.endpoint.takes_upload() || before(view.complete(ask));
        ask.head.is_none() || before(ask.answer.whole) && uploaded
    });
    match seen.goaways.len() {
        0 => Some(format!("none before close_notify at {ended}")),
        1 => None,
        // A loop that accepts once more when it has been told tells what it accepts.
        _ if view.facts.kind.accepts && view.is_past(Phase::Draining, accepted) => None,
        n if idle => Some(format!("{n} of them to an idle client")),
        _ => None,
    }
}

/// R7. What GOAWAY says was not processed, no handler has seen (RFC 9113 6.8).
pub fn exact_goaway(view: &View<'_>) -> Option<String> {
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

/// R6. A stream that its client holds up is reset, though others live.
pub fn stalled_stream(view: &View<'_>) -> Option<String> {
    let ended = view.ended()?;
    if view.peer_gone() || view.left() || view.conn.seen.own_notify.is_some() {
        return None;
    }
    view.conn.plan.stalled.iter().find_map(|n| {
        let answer = &view.conn.seen.asks.get(*n)?.answer;
        let since = answer.last?;
        let patience = view.facts.settings.write_timeout * 5 / 4;
        let latest = since.at + patience + behind(view) + view.lag() + SLACK;
        let held = !answer.is_over() && ended.at > latest;
        held.then(|| format!("request {n}: held up since {since}, ended {ended}"))
    })
}

/// How long a client takes to read what there is on the way behind a stream's last bytes, and before the frame that
/// resets it.
fn behind(view: &View<'_>) -> Duration {
    let nature = &view.conn.nature;
    let most = 2 * (TLS_HOLDS + nature.send_buffer + nature.receive_buffer);
    let reading = view.conn.plan.steps.iter().find_map(|step| match step {
        Step::Read(Reading::Rate(bytes, every)) => Some((*bytes, *every)),
        _ => None,
    });
    let Some((bytes, every)) = reading else {
        return Duration::ZERO;
    };
    // A round trip brings no more than fits into the buffers.
    let window = nature.send_buffer.min(nature.receive_buffer);
    let trips = 2 * (nature.delay + nature.late) * most.div_ceil(window) as u32;
    every * most.div_ceil(bytes) as u32 + trips
}

/// R6. What was reset the server has let go of.
pub fn reset_stream(view: &View<'_>) -> Option<String> {
    view.asks().find_map(|(n, ask)| {
        let reset = ask.answer.reset_at?;
        let dropped = view.served(n)?.dropped.map(|dropped| dropped.at);
        let lived = dropped.is_none_or(|dropped| dropped > reset.at + SLACK);
        lived.then(|| format!("request {n}: reset {reset}, its handler lived until {dropped:?}"))
    })
}
