//! The teardown's rules, without IO and without a clock.
//!
//! Whoever drives the machine does what [`Machine::action`] says, reports what came of it, and
//! comes back at [`Machine::deadline`] at the latest. Time is an argument. An event that does not
//! fit the state is a no-op, so that a driver never has to ask first.

use std::time::Duration;

use tokio::time::Instant;

use super::Outcome;

/// The limits of one teardown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How long flushing may go without a byte taken by the peer.
    pub(crate) flush: Duration,
    /// How long flushing may take in all.
    pub(crate) flush_total: Duration,
    /// How long draining may take in all.
    pub(crate) total: Duration,
    /// How long draining may go without a byte received.
    pub(crate) idle: Duration,
    /// How many bytes draining may discard.
    pub(crate) bytes: u64,
}

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
    Flushing {
        progress: Instant,
        end: Instant,
    },
    HalfClosing {
        end: Instant,
    },
    Draining {
        received: Instant,
        end: Instant,
        left: u64,
    },
    Closed(Outcome),
}

impl State {
    fn flushing(now: Instant, bounds: &Bounds) -> Self {
        Self::Flushing {
            progress: now,
            end: now + bounds.flush_total,
        }
    }
}

/// One connection's way from the first thought of closing to the closed descriptor.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    bounds: Bounds,
    peer_closed: bool,
}

impl Machine {
    /// `notify` is false where close_notify must be withheld: a truncated answer would look
    /// whole, or there is no session to say it in. `peer_closed` says that the peer's close_notify
    /// or FIN has been read already: nothing is left to drain then.
    pub(crate) fn new(now: Instant, bounds: Bounds, notify: bool, peer_closed: bool) -> Self {
        Self {
            state: match notify {
                true => State::Notifying,
                false => State::flushing(now, &bounds),
            },
            bounds,
            peer_closed,
        }
    }

    pub(crate) fn action(&self) -> Action {
        match self.state {
            State::Notifying => Action::Notify,
            State::Flushing { .. } => Action::Flush,
            State::HalfClosing { .. } => Action::HalfClose,
            State::Draining { .. } => Action::Drain,
            State::Closed(outcome) => Action::Close(outcome),
        }
    }

