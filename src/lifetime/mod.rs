//! How long a connection may live, without IO and without a clock.
//!
//! A connection is *in use* while a request is unanswered, an upload moves, or a tunnel is open.
//! Everything else is idle, and ends at the keep-alive time-out, or at once when the server drains.
//! What is in use is never ended for its age, but for a peer that takes nothing of what waits for
//! it: that is *stalled*, and ends at the write time-out.
//!
//! ```text
//!            nothing in use             keep-alive time-out, draining, retired, wanted
//!   In use ─────────────────▶ Idle ───────────────────────────────────────────▶ Over(why)
//!     ▲                        │                                                   ▲
//!     └────────────────────────┘                                                   │
//!       a request, upload bytes                                                    │
//!                                                                                  │
//!   any ── bytes wait and the peer has acknowledged none for the write time-out ───┤
//!   any ── the shutdown's deadline ────────────────────────────────────────────────┘
//! ```
//!
//! Whoever drives the machine gives it [`Facts`], each of which somebody knows: the ledger, the
//! kernel, the phase. It says whether the time is over, and if not, when it has to be asked again.
//! `half_close` is the machine beside it, for peers that have said close_notify.

mod half_close;

use std::time::Duration;

use tokio::time::Instant;

use crate::{ending::Cause, ledger::Use, phase::Phase};

pub(crate) use half_close::HalfClose;

/// What is so when the machine is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) phase: Phase,
    /// Whether the connection is to end when nothing is in use.
    pub(crate) leaving: bool,
    /// Whether that was wanted of this one alone.
    pub(crate) retired: bool,
    /// Whether another connection needs its place, if it is idle.
    pub(crate) wanted: bool,
    /// Until when a request may still come in although the connection is to end: one whose head has
    /// begun, the first of a connection that was on its way when the shutdown began, or any where
    /// the connection is held.
    pub(crate) awaited: Option<Instant>,
    pub(crate) usage: Use,
    pub(crate) owed: Owed,
    /// Whether the end of an answer is not known to be acknowledged. Control frames are none.
    pub(crate) tail: bool,
    /// What is known of the HTTP/2 streams that wait for the peer's windows.
    pub(crate) windows: Windows,
}

/// HTTP/2 streams that wait for the peer to open its windows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Windows {
    /// Nothing waits longer than it may, and can't before this.
    Patient(Option<Instant>),
    /// Every stream in flight has waited for the write time-out.
    AllStalled,
}

/// Whether something of ours waits for the peer to take it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owed {
    /// The kernel was not asked.
    Unasked,
    /// Everything that was sent has been acknowledged.
    Nothing,
    /// Something waits; so many bytes have been acknowledged so far.
    Since(u64),
}

/// The time-outs that the machine goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) keep_alive: Duration,
    pub(crate) write: Duration,
}

impl Limits {
    /// How often a peer that is owed something is looked at: how late a stall may be noticed.
    pub(crate) fn every(&self) -> Duration {
        self.write / 8
    }
}

/// Since when something has been so, and what it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Since<T> {
    at: Instant,
    mark: T,
}

/// The machine. It is small, for there is one a connection.
#[derive(Debug, Default)]
pub(crate) struct Lifetime {
    idle: Option<Since<Use>>,
    /// Something waits for the peer, who had acknowledged so many bytes.
    owed: Option<Since<u64>>,
    over: Option<Cause>,
}

impl Lifetime {
    /// Why the connection's time is over, if it is.
    #[inline]
    pub(crate) fn over(&self) -> Option<Cause> {
        self.over
    }

    /// Whether the connection ends by force: nothing that is done to it now is orderly.
    #[inline]
    pub(crate) fn is_forced(&self) -> bool {
        matches!(self.over, Some(Cause::Deadline | Cause::Stalled))
    }

    /// Whether the connection has been seen to be idle with just this having gone before.
    ///
    /// What has to be asked on the way of every request; the clock only if the answer is no.
    #[inline]
    pub(crate) fn is_idle_since(&self, usage: Use) -> bool {
        self.idle.is_some_and(|idle| idle.mark == usage)
    }

    /// The connection is in use.
    #[inline]
    pub(crate) fn busy(&mut self) {
        self.idle = None;
    }

