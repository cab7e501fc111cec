//! [`Turn`]: what a thread knows of the connection that it polls.
//!
//! It is kept for the thread, since hyper's builder has one executor for all connections, and since a wake
//! by another thread is none that may be dropped.

use std::{cell::Cell, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Filter;

/// So long handlers may take of one turn. A task for each would have cost them a tenth of it, and others who
/// wait for the thread wait no longer than that for one handler more.
const LONG: Duration = Duration::from_micros(500);

/// After so many long turns in a row the streams that are spawned become no more.
const MOST_DOUBLINGS: u32 = 10;

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::NONE) };
}

/// One connection: what has to be known while it is polled, and from one poll to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Which wakes are its own; 0 where no connection is polled.
    of: usize,
    /// A stream is run.
    runs: bool,
    /// It has asked for a poll, and hyper has not read since.
    woken: bool,
    /// How many streams hyper has taken from the connection.
    taken: u32,
    /// What hyper writes waits until it has taken all.
    holds: bool,
    /// Something does.
    held: bool,
    pace: Pace,
}

/// Whether there is time to run a stream. Handlers that compute are to do so in parallel.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// What handlers have taken of this turn.
    spent: Duration,
    /// So many streams are to be spawned.
    spawns: u32,
    /// So many turns in a row were long.
    long: u32,
}

impl Pace {
    const NEW: Self = Self {
        spent: Duration::ZERO,
        spawns: 0,
        long: 0,
    };

    fn is_long(&self) -> bool {
        self.spent > LONG
    }

    fn begin(&mut self) {
        if self.spent > Duration::ZERO && !self.is_long() {
            self.long = 0;
        }
        self.spent = Duration::ZERO;
    }

    /// The rest of a long turn is spawned, and then one stream more, twice as many each time in a row.
    fn allows(&mut self) -> bool {
        let allows = !self.is_long() && self.spawns == 0;
        if !self.is_long() {
            self.spawns = self.spawns.saturating_sub(1);
        }
        allows
    }

    fn takes(&mut self, time: Duration) {
        self.spent += time;
        if self.is_long() {
            self.spawns = 1 << self.long;
            self.long = (self.long + 1).min(MOST_DOUBLINGS);
        }
    }
}

impl Turn {
    pub(crate) const NONE: Self = Self {
        of: 0,
        runs: false,
        woken: false,
        taken: 0,
        holds: false,
        held: false,
        pace: Pace::NEW,
    };

    /// A poll of the connection begins.
    pub(crate) fn begin(&mut self) {
        (self.woken, self.held, self.holds) = (false, false, true);
        self.pace.begin();
    }

    /// hyper is polled by `poll`, with `filter` as its waker.
    pub(crate) fn run<T>(&mut self, filter: &Arc<Filter>, poll: impl FnOnce() -> T) -> T {
        self.of = filter.address();
        let outside = Outside(TURN.replace(*self));
        let polled = poll();
        *self = TURN.get();
        drop(outside);
        polled
    }

    /// hyper has taken all there are. The client has begun `begun`: some of them may have been refused.
    pub(crate) fn has_taken(&mut self, begun: u32) {
        self.taken = begun;
    }

    /// Whether something was held back. From now on nothing is.
    pub(crate) fn lets_go(&mut self) -> bool {
        self.holds = false;
        std::mem::take(&mut self.held)
    }

    /// Whether the task has to be woken after all.
    pub(crate) fn is_woken(&self) -> bool {
        self.woken
    }

    /// Whether a future that has come to the executor is run here.
    fn takes(&mut self) -> bool {
        // None is that comes from a stream: nothing says that hyper polls the connection after it.
        if self.of == 0 || self.runs {
            return false;
        }
        self.taken = self.taken.wrapping_add(1);
        self.pace.allows()
    }

    fn has_run(&mut self, time: Duration) {
        self.runs = false;
        self.pace.takes(time);
        // What the others have answered does not wait for those that are spawned.
        self.holds &= !self.pace.is_long();
    }

    fn absorbs(&mut self, of: usize) -> bool {
        let absorbs = self.runs && self.of == of;
        self.woken |= absorbs;
        absorbs
    }

    fn holds(&mut self, begun: u32) -> bool {
        let holds = self.holds && begun > self.taken;
        // One that is let through takes what was held before with it.
        self.held = holds;
        holds
    }
}

/// What the thread was at before.
struct Outside(Turn);

impl Drop for Outside {
    fn drop(&mut self) {
        TURN.set(self.0);
    }
}

fn change<T>(change: impl FnOnce(&mut Turn) -> T) -> T {
    let mut turn = TURN.get();
    let changed = change(&mut turn);
    TURN.set(turn);
    changed
}

