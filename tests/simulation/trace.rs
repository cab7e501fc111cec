//! What happened in a run, in order: every event gets a stamp and goes into the run's hash.
//!
//! A run lives on one thread, so that the trace can too. Two runs of one seed must have the same
//! hash, or a failure could not be replayed.

use std::{cell::RefCell, fmt, time::Duration};

use tokio::time::Instant;

/// When something happened: on the clock, and in which order.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Stamp {
    pub at: Duration,
    pub seq: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.at.as_secs_f64())
    }
}

/// More than any run needs: one that goes on spins.
const MOST: u64 = 20_000_000;

struct Trace {
    start: Instant,
    seq: u64,
    polls: u64,
    hash: u64,
    printed: bool,
}

thread_local! {
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Begins the trace of one run, inside its runtime.
pub fn begin(printed: bool) {
    let trace = Trace {
        start: Instant::now(),
        seq: 0,
        polls: 0,
        hash: 0xcbf2_9ce4_8422_2325,
        printed,
    };
    TRACE.with(|t| *t.borrow_mut() = Some(trace));
}

/// The hash of everything so far.
pub fn hash() -> u64 {
    TRACE.with(|t| t.borrow().as_ref().map_or(0, |t| t.hash))
}

/// Whether a run is under way on this thread. The panic hook asks, also when the trace panics.
pub fn is_running() -> bool {
    TRACE.with(|t| t.try_borrow().map_or(true, |t| t.is_some()))
}

/// Ends the trace: what follows on this thread is of no run.
pub fn end() {
    TRACE.with(|t| *t.borrow_mut() = None);
}

/// An event of connection `conn`, with a number that says more.
pub fn event(conn: usize, what: &'static str, number: u64) -> Stamp {
    TRACE.with(|trace| {
        let mut trace = trace.borrow_mut();
        let Some(trace) = trace.as_mut() else {
            return Stamp::default();
        };
        trace.seq += 1;
        trace.check();
        let stamp = Stamp {
            at: trace.start.elapsed(),
            seq: trace.seq,
        };
        let nanos = u64::try_from(stamp.at.as_nanos()).unwrap_or(u64::MAX);
        for word in [nanos, conn as u64, number] {
            trace.mix(word);
        }
        for byte in what.bytes() {
            trace.mix(u64::from(byte));
        }
        if trace.printed {
            println!("{:>10.3}  #{conn} {what} {number}", stamp.at.as_secs_f64());
        }
        stamp
    })
}

/// The time, for what is no event: its order among those of the same moment means nothing.
pub fn now() -> Stamp {
    TRACE.with(|trace| {
        let trace = trace.borrow();
        trace.as_ref().map_or_else(Stamp::default, |trace| Stamp {
            at: trace.start.elapsed(),
            seq: trace.seq,
        })
    })
}

/// Counts what is no event: a poll that came to nothing.
pub fn poll() {
    TRACE.with(|trace| {
        if let Some(trace) = trace.borrow_mut().as_mut() {
            trace.polls += 1;
            trace.check();
        }
    });
}

impl Trace {
    /// Ends a task that spins, and so the next one.
    fn check(&self) {
        let spins = self.polls + self.seq > MOST && !std::thread::panicking();
        assert!(!spins, "this run spins");
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23);
    }
}
