//! Service of [`GracefulTlsLayer`](super::GracefulTlsLayer): finds the connection.

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;
use tracing::Span;

use super::{GracefulTlsBody, GracefulTlsFuture, future::Asked, introduce};
use crate::connection::{TlsConnection, Tracking};

/// Service produced by [`GracefulTlsLayer`](super::GracefulTlsLayer).
#[derive(Clone, Copy, Debug)]
pub struct GracefulTlsService<S> {
    inner: S,
}

impl<S> GracefulTlsService<S> {
    /// Wraps `inner`; most uses go through the layer.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The wrapped service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for GracefulTlsService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body + 'static,
{
    type Response = Response<GracefulTlsBody<ResBody>>;
    type Error = S::Error;
    type Future = GracefulTlsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let connection = find::<ResBody, _>(&mut request);
        let asked = Asked::new(&request, connection.as_ref());
        if let Some(connection) = connection.as_ref().filter(|of| of.is_watched()) {
            return watched(&mut self.inner, request, asked, connection);
        }
        let connection = connection.map(Tracking::none);
        GracefulTlsFuture::new(self.inner.call(request), asked, connection)
    }
}

/// Calls `service` with a request that somebody watches: what it logs falls under the connection's span,
/// and the request is known by its name.
#[cold]
#[inline(never)]
pub(crate) fn watched<S: Service<Request<B>>, B>(
    service: &mut S,
    request: Request<B>,
    asked: Asked,
    connection: &TlsConnection,
) -> GracefulTlsFuture<S::Future> {
    let tracking = Tracking::new(connection.clone(), &request);
    let _entered = connection.span().map(Span::enter);
    GracefulTlsFuture::new(service.call(request), asked, Some(tracking))
}

/// The connection of a request that no layer has seen before.
fn find<R: 'static, B>(request: &mut Request<B>) -> Option<TlsConnection> {
    let connection = carried(request)?;
    if connection.see_layer() {
        return None;
    }
    let connection = connection.clone();
    if connection.context().settings.connect_info {
        introduce::<R, B>(request, &connection);
    }
    Some(connection)
}

/// The connection that the server has put into the request.
fn carried<B>(request: &mut Request<B>) -> Option<&mut TlsConnection> {
    #[cfg(feature = "axum")]
    if request.extensions().get::<TlsConnection>().is_none() {
        let info = request.extensions().get();
        let ::axum::extract::ConnectInfo(connection) = info?;
        let connection = TlsConnection::clone(connection);
        request.extensions_mut().insert(connection);
    }
    request.extensions_mut().get_mut()
}
