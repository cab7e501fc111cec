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
    sync::{Arc, OnceLock},
};

use tokio::time::timeout;

use crate::{context::Context, phase::Phase, register::Register};

pub use report::Report;
use walk::ClosesAnyway;

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

/// The shutdown of one server. Clones are of the same.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    context: Arc<Context>,
    register: Arc<Register>,
    report: Arc<OnceLock<Report>>,
}

impl Shutdown {
    pub(crate) fn new(context: Arc<Context>, register: Arc<Register>) -> Self {
        Self {
            context,
            register,
            report: Arc::default(),
        }
    }

    /// Begins to walk through the phases, unless somebody has.
    pub(crate) fn begin(&self) {
        if !self.context.phases.enter(Phase::LameDuck) {
            return;
        }
        // Made here: a runtime that is shut down drops the task without polling it.
        let closes = ClosesAnyway::new(self.clone());
        match self.context.lasting_runtime() {
            Some(runtime) => drop(runtime.spawn(walk::run(closes))),
            None => tracing::error!("no tokio runtime to shut down on: ending everything at once"),
        }
    }

    /// Resolves once a server that takes its connections from this crate should stop: draining has
    /// begun, no connection is on its way any more nor awaited to send its first request, and every
    /// one has seen it. Cancel safe.
    ///
    /// A server that is told earlier closes idle HTTP/2 connections in words of its own, and drops
    /// the handshakes that are under way.
    pub(crate) async fn handed_over(&self) {
        let phases = &self.context.phases;
        // A handshake takes as long as it may, and its first request as long again. Those that
        // nobody polls never look at the phase.
        let longest = self.context.settings.handshake_timeout * 2;
        phases.reached(Phase::Draining).await;
        tokio::select! {
            biased;
            () = phases.reached(Phase::Deadline) => {}
            () = async {
                phases.arrivals.wait().await;
                let _ = timeout(longest, phases.unaware.wait()).await;
            } => {}
        }
    }

    /// Resolves once every teardown is over. Cancel safe.
    pub(crate) async fn closed(&self) -> Report {
        self.context.phases.reached(Phase::Closed).await;
        self.report.get().cloned().unwrap_or_default()
    }

    fn close(&self, report: Report) {
        let _ = self.report.set(report);
        self.context.phases.stop_accepting.cancel();
        self.context.phases.enter(Phase::Closed);
    }
}
