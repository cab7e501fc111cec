//! Lines of a log that somebody else may bring about: so many a second, and how many were left out.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// How many lines of one kind a second.
const A_SECOND: u64 = 10;

/// One kind of line.
#[derive(Debug)]
pub(crate) struct Sparing {
    epoch: Instant,
    /// The second that lines were last admitted in, and how many, in the lower [`BITS`].
    admitted: AtomicU64,
    left_out: AtomicU64,
}

const BITS: u32 = 8;

impl Sparing {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            admitted: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// How many lines were left out since the last one; `None` where this is to be left out too.
    pub(crate) fn admit(&self) -> Option<u64> {
        let second = self.epoch.elapsed().as_secs() << BITS;
        let next = |admitted: u64| match admitted.max(second) {
            full if full & ((1 << BITS) - 1) >= A_SECOND => None,
            admitted => Some(admitted + 1),
        };
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        match self.admitted.fetch_update(set, get, next) {
            Ok(_) => Some(self.left_out()),
            Err(_) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// How many were left out since this was last told.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_a_second_and_what_was_left_out_is_counted() {
        let lines = Sparing::new();
        for _ in 0..A_SECOND {
            assert_eq!(lines.admit(), Some(0));
        }
        assert_eq!(lines.admit(), None);
        assert_eq!(lines.admit(), None);
        advance(Duration::from_secs(1)).await;
        assert_eq!(lines.admit(), Some(2));
        assert_eq!((lines.admit(), lines.left_out()), (Some(0), 0));
    }
}
