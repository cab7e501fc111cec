//! [`Metrics`]: an observer that counts on the facade [`metrics`](https://docs.rs/metrics), for whichever
//! exporter the application has; and [`record`], gauges of what is open at this moment.
//!
//! ```
//! use graceful_tls::{GracefulTls, metrics::{self, Metrics}};
//! # fn server(config: tokio_rustls::rustls::ServerConfig) -> Result<(), graceful_tls::BuildError> {
//!
//! // After the recorder is installed:
//! let tls = GracefulTls::builder(config).observer(Metrics::new()).build()?;
//! // Whenever somebody asks, as in the handler of `/metrics`:
//! metrics::record(&tls.stats());
//! # Ok(())
//! # }
//! ```
//!
//! Servers that share a shutdown get clones of one [`Metrics`]: they count together, and their shutdown once.
//! Of several servers in one process that do not, each has a name, which is the label `server` of all of its
//! series; or their gauges would overwrite each other:
//!
//! ```
//! # use graceful_tls::{BuildError, Builder, metrics::Metrics};
//! # fn servers(public: Builder, also: Builder, internal: Builder) -> Result<(), BuildError> {
//! let of_public = Metrics::of_server("public");
//! let public = public.observer(of_public.clone()).build()?;
//! let also = also.shutdown_with(&public).observer(of_public.clone()).build()?;
//! let of_internal = Metrics::of_server("internal");
//! let internal = internal.observer(of_internal.clone()).build()?;
//! // Whenever somebody asks:
//! of_public.record(&public.stats()); // and `also`: they share a shutdown
//! of_internal.record(&internal.stats());
//! # Ok(())
//! # }
//! ```
//!
//! The example [`metrics`](https://github.com/OWNER/graceful-tls/blob/main/examples/metrics.rs) serves them
//! to Prometheus, and has a dashboard and alerts beside it.
//!
//! | metric | kind, unit | labels | |
//! |---|---|---|---|
//! | `graceful_tls_connections_accepted_total` | counter | | see [`Observer::accepted`] |
//! | `graceful_tls_connections_refused_total` | counter | | before their handshake: see [`Stats::refused`] |
//! | `graceful_tls_handshakes_failed_total` | counter | `reason` | see [`HandshakeError::reason`] |
//! | `graceful_tls_handshake_duration_seconds` | histogram | `tls_protocol_version` | of those that did not fail |
//! | `graceful_tls_requests_total` | counter | `protocol` | whose head has come in |
//! | `graceful_tls_requests_cut_total` | counter | `cause` | not answered to the last byte when their connection ended; over HTTP/2 also when only their stream was reset: what a handler breaks off is `dropped`, and there is `stalled`, `body_timeout`, `tunnel_timeout`, `protocol_error`; gRPC calls that end with `UNAVAILABLE` are `deadline` |
//! | `graceful_tls_connections_ended_total` | counter | `cause`, `outcome` | after their handshake: see [`Cause`] and [`Outcome`] |
//! | `graceful_tls_connection_duration_seconds` | histogram | `protocol` | from the handshake on |
//! | `graceful_tls_drain_duration_seconds` | histogram | `outcome` | flush, close_notify, FIN and drain |
//! | `graceful_tls_shutdown_duration_seconds` | histogram | | from its beginning until every connection has ended |
//! | `graceful_tls_connections` | gauge | `state` | open: see [`State`], and `handshaking` |
//! | `graceful_tls_requests_in_flight` | gauge | | begun, and not answered to the last byte |
//! | `graceful_tls_phase` | gauge | `phase` | 1 for the [`Phase`] that it is, 0 for the others |
//! | `graceful_tls_received_bytes_total`, `graceful_tls_sent_bytes_total` | counter, bytes | | TLS records |
//!
//! [`record`] sets the last five and those refused, and the observer all others. With
//! [`Metrics::of_server`] there is the label `server`, too.
//!
//! Names, base units and suffixes are as Prometheus wants them. Labels and their values are those of the log
//! and of [`Stats`]; for OpenTelemetry `protocol` is `network.protocol.name` and `.version` in one, `reason`
//! and `cause` are what it calls `error.type`, and `tls_protocol_version` is its `tls.protocol.version`.
//! Everything that can be is there from the beginning, with 0, so that an alert sees the first one. No label
//! is a client's word, such as SNI: strangers could make as many series as they like.
//!
//! Histograms of metrics-exporter-prometheus need [`BUCKETS`]: without buckets it makes summaries of them.

