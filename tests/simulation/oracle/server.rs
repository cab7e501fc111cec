//! R2, R7 for the server as a whole: the report says what the clients saw, and nothing is left.

use std::time::Duration;

use graceful_tls::Phase;

use super::view::View;
use crate::{client::seen::Ask, run::Facts, world::Work};

/// The report counts every connection that ended after the shutdown began, and no other.
///
/// In the very moment of the beginning it may see it either way.
pub fn report_counts(facts: &Facts) -> Option<String> {
    let report = facts.report.as_ref()?;
    let begun = facts.phases.get(&Phase::LameDuck)?.at;
    let at_once = |view: &View<'_>| {
        view.conn
            .log
            .dropped
            .is_some_and(|dropped| dropped.at == begun)
    };
    let sure = ended_in_shutdown(facts).count() as u64;
    let least = sure - ended_in_shutdown(facts).filter(at_once).count() as u64;
    let late = facts
        .conns
        .iter()
        .filter(|conn| conn.log.accepted.is_some())
        .count() as u64
        - views(facts).count() as u64;
    let most = sure + late;
    let counted = report.connections();
    (!(least..=most).contains(&counted)).then(|| format!("{counted} counted, {most} ended"))
}

fn ended_in_shutdown(facts: &Facts) -> impl Iterator<Item = View<'_>> {
    let begun = facts.phases.get(&Phase::LameDuck).map(|begun| begun.at);
    views(facts).filter(move |view| view.conn.log.dropped.is_some_and(|d| Some(d.at) >= begun))
}

/// The connections that the server has taken on.
///
/// A loop that accepts by itself may hand one over when the shutdown is over: that is left out.
fn views(facts: &Facts) -> impl Iterator<Item = View<'_>> {
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

/// R2. What a client did not get whole is never counted clean.
///
/// A client that left, and one whose tail an RST destroyed after everything had been handed to the
/// kernel, can't be known of.
pub fn report_is_honest(facts: &Facts) -> Option<String> {
    let report = facts.report.as_ref()?;
    let cut = |view: &View<'_>| {
        let unknowable = view.left() || view.conn.log.reset_sent.is_some();
        !unknowable && view.asks().any(|(n, ask)| is_cut(view, n, ask))
    };
    let ended = report.connections();
    let cut: Vec<usize> = ended_in_shutdown(facts)
        .filter(cut)
        .map(|view| view.number)
        .collect();
    let most = ended.saturating_sub(cut.len() as u64);
    let lies = report.clean > most && !cut.is_empty();
    lies.then(|| {
        format!(
            "{} clean of {ended}, and {cut:?} were cut short",
            report.clean
        )
    })
}

/// A handler had the request, or its answer had begun, and the client did not get it whole. Over
/// HTTP/2 a handler that fails ends its stream alone.
fn is_cut(view: &View<'_>, number: usize, ask: &Ask) -> bool {
    let served = view.served(number);
    let failed = served.is_some_and(|served| served.work == Work::Failed);
    let known = served.is_some() && !(view.http2() && (failed || ask.endpoint.fails()));
    let tunnel = ask.endpoint.is_tunnel();
    known && !tunnel && ask.answer.whole.is_none()
}

/// The deadline counts as reached if it came before the last connection had ended.
pub fn report_knows_the_deadline(facts: &Facts) -> Option<String> {
    let report = facts.report.as_ref()?;
    let deadline = *facts.phases.get(&Phase::Deadline)?;
    let left = ended_in_shutdown(facts)
        .filter(|view| {
            view.conn
                .log
                .dropped
                .is_some_and(|dropped| dropped.at > deadline.at)
        })
        .count();
    let wrong = !report.deadline_reached && left > 0;
    wrong.then(|| format!("{left} connections ended after it"))
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

/// Each connection is logged once, and has a number of its own.
pub fn identity(facts: &Facts) -> Option<String> {
    let mut ids: Vec<u64> = facts.logged.iter().map(|logged| logged.id).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < all {
        return Some(format!(
            "{all} connections ended, with {} numbers",
            ids.len()
        ));
    }
    let twice = (0..facts.conns.len())
        .find(|n| facts.logged.iter().filter(|l| l.conn == Some(*n)).count() > 1)?;
    Some(format!("connection #{twice} was logged twice"))
}

/// Why a connection ended is what the log says.
pub fn cause(facts: &Facts) -> Option<String> {
    facts.logged.iter().find_map(|logged| {
        let view = View::new(facts, logged.conn?);
        let junk =
            |step: &crate::client::plan::Step| matches!(step, crate::client::plan::Step::Junk(_));
        if view.conn.plan.steps.iter().any(junk) {
            return None;
        }
        let ended = view.ended()?;
        let began = |phase| view.phase(phase).is_some_and(|stamp| stamp.at <= ended.at);
        let closed = view.notified().is_some()
            || view.conn.log.fin_arrived.is_some()
            || view.conn.log.rst_arrived.is_some();
        let at_work = view.asks().any(|(n, ask)| {
            let stalled = view.conn.plan.stalled.contains(&n);
            let ends = !ask.answer.is_over() && !ask.endpoint.fails() && !stalled;
            // A pipelined request behind the end of the connection is nobody's.
            let behind = !view.http2()
                && view.conn.seen.asks[..n]
                    .iter()
                    .any(|ask| !ask.answer.is_over() || ask.endpoint.fails());
            view.served(n).is_some() && ends && !behind
        });
        let asked = view.asks().any(|(_, ask)| ask.head.is_some());
        let possible = match logged.cause.as_str() {
            "PeerClosed" => closed,
            "Abandoned" => {
                closed
                    && asked
                    && (at_work
                        || view
                            .asks()
                            .any(|(_, ask)| ask.answer.whole.is_none() && ask.head.is_some()))
            }
            "Idle" => !at_work || !view.conn.plan.reads_eagerly() || view.left(),
            "Draining" => began(Phase::Draining),
            "Deadline" => began(Phase::Deadline) || view.has_tunnel(),
            "Stalled" => {
                asked
                    && (!view.conn.plan.reads_eagerly()
                        || view.conn.log.blocked.is_some()
                        || !view.conn.plan.stalled.is_empty()
                        || view.notified().is_some())
            }
            "Panicked" => view.asks().any(|(_, ask)| ask.endpoint.fails()),
            "Retired" => true,
            _ => true,
        };
        (!possible).then(|| {
            format!(
                "connection #{} ({}) ended for {}",
                view.number, view.conn.plan.role, logged.cause
            )
        })
    })
}
