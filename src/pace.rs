//! How long something may wait for a peer that brings it on, or does not: stall and minimum rate as
//! one.
//!
//! A [`Wait`] begins at a moment, and that moment moves forward with what the peer does, by the time
//! that so many bytes may take at the minimum rate, and never beyond now:
//!
//! ```text
//!   since = min(now, since + bytes / rate)        over when now - since = the time-out
//! ```
//!
//! A peer that does nothing is let go at the time-out. One that drips gains next to nothing by it and
//! is let go hardly later. One that keeps the rate up never waits at all, and has the whole time-out
//! for a pause at any time. What it did long ago does not count: there is no credit for the future.

use std::{fmt, time::Duration};

use tokio::time::Instant;

/// The minimum rate, in bytes a second. At none, any byte is worth all the time there is.
#[derive(Clone, Copy, Eq, PartialEq, PartialOrd)]
pub(crate) struct Rate(pub(crate) u32);

/// As it was set.
impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Rate {
    /// How long so many bytes may take.
    pub(crate) fn time_for(self, bytes: u64) -> Duration {
        match (bytes, self.0) {
            (0, _) => Duration::ZERO,
            (_, 0) => Duration::MAX,
            (bytes, rate) => {
                let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
                u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
            }
        }
    }
}

/// Something waits for the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wait {
    since: Instant,
    /// When it was last looked at, and how far it had come by then.
    looked: Instant,
    mark: u64,
}

impl Wait {
    pub(crate) fn new(now: Instant, mark: u64) -> Self {
        Self {
            since: now,
            looked: now,
            mark,
        }
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// When it has waited for so long.
    pub(crate) fn over_at(&self, timeout: Duration) -> Instant {
        self.since + timeout
    }

    /// It has come as far as `mark` by now.
    pub(crate) fn comes_to(&mut self, now: Instant, mark: u64, rate: Rate) {
        let worth = rate.time_for(mark.saturating_sub(self.mark));
        let moved = self.since.checked_add(worth);
        self.since = moved.map_or(now, |moved| moved.min(now));
        (self.looked, self.mark) = (now, mark);
    }

    /// It did not wait for the peer since the last look, or there is no telling.
    pub(crate) fn skip(&mut self, now: Instant) {
        let skipped = now.saturating_duration_since(self.looked);
        self.since = (self.since + skipped).min(now);
        self.looked = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// For how many seconds a peer lives that does so many bytes in every so many seconds, if it is
    /// looked at each second.
    fn lives(bytes: u64, every: u64, rate: u32) -> Option<u64> {
        let begun = Instant::now();
        let mut wait = Wait::new(begun, 0);
        (1..10_000).find(|second| {
            let now = begun + Duration::from_secs(*second);
            wait.comes_to(now, second / every * bytes, Rate(rate));
            now >= wait.over_at(TIMEOUT)
        })
    }

    #[test]
    fn stall_drip_and_honest() {
        for (name, bytes, every, rate, expected) in [
            ("nothing", 0, 1, 240, Some(30)),
            ("a byte each second", 1, 1, 240, Some(31)),
            ("a byte just in time", 1, 29, 240, Some(31)),
            ("half of the rate", 120, 1, 240, Some(60)),
            ("the rate", 240, 1, 240, None),
            ("slow but honest", 1000, 1, 240, None),
            ("with pauses", 29_000, 29, 240, None),
            ("no rate asked, nothing done", 0, 1, 0, Some(30)),
            ("no rate asked, a byte just in time", 1, 29, 0, None),
        ] {
            assert_eq!(lives(bytes, every, rate), expected, "{name}");
        }
    }

    #[test]
    fn what_is_skipped_does_not_count() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut wait = Wait::new(begun, 0);
        wait.comes_to(after(10), 0, Rate(1));
        wait.skip(after(15));
        wait.comes_to(after(20), 0, Rate(1));
        assert_eq!(wait.over_at(TIMEOUT), after(35));
    }

    #[test]
    fn there_is_no_credit() {
        let begun = Instant::now();
        let mut wait = Wait::new(begun, 0);
        let then = begun + Duration::from_secs(1);
        wait.comes_to(then, u64::MAX, Rate(1));
        assert_eq!(wait.over_at(TIMEOUT), then + TIMEOUT);
    }
}