use std::sync::{Arc, Mutex, PoisonError};

use ::metrics::{
    Counter, Histogram, Label, SharedString, Unit, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram,
};
use tokio::time::Instant;
use tokio_rustls::rustls::ProtocolVersion;

use crate::{
    connection::{Protocol, State, TlsConnection},
    ending::{Cause, Outcome},
    handshake_error::HandshakeError,
    observe::{Ended, HandshakeFailed, Observer},
    phase::Phase,
    stats::Stats,
};

/// Bounds of buckets that fit all of these histograms, in seconds: from a handshake on one machine to a
/// connection that lives for an hour.
pub const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 3600.0,
];

/// An [`Observer`] that counts. It costs an addition or two for each request.
///
/// Give [`Builder::observer`](crate::Builder::observer) a pair to have one of your own beside it. A clone is the
/// same one, for a server that shares the shutdown.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Series>);

#[derive(Debug)]
struct Series {
    server: Server,
    accepted: Counter,
    /// In the order of [`HandshakeError::REASONS`].
    failed: Vec<Counter>,
    /// Of TLS 1.2 and 1.3.
    handshake: [Histogram; 2],
    /// In the order of [`PROTOCOLS`], as is `age`.
    requests: [Counter; 3],
    age: [Histogram; 3],
    /// In the order of [`Cause`].
    ended: Vec<OfCause>,
    /// In the order of [`Outcome`].
    drain: Vec<Histogram>,
    shutdown: Histogram,
    shutdown_began: Mutex<Option<Instant>>,
}

/// Whose series they are, where that has a name.
#[derive(Debug)]
struct Server(Option<SharedString>);

impl Server {
    /// The labels of one of its series.
    fn labels<const N: usize>(&self, own: [(&'static str, &'static str); N]) -> Vec<Label> {
        let server = self.0.clone().map(|name| Label::new("server", name));
        let own = own.map(|(name, value)| Label::from_static_parts(name, value));
        server.into_iter().chain(own).collect()
    }
}

#[derive(Debug)]
struct OfCause {
    requests_cut: Counter,
    /// In the order of [`Outcome`].
    ended: Vec<Counter>,
}

/// The last is of connections without a request.
const PROTOCOLS: [&str; 3] = ["http/1", "http/2", "none"];

fn of_protocol<T>(of: &[T; 3], protocol: Option<Protocol>) -> &T {
    match protocol {
        Some(Protocol::Http1) => &of[0],
        Some(Protocol::Http2) => &of[1],
        None => &of[2],
    }
}

impl Metrics {
    /// Registers its metrics with the recorder that is installed at this moment: what is installed later
    /// gets nothing of them. Servers that each have one count together.
    #[expect(clippy::new_without_default, reason = "it looks for the recorder")]
    pub fn new() -> Self {
        Self(Arc::new(Series::new(Server(None))))
    }

    /// The same for one of several servers: all of its series have the label `server`, with this name.
    pub fn of_server(name: impl Into<String>) -> Self {
        Self(Arc::new(Series::new(Server(Some(name.into().into())))))
    }

    /// What [`record`] does, for the server that this has the name of.
    pub fn record(&self, stats: &Stats) {
        record_of(&self.0.server, stats);
    }
}

