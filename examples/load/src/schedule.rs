//! When the next request is due.
//!
//! With a rate, requests are due at fixed times, whether or not the one before has been answered
//! by then. Latencies count from the time a request was due, so that those which had to wait
//! behind a stalled server are not left out of the statistics (coordinated omission).

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(crate) struct Schedule {
    begun: Instant,
    end: Instant,
    rate: Option<f64>,
    next: AtomicU64,
    stopped: CancellationToken,
}

impl Schedule {
    pub(crate) fn new(time: Duration, rate: Option<f64>) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            end: begun + time,
            rate,
            next: AtomicU64::new(0),
            stopped: CancellationToken::new(),
        }
    }

    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Lets no further request be sent.
    pub(crate) fn stop(&self) {
        self.stopped.cancel();
    }

    /// Waits until a request is due, and says when that was; `None` when the load is over.
    pub(crate) async fn due(&self) -> Option<Instant> {
        let due = match self.rate {
            None => Instant::now(),
            Some(rate) => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                self.begun + Duration::from_secs_f64(number as f64 / rate)
            }
        };
        if due >= self.end {
            return None;
        }
        tokio::select! {
            biased;
            () = self.stopped.cancelled() => None,
            () = sleep_until(due) => Some(due),
        }
    }
}
