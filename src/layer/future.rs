//! Response future of [`GracefulTlsLayer`](super::GracefulTlsLayer): marks the last answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{
    HeaderName, HeaderValue, Response, StatusCode, Version,
    header::{CONNECTION, Entry},
};
use http_body::Body;
use pin_project_lite::pin_project;

use super::{GracefulTlsBody, last_call::is_grpc};
use crate::connection::TlsConnection;

pin_project! {
    /// Response future of [`GracefulTlsService`](super::GracefulTlsService).
    #[derive(Debug)]
    pub struct GracefulTlsFuture<F> {
        #[pin]
        inner: F,
        version: Version,
        connection: Option<TlsConnection>,
    }
}

impl<F> GracefulTlsFuture<F> {
    #[inline]
    pub(crate) fn new(inner: F, version: Version, connection: Option<TlsConnection>) -> Self {
        Self {
            inner,
            version,
            connection,
        }
    }
}

impl<F, B, E> Future for GracefulTlsFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<GracefulTlsBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx));
        let mut response = response?;
        let connection = this
            .connection
            .take()
            .filter(|connection| match *this.version {
                // gRPC is HTTP/2 only, and its answers have no length.
                Version::HTTP_2 => {
                    cfg!(feature = "tonic")
                        && response.body().size_hint().exact().is_none()
                        && is_grpc(&response)
                }
                version => {
                    tell_client(&mut response, version, connection);
                    false
                }
            });
        Poll::Ready(Ok(
            response.map(|body| GracefulTlsBody::new(body, connection))
        ))
    }
}

/// Tells an HTTP/1 client what becomes of its connection: no further request is answered (RFC 9112
/// 9.6), or, where the server announces it, for how long one is awaited.
fn tell_client<B>(response: &mut Response<B>, version: Version, connection: &TlsConnection) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    if connection.is_last() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    } else if let Some(announced) = connection.keep_alive_header() {
        if version == Version::HTTP_11 {
            announce(response, announced);
        }
    }
}

/// A field about the connection is to be named in `Connection` (RFC 9110 7.6.1). Where the handler
/// has something else to say there, it is left alone.
#[cold]
fn announce<B>(response: &mut Response<B>, announced: &HeaderValue) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    if let Entry::Vacant(entry) = response.headers_mut().entry(CONNECTION) {
        entry.insert(HeaderValue::from_static("keep-alive"));
        response.headers_mut().insert(KEEP_ALIVE, announced.clone());
    }
}
