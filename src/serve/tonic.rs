//! tonic: a stream of connections, and the connection's record as connect-info.
//!
//! ```no_run
//! # use graceful_tls::{GracefulTls, GracefulTlsLayer};
//! # async fn f<S>(tls: GracefulTls, tcp: tokio::net::TcpListener, service: S)
//! # -> Result<(), Box<dyn std::error::Error>>
//! # where S: tower_service::Service<http::Request<tonic::body::Body>,
//! #     Response = http::Response<tonic::body::Body>, Error = std::convert::Infallible>
//! #     + tonic::server::NamedService + Clone + Send + Sync + 'static, S::Future: Send {
//! tonic::transport::Server::builder()
//!     .layer(GracefulTlsLayer)
//!     .add_service(service)
//!     .serve_with_incoming_shutdown(tls.incoming(tcp), tls.draining())
//!     .await?;
//! let report = tls.closed().await;
//! # Ok(()) }
//! ```
//!
//! Calls in flight finish when the server drains. What is left at the deadline is ended with the
//! connection.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use ::tonic::transport::server::Connected;
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite};

use super::streams::Streams;
use crate::{
    accept::Accept, builder::GracefulTls, connection::TlsConnection, stream::GracefulStream,
};

/// Connections for `serve_with_incoming_shutdown`. Made by [`GracefulTls::incoming`].
///
/// It never waits for a handshake to accept the next connection, and survives accept errors such
/// as running out of descriptors, which it logs. It ends when the server stops accepting.
pub struct TlsIncoming<A: Accept> {
    streams: Streams<A>,
}

impl GracefulTls {
    /// TLS on `listener`, for tonic. See the [module](mod@crate::tonic).
    pub fn incoming<A: Accept>(&self, listener: A) -> TlsIncoming<A> {
        TlsIncoming {
            streams: Streams::new(listener, self.acceptor()),
        }
    }
}

impl<A: Accept + Unpin> Stream for TlsIncoming<A> {
    type Item = io::Result<GracefulStream<A::Io>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().streams.receiver().poll_recv(cx)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connected for GracefulStream<IO> {
    type ConnectInfo = TlsConnection;

    fn connect_info(&self) -> TlsConnection {
        self.connection().clone()
    }
}

impl<A: Accept> fmt::Debug for TlsIncoming<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIncoming").finish_non_exhaustive()
    }
}
