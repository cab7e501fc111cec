//! Shutdown: the phases, the deadline, and who is still there.
//!
//! ```text
//! Serving ──▶ LameDuck ──▶ (sweep, settle) ──▶ Draining ──▶ Deadline ──▶ Closed
//!              answers      the queue of the    idle ones    the rest     every
//!              say          listener emptied,   end, others  is ended     teardown
//!              `close`      then closed         finish       by force     is over
//! ```
//!
//! The phase is one atomic, because every poll of every connection looks at it, and a `watch` of
//! the same value for those who wait. `phases` walks through them; `register` knows every open
//! connection; `report` says how they ended; `signal` turns SIGTERM into the first step.

mod phases;
mod register;
mod report;
#[cfg(feature = "signal")]
pub mod signal;

use std::{
    future::Future,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::{runtime::Handle, sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use phases::run;
pub(crate) use register::{Register, Registration};
pub use report::Report;

/// How far a shutdown has come. Phases only go forward.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
#[repr(u8)]
pub enum Phase {
    /// Accepting and answering.
    #[default]
    Serving,
    /// Accepting and answering still, but every HTTP/1 answer says `Connection: close` and
    /// readiness is to be reported as false.
    LameDuck,
    /// Not accepting any more. Idle connections end, the others finish what is in flight.
    Draining,
    /// The time for finishing is over: what is left is ended by force.
    Deadline,
    /// Every connection has ended.
    Closed,
}

impl Phase {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Serving,
            1 => Self::LameDuck,
            2 => Self::Draining,
            3 => Self::Deadline,
            _ => Self::Closed,
        }
    }
}

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

/// The state of one server's shutdown.
#[derive(Debug)]
pub(crate) struct Shutdown {
    phase: AtomicU8,
    watch: watch::Sender<Phase>,
    draining_since: OnceLock<Instant>,
    /// Tells the accept loops to empty their queues and close.
    pub(crate) stop_accepting: CancellationToken,
    /// Skips to the deadline.
    pub(crate) hurry: CancellationToken,
    /// Held by every accept loop.
    pub(crate) listeners: TaskTracker,
    /// Held by connections accepted late that have yet to send a request.
    pub(crate) fresh: TaskTracker,
    /// Tells gRPC answers to end with a status, because the deadline is about to cut them.
    pub(crate) last_call: CancellationToken,
    /// Held by every gRPC answer.
    pub(crate) calls: TaskTracker,
    /// Held by every handshake and connection until its descriptor is closed.
    pub(crate) connections: TaskTracker,
    pub(crate) register: Register,
    report: OnceLock<Report>,
    runtime: OnceLock<Handle>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Serving as u8),
            watch: watch::Sender::new(Phase::Serving),
            draining_since: OnceLock::new(),
            stop_accepting: CancellationToken::new(),
            hurry: CancellationToken::new(),
            listeners: TaskTracker::new(),
            fresh: TaskTracker::new(),
            last_call: CancellationToken::new(),
            calls: TaskTracker::new(),
            connections: TaskTracker::new(),
            register: Register::default(),
            report: OnceLock::new(),
            runtime: OnceLock::new(),
        }
    }
}

impl Shutdown {
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        Phase::from_u8(self.phase.load(Ordering::Acquire))
    }

    /// Moves on to `phase`; `false` where it has been reached already.
    pub(crate) fn enter(&self, phase: Phase) -> bool {
        if phase == Phase::Draining {
            let _ = self.draining_since.set(Instant::now());
        }
        let entered = self.phase.fetch_max(phase as u8, Ordering::AcqRel) < phase as u8;
        if entered {
            self.watch.send_replace(phase);
        }
        entered
    }

    /// When draining began.
    pub(crate) fn draining_since(&self) -> Option<Instant> {
        self.draining_since.get().copied()
    }

    /// Resolves once `phase` is reached. Cancel safe.
    pub(crate) async fn reached(&self, phase: Phase) {
        let mut watch = self.watch.subscribe();
        // The sender lives in `self`: this can't fail.
        let _ = watch.wait_for(|now| *now >= phase).await;
    }

    /// Resolves once every teardown is over. Cancel safe.
    pub(crate) async fn closed(&self) -> Report {
        self.reached(Phase::Closed).await;
        self.report.get().cloned().unwrap_or_default()
    }

    /// Skips every phase, where there is nothing to run them on.
    pub(crate) fn close_at_once(&self) {
        self.close(Report {
            deadline_reached: true,
            ..Report::default()
        });
        self.register.wake_all();
    }

    fn close(&self, report: Report) {
        let _ = self.report.set(report);
        self.stop_accepting.cancel();
        self.enter(Phase::Closed);
    }

    /// Remembers the runtime that the connections live on, for what is dropped outside it.
    pub(crate) fn remember_runtime(&self) {
        if self.runtime.get().is_none() {
            if let Ok(handle) = Handle::try_current() {
                let _ = self.runtime.set(handle);
            }
        }
    }

    /// The runtime to spawn on: this thread's, else the one connections were accepted on.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        Handle::try_current()
            .ok()
            .or_else(|| self.runtime.get().cloned())
    }
}
