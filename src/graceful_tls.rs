//! [`GracefulTls`]: one server, its settings and its shutdown, as its user holds it.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use crate::{
    acceptor::Acceptor,
    connection::{FakeConnection, TlsConnection},
    departures::{Occasion, Plan},
    phase::Phase,
    server::Server,
    settings::LONGEST,
    shutdown::{Report, Trigger},
    stats::Stats,
};

/// A TLS server whose every connection ends properly.
///
/// It holds the settings and the shutdown of one server. Clones are cheap and mean the same
/// server. See the [crate's page](crate) for how it fits together.
///
/// One serves any number of listeners, each with a place of its own in the [`Report`]. Where they need
/// different certificates or settings there is one for each, and they
/// [share a shutdown](crate::Builder::shutdown_with); whatever else the process serves can be waited for
/// [alongside](Self::alongside).
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
    /// Outside a tokio runtime the trigger is waited for on that of the connections; where there is none
    /// yet nothing can wait for it, which is logged as an error.
    pub fn shutdown_on(&self, trigger: impl Trigger) {
        self.server.context.remember_runtime();
        let Some(runtime) = self.server.context.runtime() else {
            tracing::error!("shutdown_on was called outside a tokio runtime: not waiting");
            return;
        };
        let tls = self.clone();
        let mut fired_for = None;
        // A trigger may need it to be set up.
        let _inside = runtime.enter();
        let wait = trigger.run(move || {
            // One that was called off is another.
            let begun = || tls.server.context.departures().map(|of| of.begun);
            if fired_for.is_some() && fired_for == begun() {
                tls.shutdown_now();
            } else {
                tls.shutdown();
                fired_for = begun();
            }
        });
        drop(runtime.spawn(wait));
    }

    /// Begins the shutdown. Does nothing if it has begun.
    ///
    /// What follows runs by itself, on the runtime that the connections live on, whichever thread
    /// or runtime this is called from; [`closed`](Self::closed) resolves when it is over. Without
    /// any runtime to run it on, or if that is dropped, every connection ends at once.
    pub fn shutdown(&self) {
        self.begin(Occasion::Stop);
    }

    /// Begins the shutdown of a server whose listeners another process has taken over, as in a
    /// restart. Does nothing if a shutdown has begun.
    ///
    /// It takes more time than [`shutdown`](Self::shutdown), and loses nothing by ending idle
    /// connections: new clients reach the other process meanwhile, so all that it costs is this
    /// process's memory.
    ///
    /// * Idle connections are *held* until one more answer has told the client that it was the last,
    ///   by `Connection: close` (RFC 9112 9.6) or by the GOAWAY behind it (RFC 9113 6.8), until their
    ///   keep-alive time-out, or until just before the deadline:
    ///   [`Builder::idle_grace`](crate::Builder::idle_grace) without an end, and for HTTP/2 too.
    /// * HTTP/2 connections at work get their GOAWAY when their last stream has ended
    ///   ([`Builder::patient_goaway`](crate::Builder::patient_goaway)), in the lame duck already
    ///   ([`Builder::lame_duck_goaway`](crate::Builder::lame_duck_goaway)).
    ///
    /// So its end comes after the longest idle time of a client, and before the deadline by as much as
    /// a silent client may take to close ([`Drain::idle_timeout`](crate::Drain::idle_timeout)). Give it
    /// the time: a [`Builder::shutdown_timeout`](crate::Builder::shutdown_timeout) longer than
    /// [`Builder::keep_alive_timeout`](crate::Builder::keep_alive_timeout).
    pub fn handover(&self) {
        self.begin(Occasion::Handover);
    }

    /// The same, and the server can be called back ([`resume`](Self::resume)) for as long as `lame_duck`, and
    /// what is in flight may go on for `timeout` after that: hours, where there are websockets. In place of
    /// [`Builder::lame_duck`](crate::Builder::lame_duck) and
    /// [`Builder::shutdown_timeout`](crate::Builder::shutdown_timeout); who is idle goes by the latter. Each is a
    /// day at most.
    pub fn handover_within(&self, lame_duck: Duration, timeout: Duration) {
        self.server.shutdown.begin(Plan {
            occasion: Occasion::Handover,
            lame_duck: lame_duck.min(LONGEST),
            timeout: timeout.min(LONGEST),
        });
    }

    #[cfg(all(unix, feature = "restart"))]
    pub(crate) fn shutdown_timeout(&self) -> Duration {
        self.server.context.settings.shutdown_timeout
    }

    fn begin(&self, occasion: Occasion) {
        let plan = Plan::new(occasion, &self.server.context.settings);
        self.server.shutdown.begin(plan);
    }

    /// Calls a shutdown off while it is in its lame duck; whether the server serves (on).
    ///
    /// For a deploy that failed: the new process did not come up, so the old one stays. After the
    /// lame duck there is no way back, and this does nothing and returns `false`; set
    /// [`Builder::lame_duck`](crate::Builder::lame_duck) to the time that you need to know.
    ///
    /// Readiness is reported as true again. Clients that have been told to go have been told: they
    /// come back on new connections. A later shutdown begins from the beginning.
    pub fn resume(&self) -> bool {
        self.server.shutdown.call_off()
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

    /// Begins to set up a [`TlsConnection`](crate::TlsConnection) without a connection, for a test of a
    /// handler: it drains when this server does.
    pub fn fake_connection(&self) -> FakeConnection {
        FakeConnection::new(self.server.context.clone())
    }

    /// How many connections have been refused before their handshake, since this server was made: by
    /// [`Builder::connection_filter`](crate::Builder::connection_filter), or for
    /// [`Builder::max_connections_per_client`](crate::Builder::max_connections_per_client).
    pub fn refused(&self) -> u64 {
        self.server.gate.refused()
    }

    /// What the connections of this server, and of those that share its shutdown, are doing now, and how
    /// those have ended that are not open any more.
    ///
    /// It looks at every open connection once, and stops none; what it says of two of them may be of two
    /// moments. Measured with 10,000 idle ones, on one core: 0.1 ms, and 0.6 ms where the caches hold other
    /// things.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.server.context, &self.server.register)
    }

    /// Every open connection whose handshake is over, in no order: what it is doing, and what it waits
    /// for, are [`TlsConnection::stats`]. Sockets of failed handshakes that drain are among them.
    ///
    /// Linear, and stops none. Whoever keeps one keeps its record, and not the connection.
    pub fn connections(&self) -> Vec<TlsConnection> {
        self.server.register.open()
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
    /// Give it to `with_graceful_shutdown` and its like. That is when every connection has ended, or
    /// at the deadline. Until then the layer and the streams tell the clients; a server that is told
    /// ends its connections in words of its own, all at once.
    ///
    /// An accept loop of your own stops when [`Phase::Draining`] is [`reached`](Self::reached), which
    /// is earlier.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + use<> {
        let server = self.server.clone();
        async move { server.shutdown.drained().await }
    }

    /// Resolves with the report when a shutdown is over and every descriptor closed. Cancel safe.
    ///
    /// Connections whose tasks nobody polls are given up on a little after the last bound has
    /// passed, which is logged as an error, and counted ([`Report::given_up`]).
    ///
    /// It does not begin the shutdown.
    pub fn closed(&self) -> impl Future<Output = Report> + Send + use<> {
        let server = self.server.clone();
        async move { server.shutdown.closed().await }
    }
}

impl GracefulTls {
    /// Has the shutdown wait for `server`, which is none of this crate's: the one that redirects plain HTTP,
    /// or a task that writes what was asked for to disk. Gives what it gives, or `None` if the deadline
    /// came first: then it is dropped.
    ///
    /// It is waited for from this call on, so poll what this gives: `join` it with the others, or spawn it.
    /// It does not end by itself: give it [`reached`](Self::reached) of [`Phase::Draining`], as here. (Not
    /// [`drained`](Self::drained), which waits for all TLS connections.)
    ///
    /// ```no_run
    /// # use graceful_tls::{GracefulTls, Phase};
    /// # async fn f(tls: GracefulTls, plain: tokio::net::TcpListener, redirect: axum::Router) {
    /// let server = axum::serve(plain, redirect).with_graceful_shutdown(tls.reached(Phase::Draining));
    /// tokio::spawn(tls.alongside(async { server.await }));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `server`, which is no longer waited for.
    pub fn alongside<F: Future>(
        &self,
        server: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let context = self.server.context.clone();
        let token = context.phases.others.token();
        async move {
            let _token = token;
            tokio::select! {
                biased;
                output = server => Some(output),
                () = context.phases.reached(Phase::Deadline) => None,
            }
        }
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