impl Series {
    fn new(server: Server) -> Self {
        describe();
        Self {
            accepted: counter!("graceful_tls_connections_accepted_total", server.labels([])),
            failed: each(HandshakeError::REASONS, |&reason| {
                let labels = server.labels([("reason", reason)]);
                counter!("graceful_tls_handshakes_failed_total", labels)
            }),
            handshake: ["1.2", "1.3"].map(|version| {
                let labels = server.labels([("tls_protocol_version", version)]);
                histogram!("graceful_tls_handshake_duration_seconds", labels)
            }),
            requests: PROTOCOLS.map(|protocol| match protocol {
                "none" => Counter::noop(),
                _ => {
                    let labels = server.labels([("protocol", protocol)]);
                    counter!("graceful_tls_requests_total", labels)
                }
            }),
            age: PROTOCOLS.map(|protocol| {
                let labels = server.labels([("protocol", protocol)]);
                histogram!("graceful_tls_connection_duration_seconds", labels)
            }),
            ended: each(Cause::ALL, |&cause| OfCause::new(&server, cause)),
            drain: each(Outcome::ALL, |of| {
                let labels = server.labels([("outcome", of.as_str())]);
                histogram!("graceful_tls_drain_duration_seconds", labels)
            }),
            shutdown: histogram!("graceful_tls_shutdown_duration_seconds", server.labels([])),
            shutdown_began: Mutex::default(),
            server,
        }
    }
}

impl OfCause {
    fn new(server: &Server, cause: Cause) -> Self {
        if matches!(
            cause,
            Cause::AcmeChallenge | Cause::Handshake | Cause::HandshakeEvicted
        ) {
            // Those are told of as handshakes that have failed.
            return Self {
                requests_cut: Counter::noop(),
                ended: each(Outcome::ALL, |_| Counter::noop()),
            };
        }
        let cause = ("cause", cause.as_str());
        Self {
            requests_cut: counter!("graceful_tls_requests_cut_total", server.labels([cause])),
            ended: each(Outcome::ALL, |outcome| {
                let labels = server.labels([cause, ("outcome", outcome.as_str())]);
                counter!("graceful_tls_connections_ended_total", labels)
            }),
        }
    }
}

fn each<T, U>(all: &[T], of: impl Fn(&T) -> U) -> Vec<U> {
    all.iter().map(of).collect()
}

impl Observer for Metrics {
    fn accepted(&self, _: Option<std::net::SocketAddr>) {
        self.0.accepted.increment(1);
    }

    fn handshake_failed(&self, failed: &HandshakeFailed<'_>) {
        let reason = failed.error.reason();
        let mut reasons = HandshakeError::REASONS.iter().zip(&self.0.failed);
        if let Some((_, counter)) = reasons.find(|(of, _)| **of == reason) {
            counter.increment(1);
        }
    }

    fn established(&self, connection: &TlsConnection) {
        let is_1_2 = connection.version() == Some(ProtocolVersion::TLSv1_2);
        self.0.handshake[usize::from(!is_1_2)].record(connection.handshake_time());
    }

    fn request(&self, connection: &TlsConnection) {
        of_protocol(&self.0.requests, connection.protocol()).increment(1);
    }

    fn request_failed(&self, _: &TlsConnection) {
        // As over HTTP/1, where that ends the connection.
        self.0.ended[Cause::Dropped as usize]
            .requests_cut
            .increment(1);
    }

    fn ended(&self, connection: &TlsConnection, ended: &Ended) {
        // Of these there was never more than a handshake, and that is counted as one that failed.
        let handshakes = [
            Cause::Handshake,
            Cause::HandshakeEvicted,
            Cause::AcmeChallenge,
        ];
        if handshakes.contains(&ended.cause) {
            return;
        }
        let of_cause = &self.0.ended[ended.cause as usize];
        of_cause.ended[ended.outcome as usize].increment(1);
        for (cause, cut) in [
            (ended.cause, ended.requests_in_flight),
            // As over HTTP/1, where each of these ends the connection.
            (Cause::Stalled, ended.requests_stalled),
            (Cause::BodyTimeout, ended.requests_body_timeout),
            (Cause::TunnelTimeout, ended.requests_tunnel_timeout),
            (Cause::ProtocolError, ended.requests_protocol_error),
            (Cause::Deadline, ended.requests_deadline),
        ] {
            let of_cause = &self.0.ended[cause as usize];
            of_cause.requests_cut.increment(cut.into());
        }
        of_protocol(&self.0.age, connection.protocol()).record(ended.age);
        self.0.drain[ended.outcome as usize].record(ended.drain);
    }

