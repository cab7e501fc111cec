//! Sets up a [`GracefulTls`]. Every default is documented once, at its setter.

use std::{fmt, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioTimer;
use tokio_rustls::rustls::{ServerConfig, server::ClientHello};

use crate::{
    choice::{self, Choice, Refusal},
    gate::{Admission, Filter},
    graceful_tls::GracefulTls,
    inline::Executor,
    keepalive::TcpKeepalive,
    observe::{Observed, Observer},
    pace::Rate,
    server::{Parts, Server},
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

    /// A server with the default settings, HTTP/2 and HTTP/1.1, and the certificate of these files.
    ///
    /// They are looked at again when clients connect: see [`PemFiles`](crate::PemFiles), which is there for
    /// other settings too: `GracefulTls::builder(PemFiles::load(cert, key)?.config()?)`.
    ///
    /// The crypto provider is the one that the process has installed. rustls keeps to itself which one its
    /// features would stand for, so that it has to be installed:
    ///
    /// ```no_run
    /// use graceful_tls::{GracefulTls, rustls::crypto::ring};
    ///
    /// ring::default_provider().install_default().expect("there is none yet");
    /// let tls = GracefulTls::from_pem_files("fullchain.pem", "privkey.pem")?;
    /// # Ok::<(), graceful_tls::PemError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PemError`](crate::PemError).
    #[cfg(feature = "pem")]
    pub fn from_pem_files(
        cert: impl Into<std::path::PathBuf>,
        key: impl Into<std::path::PathBuf>,
    ) -> Result<Self, crate::PemError> {
        let config = crate::PemFiles::load(cert, key)?.config()?;
        Ok(Self::builder(config).assemble())
    }

    /// Begins to set up a server.
    pub fn builder(config: impl Into<Arc<ServerConfig>>) -> Builder {
        Builder::new(config.into())
    }
}

/// Collects the settings of a [`GracefulTls`]. Made by [`GracefulTls::builder`].
///
#[doc = include_str!("settings.md")]
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    tls: Arc<ServerConfig>,
    choice: Option<Arc<Choice>>,
    pub(crate) settings: Settings,
    filter: Option<Filter>,
    http1: http1::Builder,
    http2: http2::Builder<Executor>,
    name: Option<Arc<str>>,
    first: Option<GracefulTls>,
    observed: Observed,
    #[cfg(feature = "tickets")]
    ticket_keys: Option<crate::TicketKeys>,
}

impl Builder {
    pub(crate) fn new(tls: Arc<ServerConfig>) -> Self {
        let mut http1 = http1::Builder::new();
        // The keep-alive time-out covers the head of a request, at no timer per request.
        http1.timer(TokioTimer::new()).header_read_timeout(None);
        let mut http2 = http2::Builder::new(Executor);
        http2.timer(TokioTimer::new());
        Self {
            tls,
            choice: None,
            settings: Settings::default(),
            filter: None,
            http1,
            http2,
            name: None,
            first: None,
            observed: Observed::default(),
            #[cfg(feature = "tickets")]
            ticket_keys: None,
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
    /// This one limit covers the client that never speaks, and keep-alive, in HTTP/1 and HTTP/2 alike.
    /// From the first byte of a request on it is [`header_timeout`](Self::header_timeout).
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.settings.keep_alive_timeout = timeout;
        self
    }

    /// How long a client may take nothing of what waits for it. Default: 30 s.
    ///
    /// What it has taken is what its kernel has acknowledged, or, where HTTP/2 is held up by a
    /// window that the client does not open, DATA. A client that takes a little in each such time
    /// is waited for, if that is no less than [`min_rate`](Self::min_rate) asks. That it takes nothing
    /// is noticed up to an eighth of the time late. An HTTP/2
    /// stream that is held up beside others that go on is reset alone (RFC 9113 6.4).
    ///
    /// A client's kernel may hold its acknowledgement back for half a second (RFC 9293 3.8.6.3; Linux does for up to
    /// 0.2 s): with less than that clients are let go that have taken all.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.write_timeout = timeout;
        self
    }

