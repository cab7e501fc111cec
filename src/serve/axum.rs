//! `axum::serve`: a listener, the connection's record as connect-info, and an extractor.
//!
//! ```no_run
//! # use axum::Router;
//! # use graceful_tls::{GracefulTls, GracefulTlsLayer, TlsConnection};
//! # async fn f(tls: GracefulTls, tcp: tokio::net::TcpListener, app: Router) -> std::io::Result<()> {
//! let app = app
//!     .layer(GracefulTlsLayer)
//!     .into_make_service_with_connect_info::<TlsConnection>();
//! axum::serve(tls.listener(tcp), app)
//!     .with_graceful_shutdown(tls.drained())
//!     .await?;
//! let report = tls.closed().await;
//! # Ok(()) }
//! ```
//!
//! axum has no deadline of its own: the stream enforces ours. Put the layer on last, around every
//! route: what it does not see is not told of the shutdown by `Connection: close`.

use std::{convert::Infallible, fmt, io, net::SocketAddr};

use ::axum::{
    extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts, connect_info::Connected},
    serve::{IncomingStream, Listener},
};
use http::{StatusCode, request::Parts};

use super::Incoming;
use crate::{
    accept::Accept, connection::TlsConnection, graceful_tls::GracefulTls, stream::GracefulStream,
};

/// A listener for `axum::serve`. Made by [`GracefulTls::listener`].
///
/// It never waits for a handshake to accept the next connection, and survives accept errors such
/// as running out of descriptors, which it logs.
pub struct TlsListener<A: Accept> {
    incoming: Incoming<A>,
}

/// The address of one end of a connection; `None` where the transport has none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Address(pub Option<SocketAddr>);

impl GracefulTls {
    /// TLS on `listener`, for `axum::serve`. See the [module](mod@crate::axum).
    pub fn listener<A: Accept>(&self, listener: A) -> TlsListener<A> {
        TlsListener {
            incoming: self.incoming(listener),
        }
    }
}

impl<A: Accept> Listener for TlsListener<A> {
    type Io = GracefulStream<A::Io>;
    type Addr = Address;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.incoming.next().await {
            Ok(Some(stream)) => {
                let remote = Address(stream.connection().remote_addr());
                (stream, remote)
            }
            // The error has been logged. There is no way to tell axum, nor anything left to do
            // but wait for the shutdown.
            Err(_) | Ok(None) => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Address(self.incoming.local_addr()))
    }
}

impl<A: Accept> Connected<IncomingStream<'_, TlsListener<A>>> for TlsConnection {
    fn connect_info(stream: IncomingStream<'_, TlsListener<A>>) -> Self {
        stream.io().connection().clone()
    }
}

/// Answers `500 Internal Server Error` where the server puts no [`TlsConnection`] into requests.
impl<S: Sync> FromRequestParts<S> for TlsConnection {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        find(parts).ok_or((
            StatusCode::INTERNAL_SERVER_ERROR,
            "no TlsConnection: is the service made with \
             into_make_service_with_connect_info::<TlsConnection>()?\n",
        ))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for TlsConnection {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(find(parts))
    }
}

fn find(parts: &Parts) -> Option<TlsConnection> {
    let extensions = &parts.extensions;
    let info = || extensions.get::<ConnectInfo<TlsConnection>>();
    let found = extensions.get::<TlsConnection>();
    found.or_else(|| info().map(|info| &info.0)).cloned()
}

impl<A: Accept> fmt::Debug for TlsListener<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsListener")
            .field("incoming", &self.incoming)
            .finish_non_exhaustive()
    }
}