    /// The connection is seen not to be in use. When it has to be looked at.
    #[inline]
    pub(crate) fn idle(&mut self, now: Instant, usage: Use, limits: &Limits) -> Instant {
        match self.idle {
            Some(idle) if idle.mark == usage => idle.at + limits.keep_alive,
            _ => self.becomes_idle(now, usage, limits),
        }
    }

    /// The same, where it [was not so before](Self::is_idle_since).
    #[inline]
    pub(crate) fn becomes_idle(&mut self, now: Instant, usage: Use, limits: &Limits) -> Instant {
        self.idle = Some(Since {
            at: now,
            mark: usage,
        });
        now + limits.keep_alive
    }

    /// Whether somebody looks after what waits for the peer.
    #[inline]
    pub(crate) fn is_owed(&self) -> bool {
        self.owed.is_some()
    }

    /// Something waits for the peer, who has acknowledged `taken` bytes so far. When to look.
    pub(crate) fn owes(&mut self, now: Instant, taken: u64, limits: &Limits) -> Instant {
        let owed = *self.owed.get_or_insert(Since {
            at: now,
            mark: taken,
        });
        (now + limits.every()).min(owed.at + limits.write)
    }

    /// A request came in the last look at an idle connection: it is not over.
    pub(crate) fn revive(&mut self) {
        if !self.is_forced() {
            self.over = None;
            self.idle = None;
        }
    }

    /// Decides whether it is [`over`](Self::over), and says when to look again at the latest.
    ///
    /// Once it is over it stays so, but for [`revive`](Self::revive), and a force that comes on
    /// top.
    pub(crate) fn look(&mut self, now: Instant, facts: &Facts, limits: &Limits) -> Option<Instant> {
        if self.is_forced() {
            return None;
        }
        let stall = self.stall(now, facts.owed, limits);
        let idle = self.idle_end(now, facts, limits);
        let passed = |due: Option<Instant>| due.is_some_and(|due| now >= due);
        // What the peer has taken meanwhile may change these.
        let asked = facts.owed != Owed::Unasked;
        let known = asked || matches!(facts.usage, Use::Nothing { .. });
        match () {
            () if facts.phase >= Phase::Deadline => self.over = Some(Cause::Deadline),
            () if facts.windows == Windows::AllStalled || asked && passed(stall) => {
                self.over = Some(Cause::Stalled);
            }
            () if self.over.is_none() && known && passed(idle) => {
                self.over = Some(facts.why_idle_ends());
            }
            () => {}
        }
        if self.is_forced() {
            return None;
        }
        let look_at_stall = stall.map(|stall| stall.min(now + limits.every()));
        let idle = idle.filter(|_| self.over.is_none());
        let dues = [look_at_stall, facts.windows.next(), idle];
        dues.into_iter().flatten().min()
    }

    /// When the peer will have taken nothing for too long, if something waits for it.
    fn stall(&mut self, now: Instant, owed: Owed, limits: &Limits) -> Option<Instant> {
        match owed {
            Owed::Unasked => {}
            Owed::Nothing => self.owed = None,
            Owed::Since(taken) => {
                if self.owed.is_none_or(|owed| owed.mark != taken) {
                    self.owed = Some(Since {
                        at: now,
                        mark: taken,
                    });
                }
            }
        }
        self.owed.map(|owed| owed.at + limits.write)
    }

    /// When the connection will have been idle for too long, if it is idle.
    fn idle_end(&mut self, now: Instant, facts: &Facts, limits: &Limits) -> Option<Instant> {
        if matches!(facts.usage, Use::Request | Use::Tunnel) {
            self.busy();
            return None;
        }
        let end = self.idle(now, facts.usage, limits);
        match facts.usage {
            Use::Nothing { .. } if facts.wanted => Some(now),
            Use::Nothing { .. } if facts.leaving => {
                Some(facts.awaited.map_or(now, |until| until.min(end)))
            }
            // The last answer is not fully on the wire: that is use, seen only now.
            _ if facts.tail => {
                self.busy();
                Some(self.idle(now, facts.usage, limits))
            }
            _ => Some(end),
        }
    }
}

