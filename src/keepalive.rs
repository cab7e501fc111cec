//! [`TcpKeepalive`]: how it is noticed that a client's machine has vanished.
//!
//! A machine that loses its power, or its network, sends no FIN and no RST. Only TCP can ask whether
//! it is still there (RFC 9293 3.8.4), and it does so only where it is told to. What comes of it is
//! seen by `transport`: an error of a read or a write.

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

    /// How long a client is silent, at most, before it is given up.
    pub(crate) fn total(&self) -> Duration {
        self.idle + self.interval.saturating_mul(self.count)
    }
}

/// What the sockets of one server are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vanishing {
    pub(crate) keepalive: Option<TcpKeepalive>,
    /// How long what was sent may go without an acknowledgement.
    pub(crate) unacknowledged: Duration,
}
