//! Shutdown: who begins it, how it walks through the phases, and what it says when it is over.
//!
//! [`phase`](crate::phase) has the picture. `walk` goes through it, as one task that nobody has to
//! poll; `report` says how the connections ended; `signal` turns SIGTERM into the first step.

mod report;
#[cfg(feature = "signal")]
pub mod signal;
mod walk;

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    departures::{Departures, Plan},
    handshakes::Handshakes,
    phase::Phase,
    register::Register,
    settings::Settings,
    sparing::Sparing,
};

pub use report::{ListenerReport, Report};
use walk::ClosesAnyway;

/// How long accept loops may take to empty their queues. One that is not polled must not hold the
/// shutdown up, and where clients come faster than they are accepted, the queue never is empty.
pub(crate) const SWEEP: Duration = Duration::from_millis(500);

/// What starts a shutdown, and what hurries it.
///
/// Every future is one: it starts the shutdown when it resolves.
#[cfg_attr(
    feature = "signal",
    doc = "[`signal::Terminate`] is the other: a second signal skips to the deadline."
)]
pub trait Trigger: Send + 'static {
    /// Calls `fire` each time the trigger fires, and returns when it never will again.
    fn run(self, fire: impl FnMut() + Send) -> impl Future<Output = ()> + Send;
}

impl<F: Future + Send + 'static> Trigger for F {
    async fn run(self, mut fire: impl FnMut() + Send) {
        self.await;
        fire();
    }
}

/// The shutdown of one server, or of several that share it. Clones are of the same.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    context: Arc<Context>,
    register: Arc<Register>,
    handshakes: Arc<Handshakes>,
    report: Arc<OnceLock<Report>>,
    /// Calls it off, while it is in its lame duck.
    undo: Arc<Mutex<Option<CancellationToken>>>,
    /// How long a connection may take to end once the deadline has passed.
    longest_end: Arc<Mutex<Duration>>,
}

impl Shutdown {
    pub(crate) fn new(
        context: Arc<Context>,
        register: Arc<Register>,
        handshakes: Arc<Handshakes>,
    ) -> Self {
        let shutdown = Self {
            register,
            handshakes,
            report: Arc::default(),
            undo: Arc::default(),
            longest_end: Arc::default(),
            context,
        };
        shutdown.covers(&shutdown.context.settings);
        shutdown
    }

    /// Connections with these settings are waited for too.
    pub(crate) fn covers(&self, settings: &Settings) {
        let end = settings.longest_flush() + settings.drain.total_timeout;
        let longest = self.longest_end.lock();
        let mut longest = longest.unwrap_or_else(PoisonError::into_inner);
        *longest = end.max(*longest);
    }

    fn longest_end(&self) -> Duration {
        let longest = self.longest_end.lock();
        *longest.unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to walk through the phases, unless somebody has.
    pub(crate) fn begin(&self, plan: Plan) {
        let called_off = CancellationToken::new();
        let (turned, closes) = {
            let mut undo = self.undo();
            if self.context.phases.now() > Phase::Serving {
                return;
            }
            // Before the phase: whoever sees that asks when it has to go.
            let departures = Departures::new(Instant::now(), &self.context.settings, &plan);
            self.context.set_departures(Some(departures));
            *undo = Some(called_off.clone());
            self.register.note_phase(Phase::LameDuck, None);
            let turned = self.context.phases.turn(Phase::LameDuck);
            // Made here: a runtime that is shut down drops the task without polling it. And what is cut is
            // remembered from here on, before anybody can call it off.
            (turned, ClosesAnyway::new(self.clone()))
        };
        drop(turned);
        self.register.tell_phases();
        match self.context.lasting_runtime() {
            Some(runtime) => drop(runtime.spawn(walk::run(closes, plan, called_off))),
            None => tracing::error!("no tokio runtime to shut down on: ending everything at once"),
        }
    }

    /// Calls the shutdown off, if it is in its lame duck; whether it is off.
    pub(crate) fn call_off(&self) -> bool {
        let mut undo = self.undo();
        let phases = &self.context.phases;
        let hurried = phases.hurry.is_cancelled();
        let Some(called_off) = undo.take_if(|_| !hurried) else {
            return phases.now() == Phase::Serving;
        };
        self.context.set_departures(None);
        // Before the next one begins, which remembers its own.
        let (cuts, ()) = self.register.take_cuts(|| ());
        phases.resume();
        called_off.cancel();
        self.register.note_phase(Phase::Serving, None);
        drop(undo);
        drop(cuts);
        self.register.tell_phases();
        true
    }

    /// The lame duck is over: from here on there is no way back. `false` if it was called off.
    fn commit(&self, called_off: &CancellationToken) -> bool {
        let mut undo = self.undo();
        // Another shutdown may have begun since.
        let goes_on = !called_off.is_cancelled();
        if goes_on {
            *undo = None;
        }
        goes_on
    }

    fn undo(&self) -> MutexGuard<'_, Option<CancellationToken>> {
        self.undo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves once a server that takes its connections from this crate should stop: every one has
    /// ended, or the deadline has come. Cancel safe.
    ///
    /// A server that is told earlier ends connections in words of its own, all at once: it drops
    /// handshakes that are under way and requests that wait behind another, and its GOAWAY asks nobody
    /// when.
    pub(crate) async fn drained(&self) {
        let phases = &self.context.phases;
        phases.reached(Phase::Draining).await;
        tokio::select! {
            biased;
            () = phases.reached(Phase::Deadline) => {}
            () = phases.connections.wait() => {}
        }
    }

    /// Resolves once every teardown is over. Cancel safe.
    pub(crate) async fn closed(&self) -> Report {
        self.context.phases.reached(Phase::Closed).await;
        self.report.get().cloned().unwrap_or_default()
    }

    /// Says how many of those that were cut short have had no line of their own: after them comes none.
    fn say_left_out(&self) {
        let unlogged: u64 = self.context.losses.iter().map(Sparing::left_out).sum();
        if unlogged > 0 {
            tracing::warn!(unlogged, "more answers were lost than are told of");
        }
    }

    fn enter(&self, phase: Phase) {
        self.context.phases.enter(phase);
        if phase >= Phase::Deadline {
            self.handshakes.wake_all();
        }
        self.register.note_phase(phase, None);
        self.register.tell_phases();
    }

    fn close(&self, report: Report) {
        let _ = self.report.set(report);
        *self.undo() = None;
        self.context.phases.stop_accepting.cancel();
        let come_to = self.context.phases.now();
        for skipped in [Phase::Draining, Phase::Deadline] {
            if come_to < skipped {
                self.register.note_phase(skipped, None);
            }
        }
        // Whoever waits for the end, and then looks at what an observer has counted, finds it there.
        let turned = self.context.phases.turn(Phase::Closed);
        self.handshakes.wake_all();
        self.register.note_phase(Phase::Closed, Some(turned));
        self.register.tell_phases();
    }
}
