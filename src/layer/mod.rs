//! The Tower layer: what only HTTP can say about the end of a connection.
//!
//! The stream reads for itself what is in flight and how answers end. Two things it can't do are
//! done here, with the connection's [`TlsConnection`], found in the request's extensions:
//!
//! * `future` adds `Connection: close` to HTTP/1 answers while the server shuts down, so that a
//!   client learns with its answer not to send another request (RFC 9112 9.6),
//! * `body` ends a gRPC answer that the deadline would cut with a status (`last_call`).
//!
//! `service` finds the connection, and `introduce` tells the request what a framework's handlers ask
//! for of it. What a handler logs falls under the span of its connection. Applied twice, the inner one is inert. Without a
//! [`TlsConnection`] (plain HTTP, a test) it passes everything through.
//!
//! [`TlsConnection`]: crate::TlsConnection

mod body;
mod future;
mod introduce;
mod last_call;
mod service;

use tower_layer::Layer;

pub use self::{body::GracefulTlsBody, future::GracefulTlsFuture, service::GracefulTlsService};
pub(crate) use self::{future::Asked, introduce::introduce, service::watched};

/// [`Layer`] that tells the clients of a TLS server when it shuts down.
///
/// [`GracefulTls::serve`](crate::GracefulTls::serve) applies it by itself; applying it once more
/// does no harm.
#[derive(Clone, Copy, Debug, Default)]
pub struct GracefulTlsLayer;

impl<S> Layer<S> for GracefulTlsLayer {
    type Service = GracefulTlsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GracefulTlsService::new(inner)
    }
}
