//! The walk through the phases, as one task that nobody has to poll.

use std::{fmt, future::Future, iter::repeat, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{ListenerReport, Report, SWEEP, Shutdown};
use crate::{
    connection::TrackedRequest,
    departures::Occasion,
    observe::{NAMED, Observed},
    phase::Phase,
    tally::{Counts, Tally},
};

/// How long gRPC answers may take to end with a status when the deadline has come.
const LAST_CALL: Duration = Duration::from_millis(100);

/// Between two lines in the log while draining.
const PROGRESS: Duration = Duration::from_secs(1);

/// Walks from the lame duck to the report.
pub(super) async fn run(
    mut closes: ClosesAnyway,
    occasion: Occasion,
    called_off: CancellationToken,
) {
    let shutdown = &closes.shutdown;
    let phases = &shutdown.context.phases;
    let settings = &shutdown.context.settings;
    tracing::info!(
        phase = %Phase::LameDuck,
        lame_duck_s = settings.lame_duck.as_secs_f64(),
        timeout_s = settings.shutdown_timeout.as_secs_f64(),
        "{}",
        match occasion {
            Occasion::Stop => "shutting down",
            Occasion::Handover => "handing over",
        }
    );

    // Those that are to go in the lame duck already.
    if shutdown
        .context
        .departures()
        .is_some_and(|d| d.in_lame_duck)
    {
        shutdown.register.wake_all();
    }
    let lame_duck = timeout(settings.lame_duck, called_off.cancelled());
    unless_hurried(shutdown, lame_duck).await;
    if !shutdown.commit(&called_off) {
        tracing::info!(phase = %Phase::Serving, "the shutdown was called off, serving again");
        closes.called_off = true;
        return;
    }
    sweep(shutdown).await;

    phases.connections.close();
    phases.others.close();
    shutdown.enter(Phase::Draining);
    let deadline = Instant::now() + settings.shutdown_timeout;
    shutdown.register.wake_all();
    let drained = async {
        tokio::select! {
            biased;
            finished = timeout_at(deadline, phases.over()) => finished.is_ok(),
            never = progress(shutdown, deadline) => never,
        }
    };
    let in_time = unless_hurried(shutdown, drained).await.unwrap_or(false) || phases.is_over();

    if !in_time {
        say_what_is_left(shutdown);
    }
    let finished = in_time || last_call(shutdown).await;
    shutdown.enter(Phase::Deadline);
    if !finished {
        force(shutdown).await;
    }
    let report = closes.report(!in_time);
    shutdown.say_left_out();
    tracing::info!(phase = %Phase::Closed, "{report}");
    shutdown.close(report);
}

/// Closes the shutdown if its task ends early: whoever waits for it must not wait for ever.
///
/// A panic can come from any log subscriber, and the runtime can be dropped.
pub(super) struct ClosesAnyway {
    shutdown: Shutdown,
    started: Instant,
    /// What the tallies said then, in their order.
    before: Vec<Counts>,
    /// There is nothing to close.
    called_off: bool,
    /// They hear the end of what has begun, whoever else keeps them.
    _observers: Vec<Observed>,
}

impl ClosesAnyway {
    pub(super) fn new(shutdown: Shutdown) -> Self {
        // Of a shutdown that was called off.
        drop(shutdown.register.take_cut());
        Self {
            started: Instant::now(),
            before: tallies(&shutdown).map(|(_, counts)| counts).collect(),
            called_off: false,
            _observers: shutdown.register.observers(),
            shutdown,
        }
    }

    fn report(&self, deadline_reached: bool) -> Report {
        let before = self.before.iter().copied().chain(repeat(Counts::default()));
        let since = tallies(&self.shutdown).zip(before);
        let listeners =
            since.map(|((of, now), before)| ListenerReport::new(&of, now.since(before)));
        let given_up = self.shutdown.context.phases.connections.len() as u64;
        let took = self.started.elapsed();
        Report {
            cut: self.shutdown.register.take_cut().into(),
            ..Report::new(took, deadline_reached, given_up, listeners)
        }
    }
}

fn tallies(shutdown: &Shutdown) -> impl Iterator<Item = (Arc<Tally>, Counts)> {
    let all = shutdown.register.tallies.all().into_iter();
    all.map(|of| (of.clone(), of.counts()))
}

impl Drop for ClosesAnyway {
    fn drop(&mut self) {
        if !self.called_off && self.shutdown.context.phases.now() < Phase::Closed {
            self.shutdown.close(self.report(true));
            self.shutdown.register.wake_all();
        }
    }
}

/// Lets the accept loops empty their queues.
async fn sweep(shutdown: &Shutdown) {
    let phases = &shutdown.context.phases;
    phases.stop_accepting.cancel();
    phases.listeners.close();
    if timeout(SWEEP, phases.listeners.wait()).await.is_err() {
        tracing::warn!(
            "a listener is still open: nobody polls it, or too many clients come at once; what waits \
             in its queue when it closes is reset"
        );
    }
}

/// Lets gRPC answers end with a status; whether everything has ended by that.
async fn last_call(shutdown: &Shutdown) -> bool {
    let phases = &shutdown.context.phases;
    phases.last_call.cancel();
    !phases.calls.is_empty() && timeout(LAST_CALL, phases.over()).await.is_ok()
}

fn say_what_is_left(shutdown: &Shutdown) {
    let left = shutdown.register.left();
    tracing::warn!(
        phase = %Phase::Deadline,
        connections = left.connections,
        requests_in_flight = left.requests,
        others = shutdown.context.phases.others.len(),
        "the deadline has passed, ending what is left{}",
        Longest(shutdown.register.longest(NAMED)),
    );
}

/// Ends what is left. Teardowns are bounded, so this is too.
async fn force(shutdown: &Shutdown) {
    let phases = &shutdown.context.phases;
    shutdown.register.wake_all();
    let longest = shutdown.longest_end() + PROGRESS;
    if timeout(longest, phases.connections.wait()).await.is_err() {
        tracing::error!(
            phase = %Phase::Deadline,
            connections = shutdown.register.left().connections,
            "connections are held by tasks that do not poll them, giving up on those"
        );
    }
}

/// Waits for `step`, or gives `None` when a second trigger hurries the shutdown.
async fn unless_hurried<F: Future>(shutdown: &Shutdown, step: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        () = shutdown.context.phases.hurry.cancelled() => None,
        output = step => Some(output),
    }
}

/// The requests that the shutdown has waited for longest, if any is known by name, as the end of a line.
struct Longest(Vec<(TrackedRequest, Option<SocketAddr>)>);

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (request, peer)) in self.0.iter().enumerate() {
            let before = if at > 0 { "; " } else { ", for longest of " };
            write!(f, "{before}{request}")?;
            if let Some(peer) = peer {
                write!(f, " from {peer}")?;
            }
        }
        Ok(())
    }
}

/// Says each second what the shutdown waits for.
async fn progress(shutdown: &Shutdown, deadline: Instant) -> bool {
    let mut ticks = interval_at(Instant::now() + PROGRESS, PROGRESS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let left = shutdown.register.left();
        let seconds = deadline.saturating_duration_since(Instant::now());
        tracing::info!(
            phase = %Phase::Draining,
            connections = left.connections,
            requests_in_flight = left.requests,
            "draining: {} connections, {} requests in flight, {:.0} s left{}",
            left.connections,
            left.requests,
            seconds.as_secs_f64(),
            Longest(shutdown.register.longest(NAMED)),
        );
    }
}
