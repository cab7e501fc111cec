//! The teardown's rules, without IO and without a clock.
//!
//! Whoever drives the machine does what [`Machine::action`] says, reports what came of it, and
//! comes back at [`Machine::deadline`] at the latest. Time is an argument. An event that does not
//! fit the state is a no-op, so that a driver never has to ask first.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{ending::Outcome, pace::Wait, settings::Bounds};

/// What the driver has to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Queue close_notify behind what TLS still holds.
    Notify,
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
    Notifying,
    Flushing { wait: Wait },
    HalfClosing { begun: Instant },
    Draining(Drain),
    Closed(Outcome),
}

impl State {
    fn flushing(now: Instant) -> Self {
        Self::Flushing {
            wait: Wait::new(now, 0),
        }
    }
}

/// What is known while draining.
#[derive(Clone, Copy, Debug)]
struct Drain {
    begun: Instant,
    received: Instant,
    end: Instant,
    left: u64,
    held: Option<Held>,
}

/// What the kernel holds for the peer, who has to acknowledge it.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// It waits for the peer to take it.
    wait: Wait,
    /// When to ask again.
    look: Instant,
}

/// One connection's way from the first thought of closing to the closed descriptor.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    /// How long flushing may go without a byte taken by the peer.
    flush: Duration,
    bounds: Arc<Bounds>,
    peer_closed: bool,
    /// When all has to be over but the drain, once the shutdown's deadline has passed.
    end: Option<Instant>,
}

impl Machine {
    /// `notify` is false where close_notify must be withheld, or there is no session to say it in.
    /// `peer_closed` says that the peer's close_notify or FIN has been read already: nothing is
    /// left to drain then. `half_closed` says that our own direction is closed already.
    pub(crate) fn new(
        now: Instant,
        flush: Duration,
        bounds: Arc<Bounds>,
        notify: bool,
        peer_closed: bool,
        half_closed: bool,
    ) -> Self {
        let state = match (half_closed, notify) {
            (true, _) => State::Draining(Drain::new(now, &bounds)),
            (false, true) => State::Notifying,
            (false, false) => State::flushing(now),
        };
        Self {
            state,
            flush,
            bounds,
            peer_closed,
            end: None,
        }
    }

    pub(crate) fn action(&self) -> Action {
        match self.state {
            State::Notifying => Action::Notify,
            State::Flushing { .. } => Action::Flush,
            State::HalfClosing { .. } => Action::HalfClose,
            State::Draining(_) => Action::Drain,
            State::Closed(outcome) => Action::Close(outcome),
        }
    }

