//! The Tower layer: tells the stream what the exchange is doing.
//!
//! The stream under TLS sees bytes. It can't know whether a request is being worked on, nor
//! whether the answer on its way ends with a length, with a last chunk, or only with the
//! connection. This layer does, and writes it into the connection's [`TlsConnection`], which it
//! finds in the request's extensions:
//!
//! * `service` counts the exchange and finds the connection,
//! * `future` works out the framing hyper will use once there is a response (`framing`), and adds
//!   `Connection: close` while the server shuts down,
//! * `body` keeps the exchange counted until the last frame is handed over; a gRPC answer that the
//!   deadline cuts ends with a status (`last_call`).
//!
//! Put it outermost, around everything that changes an answer's length. Applied twice, the inner
//! one is inert. Without a [`TlsConnection`] (plain HTTP, a test) it passes everything through.
//!
//! [`TlsConnection`]: crate::TlsConnection

mod body;
mod framing;
mod future;
mod last_call;
mod service;

use tower_layer::Layer;

pub use self::{body::GracefulTlsBody, future::GracefulTlsFuture, service::GracefulTlsService};
pub(crate) use self::{framing::RequestLine, service::begin_on};

/// [`Layer`] that tells the TLS stream what the exchange is doing.
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
