//! What an attempt without an answer came to: refused, and free to be sent again, or lost.
//!
//! A client may send a request again on its own
//!
//! * if it knows that none of it was processed: it was never sent; or a GOAWAY names a lower last
//!   stream, or the stream was reset with REFUSED_STREAM (RFC 9113 6.8, 8.7),
//! * or if its method is idempotent, and no byte of an answer had come when the connection ended
//!   (RFC 9110 9.2.2, RFC 9112 9.3.1).
//!
//! A POST on an HTTP/1.1 connection that ends without an answer may have been processed: it is
//! lost, even if the server says goodbye properly. So is every request on a connection that was
//! reset, whatever its method: the RST may have destroyed the answer.

use std::error::Error;

use http::Request;
use hyper::client::conn::TrySendError;

use crate::{
    mix::{Body, Kind},
    wire::{Mark, Wire},
};

/// What became of one attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Attempt {
    /// The whole answer came, and it was the right one.
    Answered,
    /// Not processed, or idempotent and unanswered: it is sent again.
    Refused(Refusal),
    /// Why.
    Lost(String),
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Refusal {
    /// ECONNREFUSED.
    Connect,
    /// The connection ended before the handshake did.
    Handshake,
    /// The connection ended before a byte of the request was sent.
    Unsent,
    GoAway,
    RefusedStream,
    /// The connection ended without an answer, and the method is idempotent.
    Idempotent,
}

impl Refusal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connection refused",
            Self::Handshake => "ended in the handshake",
            Self::Unsent => "ended before it was sent",
            Self::GoAway => "GOAWAY",
            Self::RefusedStream => "REFUSED_STREAM",
            Self::Idempotent => "ended unanswered, idempotent",
        }
    }
}

/// The verdict on an attempt that failed before a byte of its answer came.
pub(crate) fn of(
    error: &TrySendError<Request<Body>>,
    wire: &Wire,
    mark: Mark,
    kind: &Kind,
) -> Attempt {
    // hyper gives a message back that it has not begun to send.
    if error.message().is_some() || !wire.has_sent_since(mark) {
        return Attempt::Refused(Refusal::Unsent);
    }
    if let Some(refusal) = http2_refusal(error.error()) {
        return Attempt::Refused(refusal);
    }
    let cause = cause(error.error());
    if wire.is_reset() {
        return Attempt::Lost(format!("reset: {cause}"));
    }
    // In HTTP/2 what has come may belong to other streams; of this one it was not the head.
    let silent = http2(kind) || !wire.has_received_since(mark);
    match wire.has_ended() && silent && kind.method.is_idempotent() {
        true => Attempt::Refused(Refusal::Idempotent),
        false => Attempt::Lost(format!("no answer: {cause}")),
    }
}

fn http2(kind: &Kind) -> bool {
    kind.protocol == crate::mix::Protocol::Http2
}

/// h2 gives the GOAWAY as the error of the streams above its last one, and of no other.
fn http2_refusal(error: &hyper::Error) -> Option<Refusal> {
    let h2 = error.source()?.downcast_ref::<h2::Error>()?;
    let refused = h2.reason() == Some(h2::Reason::REFUSED_STREAM);
    match h2.is_remote() {
        true if h2.is_go_away() => Some(Refusal::GoAway),
        true if h2.is_reset() && refused => Some(Refusal::RefusedStream),
        _ => None,
    }
}

/// The innermost reason.
pub(crate) fn cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
