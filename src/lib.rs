//! End TLS connections properly, whatever ends them.
//!
//! hyper shuts a connection down only where it ends well. On a time-out, an error, a panic, a
//! cancelled future or a passed deadline it drops the stream, and the client sees a bare FIN or an
//! RST: it can't tell a whole answer from a cut one, and an RST can destroy an answer that was
//! already sent. This crate guarantees that every HTTPS connection of a hyper, axum or tonic
//! server behind rustls
//!
//! * sends **close_notify**, flushed, then the FIN (RFC 9846 6.1, RFC 9112 9.6),
//! * **drains** what the client still sends, within bounds, so that no RST destroys the answer,
//! * **never makes a truncated answer look whole**: where only the end of the connection ends an
//!   answer, and it was cut short, close_notify is withheld (RFC 9112 9.8),
//! * is **let go in bounded time**: no idle client, and none that stops reading, holds a descriptor
//!   for ever,
//!
//! and that a server can be shut down without losing a request.
//!
//! # Example
//!
//! ```
//! use axum::{Router, routing::get};
//! use graceful_tls::{GracefulTls, rustls::ServerConfig};
//!
//! async fn run(mut config: ServerConfig) -> Result<(), Box<dyn std::error::Error>> {
//!     config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
//!     let tls = GracefulTls::new(config)?;
//!     tls.shutdown_on(async { /* SIGTERM, with `signal::terminate()` */ });
//!
//!     let app = Router::new().route("/", get(|| async { "hello\n" }));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//!     let report = tls.serve(listener, app).await?;
//!     println!("{report}");
//!     Ok(())
//! }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use graceful_tls::rustls;
//! # let made = rcgen::generate_simple_self_signed(["localhost".into()])?;
//! # let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
//! # let config = ServerConfig::builder().with_no_client_auth()
//! #     .with_single_cert(vec![made.cert.der().clone()], key)?;
//! # tokio::runtime::Runtime::new()?.block_on(run(config))
//! # }
//! ```
//!
//! The [guide](guide/index.html) has more: how to get here from what you run today, shutdowns behind systemd,
//! Kubernetes and balancers, certificates, testing, limits, and how it works.
//!
//! # How it fits together
//!
//! ```text
//!  TcpListener ─▶ Acceptor ─▶ GracefulStream ─▶ hyper ─▶ GracefulTlsLayer ─▶ your service
//!                handshake     │ ledger                  Connection: close,
//!                              │ lifetime                last call of gRPC
//!                              └ teardown
//!                     └──────── TlsConnection (one a connection) ────┘
//!                                         │
//!                                Context (settings, phase)
//! ```
//!
//! The stream knows what it has to know, and does not guess: which requests are in flight, and how
//! their answers end, the *ledger* reads in the heads of HTTP/1 messages and HTTP/2 frames; what the
//! client has taken the kernel says; and the phase of the shutdown is common to all. By these facts
//! the *lifetime* decides when a connection is over, and the *teardown* how it ends. So the guarantee
//! is the same under every server, with a layer around the service and without.
//!
//! [`GracefulTls`] holds the settings and the shutdown of one server. Its
//! [`serve`](GracefulTls::serve) has everything included; a server that drives its connections
//! itself takes them from [`incoming`](GracefulTls::incoming), or does the handshakes with
//! [`acceptor`](GracefulTls::acceptor), and puts [`GracefulTlsLayer`] around its service.
//! Handlers find [`TlsConnection`] in the extensions of their requests. [`Phase`] says how far a
//! shutdown has come, and [`Report`] how it went. [`shutdown`](GracefulTls::shutdown) is for a server
//! that stops, [`handover`](GracefulTls::handover) for one that another process replaces.
//! [`GracefulTls::stats`] and [`connections`](GracefulTls::connections) say what every connection is doing, and an
//! [`Observer`] is told what happens to each.
//!
//! # What it can't do
//!
#![doc = include_str!("limits.md")]
//!
//! # Features
//!
//! * `pem` (default): `GracefulTls::from_pem_files`, certificates that are read again when they change.
//! * `signal` (default): the `signal` module, shutdown on SIGTERM and Ctrl-C.
//! * `axum`: the `serve::axum` module, a listener and a service for `axum::serve`, and
//!   [`TlsConnection`] as an extractor.
//! * `axum-server`: the `serve::axum_server` module, a server whose handle follows the shutdown.
//! * `tonic`: the `serve::tonic` module, connections for `serve_with_incoming_shutdown`.
//! * `proxy-protocol`: the `proxy_protocol` module, a listener behind a balancer that tells the
//!   clients' addresses.
//! * `restart` (Unix): the `restart` module, a new process takes over and loses no request.
//! * `serde`: `Config` and `Builder::config`, settings from a config file.
//! * `metrics`: the `metrics` module, counters, histograms and gauges on the facade `metrics`.
//! * `tickets`: `TicketKeys` and `Builder::ticket_keys`, sessions that survive a restart or are known to a fleet.
//!
//! The TLS crypto provider is the application's choice: this crate enables none.

