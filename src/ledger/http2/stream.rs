//! What is known of one stream, and how many streams are what.

use std::{
    ops::{AddAssign, SubAssign},
    time::Duration,
};

use super::Instant;
use crate::pace::{Rate, Wait};

/// A stream that the client began and that is not closed.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// The client's END_STREAM has been seen.
    pub(super) received: bool,
    /// HEADERS of ours are out, if only those of an interim answer.
    pub(super) answering: bool,
    /// Our END_STREAM is out.
    pub(super) answered: bool,
    /// The sum of the client's window updates.
    pub(super) granted: i64,
    /// DATA bytes of ours that are out.
    pub(super) sent: i64,
    /// The sum of the server's window updates.
    pub(super) allowed: i64,
    /// DATA bytes of the client's that came.
    pub(super) got: i64,
    pub(super) mark: Option<Mark>,
    /// The server waits for the rest of the request.
    pub(super) late: Option<Wait>,
}

/// What was so when a stream was last seen held with something having moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// What was sent, on this stream or on all, when it was first held by its own window or the
    /// connection's.
    moved: i64,
    /// How many requests had begun on the connection.
    begun: u32,
    /// The connection's bytes that the transport had taken.
    written: u64,
    /// Where the last of the stream's bytes is at most, once that is known.
    end: Option<u64>,
    /// Since when it is waited for: only once it was seen to have acknowledged all of those.
    since: Option<Instant>,
    /// How long it had been waited for before something moved.
    waited: Duration,
}

/// How far a connection's bytes have come, as the transport counts them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The transport has taken so many.
    pub(crate) written: u64,
    /// There was nothing behind these when TLS was last flushed.
    pub(crate) flushed: u64,
    /// The peer has acknowledged so many.
    pub(crate) acknowledged: u64,
}

impl Stream {
    pub(super) fn new(id: u32, received: bool) -> Self {
        Self {
            id,
            received,
            answering: false,
            answered: false,
            granted: 0,
            sent: 0,
            allowed: 0,
            got: 0,
            mark: None,
            late: None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.received && self.answered
    }

    /// Its own window. Relative to the initial one, so that a change of that one shifts every
    /// stream's (RFC 9113 6.9.2).
    #[inline]
    pub(super) fn window(&self, initial: i64) -> i64 {
        initial.saturating_add(self.granted) - self.sent
    }

    /// Whether the client may send something on it, given the server's initial window.
    pub(super) fn may_send(&self, our_initial: i64) -> bool {
        our_initial.saturating_add(self.allowed) > self.got
    }

    /// Whether it is in flight and its own window is used up.
    #[inline]
    pub(super) fn is_held(&self, initial: i64) -> bool {
        !self.answered && self.window(initial) <= 0
    }

    /// Whether its client has begun a request since it was first seen held, by which `begun` have.
    pub(super) fn is_outlived(&self, begun: u32) -> bool {
        self.mark.is_some_and(|mark| mark.begun != begun)
    }

    pub(super) fn tally(&self, initial: i64) -> Tally {
        Tally {
            in_flight: u32::from(!self.answered),
            uploads: u32::from(!self.received),
            held: u32::from(self.is_held(initial)),
        }
    }

    /// Since when it has been held with all that it was sent acknowledged, as far as anybody looked;
    /// `None` while that is not so. It is held anew whenever `moved` has changed, but for what the peer
    /// was behind the minimum rate.
    pub(super) fn held_since(
        &mut self,
        now: Instant,
        moved: i64,
        begun: u32,
        progress: &Progress,
        rate: Rate,
    ) -> Option<Instant> {
        let mark = match &mut self.mark {
            Some(mark) if mark.moved == moved => mark,
            known => {
                let waited = known.map_or(Duration::ZERO, |mark| mark.waited(now, moved, rate));
                let late = known.filter(|_| !waited.is_zero());
                known.insert(Mark {
                    moved,
                    begun: late.map_or(begun, |mark| mark.begun),
                    written: progress.written,
                    end: (progress.flushed == progress.written).then_some(progress.written),
                    since: None,
                    waited,
                })
            }
        };
        if mark.since.is_none() {
            if mark.end.is_none() && progress.flushed > mark.written {
                mark.end = Some(progress.flushed);
            }
            let arrived = mark.end.is_some_and(|end| progress.acknowledged >= end);
            mark.since = arrived.then(|| now.checked_sub(mark.waited).unwrap_or(now));
        }
        mark.since
    }

    /// Since when the server has waited for more of the request, of which so much `moved` by now;
    /// `None` where more is there that the server has yet to take.
    pub(super) fn late_since(&mut self, now: Instant, moved: Option<u64>, rate: Rate) -> Instant {
        let wait = self.late.get_or_insert(Wait::new(now, moved.unwrap_or(0)));
        match moved {
            Some(moved) => wait.comes_to(now, moved, rate),
            None => wait.skip(now),
        }
        wait.over_at(Duration::ZERO)
    }
}

impl Mark {
    /// How long the peer has been waited for, less what it has done since, which is worth its time.
    fn waited(&self, now: Instant, moved: i64, rate: Rate) -> Duration {
        let waited = self
            .since
            .map_or(self.waited, |since| now.saturating_duration_since(since));
        match u64::try_from(moved - self.moved) {
            Ok(bytes) => waited.saturating_sub(rate.time_for(bytes)),
            // By another window than before.
            Err(_) => Duration::ZERO,
        }
    }
}

/// How many of the open streams are what.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    pub(super) in_flight: u32,
    pub(super) uploads: u32,
    pub(super) held: u32,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.in_flight += more.in_flight;
        self.uploads += more.uploads;
        self.held += more.held;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, less: Self) {
        self.in_flight -= less.in_flight;
        self.uploads -= less.uploads;
        self.held -= less.held;
    }
}
