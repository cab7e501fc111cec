//! R2. What the log and the report say of connections is what their clients saw.

use std::{ops::RangeInclusive, time::Duration};

use graceful_tls::{Cause, Outcome, Phase};

use super::{
    bounds::backlog,
    drain, excuses,
    server::views,
    view::{SLACK, View},
};
use crate::{
    client::seen::Ask,
    endpoints::Endpoint,
    observed::Observed,
    run::Facts,
    trace::Stamp,
    world::{Served, Work},
};

/// The report counts every connection that ended after the shutdown began, and no other.
///
/// In the very moment of the beginning it may see it either way.
pub fn counts(facts: &Facts) -> Option<String> {
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

/// The report is the sum of what was observed since the shutdown began.
pub fn agrees(facts: &Facts) -> Option<String> {
    let report = facts.report.as_ref()?;
    let (begun, closed) = (
        facts.phases.get(&Phase::LameDuck)?,
        facts.phases.get(&Phase::Closed)?,
    );
    let said = [
        (Outcome::Clean, report.clean),
        (Outcome::PeerSilent, report.peer_silent),
        (Outcome::DrainCut, report.drain_cut),
        (Outcome::Truncated, report.truncated),
        (Outcome::Aborted, report.aborted),
    ];
    let moment = Duration::from_nanos(1);
    said.into_iter().find_map(|(outcome, said)| {
        let surely = begun.at + moment..=closed.at.saturating_sub(moment);
        let least = observed(facts, outcome, surely);
        let most = observed(facts, outcome, begun.at..=Duration::MAX);
        (!(least..=most).contains(&said)).then(|| format!("{said} {outcome:?}, {most} observed"))
    })
}

fn observed(facts: &Facts, outcome: Outcome, when: RangeInclusive<Duration>) -> u64 {
    let observed = facts
        .told
        .ended
        .iter()
        .filter(|observed| observed.outcome == outcome);
    observed
        .filter(|observed| when.contains(&observed.at.at))
        .count() as u64
}

fn ended_in_shutdown(facts: &Facts) -> impl Iterator<Item = View<'_>> {
    let begun = facts.phases.get(&Phase::LameDuck).map(|begun| begun.at);
    views(facts).filter(move |view| view.conn.log.dropped.is_some_and(|d| Some(d.at) >= begun))
}

/// A client that left, and one whose tail an RST destroyed after everything had come to its kernel,
/// can't be known of; nor an RST behind what was handed to a kernel that can't be asked.
fn is_unknowable(view: &View<'_>) -> bool {
    let all_came = !view.conn.nature.asked || view.held_at_the_close().is_none();
    view.left() || view.conn.log.reset_sent.is_some() && all_came
}

fn cut(view: &View<'_>) -> Option<usize> {
    if is_unknowable(view) {
        return None;
    }
    let cut = |(n, ask): &(usize, &Ask)| is_cut(view, *n, ask) && !is_unseen(view, *n, ask);
    view.asks().find(cut).map(|(n, _)| n)
}

/// All of it is in the client's kernel, as far as the server's knows.
fn is_unseen(view: &View<'_>, number: usize, ask: &Ask) -> bool {
    let held = view.conn.nature.asked && view.held_at_the_close().is_some();
    !held && excuses::is_unseen(view, number, ask, view.ended().unwrap_or_default())
}

/// What a client did not get whole is never observed as sent.
pub fn honest(view: &View<'_>) -> Option<String> {
    let observed = view.observed().filter(|observed| observed.claims_all())?;
    let cut = cut(view).or_else(|| cut_upload(view, observed))?;
    Some(format!(
        "request {cut} was cut short, observed {} for {}",
        observed.outcome, observed.cause
    ))
}

/// An upload that went on behind its answer when the deadline struck.
fn cut_upload(view: &View<'_>, observed: &Observed) -> Option<usize> {
    let ended = view.ended()?;
    let forced = [Cause::Deadline, Cause::MaxAgeGrace].contains(&observed.cause)
        && view.conn.seen.own_notify.is_none();
    let mut asks = view.asks();
    let cut = asks.find(|(n, ask)| {
        let early = matches!(ask.endpoint, Endpoint::Early(_)) && view.served(*n).is_some();
        let answered = ask.answer.whole.is_some_and(|whole| whole < ended);
        early && answered && view.complete(ask).is_none_or(|complete| complete > ended)
    });
    cut.filter(|_| forced && !is_unknowable(view))
        .map(|(n, _)| n)
}

