//! The teardown's rules, without IO and without a clock.
//!
//! Whoever drives the machine does what [`Machine::action`] says, reports what came of it, and
//! comes back at [`Machine::deadline`] at the latest. Time is an argument. An event that does not
//! fit the state is a no-op, so that a driver never has to ask first.

use std::time::Duration;

use tokio::time::Instant;

use super::Outcome;

/// The limits of one teardown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How long flushing may go without a byte taken by the peer.
    pub(crate) flush: Duration,
    /// How long flushing may take in all.
    pub(crate) flush_total: Duration,
    /// How long draining may take in all.
    pub(crate) total: Duration,
    /// How long draining may go without a byte received.
    pub(crate) idle: Duration,
    /// How many bytes draining may discard.
    pub(crate) bytes: u64,
}

/// What the driver has to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Write what TLS still holds.
    Flush,
    /// Shut down the write side of the transport.
    HalfClose,
    /// Read and discard.
    Drain,
    /// Let go of the descriptor.
    Close(Outcome),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Flushing {
        progress: Instant,
        end: Instant,
    },
    HalfClosing,
    Draining {
        received: Instant,
        end: Instant,
        left: u64,
    },
    Closed(Outcome),
}

/// One connection's way from the first thought of closing to the closed descriptor.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    bounds: Bounds,
    peer_closed: bool,
}

impl Machine {
    /// `peer_closed` says that the peer's close_notify or FIN has been read already: nothing is
    /// left to drain then.
    pub(crate) fn new(now: Instant, bounds: Bounds, peer_closed: bool) -> Self {
        Self {
            state: State::Flushing {
                progress: now,
                end: now + bounds.flush_total,
            },
            bounds,
            peer_closed,
        }
    }

    pub(crate) fn action(&self) -> Action {
        match self.state {
            State::Flushing { .. } => Action::Flush,
            State::HalfClosing => Action::HalfClose,
            State::Draining { .. } => Action::Drain,
            State::Closed(outcome) => Action::Close(outcome),
        }
    }

    /// When [`tick`](Self::tick) has something to decide, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Flushing { progress, end } => Some(end.min(progress + self.bounds.flush)),
            State::Draining { received, end, .. } => Some(end.min(received + self.bounds.idle)),
            State::HalfClosing | State::Closed(_) => None,
        }
    }

    /// The peer took some bytes, not yet all.
    pub(crate) fn wrote(&mut self, now: Instant) {
        if let State::Flushing { progress, .. } = &mut self.state {
            *progress = now;
        }
    }

    /// Everything TLS held has been handed to the transport.
    pub(crate) fn flushed(&mut self) {
        if let State::Flushing { .. } = self.state {
            self.state = State::HalfClosing;
        }
    }

    /// The write side of the transport is shut down.
    pub(crate) fn half_closed(&mut self, now: Instant) {
        if let State::HalfClosing = self.state {
            self.state = match self.peer_closed {
                true => State::Closed(Outcome::Clean),
                false => State::Draining {
                    received: now,
                    end: now + self.bounds.total,
                    left: self.bounds.bytes,
                },
            };
        }
    }

    /// `n` bytes came in and were discarded.
    pub(crate) fn received(&mut self, now: Instant, n: usize) {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        if let State::Draining { received, left, .. } = &mut self.state {
            *received = now;
            match left.checked_sub(n) {
                None | Some(0) => self.state = State::Closed(Outcome::DrainCut),
                Some(rest) => *left = rest,
            }
        }
        // A peer that never stops sending keeps every read ready: no timer would be looked at.
        self.tick(now);
    }

    /// The peer's close_notify or FIN arrived.
    pub(crate) fn peer_closed(&mut self) {
        self.peer_closed = true;
        if let State::Draining { .. } = self.state {
            self.state = State::Closed(Outcome::Clean);
        }
    }

    /// The transport failed: nothing more can be sent or received.
    ///
    /// While draining everything has been sent, and a reset is only a rude way to close.
    pub(crate) fn failed(&mut self) {
        self.state = match self.state {
            State::Closed(outcome) => State::Closed(outcome),
            State::Draining { .. } => State::Closed(Outcome::Clean),
            State::Flushing { .. } | State::HalfClosing => State::Closed(Outcome::Aborted),
        };
    }

    /// Too many connections drain, and this one has drained longest.
    pub(crate) fn evicted(&mut self) {
        if let State::Draining { .. } = self.state {
            self.state = State::Closed(Outcome::DrainCut);
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        let outcome = match self.state {
            State::Flushing { progress, end }
                if now >= end || now >= progress + self.bounds.flush =>
            {
                Outcome::Aborted
            }
            State::Draining { received, .. } if now >= received + self.bounds.idle => {
                Outcome::PeerSilent
            }
            State::Draining { end, .. } if now >= end => Outcome::DrainCut,
            _ => return,
        };
        self.state = State::Closed(outcome);
    }
}