impl Facts {
    fn why_idle_ends(&self) -> Cause {
        match self {
            Self {
                leaving: false,
                wanted: true,
                ..
            } => Cause::Evicted,
            Self { leaving: false, .. } => Cause::Idle,
            Self { retired: true, .. } if self.phase < Phase::Draining => Cause::Retired,
            _ => Cause::Draining,
        }
    }
}

impl Windows {
    fn next(self) -> Option<Instant> {
        match self {
            Self::Patient(next) => next,
            Self::AllStalled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        keep_alive: Duration::from_secs(10),
        write: Duration::from_secs(8),
    };

    const NOTHING: Use = Use::Nothing { requests: 1 };

    /// What happens to a connection, or has come to be so.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        /// The stream sees that the connection is used for this.
        Is(Use),
        /// A write is blocked, with so many bytes acknowledged.
        Blocked(u64),
        /// What the kernel will say from now on.
        Kernel(Owed),
        Opens(Windows),
        Turns(Phase),
        Retire,
        /// Its place is wanted.
        Want,
        /// A request is awaited until so many seconds have passed.
        Awaited(u64),
        /// The timer strikes, or a poll looks.
        Look,
        Revive,
        /// So many seconds pass.
        Wait(u64),
    }
    use Event::*;

    struct Bench {
        machine: Lifetime,
        facts: Facts,
        begun: Instant,
        now: Instant,
        next: Option<Instant>,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            Self {
                machine: Lifetime::default(),
                facts: Facts {
                    phase: Phase::Serving,
                    leaving: false,
                    retired: false,
                    wanted: false,
                    awaited: None,
                    usage: NOTHING,
                    owed: Owed::Nothing,
                    tail: false,
                    windows: Windows::Patient(None),
                },
                begun: now,
                now,
                next: None,
            }
        }

