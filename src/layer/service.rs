//! Service of [`GracefulTlsLayer`](super::GracefulTlsLayer): counts the exchange.

use std::{
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{GracefulTlsBody, GracefulTlsFuture, framing::RequestLine};
use crate::connection::{Exchange, TlsConnection};

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
    ReqBody: Body,
    ResBody: Body,
{
    type Response = Response<GracefulTlsBody<ResBody>>;
    type Error = S::Error;
    type Future = GracefulTlsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let line = RequestLine::of(&request);
        let exchange = begin(&mut request, line);
        GracefulTlsFuture::new(self.inner.call(request), line, exchange)
    }
}

/// Counts the exchange, unless there is no connection to count it for, or it is counted already.
fn begin<B: Body>(request: &mut Request<B>, line: RequestLine) -> Option<Exchange> {
    let connection = find(request)?;
    if connection.track() {
        return None;
    }
    let connection = connection.clone();
    Some(begin_on(connection, line, request))
}

/// The connection that the server has put into the request.
fn find<B>(request: &mut Request<B>) -> Option<&mut TlsConnection> {
    #[cfg(feature = "axum")]
    if request.extensions().get::<TlsConnection>().is_none() {
        let info = request.extensions_mut().get_mut();
        return info.map(|::axum::extract::ConnectInfo(connection)| connection);
    }
    request.extensions_mut().get_mut()
}

/// Counts an exchange on `connection`.
#[inline]
pub(crate) fn begin_on<B: Body>(
    connection: TlsConnection,
    line: RequestLine,
    request: &Request<B>,
) -> Exchange {
    let layered = &connection.server().layered;
    if !layered.load(Ordering::Relaxed) {
        layered.store(true, Ordering::Relaxed);
    }
    // What an HTTP/2 request still owes its stream knows.
    let upload = !line.is_http2() && !request.body().is_end_stream();
    connection.begin(line.is_http2(), upload)
}
