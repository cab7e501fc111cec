//! What a peer that has said close_notify is still owed (RFC 9846 6.1).
//!
//! ```text
//!           close_notify            nothing is due any more
//!   Open ───────────────▶ Waiting ──────────────────────────▶ Told
//!    │                       │                                 │
//!    │ FIN, RST              │ FIN, RST, too many bytes        │ FIN, RST
//!    └───────────────────────┴─────────────────────────────────┴──▶ Gone
//! ```
//!
//! In TLS 1.3 close_notify ends the peer's own direction only: what it asked is answered, however
//! long that takes, and no server is told of an EOF before, since every one of them would cancel.
//! In TLS 1.2 the connection ends at once (RFC 5246 7.2.1), and a tunnel sees what its peer does.
//!
//! Without IO and without a clock: time and facts are arguments.

use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::Owed;

/// What is known of the peer's direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum HalfClose {
    #[default]
    Open,
    /// close_notify came at this time; the server has not been told, because answers are due.
    Waiting {
        /// Then, or when more of an answer was last seen to have gone out.
        since: Instant,
        /// Bytes of ours that had gone out by then.
        sent: u64,
        /// Bytes that came after it, and were discarded.
        discarded: u64,
    },
    /// The server has been told of the EOF.
    Told,
    /// It broke the TLS protocol, and may still be sending.
    Broken,
    /// TCP itself is closed or reset.
    Gone,
}

impl HalfClose {
    /// The peer has said close_notify, with `sent` bytes of ours gone out.
    pub(crate) fn close_notify(&mut self, now: Instant, sent: u64) {
        if *self == Self::Open {
            *self = Self::Waiting {
                since: now,
                sent,
                discarded: 0,
            };
        }
    }

    /// `n` bytes came after close_notify, of which a drain would take `most`.
    pub(crate) fn discard(&mut self, n: u64, most: u64) {
        if let Self::Waiting { discarded, .. } = self {
            *discarded = discarded.saturating_add(n);
            if *discarded >= most {
                *self = Self::Gone;
            }
        }
    }

    /// Whether the server is to be told of the EOF now. It stays so.
    ///
    /// Where it is doubtful that the peer is owed anything, it is waited for as long as something
    /// goes out within `patience`.
    pub(crate) fn ends(&mut self, now: Instant, owed: Owed, sent: u64, patience: Duration) -> bool {
        if let Self::Waiting {
            since, sent: mark, ..
        } = self
        {
            if *mark != sent {
                (*since, *mark) = (now, sent);
            }
            let over = match owed {
                Owed::Nothing => true,
                Owed::Doubtful => now >= *since + patience,
                Owed::Answers => false,
            };
            if over {
                *self = Self::Told;
            }
        }
        !matches!(self, Self::Open | Self::Waiting { .. })
    }

    /// When [`ends`](Self::ends) has something to decide, if nothing happens before.
    pub(crate) fn next(&self, owed: Owed, patience: Duration) -> Option<Instant> {
        match *self {
            Self::Waiting { since, .. } if owed == Owed::Doubtful => Some(since + patience),
            _ => None,
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// Whether the peer has closed its direction, in TLS or in TCP: nothing is left to drain.
    pub(crate) fn is_closed(&self) -> bool {
        !matches!(self, Self::Open | Self::Broken)
    }
}
