//! Response future of [`GracefulTlsLayer`](super::GracefulTlsLayer): works out the framing.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Response, StatusCode, header::CONNECTION};
use http_body::Body;
use pin_project_lite::pin_project;

use super::{
    GracefulTlsBody,
    framing::{Framing, RequestLine},
    last_call::is_grpc,
};
use crate::connection::Exchange;

pin_project! {
    /// Response future of [`GracefulTlsService`](super::GracefulTlsService).
    #[derive(Debug)]
    pub struct GracefulTlsFuture<F> {
        #[pin]
        inner: F,
        line: RequestLine,
        exchange: Option<Exchange>,
    }
}

impl<F> GracefulTlsFuture<F> {
    #[inline]
    pub(crate) fn new(inner: F, line: RequestLine, exchange: Option<Exchange>) -> Self {
        Self {
            inner,
            line,
            exchange,
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
        let exchange = this.exchange.take();
        if let (Some(exchange), Err(_)) = (&exchange, &response) {
            exchange.set_cut();
        }
        let mut response = response?;
        let mut grpc = false;
        if let Some(exchange) = &exchange {
            begin_answer(*this.line, &mut response, exchange);
            // gRPC is HTTP/2 only, and its answers have no length.
            grpc = cfg!(feature = "tonic")
                && this.line.is_http2()
                && response.body().size_hint().exact().is_none()
                && is_grpc(&response);
        }
        Poll::Ready(Ok(
            response.map(|body| GracefulTlsBody::new(body, exchange, grpc))
        ))
    }
}

/// Tells the stream how the answer will end, and the peer whether it is the last one.
fn begin_answer<B: Body>(line: RequestLine, response: &mut Response<B>, exchange: &Exchange) {
    let connection = exchange.connection();
    match line.framing(response) {
        Framing::Framed => {}
        Framing::CloseDelimited => connection.set_close_delimited(),
        Framing::FramedTunnel => connection.set_tunnel(),
        Framing::Tunnel => {
            connection.set_tunnel();
            connection.set_close_delimited();
        }
    }
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if !line.is_http2() && !switches && connection.is_last() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
