//! How a connection ends: notify, half-close, drain, close.
//!
//! ```text
//!            flushed              half-closed              peer closed, or a bound
//! Flushing ───────────▶ HalfClosing ───────────▶ Draining ───────────────────────▶ Closed
//!    │                       │                       ▲
//!    │ no progress, error    │ error                 └ skipped when the peer has
//!    └───────────────────────┴──────▶ Closed           closed its side already
//! ```
//!
//! * **Flushing** writes what rustls still holds: the rest of the answer, then close_notify
//!   (RFC 8446 6.1), which is queued before the machine starts unless it must be withheld.
//! * **HalfClosing** sends the FIN. Closing the descriptor now would send an RST if anything the
//!   peer sent is unread, and an RST destroys what the peer has not read yet (RFC 9112 9.6).
//! * **Draining** reads and discards until the peer's close_notify or FIN, within bounds.
//!
//! `machine` knows the rules and does no IO; `driver` does the IO and knows no rules; `seats` caps
//! how many connections drain at once.

mod driver;
mod machine;
mod seats;

pub(crate) use driver::Teardown;
pub(crate) use machine::{Action, Bounds, Machine};
pub(crate) use seats::{Seat, Seats};

/// Why a connection began to end.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// The HTTP server shut the stream down after the last byte of its last answer.
    Orderly,
    /// The stream was dropped: a protocol error, a cancelled future, an upgraded tunnel let go.
    Dropped,
    /// The stream was dropped by a panicking task.
    Panicked,
    /// The peer closed or reset the connection while something was in flight.
    Abandoned,
    /// Nothing was in flight for the keep-alive time-out.
    Idle,
    /// A write made no progress for the write time-out.
    Stalled,
    /// The shutdown deadline passed.
    Deadline,
    /// The TLS handshake failed, stalled, or was none.
    Handshake,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Everything was sent and the peer closed its side in time.
    Clean,
    /// Everything was sent; the peer neither sent anything nor closed until the time was up.
    PeerSilent,
    /// Everything was sent; the peer went on sending past the drain's bound of time or bytes, or
    /// the connection gave its place to a newer one.
    DrainCut,
    /// An answer, or a request being received, was cut short.
    Truncated,
    /// The peer reset the connection or took no more bytes, so not everything could be sent.
    Aborted,
}