    /// When [`tick`](Self::tick) has something to decide, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = match self.state {
            State::Flushing { wait } => wait.over_at(self.flush),
            State::HalfClosing { begun } => begun + self.flush,
            State::Draining(Drain {
                held: Some(held), ..
            }) => held.look.min(held.wait.over_at(self.bounds.write)),
            // The drain's own bounds are short: the deadline makes them no shorter.
            State::Draining(drain) => {
                return Some(drain.end.min(drain.received + self.bounds.idle));
            }
            State::Notifying | State::Closed(_) => return None,
        };
        Some(self.end.map_or(due, |end| due.min(end)))
    }

    /// close_notify is queued.
    pub(crate) fn notified(&mut self, now: Instant) {
        if let State::Notifying = self.state {
            self.state = State::flushing(now);
        }
    }

    /// The peer has acknowledged so many bytes, not yet all. The first time only says how far it had come before.
    pub(crate) fn acknowledged(&mut self, now: Instant, bytes: u64) {
        if let State::Flushing { wait } = &mut self.state {
            wait.comes_to(now, bytes, self.bounds.rate);
        }
    }

    /// Everything TLS held has been handed to the transport.
    pub(crate) fn flushed(&mut self, now: Instant) {
        if let State::Flushing { .. } = self.state {
            self.state = State::HalfClosing { begun: now };
        }
    }

    /// The write side of the transport is shut down.
    pub(crate) fn half_closed(&mut self, now: Instant) {
        if let State::HalfClosing { .. } = self.state {
            self.state = State::Draining(Drain::new(now, &self.bounds));
        }
    }

    /// The kernel holds so many bytes that the peer has not acknowledged.
    ///
    /// To be said while draining, before anything that may end it: the drain does not end while
    /// the peer goes on taking what it was sent.
    pub(crate) fn unacknowledged(&mut self, now: Instant, bytes: u64) {
        if let State::Draining(drain) = &mut self.state {
            drain.holds(now, bytes, &self.bounds);
            if self.peer_closed && drain.held.is_none() {
                self.state = State::Closed(Outcome::Clean);
            }
        }
    }

    /// `n` bytes came in and were discarded.
    pub(crate) fn received(&mut self, now: Instant, n: usize) {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        if let State::Draining(drain) = &mut self.state {
            drain.received = now;
            match drain.left.checked_sub(n) {
                None | Some(0) => self.state = State::Closed(drain.cut()),
                Some(rest) => drain.left = rest,
            }
        }
        // A peer that never stops sending keeps every read ready: no timer would be looked at.
        self.tick(now);
    }

    /// The peer's close_notify or FIN arrived.
    pub(crate) fn peer_closed(&mut self) {
        self.peer_closed = true;
        if let State::Draining(Drain { held: None, .. }) = self.state {
            self.state = State::Closed(Outcome::Clean);
        }
    }

    /// Whether the peer's direction is closed: there is nothing to read any more.
    pub(crate) fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// The transport failed: nothing more can be sent or received.
    ///
    /// Where everything has been taken, a reset is only a rude way to close.
    pub(crate) fn failed(&mut self) {
        self.state = match self.state {
            State::Closed(outcome) => State::Closed(outcome),
            State::Draining(Drain { held: None, .. }) => State::Closed(Outcome::Clean),
            _ => State::Closed(Outcome::Aborted),
        };
    }

    /// Too many connections drain, and this one has drained longest.
    pub(crate) fn evicted(&mut self) {
        if let State::Draining(drain) = self.state {
            self.state = State::Closed(drain.cut());
        }
    }

    /// The shutdown's deadline has passed: what has no bound in all has one from now on.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.end.get_or_insert(now + self.bounds.last);
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        let out_of_time = self.end.is_some_and(|end| now >= end);
        let outcome = match self.state {
            State::Flushing { .. } | State::HalfClosing { .. } => {
                let over = self.deadline().is_some_and(|deadline| now >= deadline);
                over.then_some(Outcome::Aborted)
            }
            State::Draining(drain) => drain.outcome(now, out_of_time, &self.bounds),
            State::Notifying | State::Closed(_) => None,
        };
        if let Some(outcome) = outcome {
            self.state = State::Closed(outcome);
        }
    }
}

impl Drain {
    fn new(now: Instant, bounds: &Bounds) -> Self {
        Self {
            begun: now,
            received: now,
            end: now + bounds.total,
            left: bounds.bytes,
            held: None,
        }
    }

    fn holds(&mut self, now: Instant, bytes: u64, bounds: &Bounds) {
        if bytes == 0 {
            if self.held.take().is_some() {
                // The peer has only just got the last of it, and is given the time to close.
                self.received = now;
                self.end = self.end.max(now + bounds.idle.min(bounds.total));
            }
            return;
        }
        // Counted from the end, since it becomes less.
        let taken = u64::MAX - bytes;
        let mut wait = self.held.map_or(Wait::new(now, taken), |held| held.wait);
        wait.comes_to(now, taken, bounds.rate);
        // Acknowledgements wake nobody. They take a round trip, which nobody tells: so ask soon,
        // and each time after twice as long.
        let pause = (now - self.begun).clamp(FIRST_LOOK, bounds.idle.max(FIRST_LOOK));
        self.held = Some(Held {
            wait,
            look: now + pause,
        });
    }

