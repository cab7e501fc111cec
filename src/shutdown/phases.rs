//! The walk through the phases, as one task that nobody has to poll.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout, timeout_at};

use super::{Phase, Report, Shutdown, report::Counts};
use crate::server::Server;

/// How long connections accepted last may take to send their first request.
const SETTLE: Duration = Duration::from_millis(500);

/// How long accept loops may take to empty their queues: one that is not polled must not hold
/// the shutdown up.
const SWEEP: Duration = Duration::from_millis(500);

/// How long gRPC answers may take to end with a status when the deadline has come.
const LAST_CALL: Duration = Duration::from_millis(100);

/// Between two lines in the log while draining.
const PROGRESS: Duration = Duration::from_secs(1);

/// Runs the shutdown of `server` from the lame duck to its report.
pub(crate) async fn run(server: Arc<Server>) {
    let shutdown = &server.shutdown;
    let settings = &server.settings;
    let started = Instant::now();
    let before = shutdown.register.counts();
    let _closes = ClosesAnyway {
        server: &server,
        started,
        before,
    };
    tracing::info!(
        lame_duck_ms = settings.lame_duck.as_millis(),
        timeout_s = settings.shutdown_timeout.as_secs_f64(),
        "shutting down"
    );

    unless_hurried(shutdown, sleep(settings.lame_duck)).await;
    sweep(shutdown).await;

    shutdown.connections.close();
    shutdown.enter(Phase::Draining);
    let deadline = Instant::now() + settings.shutdown_timeout;
    shutdown.register.wake_all();
    let drained = async {
        tokio::select! {
            finished = timeout_at(deadline, shutdown.connections.wait()) => finished.is_ok(),
            never = progress(shutdown, deadline) => never,
        }
    };
    let in_time =
        unless_hurried(shutdown, drained).await.unwrap_or(false) || shutdown.connections.is_empty();

    let finished = in_time || last_call(shutdown).await;
    shutdown.enter(Phase::Deadline);
    if !finished {
        force(&server).await;
    }
    let ended = shutdown.register.counts().since(before);
    let report = Report::new(started.elapsed(), !in_time, ended);
    tracing::info!("{report}");
    shutdown.close(report);
}

/// Closes the shutdown if its task ends early: whoever waits for it must not wait for ever.
///
/// A panic can come from any log subscriber.
struct ClosesAnyway<'a> {
    server: &'a Server,
    started: Instant,
    before: Counts,
}

impl Drop for ClosesAnyway<'_> {
    fn drop(&mut self) {
        let shutdown = &self.server.shutdown;
        if shutdown.phase() < Phase::Closed {
            let ended = shutdown.register.counts().since(self.before);
            shutdown.close(Report::new(self.started.elapsed(), true, ended));
            shutdown.register.wake_all();
        }
    }
}

/// Lets the accept loops empty their queues, and what they found there speak.
async fn sweep(shutdown: &Shutdown) {
    shutdown.stop_accepting.cancel();
    shutdown.listeners.close();
    if timeout(SWEEP, shutdown.listeners.wait()).await.is_err() {
        tracing::warn!("a listener is not being polled, what waits in its queue will be reset");
    }
    shutdown.fresh.close();
    unless_hurried(shutdown, timeout(SETTLE, shutdown.fresh.wait())).await;
}

/// Lets gRPC answers end with a status; whether everything has ended by that.
async fn last_call(shutdown: &Shutdown) -> bool {
    shutdown.last_call.cancel();
    !shutdown.calls.is_empty()
        && timeout(LAST_CALL, shutdown.connections.wait())
            .await
            .is_ok()
}

/// Ends what is left. Teardowns are bounded, so this is too.
async fn force(server: &Server) {
    let shutdown = &server.shutdown;
    let left = shutdown.register.left();
    tracing::warn!(
        connections = left.connections,
        requests = left.requests,
        "the deadline has passed, ending what is left"
    );
    shutdown.register.wake_all();
    let bounds = server.settings.bounds();
    let longest = bounds.flush_total + bounds.total + PROGRESS;
    if timeout(longest, shutdown.connections.wait()).await.is_err() {
        tracing::error!(
            connections = shutdown.register.left().connections,
            "connections are held by tasks that do not poll them, giving up on those"
        );
    }
}

/// Waits for `step`, or gives `None` when a second trigger hurries the shutdown.
async fn unless_hurried<F: Future>(shutdown: &Shutdown, step: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        () = shutdown.hurry.cancelled() => None,
        output = step => Some(output),
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
            "draining: {} connections, {} requests in flight, {:.0} s left",
            left.connections,
            left.requests,
            seconds.as_secs_f64(),
        );
    }
}
