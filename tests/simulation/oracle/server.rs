//! R2, R7 for the server as a whole: the report says what the clients saw, and nothing is left.

use graceful_tls::Phase;

use super::view::View;
use crate::{client::seen::Ask, run::Facts, world::Work};

/// The report counts every connection that ended after the shutdown began, and no other.
pub fn report_counts(facts: &Facts) -> Option<String> {
    let report = facts.report.as_ref()?;
    let ended = ended_after_shutdown(facts).count() as u64;
    let counted = report.connections();
    (counted != ended).then(|| format!("{counted} counted, {ended} ended"))
}

fn ended_after_shutdown(facts: &Facts) -> impl Iterator<Item = View<'_>> {
    let begun = facts
        .phases
        .get(&Phase::LameDuck)
        .copied()
        .unwrap_or_default();
    let views = (0..facts.conns.len()).map(|number| View::new(facts, number));
    views.filter(move |view| {
        let log = &view.conn.log;
        log.accepted.is_some() && log.dropped.is_some_and(|dropped| dropped > begun)
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
    let ended = ended_after_shutdown(facts).count() as u64;
    let cut: Vec<usize> = ended_after_shutdown(facts)
        .filter(cut)
        .map(|view| view.number)
        .collect();
    let most = ended - cut.len() as u64;
    let lies = report.clean > most;
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
    let left = ended_after_shutdown(facts)
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
    let open = facts.conns.iter().position(|conn| {
        conn.log.accepted.is_some() && conn.log.dropped.is_none_or(|dropped| dropped > *closed)
    });
    if let Some(conn) = open {
        return Some(format!("connection #{conn} is open after closed()"));
    }
    (facts.tasks_left > 0).then(|| format!("{} tasks", facts.tasks_left))
}

pub fn no_panic(facts: &Facts) -> Option<String> {
    facts.panics.first().cloned()
}