    /// When [`tick`](Self::tick) has something to decide, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Flushing { progress, end } => Some(end.min(progress + self.bounds.flush)),
            State::Draining { received, end, .. } => Some(end.min(received + self.bounds.idle)),
            State::HalfClosing { end } => Some(end),
            State::Notifying | State::Closed(_) => None,
        }
    }

    /// close_notify is queued.
    pub(crate) fn notified(&mut self, now: Instant) {
        if let State::Notifying = self.state {
            self.state = State::flushing(now, &self.bounds);
        }
    }

    /// The peer took some bytes, not yet all.
    pub(crate) fn wrote(&mut self, now: Instant) {
        if let State::Flushing { progress, .. } = &mut self.state {
            *progress = now;
        }
    }

    /// Everything TLS held has been handed to the transport.
    pub(crate) fn flushed(&mut self) {
        if let State::Flushing { end, .. } = self.state {
            self.state = State::HalfClosing { end };
        }
    }

    /// The write side of the transport is shut down.
    pub(crate) fn half_closed(&mut self, now: Instant) {
        if let State::HalfClosing { .. } = self.state {
            self.state = match self.peer_closed {
                true => State::Closed(Outcome::Clean),
                false => State::Draining {
                    received: now,
                    end: now + self.bounds.total,
                    left: self.bounds.bytes,
                },
            };
        }
    }

    /// `n` bytes came in and were discarded.
    pub(crate) fn received(&mut self, now: Instant, n: usize) {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        if let State::Draining { received, left, .. } = &mut self.state {
            *received = now;
            match left.checked_sub(n) {
                None | Some(0) => self.state = State::Closed(Outcome::DrainCut),
                Some(rest) => *left = rest,
            }
        }
        // A peer that never stops sending keeps every read ready: no timer would be looked at.
        self.tick(now);
    }

    /// The peer's close_notify or FIN arrived.
    pub(crate) fn peer_closed(&mut self) {
        self.peer_closed = true;
        if let State::Draining { .. } = self.state {
            self.state = State::Closed(Outcome::Clean);
        }
    }

    /// The transport failed: nothing more can be sent or received.
    ///
    /// While draining everything has been sent, and a reset is only a rude way to close.
    pub(crate) fn failed(&mut self) {
        self.state = match self.state {
            State::Closed(outcome) => State::Closed(outcome),
            State::Draining { .. } => State::Closed(Outcome::Clean),
            State::Notifying | State::Flushing { .. } | State::HalfClosing { .. } => {
                State::Closed(Outcome::Aborted)
            }
        };
    }

    /// Too many connections drain, and this one has drained longest.
    pub(crate) fn evicted(&mut self) {
        if let State::Draining { .. } = self.state {
            self.state = State::Closed(Outcome::DrainCut);
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        let outcome = match self.state {
            State::Flushing { progress, end }
                if now >= end || now >= progress + self.bounds.flush =>
            {
                Outcome::Aborted
            }
            State::HalfClosing { end } if now >= end => Outcome::Aborted,
            State::Draining { received, .. } if now >= received + self.bounds.idle => {
                Outcome::PeerSilent
            }
            State::Draining { end, .. } if now >= end => Outcome::DrainCut,
            _ => return,
        };
        self.state = State::Closed(outcome);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        flush: Duration::from_secs(5),
        flush_total: Duration::from_secs(30),
        total: Duration::from_secs(5),
        idle: Duration::from_secs(2),
        bytes: 1000,
    };

    /// What can happen to a teardown.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Notified,
        Wrote,
        Flushed,
        HalfClosed,
        Received(usize),
        PeerClosed,
        Failed,
        Evicted,
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
    }

    impl Bench {
        fn new(notify: bool, peer_closed: bool) -> Self {
            let now = Instant::now();
            Self {
                machine: Machine::new(now, BOUNDS, notify, peer_closed),
                now,
            }
        }

        fn happen(&mut self, event: Event) {
            let Self { machine, now } = self;
            match event {
                Notified => machine.notified(*now),
                Wrote => machine.wrote(*now),
                Flushed => machine.flushed(),
                HalfClosed => machine.half_closed(*now),
                Received(n) => machine.received(*now, n),
                PeerClosed => machine.peer_closed(),
                Failed => machine.failed(),
                Evicted => machine.evicted(),
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
                vec![Notified, PeerClosed, Flushed, HalfClosed],
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
                vec![Notified, ms(4000), Wrote, ms(4000), Tick],
                Flush,
            ),
            (
                "but not for ever",
                [[ms(4000), Wrote].as_slice(); 8]
                    .concat()
                    .into_iter()
                    .chain([Tick])
                    .rev()
                    .chain([Notified])
                    .rev()
                    .collect(),
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
    fn a_truncated_answer_is_not_notified() {
        let bench = Bench::new(false, false);
        assert_eq!(bench.machine.action(), Action::Flush);
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Notified),
            Just(Wrote),
            Just(Flushed),
            Just(HalfClosed),
            (0..400_usize).prop_map(Received),
            Just(PeerClosed),
            Just(Failed),
            Just(Evicted),
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
        /// bounds, whatever the peer does in between.
        #[test]
        fn ends_within_its_bounds(
            peer_closed: bool,
            peer in proptest::collection::vec((event(), 0..3000_u64), 0..60),
        ) {
            let mut bench = Bench::new(true, peer_closed);
            let begun = bench.now;
            let mut peer = peer.into_iter();
            loop {
                match bench.machine.action() {
                    Action::Notify => bench.happen(Notified),
                    Action::HalfClose => bench.happen(HalfClosed),
                    Action::Close(_) => break,
                    Action::Flush | Action::Drain => {
                        let deadline = bench.machine.deadline().unwrap();
                        match peer.next() {
                            Some((event, ms)) if !matches!(event, Wait(_)) => {
                                let now = bench.now + Duration::from_millis(ms);
                                bench.now = now.min(deadline);
                                bench.happen(event);
                            }
                            _ => bench.now = deadline,
                        }
                        bench.happen(Tick);
                    }
                }
            }
            prop_assert!(bench.now <= begun + BOUNDS.flush_total + BOUNDS.total);
        }
    }
}
