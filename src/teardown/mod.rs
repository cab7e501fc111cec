//! How a connection ends: notify, half-close, drain, close.
//!
//! ```text
//!            flushed              half-closed              peer closed, or a bound
//! Flushing ───────────▶ HalfClosing ───────────▶ Draining ───────────────────────▶ Closed
//!    │                       │                       ▲
//!    │ no progress, error    │ error                 └ short when the peer has
//!    └───────────────────────┴──────▶ Closed           closed its side already
//! ```
//!
//! * **Flushing** writes what rustls still holds: the rest of the answer, then close_notify
//!   (RFC 9846 6.1), which is queued before the machine starts unless it must be withheld.
//! * **HalfClosing** sends the FIN. Closing the descriptor now would send an RST if anything the
//!   peer sent is unread, and an RST destroys what the peer has not read yet (RFC 9112 9.6).
//! * **Draining** reads and discards until the peer's close_notify or FIN, within bounds; and it
//!   waits while the kernel still holds bytes that the peer goes on taking, since closing the
//!   descriptor might destroy them.
//!
//! `machine` knows the rules and does no IO; `driver` does the IO and knows no rules.

mod driver;
mod machine;

pub(crate) use driver::{Start, Teardown};
use machine::{Action, Machine};
