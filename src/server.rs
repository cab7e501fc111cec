//! [`GracefulTls`]: one server, its settings and its shutdown.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Once, atomic::AtomicBool},
};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::{
    acceptor::Acceptor,
    builder::{BuildError, Builder, Settings},
    shutdown::{self, Phase, Report, Shutdown, Trigger},
    teardown::Seats,
};

/// A TLS server whose every connection ends properly.
///
/// It holds the settings and the shutdown of one server. Clones are cheap and mean the same
/// server. See the [crate's page](crate) for how it fits together.
#[derive(Clone)]
pub struct GracefulTls {
    pub(crate) server: Arc<Server>,
}

/// What all connections of one server share.
pub(crate) struct Server {
    pub(crate) tls: TlsAcceptor,
    pub(crate) settings: Settings,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<TokioExecutor>,
    pub(crate) shutdown: Shutdown,
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) seats: Seats,
    /// Whether any exchange has passed through the layer: then exchanges tell what is idle, and
    /// traffic does not count.
    pub(crate) layered: AtomicBool,
    /// Whether it has been said that there is no layer.
    pub(crate) warned: Once,
}

impl GracefulTls {
    /// A server with the default settings.
    ///
    /// # Errors
    ///
    /// [`BuildError::NoAlpn`] or [`BuildError::UnknownAlpn`] if `config` offers none, or one that
    /// is not served.
    pub fn new(config: impl Into<Arc<ServerConfig>>) -> Result<Self, BuildError> {
        Self::builder(config).build()
    }

    /// Begins to set up a server.
    pub fn builder(config: impl Into<Arc<ServerConfig>>) -> Builder {
        Builder::new(config.into())
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
        let shutdown = &self.server.shutdown;
        shutdown.remember_runtime();
        let tls = self.clone();
        let mut fired = false;
        let wait = trigger.run(move || match std::mem::replace(&mut fired, true) {
            false => tls.shutdown(),
            true => tls.shutdown_now(),
        });
        match shutdown.runtime() {
            Some(runtime) => drop(runtime.spawn(wait)),
            None => tracing::error!("shutdown_on was called outside a tokio runtime: not waiting"),
        }
    }

    /// Begins the shutdown. Does nothing if it has begun.
    ///
    /// What follows runs by itself; [`closed`](Self::closed) resolves when it is over. Without a
    /// tokio runtime to run it on, every connection ends at once.
    pub fn shutdown(&self) {
        if !self.server.shutdown.enter(Phase::LameDuck) {
            return;
        }
        match self.server.shutdown.runtime() {
            Some(runtime) => drop(runtime.spawn(shutdown::run(self.server.clone()))),
            None => {
                tracing::error!("no tokio runtime to shut down on: ending everything at once");
                self.server.shutdown.close_at_once();
            }
        }
    }

    /// Begins the shutdown if it has not begun, and skips to its deadline.
    pub fn shutdown_now(&self) {
        self.server.shutdown.hurry.cancel();
        self.shutdown();
    }

    /// How far the shutdown has come.
    pub fn phase(&self) -> Phase {
        self.server.shutdown.phase()
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
        let server = self.server.clone();
        async move { server.shutdown.reached(phase).await }
    }

    /// Resolves when draining begins: no connection is accepted any more. Cancel safe.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(Phase::Draining)
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
            .field("settings", &self.server.settings)
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}
