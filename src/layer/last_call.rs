//! The end of a gRPC stream that the deadline cuts.
//!
//! A gRPC client learns how a call ended from the trailers. One that is cut off with its
//! connection sees an unknown error, which it may not retry. So a moment before the deadline ends
//! the connections by force, every gRPC answer in flight ends with the status `UNAVAILABLE`, which
//! tells the client to try again elsewhere.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use tokio_util::{sync::WaitForCancellationFutureOwned, task::task_tracker::TaskTrackerToken};

use crate::context::Context as Server;

/// Whether an answer is gRPC. gRPC-Web is not: its trailers are in the body.
pub(crate) fn is_grpc<B>(response: &Response<B>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    content_type
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Waits for the last call, and keeps the deadline waiting for the answer to end.
pub(crate) struct LastCall {
    called: Pin<Box<WaitForCancellationFutureOwned>>,
    _token: TaskTrackerToken,
}

impl LastCall {
    pub(crate) fn new(server: &Server) -> Self {
        Self {
            called: Box::pin(server.phases.last_call.clone().cancelled_owned()),
            _token: server.phases.calls.token(),
        }
    }

    /// The trailers to end with, once it is called.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<HeaderMap> {
        self.called.as_mut().poll(cx).map(|()| {
            let mut trailers = HeaderMap::with_capacity(2);
            // 14 is UNAVAILABLE.
            trailers.insert("grpc-status", HeaderValue::from_static("14"));
            let message = HeaderValue::from_static("the server is shutting down");
            trailers.insert("grpc-message", message);
            trailers
        })
    }
}

impl fmt::Debug for LastCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastCall").finish_non_exhaustive()
    }
}
