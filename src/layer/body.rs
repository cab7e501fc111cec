//! Response body of [`GracefulTlsLayer`](super::GracefulTlsLayer): keeps the exchange in flight.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::last_call::LastCall;
use crate::connection::Exchange;

pin_project! {
    /// Response body of [`GracefulTlsService`](super::GracefulTlsService).
    ///
    /// The exchange counts as in flight until this is dropped, which hyper does once it has taken
    /// the last frame. An error is no end: what it cut short shows in how hyper then ends the
    /// connection.
    #[derive(Debug)]
    pub struct GracefulTlsBody<B> {
        #[pin]
        inner: B,
        exchange: Option<Exchange>,
        grpc: bool,
        last_call: Option<LastCall>,
        ended: bool,
    }
}

impl<B> GracefulTlsBody<B> {
    #[inline]
    pub(crate) fn new(inner: B, exchange: Option<Exchange>, grpc: bool) -> Self {
        Self {
            inner,
            exchange,
            grpc,
            last_call: None,
            ended: false,
        }
    }
}

impl<B: Body> Body for GracefulTlsBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        if let Some(exchange) = this.exchange {
            exchange.set_held(false);
        }
        if *this.ended {
            return Poll::Ready(None);
        }
        let frame = match this.inner.poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending if !*this.grpc => return Poll::Pending,
            Poll::Pending => {
                let Some(exchange) = this.exchange else {
                    return Poll::Pending;
                };
                // An answer that never has to wait, as most unary ones, needs no last call.
                let call = this
                    .last_call
                    .get_or_insert_with(|| LastCall::new(exchange));
                let trailers = ready!(call.poll(cx));
                *this.ended = true;
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
        };
        match (this.exchange, &frame) {
            // The frame is hyper's now. Until it asks for the next one, the peer's HTTP/2 window
            // is what it waits for.
            (Some(exchange), Some(Ok(_))) => exchange.set_held(true),
            (Some(exchange), Some(Err(_))) => exchange.set_cut(),
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    #[test]
    fn forwards_what_hyper_frames_by() {
        let body = GracefulTlsBody::new(Full::new(Bytes::from("four")), None, false);
        assert_eq!(body.size_hint().exact(), Some(4));
        assert!(!body.is_end_stream());

        let body = GracefulTlsBody::new(http_body_util::Empty::<Bytes>::new(), None, false);
        assert!(body.is_end_stream());
    }
}
