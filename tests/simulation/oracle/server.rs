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

/// Each connection is logged once, and has a number of its own.
pub fn identity(facts: &Facts) -> Option<String> {
    let mut ids: Vec<u64> = facts.logged.iter().map(|logged| logged.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let (logged, ids) = (facts.logged.len(), ids.len());
    let known = facts
        .conns
        .iter()
        .filter(|conn| conn.log.accepted.is_some());
    let conns = known.filter(|conn| conn.log.dropped.is_some()).count();
    (logged != ids || logged != conns)
        .then(|| format!("{conns} connections ended, {logged} were logged, with {ids} numbers"))
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