// docs.rs says of each item which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The library's alone: tests and benches unwrap, and measure real time.
#![warn(
    missing_docs,
    unreachable_pub,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::unwrap_used
)]

// The README's program compiles.
#[cfg(all(doctest, feature = "pem", feature = "signal"))]
#[doc = include_str!("../README.md")]
struct Readme;

mod accept;
mod acceptor;
mod builder;
mod choice;
#[cfg(feature = "serde")]
mod config;
mod connection;
mod context;
mod departures;
mod ending;
mod gate;
mod graceful_tls;
#[cfg(all(
    any(doc, doctest),
    feature = "axum",
    feature = "axum-server",
    feature = "metrics",
    feature = "pem",
    feature = "proxy-protocol",
    feature = "signal",
    feature = "tickets",
    feature = "tonic"
))]
pub mod guide;
mod handshake_error;
mod handshakes;
mod inline;
mod keepalive;
pub mod layer;
mod ledger;
mod lifetime;
#[cfg(feature = "metrics")]
pub mod metrics;
mod named;
mod observe;
mod pace;
#[cfg(feature = "pem")]
mod pem;
mod phase;
mod register;
#[cfg(all(unix, feature = "restart"))]
pub mod restart;
mod room;
pub mod serve;
mod server;
mod settings;
mod shutdown;
mod sparing;
mod stats;
mod stream;
mod tally;
mod teardown;
#[cfg(feature = "tickets")]
mod tickets;
mod traffic;
mod transport;
#[cfg(any(feature = "pem", feature = "tickets"))]
mod watched;

#[cfg(feature = "signal")]
pub use shutdown::signal;

#[cfg(feature = "_simulation")]
#[doc(hidden)]
pub use transport::simulated;

#[cfg(feature = "proxy-protocol")]
pub use accept::proxy_protocol;
pub use accept::{Accept, InMemory, InMemoryConnector, Preface, PrefaceInfo, Reading, in_memory};
pub use acceptor::Acceptor;
pub use builder::Builder;
pub use choice::Refusal;
#[cfg(feature = "serde")]
pub use config::{Config, DrainConfig, TcpKeepaliveConfig, TcpKeepaliveSwitch};
pub use connection::{
    ConnectionStats, FakeConnection, Protocol, State, TlsConnection, TrackedRequest, WaitsFor,
};
pub use ending::{Cause, Outcome};
pub use gate::Admission;
pub use graceful_tls::GracefulTls;
pub use handshake_error::HandshakeError;
pub use inline::Executor;
pub use keepalive::TcpKeepalive;
pub use layer::GracefulTlsLayer;
pub use observe::{Cut, Ended, HandshakeFailed, Observer};
#[cfg(feature = "pem")]
pub use pem::{PemError, PemFiles};
pub use phase::Phase;
pub use serve::Incoming;
pub use settings::{BuildError, Drain, PlainHttp};
pub use shutdown::{ListenerReport, Report, Trigger};
pub use stats::{EndedCount, Stats};
pub use stream::GracefulStream;
#[cfg(feature = "tickets")]
pub use tickets::{ExportedTicketKeys, TicketKeys, TicketKeysError};
/// The rustls that this crate is made with: its types are in the public API.
pub use tokio_rustls::rustls;