    /// How it ends, if now.
    fn outcome(&self, now: Instant, out_of_time: bool, bounds: &Bounds) -> Option<Outcome> {
        if let Some(held) = self.held {
            let over = out_of_time || now >= held.wait.over_at(bounds.write);
            return over.then_some(Outcome::Aborted);
        }
        if now >= self.received + bounds.idle {
            return Some(Outcome::PeerSilent);
        }
        (now >= self.end).then_some(Outcome::DrainCut)
    }

    /// How it ends if it has to end now.
    fn cut(&self) -> Outcome {
        match self.held {
            Some(_) => Outcome::Aborted,
            None => Outcome::DrainCut,
        }
    }
}

/// When the kernel is first asked again.
const FIRST_LOOK: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pace::Rate;

    const FLUSH: Duration = Duration::from_secs(5);

    const BOUNDS: Bounds = Bounds {
        write: Duration::from_secs(30),
        rate: Rate(0),
        last: Duration::from_secs(30),
        total: Duration::from_secs(5),
        idle: Duration::from_secs(2),
        bytes: 1000,
    };

    /// What can happen to a teardown.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Notified,
        Wrote(u64),
        Flushed,
        HalfClosed,
        Received(usize),
        PeerClosed,
        Failed,
        Evicted,
        /// The kernel holds so many bytes.
        Holds(u64),
        /// The shutdown's deadline.
        Hurry,
        Tick,
        /// Time passes.
        Wait(Duration),
    }
    use Event::*;

    const fn ms(ms: u64) -> Event {
        Wait(Duration::from_millis(ms))
    }

    struct Bench {
        machine: Machine,
        now: Instant,
        taken: u64,
    }

    impl Bench {
        fn new(notify: bool, peer_closed: bool) -> Self {
            let now = Instant::now();
            Self {
                machine: Machine::new(now, FLUSH, Arc::new(BOUNDS), notify, peer_closed, false),
                now,
                taken: 0,
            }
        }

        fn happen(&mut self, event: Event) {
            let Self {
                machine,
                now,
                taken,
            } = self;
            match event {
                Notified => machine.notified(*now),
                Wrote(n) => {
                    *taken += n;
                    machine.acknowledged(*now, *taken);
                }
                Flushed => machine.flushed(*now),
                HalfClosed => machine.half_closed(*now),
                Received(n) => machine.received(*now, n),
                PeerClosed => machine.peer_closed(),
                Failed => machine.failed(),
                Evicted => machine.evicted(),
                Holds(n) => machine.unacknowledged(*now, n),
                Hurry => machine.hurry(*now),
                Tick => machine.tick(*now),
                Wait(time) => *now += time,
            }
        }
    }

    #[test]
    fn every_way_through() {
        use Action::*;
        use Outcome::*;
        // Flushed and half-closed, draining since.
        let drain = |events: &[Event]| [&[Notified, Flushed, HalfClosed], events].concat();
        for (name, events, expected) in [
            ("begins with the notification", vec![], Notify),
            ("then flushes", vec![Notified], Flush),
            ("then half-closes", vec![Notified, Flushed], HalfClose),
            (
                "a half-close that never ends",
                vec![Notified, Flushed, ms(30_000), Tick],
                Close(Aborted),
            ),
            ("then drains", drain(&[]), Drain),
            ("peer closes", drain(&[PeerClosed]), Close(Clean)),
            (
                "reset after everything was sent",
                drain(&[Failed]),
                Close(Clean),
            ),
            (
                "reset while flushing",
                vec![Notified, Failed],
                Close(Aborted),
            ),
            (
                "reset at half-close",
                vec![Notified, Flushed, Failed],
                Close(Aborted),
            ),
            ("peer closes first", vec![Notified, PeerClosed], Flush),
            (
                "peer closed while flushing: nothing to drain",
                vec![Notified, PeerClosed, Flushed, HalfClosed, Holds(0)],
                Close(Clean),
            ),
            ("flush waits", vec![Notified, ms(4999), Tick], Flush),
            (
                "flush gives up",
                vec![Notified, ms(5000), Tick],
                Close(Aborted),
            ),
            (
                "a slow reader is waited for",
                vec![Notified, ms(4000), Wrote(1), ms(4000), Tick],
                Flush,
            ),
            (
                "however long it takes",
                std::iter::once(Notified)
                    .chain([ms(4000), Wrote(1)].into_iter().cycle().take(40))
                    .chain([Tick])
                    .collect(),
                Flush,
            ),
            (
                "but not past the shutdown's deadline",
                [Notified, Hurry]
                    .into_iter()
                    .chain([ms(4000), Wrote(1)].into_iter().cycle().take(16))
                    .chain([Tick])
                    .collect(),
                Close(Aborted),
            ),
            (
                "only the first deadline counts",
                vec![Notified, Hurry, ms(29_999), Wrote(1), Hurry, ms(1), Tick],
                Close(Aborted),
            ),
            ("silence", drain(&[ms(1999), Tick]), Drain),
            (
                "silence for too long",
                drain(&[ms(2000), Tick]),
                Close(PeerSilent),
            ),
            (
                "a dripping peer",
                drain(&[
                    ms(1500),
                    Received(1),
                    ms(1500),
                    Received(1),
                    ms(1500),
                    Received(1),
                ]),
                Drain,
            ),
            (
                "a dripping peer is cut in the end",
                drain(&[
                    ms(1500),
                    Received(1),
                    ms(1500),
                    Received(1),
                    ms(1500),
                    Received(1),
                    ms(500),
                    Tick,
                ]),
                Close(DrainCut),
            ),
            (
                "a peer that never pauses needs no tick to be cut",
                drain(&[
                    ms(1900),
                    Received(1),
                    ms(1900),
                    Received(1),
                    ms(1200),
                    Received(1),
                ]),
                Close(DrainCut),
            ),
            (
                "the kernel holds what a silent peer goes on taking",
                drain(&[Holds(9), ms(20_000), Holds(8), ms(20_000), Holds(7), Tick]),
                Drain,
            ),
            (
                "who takes nothing of it has lost it",
                drain(&[Holds(9), ms(30_000), Holds(9), Tick]),
                Close(Aborted),
            ),
            (
                "more in the queue is no progress",
                drain(&[Holds(9), ms(20_000), Holds(10), ms(10_000), Tick]),
                Close(Aborted),
            ),
            (
                "the drain's time begins when the peer has got all of it",
                drain(&[Holds(9), ms(20_000), Holds(0), ms(1999), Tick]),
                Drain,
            ),
            (
                "and ends",
                drain(&[Holds(9), ms(20_000), Holds(0), ms(2000), Tick]),
                Close(PeerSilent),
            ),
            (
                "for a dripping peer too",
                drain(&[
                    Holds(9),
                    ms(20_000),
                    Holds(0),
                    ms(1999),
                    Received(1),
                    ms(1),
                    Tick,
                ]),
                Close(DrainCut),
            ),
            (
                "a peer that has closed is waited for as well",
                drain(&[Holds(9), PeerClosed]),
                Drain,
            ),
            (
                "until it has got all of it",
                drain(&[Holds(9), PeerClosed, ms(9), Holds(0)]),
                Close(Clean),
            ),
            (
                "a reset destroys what was not taken",
                drain(&[Holds(9), Failed]),
                Close(Aborted),
            ),
            (
                "so does giving way",
                drain(&[Holds(9), Evicted]),
                Close(Aborted),
            ),
            (
                "so do too many bytes",
                drain(&[Holds(9), Received(1000)]),
                Close(Aborted),
            ),
            (
                "past the deadline it ends all the same",
                drain(&[Hurry, Holds(9), ms(29_000), Holds(8), ms(1000), Tick]),
                Close(Aborted),
            ),
            ("999 bytes", drain(&[Received(999)]), Drain),
            (
                "1000 bytes",
                drain(&[Received(999), Received(1)]),
                Close(DrainCut),
            ),
            ("gives way", drain(&[Evicted]), Close(DrainCut)),
            ("only what drains gives way", vec![Notified, Evicted], Flush),
            (
                "closed is closed",
                drain(&[PeerClosed, Failed, Evicted, Received(9)]),
                Close(Clean),
            ),
        ] {
            let mut bench = Bench::new(true, false);
            events.into_iter().for_each(|event| bench.happen(event));
            assert_eq!(bench.machine.action(), expected, "{name}");
        }
    }

    #[test]
    fn a_reader_that_drips_is_not_drained_for_ever() {
        let begun = Instant::now();
        let bounds = Arc::new(Bounds {
            rate: Rate(100),
            ..BOUNDS
        });
        for (every_second, ends) in [(1, Some(31)), (50, Some(60)), (100, None)] {
            let mut machine = Machine::new(begun, FLUSH, bounds.clone(), false, false, true);
            machine.unacknowledged(begun, 1_000_000);
            let ended = (1..1000_u64).find(|second| {
                let now = begun + Duration::from_secs(*second);
                machine.unacknowledged(now, 1_000_000 - second * every_second);
                machine.tick(now);
                matches!(machine.action(), Action::Close(Outcome::Aborted))
            });
            assert_eq!(ended, ends, "{every_second}");
        }
    }

    #[test]
    fn nor_is_what_is_left_flushed_to_it_for_ever() {
        let begun = Instant::now();
        let bounds = Arc::new(Bounds {
            rate: Rate(100),
            ..BOUNDS
        });
        for (every_second, ends) in [(1, Some(6)), (50, Some(10)), (100, None)] {
            let mut machine = Machine::new(begun, FLUSH, bounds.clone(), false, false, false);
            let ended = (1..1000_u64).find(|second| {
                let now = begun + Duration::from_secs(*second);
                machine.acknowledged(now, second * every_second);
                machine.tick(now);
                matches!(machine.action(), Action::Close(Outcome::Aborted))
            });
            assert_eq!(ended, ends, "{every_second}");
        }
    }

    #[test]
    fn says_when_to_come_back() {
        let drain = |events: &[Event]| [&[Notified, Flushed, HalfClosed], events].concat();
        for (name, events, expected) in [
            ("notifying takes no time", vec![], None),
            ("flushing", vec![Notified], Some(5.0)),
            (
                "from its last progress on",
                vec![Notified, ms(1000), Wrote(1)],
                Some(6.0),
            ),
            (
                "the half-close",
                vec![Notified, ms(1000), Flushed],
                Some(6.0),
            ),
            (
                "no later than the last of all",
                vec![Hurry, Notified, ms(29_000), Wrote(1)],
                Some(30.0),
            ),
            ("silence", drain(&[]), Some(2.0)),
            (
                "from the last byte on",
                drain(&[ms(1500), Received(1)]),
                Some(3.5),
            ),
            (
                "but no longer than draining may take",
                drain(&[ms(1900), Received(1), ms(1900), Received(1)]),
                Some(5.0),
            ),
            (
                "the last of all does not shorten it",
                drain(&[Hurry, ms(1500), Received(1)]),
                Some(3.5),
            ),
            (
                "what is held is asked for soon",
                drain(&[Holds(9)]),
                Some(0.01),
            ),
            (
                "and then after twice as long",
                drain(&[ms(200), Holds(9)]),
                Some(0.4),
            ),
            (
                "up to the time of a silence",
                drain(&[Holds(9), ms(20_000), Holds(8)]),
                Some(22.0),
            ),
            (
                "no later than a stall ends it",
                drain(&[Holds(9), ms(29_500), Holds(9)]),
                Some(30.0),
            ),
            (
                "nor than the last of all",
                drain(&[Hurry, ms(29_500), Holds(9)]),
                Some(30.0),
            ),
            ("closed", drain(&[PeerClosed]), None),
        ] {
            let mut bench = Bench::new(true, false);
            let begun = bench.now;
            events.into_iter().for_each(|event| bench.happen(event));
            let deadline = bench.machine.deadline();
            let seconds = deadline.map(|deadline| (deadline - begun).as_secs_f64());
            assert_eq!(seconds, expected, "{name}");
        }
    }

    #[test]
    fn knows_whether_the_peer_has_closed() {
        for peer_closed in [false, true] {
            let mut bench = Bench::new(true, peer_closed);
            assert_eq!(bench.machine.is_peer_closed(), peer_closed);
            bench.happen(PeerClosed);
            assert!(bench.machine.is_peer_closed());
        }
    }

    #[test]
    fn a_truncated_answer_is_not_notified() {
        let bench = Bench::new(false, false);
        assert_eq!(bench.machine.action(), Action::Flush);
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Notified),
            (1..100_u64).prop_map(Wrote),
            Just(Flushed),
            Just(HalfClosed),
            (0..400_usize).prop_map(Received),
            Just(PeerClosed),
            Just(Failed),
            Just(Evicted),
            Just(Hurry),
            (0..3_u64).prop_map(Holds),
            Just(Tick),
            (0..3000_u64).prop_map(ms),
        ]
    }

    /// How far an action is on the way; it may never go back.
    fn rank(action: Action) -> u8 {
        match action {
            Action::Notify => 0,
            Action::Flush => 1,
            Action::HalfClose => 2,
            Action::Drain => 3,
            Action::Close(_) => 4,
        }
    }

    proptest! {
        /// Whatever happens in whatever order: the machine notifies at most once and first of
        /// all, never if told not to, and sends nothing after the half-close.
        #[test]
        fn never_goes_back(
            notify: bool,
            peer_closed: bool,
            events in proptest::collection::vec(event(), 0..60),
        ) {
            let mut bench = Bench::new(notify, peer_closed);
            let mut before = bench.machine.action();
            prop_assert_eq!(before == Action::Notify, notify);
            for event in events {
                bench.happen(event);
                let action = bench.machine.action();
                prop_assert!(rank(action) >= rank(before), "{:?}: {:?} after {:?}", event, action, before);
                if let (Action::Close(first), Action::Close(now)) = (before, action) {
                    prop_assert_eq!(first, now);
                }
                before = action;
            }
        }

        /// A driver that does what it is told and comes back at the deadline is done within the
        /// bounds once the shutdown's deadline has passed, whatever the peer does in between.
        #[test]
        fn ends_within_its_bounds(
            peer_closed: bool,
            half_closed: bool,
            peer in proptest::collection::vec((event(), 0..3000_u64), 0..60),
        ) {
            let now = Instant::now();
            let machine = Machine::new(now, FLUSH, Arc::new(BOUNDS), true, peer_closed, half_closed);
            let mut bench = Bench {
                machine,
                now,
                taken: 0,
            };
            bench.happen(Hurry);
            let mut peer = peer.into_iter();
            for steps in 0.. {
                prop_assert!(steps < 1000, "it goes round and round");
                match bench.machine.action() {
                    Action::Notify => bench.happen(Notified),
                    Action::Close(_) => break,
                    _ => {
                        let deadline = bench.machine.deadline().unwrap();
                        prop_assert!(deadline >= bench.now, "a deadline in the past");
                        match peer.next() {
                            Some((event, ms)) if !matches!(event, Wait(_)) => {
                                let now = bench.now + Duration::from_millis(ms);
                                bench.now = now.min(deadline);
                                bench.happen(event);
                            }
                            _ => {
                                bench.now = deadline;
                                bench.happen(Holds(1));
                            }
                        }
                        bench.happen(Tick);
                    }
                }
            }
            prop_assert!(bench.now <= now + BOUNDS.last + BOUNDS.total.max(BOUNDS.idle));
        }

        /// Nothing that was not acknowledged is ever called sent.
        #[test]
        fn never_clean_with_bytes_held(events in proptest::collection::vec(event(), 0..60)) {
            let mut bench = Bench::new(true, false);
            let mut held = 0;
            for event in events {
                let draining = bench.machine.action() == Action::Drain;
                bench.happen(event);
                match (event, bench.machine.action()) {
                    (Holds(n), _) if draining => held = n,
                    (_, Action::Close(outcome)) => {
                        prop_assert!(held == 0 || outcome == Outcome::Aborted, "{outcome:?}");
                        break;
                    }
                    _ => {}
                }
            }
        }
    }
}
