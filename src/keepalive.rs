//! [`TcpKeepalive`]: how it is noticed that a client's machine has vanished.
//!
//! A machine that loses its power, or its network, sends no FIN and no RST. Only TCP can ask whether
//! it is still there (RFC 9293 3.8.4), and it does so only where it is told to, and while nothing waits
//! to be acknowledged. What comes of it is seen by `transport`: an error of a read or a write. Where
//! something does wait, the write time-out watches (`lifetime`).
//!
//! `TCP_USER_TIMEOUT` (RFC 5482) is not used. Linux counts it from the first segment that had to be
//! sent again or probe of a closed window, although the peer acknowledges some all the time: a
//! client that lives, reads 1 KB/s and has a buffer of 8 KiB was reset by it after two minutes.

use std::time::Duration;

/// How often a client that is silent is asked by TCP whether it is still there.
///
/// One that has vanished is given up after [`idle`](Self::idle) and [`count`](Self::count) times
/// [`interval`](Self::interval): two minutes by default. Whole seconds, as systems count it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TcpKeepalive {
    /// How long nothing is heard before the client is asked. Default: 15 s.
    pub idle: Duration,
    /// How long until it is asked again. Default: 15 s.
    pub interval: Duration,
    /// How often it is asked in vain. Default: 7.
    pub count: u32,
}

impl Default for TcpKeepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(15),
            interval: Duration::from_secs(15),
            count: 7,
        }
    }
}

impl TcpKeepalive {
    /// Sets [`idle`](Self::idle).
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets [`interval`](Self::interval).
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets [`count`](Self::count).
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }
}
