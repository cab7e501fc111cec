//! Response body of [`GracefulTlsLayer`](super::GracefulTlsLayer): ends a gRPC answer before it is cut.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::last_call::LastCall;
use crate::connection::TlsConnection;

pin_project! {
    /// Response body of [`GracefulTlsService`](super::GracefulTlsService).
    #[derive(Debug)]
    pub struct GracefulTlsBody<B> {
        #[pin]
        inner: B,
        // Of a gRPC answer.
        connection: Option<TlsConnection>,
        last_call: Option<LastCall>,
        ended: bool,
    }
}

impl<B> GracefulTlsBody<B> {
    /// `connection` is given for gRPC answers alone.
    #[inline]
    pub(crate) fn new(inner: B, connection: Option<TlsConnection>) -> Self {
        Self {
            inner,
            connection,
            last_call: None,
            ended: false,
        }
    }
}

#[cfg(feature = "axum")]
impl<B> GracefulTlsBody<B> {
    /// What is inside, where there is nothing to do to it.
    pub(crate) fn unwrapped(self) -> Result<B, Self> {
        match self.connection {
            None => Ok(self.inner),
            Some(_) => Err(self),
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
        if *this.ended {
            return Poll::Ready(None);
        }
        let frame = this.inner.poll_frame(cx);
        let (Poll::Pending, Some(connection)) = (&frame, this.connection) else {
            return frame;
        };
        // An answer that never has to wait, as most unary ones, needs no last call.
        let call = this
            .last_call
            .get_or_insert_with(|| LastCall::new(connection.context()));
        let trailers = ready!(call.poll(cx));
        *this.ended = true;
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
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
        let body = GracefulTlsBody::new(Full::new(Bytes::from("four")), None);
        assert_eq!(body.size_hint().exact(), Some(4));
        assert!(!body.is_end_stream());

        let body = GracefulTlsBody::new(http_body_util::Empty::<Bytes>::new(), None);
        assert!(body.is_end_stream());
    }
}