    fn phase(&self, phase: Phase) {
        let began = self.0.shutdown_began.lock();
        let mut began = began.unwrap_or_else(PoisonError::into_inner);
        match phase {
            Phase::Serving => *began = None,
            Phase::Closed => {
                // Servers that share it tell of it each.
                if let Some(began) = began.take() {
                    self.0.shutdown.record(began.elapsed());
                }
            }
            _ => _ = began.get_or_insert_with(Instant::now),
        }
    }
}

/// Sets what is known of the moment: connections by state, requests in flight, the phase, and the bytes that
/// have gone through. To be called when somebody asks, such as a scraper, or now and then.
///
/// [`GracefulTls::stats`](crate::GracefulTls::stats) has the numbers; of servers that share a shutdown that
/// of one is for all, but for those that each has refused. Servers that do not share one would overwrite what the
/// other has set: see [`Metrics::of_server`].
pub fn record(stats: &Stats) {
    record_of(&Server(None), stats);
}

fn record_of(server: &Server, stats: &Stats) {
    describe_record();
    for (state, open) in [
        ("handshaking", stats.handshaking),
        (State::Idle.as_str(), stats.idle),
        (State::InUse.as_str(), stats.in_use),
        (State::HalfClosed.as_str(), stats.half_closed),
        (State::Draining.as_str(), stats.draining),
    ] {
        let labels = server.labels([("state", state)]);
        gauge!("graceful_tls_connections", labels).set(float(open));
    }
    let in_flight = float(stats.requests_in_flight);
    gauge!("graceful_tls_requests_in_flight", server.labels([])).set(in_flight);
    for &phase in Phase::ALL {
        let is_this = f64::from(u8::from(phase == stats.phase));
        let labels = server.labels([("phase", phase.as_str())]);
        gauge!("graceful_tls_phase", labels).set(is_this);
    }
    let refused = counter!("graceful_tls_connections_refused_total", server.labels([]));
    refused.absolute(stats.refused);
    counter!("graceful_tls_received_bytes_total", server.labels([])).absolute(stats.received);
    counter!("graceful_tls_sent_bytes_total", server.labels([])).absolute(stats.sent);
}

#[expect(clippy::cast_precision_loss, reason = "they are no 2^53")]
fn float(open: u64) -> f64 {
    open as f64
}

fn describe() {
    let counters = [
        ("connections_accepted", "Connections accepted."),
        ("handshakes_failed", "TLS handshakes failed, by reason."),
        ("requests", "Requests whose head has come in, by protocol."),
        (
            "requests_cut",
            "Requests not answered to the last byte when their connection ended, by its cause.",
        ),
        (
            "connections_ended",
            "Connections ended after their handshake, by cause and outcome.",
        ),
    ];
    for (name, text) in counters {
        describe_counter!(format!("graceful_tls_{name}_total"), Unit::Count, text);
    }
    let histograms = [
        ("handshake", "TLS handshakes that did not fail."),
        (
            "connection",
            "Connections, from the end of their handshake on.",
        ),
        (
            "drain",
            "Ends of connections: flush, close_notify, FIN and drain.",
        ),
        ("shutdown", "Shutdowns, until every connection has ended."),
    ];
    for (name, text) in histograms {
        let name = format!("graceful_tls_{name}_duration_seconds");
        describe_histogram!(name, Unit::Seconds, text);
    }
}

fn describe_record() {
    describe_gauge!(
        "graceful_tls_connections",
        Unit::Count,
        "Open connections, by state."
    );
    describe_gauge!(
        "graceful_tls_requests_in_flight",
        Unit::Count,
        "Requests begun and not answered to the last byte."
    );
    describe_gauge!(
        "graceful_tls_phase",
        Unit::Count,
        "1 for the phase of the shutdown that it is, 0 for the others."
    );
    describe_counter!(
        "graceful_tls_connections_refused_total",
        Unit::Count,
        "Clients refused before their handshake."
    );
    describe_counter!(
        "graceful_tls_received_bytes_total",
        Unit::Bytes,
        "Bytes received, as TLS records."
    );
    describe_counter!(
        "graceful_tls_sent_bytes_total",
        Unit::Bytes,
        "Bytes sent, as TLS records."
    );
}