/// The same of the report, and of connections whose clients the log does not know.
pub fn is_honest(facts: &Facts) -> Option<String> {
    let report = facts.report.as_ref()?;
    let cut: Vec<usize> = ended_in_shutdown(facts)
        .filter(|view| cut(view).is_some())
        .map(|view| view.number)
        .collect();
    let claimed = report.clean + report.peer_silent + report.drain_cut;
    let most = report.connections().saturating_sub(cut.len() as u64);
    let lies = claimed > most && !cut.is_empty();
    lies.then(|| format!("{claimed} said to be whole, and {cut:?} were cut short"))
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
pub fn knows_the_deadline(facts: &Facts) -> Option<String> {
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

/// Why a connection ended is what the log says.
pub fn cause(view: &View<'_>) -> Option<String> {
    let observed = view.observed()?;
    let ended = view.ended()?;
    let impossible = !view.conn.plan.babbles() && !is_possible(view, observed, ended);
    impossible.then(|| format!("observed as {}, ended {ended}", observed.cause))
}

fn is_possible(view: &View<'_>, observed: &Observed, ended: Stamp) -> bool {
    let (log, plan) = (&view.conn.log, &view.conn.plan);
    let gone = log.fin_arrived.is_some() || log.rst_arrived.is_some();
    let closed = view.notified().is_some() || gone;
    let unanswered = |ask: &Ask| ask.head.is_some() && ask.answer.whole.is_none();
    match observed.cause {
        Cause::PeerClosed => closed,
        Cause::Abandoned => closed && view.asks().any(|(_, ask)| unanswered(ask)),
        Cause::Idle => !is_at_work(view, ended) || !plan.reads_eagerly() || view.left(),
        Cause::Draining => {
            let leaves = view.leaves().is_some_and(|leaves| leaves.at <= ended.at);
            leaves || view.ended_before(ended)
        }
        Cause::Deadline => view.is_past(Phase::Deadline, ended) || view.has_tunnel(),
        Cause::MaxAge => view
            .aged()
            .is_some_and(|(earliest, _)| earliest <= ended.at),
        // Of a tunnel the server may have closed its own direction before.
        Cause::MaxAgeGrace => view.has_tunnel() || view.overstayed(ended),
        Cause::MaxRequests => view.spent().is_some_and(|spent| spent <= ended.at),
        // Behind an RST that nobody reads nothing is taken either.
        Cause::Stalled => {
            let reset = view.conn.log.rst_arrived.is_some();
            view.asks().any(|(_, ask)| ask.head.is_some()) && (reset || may_stall(view))
        }
        Cause::Panicked => view.asks().any(|(_, ask)| ask.endpoint.fails()),
        _ => true,
    }
}

/// Whose doing it was that something was cut short is what the log says: what a client brings about itself is no
/// fault of the server's, and what the server cuts is not put on a client that did nothing.
pub fn blame(view: &View<'_>) -> Option<String> {
    let observed = view.observed()?;
    let wrong = match observed.outcome {
        // What the kernel holds of a drain that gives its place nobody knows.
        Outcome::Aborted => {
            // Without a kernel that can be asked a long way looks like a slow client.
            let known = view.conn.nature.asked;
            let hurried = view
                .conn
                .log
                .dropped
                .is_some_and(|at| view.is_past(Phase::Deadline, at));
            known && is_faultless(view) && !drain::crowded(view) && !is_far(view) && !hurried
        }
        Outcome::Truncated => !may_be_the_servers(view, observed),
        _ => false,
    };
    wrong.then(|| format!("observed {} for {}", observed.outcome, observed.cause))
}

/// It asks, sends all of it, takes what comes as it comes, and stays until the server has ended.
fn is_faultless(view: &View<'_>) -> bool {
    let (plan, seen, log) = (&view.conn.plan, &view.conn.seen, &view.conn.log);
    let reads = plan.reads_eagerly() && plan.stalled.is_empty() && !plan.holds && !plan.mute;
    let speaks = !plan.babbles() && !plan.dawdles() && !plan.deaf_to_pings && plan.flood.is_none();
    let shakes = plan.handshake_cut.is_none() && !plan.plain && !plan.lies;
    let stays = seen.own_notify.is_none() && !view.left() && !view.peer_gone();
    let sends = view
        .asks()
        .all(|(_, ask)| ask.head.is_none() || ask.complete.is_some());
    reads && speaks && shakes && stays && sends && log.blocked.is_none()
}

/// The server has no patience for the way to the client: a PING may be late.
fn is_far(view: &View<'_>) -> bool {
    let pings = view.facts.kind.pings().filter(|_| view.http2());
    pings.is_some_and(|(_, patience)| patience <= view.lag() + backlog(view) + SLACK)
}

/// A handler has failed, its time was up, or a tunnel was let go. hyper ends an HTTP/1 connection in order also
/// where more has been asked behind an upload that a handler does not read.
fn may_be_the_servers(view: &View<'_>, observed: &Observed) -> bool {
    let own = [
        Cause::Dropped,
        Cause::Panicked,
        Cause::Deadline,
        Cause::MaxAgeGrace,
    ];
    let failed = view.asks().any(|(n, ask)| {
        let failed = view.served(n).is_some_and(|of| of.work == Work::Failed);
        failed || ask.endpoint.fails()
    });
    // hyper ends a connection that is slow to take or to hear its PINGs.
    let pinged = view.facts.kind.pings().is_some();
    let behind = observed.cause == Cause::Orderly && (!view.http2() || pinged);
    failed || behind || own.contains(&observed.cause) || view.has_tunnel() || view.cancelled()
}

/// A handler has something to answer that is not its client's to wait for.
fn is_at_work(view: &View<'_>, ended: Stamp) -> bool {
    let open = |ask: &Ask| !ask.answer.is_over() || ask.endpoint.fails();
    view.asks().any(|(n, ask)| {
        let stalled = view.conn.plan.stalled.contains(&n);
        let busy = !ask.answer.is_over() && !ask.endpoint.fails() && !stalled;
        // A pipelined request behind the end of the connection is nobody's.
        let behind = !view.http2() && view.conn.seen.asks[..n].iter().any(open);
        let gone = excuses::in_transit(view, n, ask, ended);
        // The server has let go of it before: its RST_STREAM is on its way.
        let let_go = |served: &Served| {
            served.work == Work::Dropped && served.dropped.is_some_and(|at| at.at < ended.at)
        };
        view.served(n).is_some_and(|served| !let_go(served)) && busy && !behind && !gone
    })
}

fn may_stall(view: &View<'_>) -> bool {
    let plan = &view.conn.plan;
    let slow = !plan.reads_eagerly() || !plan.stalled.is_empty();
    // What opens a window may be on its way, behind what no kernel tells of.
    let untold = !view.conn.nature.asked;
    slow || untold || view.conn.log.blocked.is_some() || view.notified().is_some()
}