    /// How long the head of a request may take to go on coming in, from its first byte. Default: 30 s.
    ///
    /// Each byte extends it by the time that it may take at the [`min_rate`](Self::min_rate), to no
    /// more than the whole time again: a head that stops is given up after this time, one that drips
    /// hardly later. Over HTTP/1 the client gets 408 (RFC 9110 15.5.9), over HTTP/2 GOAWAY. It covers
    /// the HTTP/2 preface and header blocks too.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.settings.header_timeout = timeout;
        self
    }

    /// How long the body of a request may take to go on coming in, while the server waits for it.
    /// Default: 60 s.
    ///
    /// Each byte of the body, not of the framing of chunks, extends it as in
    /// [`header_timeout`](Self::header_timeout). While the handler does not read HTTP/1, or the client has
    /// no HTTP/2 window to send in, nobody waits, and no time counts. Over HTTP/1 the client gets 408 (RFC
    /// 9110 15.5.9) if no answer has begun, and the connection ends; over HTTP/2 that stream alone is
    /// reset (RFC 9113 6.4). There nobody knows whether the handler reads: a client-streaming gRPC call that
    /// pauses for longer needs a longer time-out. A stream that is open both ways, as in the other gRPC calls
    /// that stream, is a tunnel: see [`tunnel_timeout`](Self::tunnel_timeout).
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.settings.body_timeout = timeout;
        self
    }

    /// How long a tunnel may be without a byte in either direction. Default: none, for ever.
    ///
    /// Tunnels are websockets, CONNECT, and HTTP/2 streams on which both directions are open. It is
    /// off because a silent one may be just that, and a client whose machine is gone is found out
    /// otherwise. HTTP/1 connections are ended, of HTTP/2 ones that stream is reset.
    pub fn tunnel_timeout(mut self, timeout: Duration) -> Self {
        self.settings.tunnel_timeout = Some(timeout);
        self
    }

    /// How fast a client that is waited for has to be, in bytes a second. Default: 240; 0 for any.
    ///
    /// It goes together with the time-outs of heads, bodies and writes: what a client moves extends
    /// them by the time that it may take at this rate, to no more than the whole time again. So
    /// whoever keeps the rate up is waited for, in pauses of up to the time-out too.
    pub fn min_rate(mut self, bytes_per_second: u32) -> Self {
        self.settings.min_rate = Rate(bytes_per_second);
        self
    }

    /// How many frames an HTTP/2 client may send in 10 s that neither ask nor answer anything. Default:
    /// 10,000.
    ///
    /// PING, SETTINGS, WINDOW_UPDATE, PRIORITY, RST_STREAM, CONTINUATION, empty DATA: a few of them are
    /// every client's due for each answer that it gets, and do not count. Who sends more than this on
    /// top, as in a flood or a rapid reset, gets GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 10.5), and the
    /// connection ends.
    pub fn max_control_frames(mut self, max: u32) -> Self {
        self.settings.max_control_frames = max;
        self
    }

    /// How long a TLS handshake may take, shutdown or not, together with what a listener has clients say
    /// before it ([`Accept::preface`](crate::Accept::preface)). Default: 10 s.
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
    /// When there are more, one gives way whose client has been silent for too long
    /// ([`Cause::HandshakeEvicted`](crate::Cause::HandshakeEvicted)): for an eighth of
    /// [`handshake_timeout`](Self::handshake_timeout), or for an eighth of that where its hello is not all
    /// in. Its socket is closed at once. So a flood of clients that connect and say nothing locks nobody
    /// out. Where all are honest, those that come next wait in the listener's queue; in an accept loop of
    /// your own they are let in. There are never more than
    /// [`max_connections`](Self::max_connections).
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
    /// Each listener may have one more in its hand, which waits. An accept loop of your own is not held
    /// up: where nobody is idle, it goes past the cap.
    pub fn max_connections(mut self, max: usize) -> Self {
        self.settings.max_connections = Some(max);
        self
    }

    /// How many connections one client address may have, in a handshake, in use, idle or draining.
    /// Default: any number, because many clients may share an address, behind a NAT or a balancer.
    ///
    /// One more is refused: its socket is closed at once, before a handshake costs anything. In IPv6
    /// those with the same first 64 bits are one client. The address is what the listener says
    /// ([`Accept::accept`](crate::Accept::accept)): where that reads the PROXY protocol, it is
    /// the client's and not the balancer's. Who has none is not counted.
    ///
    /// A [`connection_filter`](Self::connection_filter) can exempt some.
    pub fn max_connections_per_client(mut self, max: usize) -> Self {
        self.settings.max_connections_per_client = Some(max);
        self
    }

    /// Whom to let in, asked of every connection that has an address before anything is spent on it.
    /// Default: everybody. Behind a balancer that tells whose it is, it is asked once that has come.
    ///
    /// Whoever is refused has their socket closed at once: no handshake, no alert, and a line in the log
    /// at `debug` alone. [`GracefulTls::refused`] counts them. The filter runs in the accept loop (behind
    /// a [`Preface`](crate::Preface) in the connection's own task), so it should look something up, and
    /// not wait nor panic. An IPv4 address that is mapped into IPv6 (RFC 4291 2.5.5.2) comes as IPv4.
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
    /// RFC 9113 6.8 lets the streams that are open go on after a GOAWAY, but some clients fail
    /// them all: the JDK's before 24, Python's httpx. It costs time: the clients do not know yet that they should go elsewhere, and a
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

    /// Whether requests carry what the handlers of frameworks ask for: `ConnectInfo<SocketAddr>` for
    /// axum's (feature `axum`; in services that answer with axum's body), `TcpConnectInfo` and
    /// `TlsConnectInfo` for tonic's (feature `tonic`; in gRPC requests over HTTP/2, so not in those that
    /// tonic-web gets over HTTP/1, for `request.remote_addr()` and `request.peer_certs()`). Default: they do.
    ///
    /// It costs an allocation a request. [`TlsConnection`](crate::TlsConnection), which knows all of it, is
    /// there in any case.
    pub fn connect_info(mut self, carried: bool) -> Self {
        self.settings.connect_info = carried;
        self
    }

    /// Whether each request that passes the layer is remembered by its method and path while it is in
    /// flight. Default: no.
    ///
    /// Then a shutdown names the requests that it has waited for longest in its progress, and those that
    /// it has cut in its [`Report`](crate::Report); [`TlsConnection::tracked_requests`] has them at any
    /// time. It costs two allocations a request, under `axum::serve` three, and a lock of its connection's.
    ///
    /// [`TlsConnection::tracked_requests`]: crate::TlsConnection::tracked_requests
    pub fn track_requests(mut self, track: bool) -> Self {
        self.settings.track_requests = track;
        self
    }

    /// Whether handlers may block their thread, or compute for long. Default: no.
    ///
    /// [`GracefulTls::serve`] answers an HTTP/2 stream in the task of its connection if its handler has the answer
    /// without waiting, which saves half of what a small answer costs. A handler that blocks its thread there
    /// (`block_in_place`, a lock of the standard library, a second of computing) keeps up the other streams of
    /// its connection, its time-outs, and a shutdown at its deadline; hyper's PINGs, where you turn them on, take its
    /// client for dead; and it does so for ever, where what it waits for comes by the same connection. With this each stream has a task of its own from the start, as with hyper alone.
    pub fn handlers_may_block(mut self, may: bool) -> Self {
        self.settings.handlers_may_block = may;
        self
    }

    /// How TCP notices that a client's machine has vanished. Default: on, see [`TcpKeepalive`];
    /// within two minutes. `None` leaves sockets as they are.
    ///
    /// A machine that loses its power or its network says nothing (RFC 9293 3.8.4). Without this a
    /// handler that waits, an upload and a tunnel would be held for good. TCP asks only while everything
    /// that was sent has been acknowledged; while something has not, the
    /// [`write_timeout`](Self::write_timeout) watches, and the cause is
    /// [`Stalled`](crate::Cause::Stalled).
    ///
    /// It is set on a tokio `TcpListener` where the system lets accepted sockets inherit it (Linux), and
    /// else on each TCP socket. A listener or a socket that has `SO_KEEPALIVE` on already keeps what it
    /// has, unless another than the default is set here. It wakes a phone's radio each
    /// [`interval`](TcpKeepalive::interval), as long as the connection is open.
    pub fn tcp_keepalive(mut self, keepalive: impl Into<Option<TcpKeepalive>>) -> Self {
        self.settings.tcp_keepalive = keepalive.into();
        self
    }

    /// After how long a connection is retired. Default: never.
    ///
    /// Behind a balancer that knows connections only (layer 4), a client stays with the server that it
    /// reached first, and servers that start later get nothing to do: gRPC channels live for days. One
    /// that is retired comes back through the balancer.
    ///
    /// An idle connection ends at once, one in use after what is in flight, however long that takes:
    /// HTTP/1 by `Connection: close` (RFC 9112 9.6) on the next answer that begins, HTTP/2 by GOAWAY (RFC
    /// 9113 6.8), as after [`TlsConnection::close`](crate::TlsConnection::close). Those that came together
    /// do not go together: each has its own moment, within 10 % before and after this, spread evenly.
    ///
    /// It is off because it is not free. Each retirement costs a client a handshake. A request may cross
    /// the end of an idle connection: over HTTP/1 it is lost; over HTTP/2 the GOAWAY says that it was not
    /// processed, so that clients send it again, but for some (tonic's leaves it to its user: see the
    /// example `balancing_grpc`). And there are HTTP/2 clients that misread GOAWAY and fail all that is
    /// open (see [`patient_goaway`](Self::patient_goaway)).
    pub fn max_connection_age(mut self, age: Duration) -> Self {
        self.settings.max_connection_age = Some(age);
        self
    }

    /// How long after [`max_connection_age`](Self::max_connection_age) a connection still in use is
    /// ended by force: a tunnel, an endless stream, a client that heeds no GOAWAY. Default: never.
    pub fn max_connection_age_grace(mut self, grace: Duration) -> Self {
        self.settings.max_connection_age_grace = Some(grace);
        self
    }

    /// After how many requests a connection is retired. Default: never.
    ///
    /// The answer to the last of them says `Connection: close` over HTTP/1, where the layer sees it
    /// (RFC 9112 9.6); what a client has pipelined behind it is not answered. Over HTTP/2 a GOAWAY goes out
    /// when the last of them begins, and one that names the last stream when all are answered (RFC 9113
    /// 6.8): what crosses the first is answered too. It is off for the same reasons as
    /// [`max_connection_age`](Self::max_connection_age).
    pub fn max_requests(mut self, max: u32) -> Self {
        self.settings.max_requests = Some(max);
        self
    }

    /// Which configuration a client gets, by its ClientHello. Default: the server's own, for everybody.
    ///
    /// The closure is asked once a connection, before a session is made, for the server name (SNI, RFC 6066
    /// 3) and what is offered (ALPN, RFC 7301). It says which configuration it is, or `None` for the one that
    /// the server was made with, or a [`Refusal`]: the client gets that as a fatal alert (RFC 9846 6.2). It
    /// takes what it needs out of the ClientHello, and its future may wait for something, as long as the
    /// [`handshake_timeout`](Self::handshake_timeout) allows, which bounds all of the handshake. A future that
    /// is dropped then must not mind. One that panics ends its handshake without an alert.
    ///
    /// Make each configuration once: sessions are resumed (RFC 9846 2.2) only within one. If it holds
    /// another's tickets or session store, a client that resumes skips what the other's client certificates
    /// would have been asked for.
    ///
    /// A configuration has to offer `h2`, `http/1.1` or both, as the server's own; or `acme-tls/1`, see below.
    /// One that offers something else, nothing, or has another `max_fragment_size` is not used: the client
    /// gets an `internal_error`, and the log the reason: the first time at `error`, then at `debug`.
    ///
    /// ```
    /// # use graceful_tls::{Builder, Refusal, rustls::{AlertDescription, ServerConfig}};
    /// # use std::{collections::HashMap, sync::Arc};
    /// # fn f(builder: Builder, tenants: HashMap<String, Arc<ServerConfig>>) -> Builder {
    /// builder.config_for_client(move |hello| {
    ///     let config = hello.server_name().map(|name| tenants.get(name).cloned());
    ///     async move {
    ///         match config {
    ///             None => Ok(None), // no name: the server's own
    ///             Some(Some(config)) => Ok(Some(config)),
    ///             Some(None) => Err(Refusal::new(AlertDescription::UnrecognisedName, "no such tenant")),
    ///         }
    ///     }
    /// })
    /// # }
    /// ```
    ///
    /// # ACME
    ///
    /// A connection that has agreed on `acme-tls/1` is a challenge of TLS-ALPN-01 (RFC 8737): it ends with
    /// close_notify right after the handshake, and the HTTP server never sees it. With the crate rustls-acme
    /// the closure picks `challenge_rustls_config()` where `is_tls_alpn_challenge(&hello)`, as the example
    /// `acme` does. Where a resolver knows both certificates, as rustls-acme's does, the server's own
    /// configuration can offer `acme-tls/1` beside HTTP, and no closure is needed.
    pub fn config_for_client<F>(
        mut self,
        choose: impl Fn(ClientHello<'_>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Option<Arc<ServerConfig>>, Refusal>> + Send + 'static,
    {
        self.choice = Some(Arc::new(Choice::new(choose)));
        self
    }

    /// What session tickets are sealed with, so that sessions survive a restart or are known to a fleet: see
    /// [`TicketKeys`](crate::TicketKeys). Default: what the `ServerConfig` has, which is 256 sessions in memory
    /// for rustls' own.
    ///
    /// It takes the place of the `ticketer` in the configuration that the server was made with, and TLS 1.2 (RFC
    /// 5077) and 1.3 (RFC 9846 4.6.1) get their tickets by it. Those that
    /// [`config_for_client`](Self::config_for_client) picks have what they come with: give each
    /// a [`scope`](crate::TicketKeys::scope). How many tickets a handshake of TLS 1.3 makes is still
    /// `send_tls13_tickets`, of which 0 means none. With tickets rustls takes no early data (`max_early_data_size`), for
    /// they can be shown twice.
    ///
    /// [`build`](Self::build) gives [`BuildError::TicketKeysShared`] where another server that lives has these keys in
    /// the same scope.
    #[cfg(feature = "tickets")]
    pub fn ticket_keys(mut self, keys: crate::TicketKeys) -> Self {
        self.ticket_keys = Some(keys);
        self
    }

    /// Changes hyper's HTTP/1 settings, for [`GracefulTls::serve`].
    ///
    /// They are hyper's defaults, but for `header_read_timeout`, which is off because
    /// [`header_timeout`](Self::header_timeout) covers it. hyper's part of a connection is dropped after it has been
    /// idle for up to a [`write_timeout`](Self::write_timeout), and built anew when the next request comes: a
    /// `header_read_timeout` that is set here then runs from the first byte of that on. With `half_close` it is
    /// kept. `pipeline_flush` stays off: hyper
    /// shuts a connection down with it before everything is flushed, and a cut answer would look
    /// whole. What a request upgrades to is read and written as hyper's `Upgraded`, and can't be downcast.
    pub fn http1(mut self, change: impl FnOnce(&mut http1::Builder)) -> Self {
        self.settings.http1_defaults = false;
        change(&mut self.http1);
        self.http1.pipeline_flush(false);
        self
    }

    /// Changes hyper's HTTP/2 settings, for [`GracefulTls::serve`]. They are hyper's defaults.
    pub fn http2(mut self, change: impl FnOnce(&mut http2::Builder<Executor>)) -> Self {
        change(&mut self.http2);
        self
    }

    /// Who is told what happens to connections: see [`Observer`]. Default: nobody, which costs nothing.
    ///
    /// Servers that share a shutdown each have their own.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observed = Observed::by(observer);
        self
    }

    /// What the listeners of this server are called in the [`Report`](crate::Report), before their
    /// addresses. Default: nothing.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Shares the shutdown of `first`: whichever is told to, all of them go through the same phases at the
    /// same time, to one deadline and one report. Default: a shutdown of its own.
    ///
    /// The certificates, the time-outs of connections, the filter and hyper's settings are this server's. What
    /// is the shutdown's is set at `first`, and holds for all: [`lame_duck`](Self::lame_duck),
    /// [`shutdown_timeout`](Self::shutdown_timeout), [`idle_grace`](Self::idle_grace),
    /// [`close_spread`](Self::close_spread), [`lame_duck_goaway`](Self::lame_duck_goaway) and
    /// [`patient_goaway`](Self::patient_goaway). So are the caps that are the process's: with
    /// [`max_connections`](Self::max_connections), [`max_handshakes`](Self::max_handshakes) and
    /// [`Drain::max_connections`] all servers' connections are counted together, and those of one may make
    /// room for another's. [`build`](Self::build) gives an error where they are set otherwise here; one that
    /// is set to its default here is as one that is not set.
    ///
    /// ```no_run
    /// # use graceful_tls::GracefulTls;
    /// # fn f(public: rustls::ServerConfig, internal: rustls::ServerConfig)
    /// # -> Result<(), graceful_tls::BuildError> {
    /// let tls = GracefulTls::builder(public).name("public").build()?;
    /// let admin = GracefulTls::builder(internal)
    ///     .name("admin")
    ///     .shutdown_with(&tls)
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn shutdown_with(mut self, first: &GracefulTls) -> Self {
        self.first = Some(first.clone());
        self
    }

    /// Checks the settings and makes the server of them.
    ///
    /// # Errors
    ///
    /// The first setting that can't work, see [`BuildError`].
    pub fn build(mut self) -> Result<GracefulTls, BuildError> {
        settings::check(&self.settings)?;
        choice::check(&self.tls)?;
        if let Some(first) = &self.first {
            settings::share(&mut self.settings, &first.server.context.settings)?;
        }
        #[cfg(feature = "tickets")]
        self.seal_tickets()?;
        Ok(self.assemble())
    }

    #[cfg(feature = "tickets")]
    fn seal_tickets(&mut self) -> Result<(), BuildError> {
        let Some(keys) = &self.ticket_keys else {
            return Ok(());
        };
        let ticketer = keys.ticketer();
        let ticketer = ticketer.ok_or_else(|| BuildError::TicketKeysShared {
            scope: keys.scope_name().into(),
        })?;
        Arc::make_mut(&mut self.tls).ticketer = ticketer;
        Ok(())
    }

    fn assemble(self) -> GracefulTls {
        let parts = Parts {
            tls: self.tls,
            choice: self.choice,
            settings: self.settings,
            filter: self.filter,
            http1: self.http1,
            http2: self.http2,
            name: self.name,
            observed: self.observed,
        };
        let server = match self.first {
            None => Server::new(parts),
            Some(first) => first.server.beside(parts),
        };
        GracefulTls::of(server)
    }
}

/// Each setting, by the name of its setter; of what can't be shown, whether it is set.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Builder");
        #[cfg(feature = "tickets")]
        shown.field("ticket_keys", &self.ticket_keys);
        shown
            .field("settings", &self.settings)
            .field("connection_filter", &self.filter.is_some())
            .field("config_for_client", &self.choice.is_some())
            .field("http1", &self.http1)
            .field("http2", &self.http2)
            .field("name", &self.name)
            .field("shutdown_with", &self.first.is_some())
            .field("observer", &self.observed)
            .finish_non_exhaustive()
    }
}
