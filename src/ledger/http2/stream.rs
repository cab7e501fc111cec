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
    /// Its request was all in when its answer began.
    pub(super) was_all_in: bool,
    /// Something has come behind the end of its request.
    meddled: bool,
    /// Our END_STREAM is out.
    pub(super) answered: bool,
    /// The sum of the client's window updates.
    pub(super) granted: i64,
    /// DATA bytes of ours that are out.
    pub(super) sent: i64,
    /// How many of them there were when that was last looked at, and how far the connection's bytes went then.
    looked: (i64, u64),
    /// The sum of the server's window updates.
    pub(super) allowed: i64,
    /// DATA bytes of the client's that came.
    pub(super) got: i64,
    pub(super) mark: Option<Mark>,
    /// It waits for its client to bring it on, in this way.
    pub(super) late: Option<(Way, Wait)>,
}

/// What was so when a stream was last seen held with something having moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    sent: Sent,
    /// How many requests had begun on the connection.
    begun: u32,
    /// Where the last of the stream's bytes is, at most.
    end: u64,
    /// Since when it is waited for: only once it was seen to have acknowledged all of those.
    since: Option<Instant>,
    /// How long it had been waited for before something moved.
    waited: Duration,
}

/// Whose window holds a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HeldBy {
    Itself,
    Connection,
}

/// How many DATA bytes have been sent, on a stream and on all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) stream: i64,
    pub(super) connection: u64,
}

impl Sent {
    /// How many since then, of those that this window lets through.
    fn since(self, before: Self, by: HeldBy) -> u64 {
        match by {
            HeldBy::Itself => (self.stream - before.stream).unsigned_abs(),
            HeldBy::Connection => self.connection - before.connection,
        }
    }
}

/// How far a connection's bytes have come, as the transport counts them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The transport has taken so many.
    pub(crate) written: u64,
    /// TLS holds so many more, at most; 0 only where it holds none.
    pub(crate) held: u64,
    /// The peer has acknowledged so many.
    pub(crate) acknowledged: u64,
}

impl Progress {
    /// Where the last byte is that was given to TLS, at most.
    fn end(&self) -> u64 {
        self.written + self.held
    }

    /// Whether the peer has acknowledged all that went as far as `end` once. Where there is nothing else it has, even
    /// if that was a little more than it came to.
    fn has_heard(&self, end: u64) -> bool {
        self.acknowledged >= end || self.held == 0 && self.acknowledged >= self.written
    }
}

impl Stream {
    pub(super) fn new(id: u32, received: bool) -> Self {
        Self {
            id,
            received,
            answering: false,
            was_all_in: false,
            meddled: false,
            answered: false,
            granted: 0,
            sent: 0,
            looked: (0, 0),
            allowed: 0,
            got: 0,
            mark: None,
            late: None,
        }
    }

    /// Something comes that a server may find fault with, if the request has ended.
    #[inline]
    pub(super) fn meddles(&mut self) {
        self.meddled |= self.received;
    }

    /// Whether its client can't be at fault when it is reset amid its answer, but for a window that is opened
    /// too far: the request was taken, and nothing has come behind it (RFC 9113 5.1).
    pub(super) fn is_blameless(&self) -> bool {
        self.was_all_in && !self.meddled
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
    /// `None` while that is not so. It is held anew whenever something was sent, but for what the peer
    /// was behind the minimum rate.
    pub(super) fn held_since(
        &mut self,
        now: Instant,
        by: HeldBy,
        sent: Sent,
        begun: u32,
        progress: &Progress,
        rate: Rate,
    ) -> Option<Instant> {
        let mark = match &mut self.mark {
            Some(mark) if sent.since(mark.sent, by) == 0 => mark,
            known => {
                let waited = |mark: Mark| mark.waited(now, sent.since(mark.sent, by), rate);
                let waited = known.map_or(Duration::ZERO, waited);
                let late = known.filter(|_| !waited.is_zero());
                known.insert(Mark {
                    sent,
                    begun: late.map_or(begun, |mark| mark.begun),
                    end: progress.end(),
                    since: None,
                    waited,
                })
            }
        };
        if mark.since.is_none() && progress.has_heard(mark.end) {
            mark.since = Some(now.checked_sub(mark.waited).unwrap_or(now));
        }
        mark.since
    }

    /// Whether something of what went out on it is on its way to the client, as far as anybody looked.
    pub(super) fn is_on_its_way(&mut self, progress: &Progress) -> bool {
        if self.looked.0 != self.sent {
            self.looked = (self.sent, progress.end());
        }
        !progress.has_heard(self.looked.1)
    }

    /// Which way it goes, while its request is not all in.
    pub(super) fn way(&self) -> Way {
        match self.answering && !self.answered {
            true => Way::Both,
            false => Way::In,
        }
    }

    /// Since when it has waited for its client to bring it on, as far as it has `moved` by now;
    /// `held_up` where that is not the client's fault.
    pub(super) fn late_since(
        &mut self,
        now: Instant,
        way: Way,
        moved: u64,
        rate: Rate,
        held_up: bool,
    ) -> Instant {
        let known = self.late.take_if(|(known, _)| *known == way);
        let mut wait = known.map_or(Wait::new(now, moved), |(_, wait)| wait);
        match held_up {
            false => wait.comes_to(now, moved, rate),
            true => wait.skip(now),
        }
        self.late = Some((way, wait));
        wait.since()
    }
}

/// Which way a stream goes whose request is not all in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// Its request comes in, and nothing goes out, or nothing any more.
    In,
    /// Its answer has begun as well: it may be a tunnel.
    Both,
}

impl Mark {
    /// How long the peer has been waited for, less what so many bytes are worth.
    fn waited(&self, now: Instant, bytes: u64, rate: Rate) -> Duration {
        let waited = self
            .since
            .map_or(self.waited, |since| now.saturating_duration_since(since));
        waited.saturating_sub(rate.time_for(bytes))
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
