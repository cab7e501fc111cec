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
//!     .serve_with_incoming_shutdown(tls.incoming(tcp), tls.drained())
//!     .await?;
//! let report = tls.closed().await;
//! # Ok(()) }
//! ```
//!
//! Calls in flight finish when the server drains. What is left at the deadline is ended with the
//! connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::tonic::transport::server::Connected;
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Incoming;
use crate::{accept::Accept, connection::TlsConnection, stream::GracefulStream};

/// It ends with the last connection: tonic takes the end for a shutdown of its own.
impl<A: Accept + Unpin> Stream for Incoming<A> {
    type Item = io::Result<GracefulStream<A::Io>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match ready!(this.poll_next(cx)) {
            Some(stream) => Poll::Ready(Some(stream)),
            None => this.draining.as_mut().poll(cx).map(|()| None),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connected for GracefulStream<IO> {
    type ConnectInfo = TlsConnection;

    fn connect_info(&self) -> TlsConnection {
        self.connection().clone()
    }
}
