//! Response future of [`GracefulTlsLayer`](super::GracefulTlsLayer): marks the last answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Response, StatusCode, header::CONNECTION};
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
        http2: bool,
        connection: Option<TlsConnection>,
    }
}

impl<F> GracefulTlsFuture<F> {
    #[inline]
    pub(crate) fn new(inner: F, http2: bool, connection: Option<TlsConnection>) -> Self {
        Self {
            inner,
            http2,
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
            .filter(|connection| match this.http2 {
                // gRPC is HTTP/2 only, and its answers have no length.
                true => {
                    cfg!(feature = "tonic")
                        && response.body().size_hint().exact().is_none()
                        && is_grpc(&response)
                }
                false => {
                    mark_last(&mut response, connection);
                    false
                }
            });
        Poll::Ready(Ok(
            response.map(|body| GracefulTlsBody::new(body, connection))
        ))
    }
}

/// Tells an HTTP/1 peer that no further request is answered, if that is so.
fn mark_last<B>(response: &mut Response<B>, connection: &TlsConnection) {
    if connection.is_last() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
