//! The walk through the phases, as one task that nobody has to poll.

use std::{future::Future, iter::repeat, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{ListenerReport, Report, SWEEP, Shutdown};
use crate::{
    departures::{Occasion, Plan},
    observe::{NAMED, Observed},
    phase::Phase,
    tally::{Counts, Tally},
};

/// How long gRPC answers may take to end with a status when the deadline has come.
const LAST_CALL: Duration = Duration::from_millis(100);

/// Between two lines in the log while draining, at first; and at most, where that takes hours.
const PROGRESS: Duration = Duration::from_secs(1);
const SLOW_PROGRESS: Duration = Duration::from_secs(60);

/// Walks from the lame duck to the report.
pub(super) async fn run(mut closes: ClosesAnyway, plan: Plan, called_off: CancellationToken) {
    let shutdown = &closes.shutdown;
    tracing::info!(
        phase = %Phase::LameDuck,
        lame_duck_s = plan.lame_duck.as_secs_f64(),
        timeout_s = plan.timeout.as_secs_f64(),
        "{}",
        match plan.occasion {
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
    let lame_duck = timeout(plan.lame_duck, called_off.cancelled());
    unless_hurried(shutdown, lame_duck).await;
    if !shutdown.commit(&called_off) {
        tracing::info!(phase = %Phase::Serving, "the shutdown was called off, serving again");
        closes.called_off = true;
        return;
    }
    sweep(shutdown).await;
    let in_time = drain(shutdown, plan.timeout).await;
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

/// Lets what is in flight finish; whether it has.
async fn drain(shutdown: &Shutdown, time: Duration) -> bool {
    let phases = &shutdown.context.phases;
    phases.connections.close();
    phases.others.close();
    shutdown.enter(Phase::Draining);
    let deadline = Instant::now() + time;
    shutdown.register.wake_all();
    let drained = async {
        tokio::select! {
            biased;
            finished = timeout_at(deadline, phases.over()) => finished.is_ok(),
            never = progress(shutdown, deadline) => never,
        }
    };
    unless_hurried(shutdown, drained).await.unwrap_or(false) || phases.is_over()
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
        let counted = || tallies(&shutdown).map(|(_, counts)| counts).collect();
        Self {
            started: Instant::now(),
            before: shutdown.register.watch_cuts(counted),
            called_off: false,
            _observers: shutdown.register.observers(),
            shutdown,
        }
    }

    fn report(&self, deadline_reached: bool) -> Report {
        let before = self.before.iter().copied().chain(repeat(Counts::default()));
        let counted = || tallies(&self.shutdown).collect::<Vec<_>>();
        let (cut, now) = self.shutdown.register.take_cuts(counted);
        let since = now.into_iter().zip(before);
        let listeners =
            since.map(|((of, now), before)| ListenerReport::new(&of, now.since(before)));
        let given_up = self.shutdown.context.phases.connections.len() as u64;
        let took = self.started.elapsed();
        Report {
            truncated_before: cut.before,
            cut: cut.now.into(),
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
        longest(shutdown),
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

/// What the shutdown has waited for longest, as the end of a line: requests, where they are known by name, or
/// else connections, or else how many are on their way to be one.
fn longest(shutdown: &Shutdown) -> String {
    let requests = shutdown.register.longest(NAMED).into_iter();
    let requests: Vec<_> = requests
        .map(|(request, peer)| format!("{request}{}", from(peer)))
        .collect();
    if !requests.is_empty() {
        return format!(", for longest of {}", requests.join("; "));
    }
    let oldest = shutdown.register.oldest(NAMED).into_iter().map(|of| {
        let protocol = of
            .protocol
            .map_or(String::new(), |protocol| format!(" {protocol}"));
        let (state, age) = (of.state, of.age.as_secs_f64());
        format!("{state}{protocol}{}, {age:.1} s", from(of.peer))
    });
    let oldest: Vec<_> = oldest.collect();
    match (oldest.is_empty(), shutdown.handshakes.running()) {
        (false, _) => format!(", open longest: {}", oldest.join("; ")),
        (true, 0) => String::new(),
        (true, handshakes) => format!(", {handshakes} in their handshake"),
    }
}

fn from(peer: Option<SocketAddr>) -> String {
    peer.map_or(String::new(), |peer| format!(" from {peer}"))
}

/// Says what the shutdown waits for: each second, and the longer it takes the less often, but each minute.
async fn progress(shutdown: &Shutdown, deadline: Instant) -> bool {
    let begun = Instant::now();
    loop {
        sleep((begun.elapsed() / 10).clamp(PROGRESS, SLOW_PROGRESS)).await;
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
            longest(shutdown),
        );
    }
}
