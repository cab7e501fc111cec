//! Response body of [`GracefulTlsLayer`](super::GracefulTlsLayer): ends a gRPC answer before it is cut.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tracing::Span;

use super::last_call::LastCall;
use crate::connection::Tracking;

pin_project! {
    /// Response body of [`GracefulTlsService`](super::GracefulTlsService).
    #[derive(Debug)]
    pub struct GracefulTlsBody<B> {
        #[pin]
        inner: B,
        // Of a gRPC answer, and where somebody watches. Dropped after it.
        connection: Option<Tracking>,
        is_grpc: bool,
        last_call: Option<LastCall>,
        ended: bool,
    }

    impl<B> PinnedDrop for GracefulTlsBody<B> {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            if let Some(tracking) = this.project().connection {
                tracking.enter_for_drop();
            }
        }
    }
}

impl<B> GracefulTlsBody<B> {
    /// `connection` is given for gRPC answers, and where it is watched.
    #[inline]
    pub(crate) fn new(inner: B, connection: Option<Tracking>, is_grpc: bool) -> Self {
        Self {
            inner,
            connection,
            is_grpc,
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
        // Most have nothing that anything has to be done for.
        match self.connection.is_some() {
            false => self.project().inner.poll_frame(cx),
            true => self.poll_watching(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

impl<B: Body> GracefulTlsBody<B> {
    #[inline(never)]
    fn poll_watching(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B> {
        let this = self.project();
        let Some(tracking) = this.connection.as_ref().filter(|_| !*this.ended) else {
            return Poll::Ready(None);
        };
        let entered = tracking.connection().span().map(Span::enter);
        let frame = this.inner.poll_frame(cx);
        drop(entered);
        if frame.is_ready() || !*this.is_grpc {
            return frame;
        }
        // An answer that never has to wait, as most unary ones, needs no last call.
        let call = this
            .last_call
            .get_or_insert_with(|| LastCall::new(tracking.connection().context()));
        let trailers = ready!(call.poll(cx));
        *this.ended = true;
        tracking.note_last_call();
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
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
