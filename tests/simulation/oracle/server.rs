//! R7 for the server as a whole: nothing is left, and each connection is one.

use std::time::Duration;

use graceful_tls::Phase;

use super::view::View;
use crate::run::Facts;

/// The connections that the server has taken on.
///
/// A loop that accepts by itself may hand one over when the shutdown is over: that is left out.
pub fn views(facts: &Facts) -> impl Iterator<Item = View<'_>> {
    let draining = facts
        .phases
        .get(&Phase::Draining)
        .map(|draining| draining.at);
    let late = move |accepted: Duration| draining.is_some_and(|draining| accepted >= draining);
    let views = (0..facts.conns.len()).map(|number| View::new(facts, number));
    views.filter(move |view| {
        let accepted = view.conn.log.accepted;
        accepted.is_some_and(|accepted| !(facts.kind.accepts && late(accepted.at)))
    })
}

/// Each connection is observed once, and has a number of its own.
pub fn identity(facts: &Facts) -> Option<String> {
    let mut ids: Vec<u64> = facts
        .told
        .ended
        .iter()
        .map(|observed| observed.id)
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let (observed, ids) = (facts.told.ended.len(), ids.len());
    let known = facts
        .conns
        .iter()
        .filter(|conn| conn.log.accepted.is_some());
    let conns = known.filter(|conn| conn.log.dropped.is_some()).count();
    (observed != ids || observed != conns)
        .then(|| format!("{conns} connections ended, {observed} were observed, with {ids} numbers"))
}

/// The observer is told of everything once, and in order.
pub fn observer(facts: &Facts) -> Option<String> {
    let told = &facts.told;
    let over = told.failed + told.established;
    // Also where the future that does a handshake was dropped.
    let wrong = told.accepted != over || told.ended.len() as u64 != over;
    let counts = || {
        format!(
            "{} accepted, {over} over, {} ended",
            told.accepted,
            told.ended.len()
        )
    };
    let phases = facts.phases.len() > told.phases.len() || !told.phases.contains(&Phase::Closed);
    let wrong_phases = || format!("told of {:?}, saw {:?}", told.phases, facts.phases);
    told.wrong
        .clone()
        .or_else(|| wrong.then(counts))
        .or_else(|| phases.then(wrong_phases))
}

/// In the end nothing is open, and every end is counted where the observer was told of it.
pub fn stats(facts: &Facts) -> Option<String> {
    let (stats, told) = (&facts.stats, &facts.told);
    let ended: u64 = stats.ended.iter().map(|of| of.connections).sum();
    let agrees = stats.ended.iter().all(|of| {
        let ends = told.ended.iter();
        let same = ends.filter(|end| (end.cause, end.outcome) == (of.cause, of.outcome));
        same.count() as u64 == of.connections
    });
    let right = stats.open == 0
        && stats.accepted == told.accepted
        && stats.accepted == stats.open + ended
        && ended == told.ended.len() as u64
        && agrees;
    (!right).then(|| format!("{stats:?}"))
}

/// When a shutdown is over, every descriptor is closed, and soon after every task has ended.
pub fn nothing_left(facts: &Facts) -> Option<String> {
    let Some(closed) = facts.phases.get(&Phase::Closed) else {
        return Some("the shutdown was never over".into());
    };
    let dropped = |view: &View<'_>| view.conn.log.dropped.map(|dropped| dropped.at);
    let open = |view: &View<'_>| dropped(view).is_none_or(|dropped| dropped > closed.at);
    if let Some(view) = views(facts).find(open) {
        return Some(format!(
            "connection #{} is open after closed()",
            view.number
        ));
    }
    (facts.tasks_left > 0).then(|| format!("{} tasks", facts.tasks_left))
}

pub fn no_panic(facts: &Facts) -> Option<String> {
    facts.panics.first().cloned()
}
