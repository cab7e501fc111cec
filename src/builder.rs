//! Sets up a [`GracefulTls`]. Every default is documented once, at its setter.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::ServerConfig;

use crate::{
    gate::{Admission, Filter},
    graceful_tls::GracefulTls,
    server::Server,
    settings::{self, BuildError, Drain, PlainHttp, Settings},
};

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
}

/// Collects the settings of a [`GracefulTls`]. Made by [`GracefulTls::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    tls: Arc<ServerConfig>,
    settings: Settings,
    filter: Option<Filter>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Builder {
    pub(crate) fn new(tls: Arc<ServerConfig>) -> Self {
        let mut http1 = http1::Builder::new();
        // The keep-alive time-out covers the head of a request, at no timer per request.
        http1.timer(TokioTimer::new()).header_read_timeout(None);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.timer(TokioTimer::new());
        Self {
            tls,
            settings: Settings::default(),
            filter: None,
            http1,
            http2,
        }
    }

    /// How long a connection may be open with nothing in use. Default: 120 s.
    ///
    /// A request that crosses the end can be lost, so it is better that clients end first: Go,
    /// reqwest and Node's fetch drop idle connections by themselves after 90 s or less, and Firefox
    /// after 115 s. Behind a balancer this has to be longer than its idle time-out.
    ///
    /// In use is a request whose head is complete and whose answer is not fully on the wire, an
    /// upload that moves, and a tunnel. Control frames of HTTP/2 are no use. A request that has
    /// arrived when the time is up is answered; over HTTP/1 it is the last.
    ///
    /// This one limit covers the client that never speaks, the head that drips in, the unfinished
    /// HTTP/2 preface, and keep-alive, in HTTP/1 and HTTP/2 alike.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.settings.keep_alive_timeout = timeout;
        self
    }

    /// How long a client may take nothing of what waits for it. Default: 30 s.
    ///
    /// What it has taken is what its kernel has acknowledged, or, where HTTP/2 is held up by a
    /// window that the client does not open, DATA. A client that takes a little in each such time
    /// is waited for. That it takes nothing is noticed up to an eighth of the time late. An HTTP/2
    /// stream that is held up beside others that go on is reset alone (RFC 9113 6.4).
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.write_timeout = timeout;
        self
    }

    /// How long a TLS handshake may take, shutdown or not. Default: 10 s.
    ///
    /// While the server drains it also bounds the head of a request that has begun to come in, and
    /// what is left of it the first request of a connection that came late; and how long an HTTP/2
    /// client that was told at work has to answer the PING behind its GOAWAY.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// How many TLS handshakes may run at once. Default: 4096.
    ///
    /// When there are more, the one whose client has been silent longest gives way
    /// ([`Cause::HandshakeEvicted`](crate::Cause::HandshakeEvicted)): its socket is closed at once.
    /// Nobody waits, so that a flood of clients that connect and say nothing locks nobody out. Set it
    /// well above the clients that connect within one round trip.
    pub fn max_handshakes(mut self, max: usize) -> Self {
        self.settings.max_handshakes = max;
        self
    }

    /// How many connections may be open at once, in a handshake, in use, idle or draining. Default:
    /// three quarters of the descriptors that the process may open (`ulimit -n`) when the server is
    /// built; the rest is for the service's own files. Where that is not known or not limited: any
    /// number.
    ///
    /// At the cap, and when accepting fails for want of descriptors (EMFILE, ENFILE), somebody makes
    /// room for each that comes: the connection that has drained longest; else the one that has been
    /// idle longest, which ends properly ([`Cause::Evicted`](crate::Cause::Evicted)): by GOAWAY over
    /// HTTP/2 (RFC 9113 6.8), and a request that has arrived is answered. Those in use are never
    /// touched. Where none is idle a handshake gives way that has been silent for an eighth of
    /// [`handshake_timeout`](Self::handshake_timeout); else clients wait in the listener's queue.
    ///
    /// At most half of the connections may be in a handshake. Each listener may have one more in its
    /// hand, which waits. An accept loop of your own is not held up: where nobody is idle, it goes past
    /// the cap.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.settings.max_connections = Some(max);
        self
    }

    /// How many connections one client address may have, in a handshake, in use, idle or draining.
    /// Default: any number, because many clients may share an address, behind a NAT or a balancer.
    ///
    /// One more is refused: its socket is closed at once, before a handshake costs anything. In IPv6
    /// those with the same first 64 bits are one client. The address is what the listener says
    /// ([`Accept::poll_accept`](crate::Accept::poll_accept)): where that reads the PROXY protocol, it is
    /// the client's and not the balancer's. Who has none is not counted.
    ///
    /// A [`connection_filter`](Self::connection_filter) can exempt some.
    pub fn max_connections_per_client(mut self, max: usize) -> Self {
        self.settings.max_connections_per_client = Some(max);
        self
    }

    /// Whom to let in, asked of every connection that has an address before anything is spent on it.
    /// Default: everybody.
    ///
    /// Whoever is refused has their socket closed at once: no handshake, no alert, and a line in the log
    /// at `debug` alone. [`GracefulTls::refused`] counts them. The filter runs in the accept loop, so it
    /// should look something up, and not wait nor panic. An IPv4 address that is mapped into IPv6 (RFC
    /// 4291 2.5.5.2) comes as IPv4.
    ///
    /// ```
    /// # use graceful_tls::{Admission, Builder};
    /// # use std::{collections::HashSet, net::IpAddr};
    /// # fn f(builder: Builder, blocked: HashSet<IpAddr>) -> Builder {
    /// builder
    ///     .max_connections_per_client(100)
    ///     .connection_filter(move |client| match client.ip() {
    ///         ip if blocked.contains(&ip) => Admission::Refuse,
    ///         ip if ip.is_loopback() => Admission::Exempt, // our own health checks
    ///         _ => Admission::Admit,
    ///     })
    /// # }
    /// ```
    pub fn connection_filter(
        mut self,
        filter: impl Fn(SocketAddr) -> Admission + Send + Sync + 'static,
    ) -> Self {
        self.filter = Some(Arc::new(filter));
        self
    }

    /// The limits of the drain. Default: see [`Drain`].
    pub fn drain(mut self, drain: Drain) -> Self {
        self.settings.drain = drain;
        self
    }

    /// How long the server goes on accepting and answering after a shutdown began. Default:
    /// 250 ms, enough for requests that are on the wire. Zero is allowed.
    ///
    /// Behind a load balancer set it to what that needs to notice, a few health-check intervals.
    pub fn lame_duck(mut self, duration: Duration) -> Self {
        self.settings.lame_duck = duration;
        self
    }

    /// How long exchanges in flight may go on once draining has begun. Default: 30 s.
    ///
    /// Zero is allowed: everything is ended as soon as the lame duck is over.
    ///
    /// What is ended then still flushes and drains within its bounds. Whoever kills the process
    /// has to wait for the sum of the lame duck, this, the write time-out (or
    /// [`Drain::flush_timeout`], if that is longer) and [`Drain::total_timeout`], and two seconds
    /// more: 67.25 s with the defaults, of which the peers that do not read take 30.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.settings.shutdown_timeout = timeout;
        self
    }

    /// How long idle HTTP/1 connections are held once draining has begun, in the hope that one more
    /// answer can tell their clients by `Connection: close`. Default: none, they end at once.
    ///
    /// A client may be writing a request to an idle connection at any moment, and HTTP/1 can't say
    /// that it was not processed. Each connection that is still idle when this is over may cost a
    /// request; each that is held makes the shutdown last longer. It is never held for longer than
    /// its keep-alive time-out, nor so long that it could not end in order before the deadline.
    ///
    /// In a [handover](GracefulTls::handover) they are held in any case.
    pub fn idle_grace(mut self, duration: Duration) -> Self {
        self.settings.idle_grace = duration;
        self
    }

    /// Over how long idle connections are ended, and GOAWAYs are said, instead of all at once.
    /// Default: none.
    ///
    /// Each connection has its own moment in this span, so a hundred thousand clients do not
    /// reconnect in one second. The span begins when the connections would have ended without it, and
    /// the shutdown lasts so much longer; or earlier, where it would not be over by the deadline.
    pub fn close_spread(mut self, duration: Duration) -> Self {
        self.settings.close_spread = duration;
        self
    }

    /// Whether HTTP/2 connections get their GOAWAY in the lame duck already, while the server still
    /// accepts. Default: no, when draining begins.
    ///
    /// For servers behind a balancer that watches their readiness: their clients come back through
    /// it, to another server. Without one they come back to this one. Connections that are made
    /// during the lame duck get it after their first request.
    ///
    /// In a [handover](GracefulTls::handover) it is on.
    pub fn lame_duck_goaway(mut self, on: bool) -> Self {
        self.settings.lame_duck_goaway = on;
        self
    }

    /// Whether an HTTP/2 connection at work gets its GOAWAY only when its last stream has ended, for
    /// at most half of the time to the deadline. Default: no, at once.
    ///
    /// RFC 9113 6.8 lets the streams that are open go on after a GOAWAY, but the JDK's client fails
    /// them all. It costs time: the clients do not know yet that they should go elsewhere, and a
    /// connection that is never idle is told at half-time all the same.
    ///
    /// In a [handover](GracefulTls::handover) it is on.
    pub fn patient_goaway(mut self, on: bool) -> Self {
        self.settings.patient_goaway = on;
        self
    }

    /// Announces to HTTP/1 clients how long an idle connection is kept, by `Keep-Alive:
    /// timeout=`, in whole seconds. Default: not announced.
    ///
    /// It has to be at least 1 s shorter than [`keep_alive_timeout`](Self::keep_alive_timeout): a
    /// client that sends a request at the last moment should still find it open. Node's agents and
    /// fetch, and Apache HttpClient, do not use a connection for longer than that.
    pub fn keep_alive_header(mut self, announced: Duration) -> Self {
        self.settings.keep_alive_header = Some(announced);
        self
    }

    /// What a peer that speaks plain HTTP is told. Default: [`PlainHttp::BadRequest`].
    pub fn plain_http(mut self, answer: PlainHttp) -> Self {
        self.settings.plain_http = answer;
        self
    }

    /// Changes hyper's HTTP/1 settings, for [`GracefulTls::serve`].
    ///
    /// They are hyper's defaults, but for `header_read_timeout`, which is off because
    /// [`keep_alive_timeout`](Self::keep_alive_timeout) covers it. `pipeline_flush` stays off: hyper
    /// shuts a connection down with it before everything is flushed, and a cut answer would look
    /// whole.
    pub fn http1(mut self, change: impl FnOnce(&mut http1::Builder)) -> Self {
        change(&mut self.http1);
        self.http1.pipeline_flush(false);
        self
    }

    /// Changes hyper's HTTP/2 settings, for [`GracefulTls::serve`]. They are hyper's defaults.
    pub fn http2(mut self, change: impl FnOnce(&mut http2::Builder<TokioExecutor>)) -> Self {
        change(&mut self.http2);
        self
    }

    /// Checks the settings and makes the server of them.
    ///
    /// # Errors
    ///
    /// The first setting that can't work, see [`BuildError`].
    pub fn build(self) -> Result<GracefulTls, BuildError> {
        settings::check(&self.settings)?;
        check_alpn(&self.tls)?;
        let server = Server::new(self.tls, self.settings, self.filter, self.http1, self.http2);
        Ok(GracefulTls::of(server))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn check_alpn(tls: &ServerConfig) -> Result<(), BuildError> {
    if tls.alpn_protocols.is_empty() {
        return Err(BuildError::NoAlpn);
    }
    let known = |p: &[u8]| matches!(p, b"h2" | b"http/1.1" | b"http/1.0");
    match tls.alpn_protocols.iter().find(|p| !known(p)) {
        None => Ok(()),
        Some(unknown) => Err(BuildError::UnknownAlpn {
            protocol: String::from_utf8_lossy(unknown).into_owned(),
        }),
    }
}
