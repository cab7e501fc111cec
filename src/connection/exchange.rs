//! What the layer counts: exchanges begun, in flight, and held up.

use std::sync::atomic::Ordering;

use super::{CUT, HALF_CLOSED, TlsConnection};

/// How many exchanges a connection has begun, and how many of them are in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Tally {
    pub(crate) begun: u32,
    pub(crate) in_flight: u32,
}

pub(super) const BEGUN: u64 = 1 << 32;

impl Tally {
    #[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits")]
    pub(super) fn unpack(packed: u64) -> Self {
        Self {
            begun: (packed >> 32) as u32,
            in_flight: packed as u32,
        }
    }
}

/// One request and its answer, counted while it lives.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: TlsConnection,
    http2: bool,
    held: bool,
}

impl Exchange {
    #[inline]
    pub(super) fn new(connection: TlsConnection, http2: bool) -> Self {
        Self {
            connection,
            http2,
            held: false,
        }
    }

    pub(crate) fn connection(&self) -> &TlsConnection {
        &self.connection
    }

    /// The service or the body has failed. Over HTTP/2 that ends the stream alone.
    #[cold]
    pub(crate) fn set_cut(&self) {
        if !self.http2 {
            self.connection.set(CUT);
        }
    }

    /// The body gave a frame, or is asked for the next one.
    ///
    /// Only HTTP/2 can hold a body up behind an open socket.
    pub(crate) fn set_held(&mut self, held: bool) {
        if !self.http2 || self.held == held {
            return;
        }
        self.held = held;
        let counter = &self.connection.shared.held;
        match held {
            true => counter.fetch_add(BEGUN + 1, Ordering::AcqRel),
            false => counter.fetch_sub(1, Ordering::AcqRel),
        };
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.set_held(false);
        let shared = &self.connection.shared;
        let before = Tally::unpack(shared.exchanges.fetch_sub(1, Ordering::AcqRel));
        // The stream of a half-closed peer waits for this to say EOF.
        if before.in_flight == 1 && self.connection.has(HALF_CLOSED) {
            shared.wake_tasks();
        }
    }
}
