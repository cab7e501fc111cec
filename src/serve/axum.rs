//! `axum::serve`: a listener, a service that knows its connection, and an extractor.
//!
//! ```no_run
//! # use axum::Router;
//! # use graceful_tls::GracefulTls;
//! # async fn f(tls: GracefulTls, tcp: tokio::net::TcpListener, app: Router) -> std::io::Result<()> {
//! axum::serve(tls.listener(tcp), tls.service(app))
//!     .with_graceful_shutdown(tls.drained())
//!     .await?;
//! let report = tls.closed().await;
//! # Ok(()) }
//! ```
//!
//! Handlers take the connection as an argument of type [`TlsConnection`], or `Option` of it, and the
//! client's address as `ConnectInfo<SocketAddr>`.
//!
//! axum has no deadline of its own: the stream enforces ours. Without `with_graceful_shutdown` it does not
//! return when the shutdown is over, and the log says so. Without
//! [`service`](GracefulTls::service), `app.layer(GracefulTlsLayer)` and
//! `into_make_service_with_connect_info::<TlsConnection>()` do the same in two steps; what the layer
//! does not see is not told of the shutdown by `Connection: close`.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, Ready, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};

use ::axum::{
    body::Body,
    extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts, connect_info::Connected},
    response::IntoResponse,
    serve::{IncomingStream, Listener},
};
use http::{Request, Response, StatusCode, request::Parts};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Incoming, Layered};
use crate::{
    accept::Accept,
    connection::TlsConnection,
    graceful_tls::GracefulTls,
    layer::{GracefulTlsBody, GracefulTlsFuture},
    stream::GracefulStream,
};

/// A listener for `axum::serve`. Made by [`GracefulTls::listener`].
///
/// It never waits for a handshake to accept the next connection, and survives accept errors such
/// as running out of descriptors, which it logs.
pub struct TlsListener<A: Accept> {
    incoming: Incoming<A>,
    tls: GracefulTls,
}

/// How long axum may take to hear that it should stop.
const TO_STOP: Duration = Duration::from_secs(1);

/// The address of one end of a connection; `None` where the transport has none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Address(pub Option<SocketAddr>);

impl GracefulTls {
    /// TLS on `listener`, for `axum::serve`. See the [module](mod@crate::serve::axum).
    pub fn listener<A: Accept>(&self, listener: A) -> TlsListener<A> {
        TlsListener {
            incoming: self.incoming(listener),
            tls: self.clone(),
        }
    }

    /// `app` for `axum::serve`, around every route: its answers tell clients when the server shuts
    /// down, and its handlers find their connection. See the [module](mod@crate::serve::axum).
    ///
    /// It takes the place of [`GracefulTlsLayer`](crate::GracefulTlsLayer) and
    /// `into_make_service_with_connect_info`. `app` is a `Router`, or any service that axum serves.
    pub fn service<S>(&self, app: S) -> MakeService<S> {
        MakeService { app }
    }
}

/// Makes the service of each connection. Made by [`GracefulTls::service`].
#[derive(Clone, Copy, Debug)]
pub struct MakeService<S> {
    app: S,
}

impl<A: Accept, S: Clone> Service<IncomingStream<'_, TlsListener<A>>> for MakeService<S> {
    type Response = AppService<S>;
    type Error = Infallible;
    type Future = Ready<Result<AppService<S>, Infallible>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, TlsListener<A>>) -> Self::Future {
        let connection = stream.io().connection().clone();
        ready(Ok(AppService(Layered::new(self.app.clone(), connection))))
    }
}

/// The service of one connection, as `axum::serve` wants it.
#[derive(Clone, Debug)]
pub struct AppService<S>(Layered<S>);

impl<S> Service<Request<Body>> for AppService<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AppFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        AppFuture {
            inner: self.0.call(request),
        }
    }
}

pin_project! {
    /// Response future of [`AppService`].
    #[derive(Debug)]
    pub struct AppFuture<F> {
        #[pin]
        inner: GracefulTlsFuture<F>,
    }
}

impl<F, E> Future for AppFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        self.project()
            .inner
            .poll_answer(cx)
            .map_ok(|(response, connection, is_grpc)| match connection {
                None => response,
                // Of a gRPC answer, and where somebody logs or tracks requests.
                of => response.map(|body| Body::new(GracefulTlsBody::new(body, of, is_grpc))),
            })
    }
}

/// axum drops its listener when it is told to stop; one that has not been told goes on for good.
async fn until_dropped(tls: &GracefulTls) -> ! {
    tls.drained().await;
    tokio::time::sleep(TO_STOP).await;
    tracing::warn!(
        "the shutdown is over, but axum::serve was not told to stop and never returns: give it \
         .with_graceful_shutdown(tls.drained())"
    );
    std::future::pending().await
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
            Err(_) | Ok(None) => until_dropped(&self.tls).await,
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

/// Why a handler gets no [`TlsConnection`]: its request has none. Answers `500 Internal Server Error`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "no TlsConnection: is the app served with GracefulTls::serve, serve_connection, axum_server, or \
     axum::serve(tls.listener(..), tls.service(app))? In a test, put TlsConnection::fake().build() into the \
     request's extensions"
)]
#[non_exhaustive]
pub struct MissingConnection;

impl IntoResponse for MissingConnection {
    fn into_response(self) -> Response<Body> {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{self}\n")).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for TlsConnection {
    type Rejection = MissingConnection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingConnection> {
        find(parts).ok_or(MissingConnection)
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