        fn happen(&mut self, event: Event) {
            let facts = &mut self.facts;
            match event {
                Is(usage) => {
                    facts.usage = usage;
                    match usage {
                        Use::Request | Use::Tunnel => self.machine.busy(),
                        _ => drop(self.machine.idle(self.now, usage, &LIMITS)),
                    }
                }
                Blocked(taken) => drop(self.machine.owes(self.now, taken, &LIMITS)),
                Kernel(owed) => {
                    facts.owed = owed;
                    facts.tail = matches!(owed, Owed::Since(1..));
                }
                Opens(windows) => facts.windows = windows,
                Turns(phase) => {
                    facts.phase = facts.phase.max(phase);
                    facts.leaving |= phase >= Phase::Draining;
                }
                Retire => (facts.leaving, facts.retired) = (true, true),
                Want => facts.wanted = true,
                Awaited(seconds) => {
                    facts.awaited = Some(self.begun + Duration::from_secs(seconds));
                }
                Look => self.next = self.machine.look(self.now, facts, &LIMITS),
                Revive => self.machine.revive(),
                Wait(seconds) => self.now += Duration::from_secs(seconds),
            }
        }
    }

    fn over(events: &[Event]) -> Option<Cause> {
        let mut bench = Bench::new();
        events.iter().for_each(|event| bench.happen(*event));
        bench.machine.over()
    }

    const fn held(taken: u64) -> Event {
        Kernel(Owed::Since(taken))
    }

    #[test]
    fn idle_connections_end() {
        use Cause::*;
        let second = Use::Nothing { requests: 2 };
        let upload = |bytes| Is(Use::Upload { bytes });
        let unknown = |bytes| Is(Use::Unknown { bytes });
        for (name, events, expected) in [
            ("not yet", vec![Is(NOTHING), Wait(9), Look], None),
            (
                "at keep-alive",
                vec![Is(NOTHING), Wait(10), Look],
                Some(Idle),
            ),
            (
                "not because it was seen idle again",
                vec![Is(NOTHING), Wait(5), Is(NOTHING), Wait(5), Look],
                Some(Idle),
            ),
            (
                "a request between makes it young",
                vec![Is(NOTHING), Wait(5), Is(second), Wait(9), Look],
                None,
            ),
            ("in use", vec![Is(Use::Request), Wait(99), Look], None),
            ("a tunnel", vec![Is(Use::Tunnel), Wait(99), Look], None),
            (
                "in use, and then not",
                vec![Is(Use::Request), Wait(99), Is(NOTHING), Wait(10), Look],
                Some(Idle),
            ),
            (
                "an upload that moves",
                vec![upload(1), Wait(9), upload(2), Wait(9), Look],
                None,
            ),
            (
                "an upload that does not",
                vec![upload(1), Wait(9), upload(1), Wait(1), Look],
                Some(Idle),
            ),
            (
                "what can't be followed, and moves",
                vec![unknown(1), Wait(9), unknown(2), Wait(9), Look],
                None,
            ),
            ("and does not", vec![unknown(1), Wait(10), Look], Some(Idle)),
            (
                "the last answer is not on the wire yet",
                vec![Is(NOTHING), held(5), Wait(10), Look, Wait(5), held(6), Look],
                None,
            ),
            (
                "control frames are no answer",
                vec![Is(NOTHING), held(0), Wait(10), Look],
                Some(Idle),
            ),
            (
                "it is by now, and the time begins then",
                vec![
                    Is(NOTHING),
                    held(5),
                    Wait(10),
                    Look,
                    Kernel(Owed::Nothing),
                    Wait(9),
                    Look,
                ],
                None,
            ),
            (
                "and ends",
                vec![
                    Is(NOTHING),
                    held(5),
                    Wait(10),
                    Look,
                    Kernel(Owed::Nothing),
                    Wait(10),
                    Look,
                ],
                Some(Idle),
            ),
            (
                "a request in the last look",
                vec![Is(NOTHING), Wait(10), Look, Revive, Is(Use::Request), Look],
                None,
            ),
        ] {
            assert_eq!(over(&events), expected, "{name}");
        }
    }

    #[test]
    fn who_is_idle_makes_room() {
        let request_behind_it = vec![Is(NOTHING), Want, Look, Revive, Is(Use::Request), Look];
        for (name, events, expected) in [
            (
                "at once",
                vec![Is(NOTHING), Want, Look],
                Some(Cause::Evicted),
            ),
            ("in use", vec![Is(Use::Request), Want, Look], None),
            ("a tunnel", vec![Is(Use::Tunnel), Want, Look], None),
            (
                "an upload",
                vec![Is(Use::Upload { bytes: 1 }), Want, Look],
                None,
            ),
            (
                "what can't be followed",
                vec![Is(Use::Unknown { bytes: 1 }), Want, Look],
                None,
            ),
            ("a request in the last look", request_behind_it, None),
            (
                "one that is held in a shutdown",
                vec![Is(NOTHING), Turns(Phase::Draining), Awaited(5), Want, Look],
                Some(Cause::Draining),
            ),
        ] {
            assert_eq!(over(&events), expected, "{name}");
        }
    }

    #[test]
    fn stalled_peers_end() {
        use Cause::*;
        let patient = Opens(Windows::Patient(None));
        let stalled = Opens(Windows::AllStalled);
        let request = Is(Use::Request);
        for (name, events, expected) in [
            (
                "takes nothing",
                vec![request, Blocked(3), held(3), Wait(7), Look, Wait(1), Look],
                Some(Stalled),
            ),
            (
                "not yet",
                vec![request, Blocked(3), held(3), Wait(7), Look],
                None,
            ),
            (
                "takes a byte in time",
                vec![request, Blocked(3), held(4), Wait(7), Look, Wait(7), Look],
                None,
            ),
            (
                "and then none",
                vec![request, Blocked(3), held(4), Wait(7), Look, Wait(8), Look],
                Some(Stalled),
            ),
            (
                "seen at a strike alone",
                vec![request, held(3), Look, Wait(8), Look],
                Some(Stalled),
            ),
            (
                "nothing waits for it any more",
                vec![
                    request,
                    held(3),
                    Look,
                    Kernel(Owed::Nothing),
                    Wait(4),
                    Look,
                    held(3),
                    Wait(4),
                    Look,
                ],
                None,
            ),
            (
                "a look that does not ask forgets nothing",
                vec![
                    request,
                    held(3),
                    Look,
                    Kernel(Owed::Unasked),
                    Wait(4),
                    Look,
                    held(3),
                    Wait(4),
                    Look,
                ],
                Some(Stalled),
            ),
            (
                "a slow handler is not the peer's fault",
                vec![request, Wait(99), Look],
                None,
            ),
            (
                "every window is shut",
                vec![request, stalled, Look],
                Some(Stalled),
            ),
            (
                "some are open",
                vec![request, patient, Wait(99), Look],
                None,
            ),
            (
                "after the end of an idle one, too",
                vec![Is(NOTHING), Wait(10), Look, held(3), Look, Wait(8), Look],
                Some(Stalled),
            ),
            (
                "who is stalled is not revived",
                vec![request, stalled, Look, Revive],
                Some(Stalled),
            ),
        ] {
            assert_eq!(over(&events), expected, "{name}");
        }
    }

    #[test]
    fn a_shutdown_ends_what_is_not_in_use() {
        use Cause::*;
        let drain = Turns(Phase::Draining);
        let deadline = Turns(Phase::Deadline);
        let upload = |bytes| Is(Use::Upload { bytes });
        for (name, events, expected) in [
            (
                "the lame duck ends nothing",
                vec![Is(NOTHING), Turns(Phase::LameDuck), Look],
                None,
            ),
            ("idle", vec![Is(NOTHING), drain, Look], Some(Draining)),
            (
                "in use",
                vec![Is(Use::Request), drain, Wait(99), Look],
                None,
            ),
            (
                "a tunnel",
                vec![Is(Use::Tunnel), drain, Wait(99), Look],
                None,
            ),
            (
                "in use, and then not",
                vec![Is(Use::Request), drain, Wait(99), Look, Is(NOTHING), Look],
                Some(Draining),
            ),
            (
                "idle, with the answer in the kernel: the drain waits for that",
                vec![Is(NOTHING), drain, held(5), Look],
                Some(Draining),
            ),
            ("an upload", vec![upload(1), drain, Wait(9), Look], None),
            (
                "an upload that moves",
                vec![upload(1), drain, Wait(9), upload(2), Wait(9), Look],
                None,
            ),
            (
                "an upload that does not",
                vec![upload(1), drain, Wait(10), Look],
                Some(Draining),
            ),
            (
                "what can't be followed is waited for as long as it moves",
                vec![Is(Use::Unknown { bytes: 1 }), drain, Wait(9), Look],
                None,
            ),
            (
                "a request is on its way",
                vec![Is(NOTHING), drain, Awaited(5), Wait(4), Look],
                None,
            ),
            (
                "and does not come",
                vec![Is(NOTHING), drain, Awaited(5), Wait(5), Look],
                Some(Draining),
            ),
            (
                "nor is it waited for longer than an idle one lives",
                vec![Is(NOTHING), drain, Awaited(99), Wait(10), Look],
                Some(Draining),
            ),
            (
                "the deadline ends what is in use",
                vec![Is(Use::Request), deadline, Look],
                Some(Deadline),
            ),
            (
                "and what has been told to end",
                vec![Is(NOTHING), drain, Look, deadline, Look],
                Some(Deadline),
            ),
            (
                "retired and idle",
                vec![Is(NOTHING), Retire, Look],
                Some(Retired),
            ),
            ("retired in use", vec![Is(Use::Request), Retire, Look], None),
        ] {
            assert_eq!(over(&events), expected, "{name}");
        }
    }

    #[test]
    fn says_when_to_look_again() {
        let drain = Turns(Phase::Draining);
        let soon = |bench: &Bench| Opens(Windows::Patient(Some(bench.now)));
        for (name, events, expected) in [
            ("idle", vec![Is(NOTHING), Wait(4), Look], Some(10.0)),
            ("in use", vec![Is(Use::Request), Look], None),
            (
                "owed: soon",
                vec![Is(Use::Request), held(1), Look],
                Some(1.0),
            ),
            (
                "owed: at the end",
                vec![
                    Is(Use::Request),
                    held(1),
                    Look,
                    Wait(1),
                    Look,
                    Wait(6),
                    Wait(1),
                    held(2),
                    Look,
                ],
                Some(9.0),
            ),
            (
                "awaited",
                vec![Is(NOTHING), drain, Awaited(3), Look],
                Some(3.0),
            ),
            ("over", vec![Is(NOTHING), drain, Look], None),
            (
                "over, and owed",
                vec![Is(NOTHING), drain, held(1), Look],
                Some(1.0),
            ),
            ("forced", vec![held(1), Turns(Phase::Deadline), Look], None),
        ] {
            let mut bench = Bench::new();
            events.into_iter().for_each(|event| bench.happen(event));
            let next = bench.next.map(|next| (next - bench.begun).as_secs_f64());
            assert_eq!(next, expected, "{name}");
        }
        let mut bench = Bench::new();
        bench.happen(Is(Use::Request));
        bench.happen(soon(&bench));
        bench.happen(Look);
        assert_eq!(bench.next, Some(bench.now), "the windows'");
    }

    #[test]
    fn a_blocked_write_says_when_to_look() {
        let mut bench = Bench::new();
        assert!(!bench.machine.is_owed());
        let first = bench.machine.owes(bench.now, 7, &LIMITS);
        assert_eq!(first, bench.now + LIMITS.every());
        assert!(bench.machine.is_owed());
        let late = bench.now + LIMITS.write - Duration::from_millis(1);
        assert_eq!(
            bench.machine.owes(late, 9, &LIMITS),
            bench.now + LIMITS.write
        );
    }

    fn usage() -> impl Strategy<Value = Use> {
        prop_oneof![
            (0..3_u32).prop_map(|requests| Use::Nothing { requests }),
            (0..3_u64).prop_map(|bytes| Use::Upload { bytes }),
            (0..3_u64).prop_map(|bytes| Use::Unknown { bytes }),
            Just(Use::Request),
            Just(Use::Tunnel),
        ]
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            usage().prop_map(Is),
            (0..3_u64).prop_map(Blocked),
            (0..3_u64).prop_map(held),
            Just(Kernel(Owed::Nothing)),
            Just(Kernel(Owed::Unasked)),
            Just(Turns(Phase::LameDuck)),
            Just(Turns(Phase::Draining)),
            Just(Retire),
            (0..20_u64).prop_map(Awaited),
            Just(Look),
            Just(Look),
            (0..6_u64).prop_map(Wait),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: nothing in use is ended but for a stall, and once it
        /// is over it stays so.
        #[test]
        fn no_verdict_out_of_order(events in proptest::collection::vec(event(), 0..60)) {
            let mut bench = Bench::new();
            for event in events {
                let before = bench.machine.over();
                bench.happen(event);
                let after = bench.machine.over();
                if before != after {
                    prop_assert!(matches!(event, Look), "{event:?}");
                    prop_assert!(before.is_none() || bench.machine.is_forced(), "{before:?}, {after:?}");
                    let in_use = matches!(bench.facts.usage, Use::Request | Use::Tunnel);
                    prop_assert!(!in_use || bench.machine.is_forced(), "{after:?}");
                }
            }
        }

        /// There is always a next look while something is due, it is never in the past, and who
        /// comes back at it in vain for as long as anything may take sees the end.
        #[test]
        fn always_a_next_look(events in proptest::collection::vec(event(), 0..40)) {
            let mut bench = Bench::new();
            for event in events {
                bench.happen(event);
            }
            let idle = !matches!(bench.facts.usage, Use::Request | Use::Tunnel);
            let owed = matches!(bench.facts.owed, Owed::Since(_));
            let begun = bench.now;
            for _ in 0..100 {
                bench.happen(Look);
                match bench.next {
                    // What has to be asked of the kernel is asked at once.
                    Some(next) if bench.facts.owed == Owed::Unasked => {
                        bench.facts.owed = Owed::Nothing;
                        bench.now = bench.now.max(next);
                    }
                    Some(next) => {
                        prop_assert!(next > bench.now, "a look in the past");
                        bench.now = next;
                    }
                    None => break,
                }
            }
            let ended = bench.machine.over().is_some();
            prop_assert!(ended || !(idle || owed), "{:?}", bench.facts);
            let most = LIMITS.keep_alive + LIMITS.write + LIMITS.keep_alive;
            prop_assert!(bench.now <= begun + most, "{:?}", bench.now - begun);
        }
    }
}