/// A future has come to the executor. Whether it is run here.
pub(super) fn takes() -> bool {
    change(Turn::takes)
}

/// It is, by `run`, which does not panic.
pub(super) fn runs(run: impl FnOnce()) {
    change(|turn| turn.runs = true);
    let begun = Instant::now();
    run();
    change(|turn| turn.has_run(begun.elapsed()));
}

/// Whether a wake is dropped of what has this address.
pub(super) fn absorbs(of: usize) -> bool {
    change(|turn| turn.absorbs(of))
}

/// hyper reads from the connection, as it does before it sends what its streams have to send.
pub(crate) fn reads() {
    change(|turn| turn.woken = false);
}

/// Whether a write has to wait for the other streams of the `begun` that the client has begun: what they
/// answer goes with it.
pub(crate) fn holds(begun: u32) -> bool {
    change(|turn| turn.holds(begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs streams that take so many microseconds each, as a turn: which of them were run here.
    fn turn(pace: &mut Pace, streams: &[u64]) -> String {
        pace.begin();
        let run = |micros: &u64| {
            let allows = pace.allows();
            if allows {
                pace.takes(Duration::from_micros(*micros));
            }
            if allows { 'r' } else { 's' }
        };
        streams.iter().map(run).collect()
    }

    #[test]
    fn handlers_that_take_no_time_are_run_here() {
        let mut pace = Pace::NEW;
        assert_eq!(turn(&mut pace, &[2; 100]), "r".repeat(100));
        assert_eq!(turn(&mut pace, &[499]), "r");
        assert_eq!(turn(&mut pace, &[2; 3]), "rrr");
    }

    #[test]
    fn the_rest_of_a_long_turn_is_spawned_and_then_more_and_more() {
        let mut pace = Pace::NEW;
        let expected = [
            "rsss", "srss", "ssrs", "ssss", "rsss", "ssss", "ssss", "rsss",
        ];
        let seen = expected.map(|_| turn(&mut pace, &[600; 4]));
        assert_eq!(seen, expected);
        for _ in 0..20_000 {
            turn(&mut pace, &[600; 4]);
        }
        assert!(pace.spawns <= 1 << MOST_DOUBLINGS, "{pace:?}");
    }

    #[test]
    fn many_that_are_short_make_a_long_turn() {
        let mut pace = Pace::NEW;
        assert_eq!(turn(&mut pace, &[200; 6]), "rrrsss");
        assert_eq!(turn(&mut pace, &[200; 6]), "srrrss");
    }

    #[test]
    fn a_turn_that_is_not_long_ends_it() {
        let mut pace = Pace::NEW;
        for _ in 0..3 {
            turn(&mut pace, &[600]);
        }
        assert_eq!((pace.long, pace.spawns), (2, 2));
        assert_eq!(turn(&mut pace, &[1; 4]), "ssrr");
        turn(&mut pace, &[]);
        assert_eq!((pace.long, pace.spawns), (0, 0));
    }

    fn connection() -> Turn {
        let mut turn = Turn {
            of: 1,
            ..Turn::NONE
        };
        turn.begin();
        turn
    }

    #[test]
    fn what_comes_from_elsewhere_is_spawned() {
        let mut nobody = Turn::NONE;
        assert!(!nobody.takes(), "no connection is polled");
        let mut turn = connection();
        assert!(turn.takes());
        turn.runs = true;
        assert!(!turn.takes(), "a stream is");
        assert_eq!(turn.taken, 1);
    }

    #[test]
    fn wakes_are_dropped_while_a_stream_is_run() {
        let mut turn = connection();
        assert!(!turn.absorbs(1), "no stream is run");
        turn.runs = true;
        assert!(!turn.absorbs(2), "of another connection");
        assert!(!turn.is_woken() && turn.absorbs(1) && turn.is_woken());
    }

    #[test]
    fn a_write_waits_for_the_last_stream() {
        let mut turn = connection();
        assert!(!turn.holds(0) && turn.holds(2));
        assert!(turn.takes() && turn.holds(2));
        assert!(turn.takes() && !turn.holds(2));
        assert!(!turn.lets_go(), "it went with the last one");
        assert!(!turn.holds(3));
        turn.begin();
        assert!(turn.holds(3) && turn.lets_go() && !turn.lets_go());
        turn.begin();
        assert!(turn.holds(3) && turn.lets_go(), "one was refused");
        turn.has_taken(3);
        turn.begin();
        assert!(!turn.holds(3) && turn.holds(4));
        turn.has_run(Duration::from_millis(1));
        assert!(!turn.holds(4), "the turn is long");
    }
}
