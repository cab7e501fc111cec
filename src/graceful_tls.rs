//! [`GracefulTls`]: one server, its settings and its shutdown, as its user holds it.

use std::{fmt, future::Future, sync::Arc};

use crate::{
    acceptor::Acceptor,
    phase::Phase,
    server::Server,
    shutdown::{Report, Trigger},
};

/// A TLS server whose every connection ends properly.
///
/// It holds the settings and the shutdown of one server. Clones are cheap and mean the same
/// server. See the [crate's page](crate) for how it fits together.
#[derive(Clone)]
pub struct GracefulTls {
    pub(crate) server: Arc<Server>,
}

impl GracefulTls {
    pub(crate) fn of(server: Server) -> Self {
        Self {
            server: Arc::new(server),
        }
    }

    /// Does the TLS handshakes of a server that has an accept loop of its own.
    pub fn acceptor(&self) -> Acceptor {
        Acceptor::new(self.server.clone())
    }

    /// Begins the shutdown when `trigger` fires, and skips to the deadline when the same trigger
    /// fires again.
    ///
    /// Any future is a trigger, and fires once. With the `signal` feature,
    /// `signal::terminate()` fires at each SIGTERM and Ctrl-C.
    ///
    /// Outside a tokio runtime nothing can wait for the trigger, which is logged as an error.
    pub fn shutdown_on(&self, trigger: impl Trigger) {
        self.server.context.remember_runtime();
        let tls = self.clone();
        let mut fired = false;
        let wait = trigger.run(move || match std::mem::replace(&mut fired, true) {
            false => tls.shutdown(),
            true => tls.shutdown_now(),
        });
        match self.server.context.runtime() {
            Some(runtime) => drop(runtime.spawn(wait)),
            None => tracing::error!("shutdown_on was called outside a tokio runtime: not waiting"),
        }
    }

    /// Begins the shutdown. Does nothing if it has begun.
    ///
    /// What follows runs by itself, on the runtime that the connections live on, whichever thread
    /// or runtime this is called from; [`closed`](Self::closed) resolves when it is over. Without
    /// any runtime to run it on, or if that is dropped, every connection ends at once.
    pub fn shutdown(&self) {
        self.server.shutdown.begin();
    }

    /// Begins the shutdown if it has not begun, and skips to its deadline.
    pub fn shutdown_now(&self) {
        self.server.context.phases.hurry.cancel();
        self.shutdown();
    }

    /// How far the shutdown has come.
    pub fn phase(&self) -> Phase {
        self.server.context.phases.now()
    }

    /// Whether a load balancer should send requests here: `false` from the lame duck on.
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Serving
    }

    /// Resolves when the shutdown has come as far as `phase`. Cancel safe.
    ///
    /// [`Phase::LameDuck`] is when a readiness flag that is pushed, such as gRPC's health service,
    /// should turn to not serving.
    pub fn reached(&self, phase: Phase) -> impl Future<Output = ()> + Send + use<> {
        let context = self.server.context.clone();
        async move { context.phases.reached(phase).await }
    }

    /// Resolves when a server that runs on these connections should stop. Cancel safe.
    ///
    /// Give it to `with_graceful_shutdown` and its like. That is when [`Phase::Draining`] has
    /// begun, and the server has got every connection that was accepted before: handshakes that
    /// were under way then are finished first, for at most the handshake time-out. Idle
    /// connections have been ended by then. [`reached`](Self::reached) tells of the phase at once.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let server = self.server.clone();
        async move { server.shutdown.handed_over().await }
    }

    /// Resolves with the report when a shutdown is over and every descriptor closed. Cancel safe.
    ///
    /// Connections whose tasks nobody polls are given up on a little after the last bound has
    /// passed, which is logged as an error.
    ///
    /// It does not begin the shutdown.
    pub fn closed(&self) -> impl Future<Output = Report> + Send + use<> {
        let server = self.server.clone();
        async move { server.shutdown.closed().await }
    }
}

impl fmt::Debug for GracefulTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GracefulTls")
            .field("settings", &self.server.context.settings)
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}
