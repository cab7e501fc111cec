//! How long a connection may live, without IO and without a clock.
//!
//! A connection is *in use* while a request is unanswered, an upload moves, or a tunnel is open.
//! Everything else is idle, and ends at the keep-alive time-out, or at once when the server drains.
//! What is in use ends for its age, where that has an end, and for a peer that does not bring it on. One
//! that takes nothing of what waits for it, or next to nothing, is *stalled*, and ends at the write
//! time-out; a request that does not come in ends at the time-out of its head or its body. `pace` says how
//! nothing and next to nothing are one.
//!
//! ```text
//!            nothing in use             keep-alive time-out, draining, retired, wanted
//!   In use ─────────────────▶ Idle ───────────────────────────────────────────▶ Over(why)
//!     ▲                        │                                                   ▲
//!     └────────────────────────┘                                                   │
//!       a request, upload bytes                                                    │
//!                                                                                  │
//!   any ── bytes wait for the peer to acknowledge them: write time-out ────────────┤
//!   any ── a request waits for the peer to send on: header or body time-out ───────┤
//!   a tunnel ── no byte either way: tunnel time-out, where there is one ───────────┤
//!   any ── the grace of its age ───────────────────────────────────────────────────┤
//!   any ── the shutdown's deadline ────────────────────────────────────────────────┘
//! ```
//!
//! Whoever drives the machine gives it [`Facts`], each of which somebody knows: the ledger, the
//! kernel, the phase. It says whether the time is over, and if not, when it has to be asked again.
//! `half_close` is the machine beside it, for peers that have said close_notify.

mod half_close;

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    ending::Cause,
    ledger::{Coming, Stage, Use},
    pace::{Rate, Wait},
    phase::Phase,
};

pub(crate) use half_close::HalfClose;

/// What is so when the machine is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) phase: Phase,
    /// Whether the connection is to end when nothing is in use.
    pub(crate) leaving: bool,
    /// Why, if that was wanted of this one alone.
    pub(crate) retired: Option<Cause>,
    /// When it ends whatever it is used for.
    pub(crate) ends_by: Option<Instant>,
    /// Whether another connection needs its place, if it is idle.
    pub(crate) wanted: bool,
    /// Until when a request may still come in although the connection is to end: one whose head has
    /// begun, the first of a connection that was on its way when the shutdown began, or any where
    /// the connection is held.
    pub(crate) awaited: Option<Instant>,
    pub(crate) usage: Use,
    pub(crate) owed: Owed,
    /// The request that is coming in, where the server has asked for more of it.
    pub(crate) coming: Option<Coming>,
    /// There is more, and the server has read nothing since the last look.
    pub(crate) held_up: bool,
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
    /// Something waits.
    Bytes {
        /// It ends there, at most.
        end: u64,
        /// The peer has acknowledged so many of them.
        taken: u64,
    },
}

/// The time-outs that the machine goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) keep_alive: Duration,
    pub(crate) write: Duration,
    pub(crate) header: Duration,
    pub(crate) body: Duration,
    pub(crate) tunnel: Option<Duration>,
    pub(crate) rate: Rate,
}

impl Limits {
    /// How often a peer that is waited for is looked at: how late a stall may be noticed.
    pub(crate) fn every(limit: Duration) -> Duration {
        limit / 8
    }

    fn of(&self, stage: Stage) -> (Duration, Cause) {
        match stage {
            Stage::Head => (self.header, Cause::HeaderTimeout),
            Stage::Body => (self.body, Cause::BodyTimeout),
        }
    }

    /// How long a connection may be without what it is used for going on; `None` while that is use
    /// itself.
    #[inline]
    pub(crate) fn idle(&self, usage: Use) -> Option<Duration> {
        match usage {
            Use::Request => None,
            Use::Tunnel { .. } => self.tunnel,
            _ => Some(self.keep_alive),
        }
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
    /// Something waits for the peer.
    owed: Option<Owing>,
    /// A request waits for the peer to send on.
    coming: Option<(Coming, Wait)>,
    over: Option<Cause>,
}

/// What waits for the peer to acknowledge it.
#[derive(Clone, Copy, Debug)]
struct Owing {
    wait: Wait,
    /// Where it ended when it was last looked at.
    end: u64,
}

impl Owing {
    /// What the peer has not taken may have been written a moment ago: whoever has all by now that
    /// waited at the last look, keeps nothing waiting.
    fn comes_to(&mut self, now: Instant, end: u64, taken: u64, rate: Rate) {
        match taken >= self.end {
            true => self.wait = Wait::new(now, taken),
            false => self.wait.comes_to(now, taken, rate),
        }
        self.end = end;
    }
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
        self.over.is_some_and(is_force)
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

    /// The connection is seen not to be in use, or to be a tunnel. When it has to be looked at.
    #[inline]
    pub(crate) fn idle(&mut self, now: Instant, usage: Use, limits: &Limits) -> Option<Instant> {
        if !self.is_idle_since(usage) {
            self.becomes_idle(now, usage);
        }
        let since = self.idle.map_or(now, |idle| idle.at);
        limits.idle(usage).map(|limit| since + limit)
    }

    /// The same, where it [was not so before](Self::is_idle_since), but for when to look.
    #[inline]
    pub(crate) fn becomes_idle(&mut self, now: Instant, usage: Use) {
        self.idle = Some(Since {
            at: now,
            mark: usage,
        });
    }

    /// Whether somebody looks after what waits for the peer.
    #[inline]
    pub(crate) fn is_owed(&self) -> bool {
        self.owed.is_some()
    }

    /// Something waits for the peer, to this end, of which so much was taken so far. When to look.
    pub(crate) fn owes(&mut self, now: Instant, end: u64, taken: u64, limits: &Limits) -> Instant {
        let owed = self.owed.get_or_insert(Owing {
            wait: Wait::new(now, taken),
            end,
        });
        let due = owed.wait.over_at(limits.write);
        due.min(now + Limits::every(limits.write))
    }

    /// Whether somebody looks after this stage of this request.
    #[inline]
    pub(crate) fn awaits(&self, coming: &Coming) -> bool {
        self.coming.is_some_and(|(known, _)| known.is_same(coming))
    }

    /// The server waits for more of a request. When to look.
    pub(crate) fn comes(&mut self, now: Instant, coming: Coming, limits: &Limits) -> Instant {
        let wait = Wait::new(now, coming.bytes);
        self.coming = Some((coming, wait));
        now + Limits::every(limits.of(coming.stage).0)
    }

    /// It is over at once, for something that is not a matter of time.
    pub(crate) fn force(&mut self, cause: Cause) {
        if !self.is_forced() {
            self.over = Some(cause);
        }
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
        // What the peer has taken and sent meanwhile may change these.
        let asked = facts.owed != Owed::Unasked;
        if asked {
            self.bring_up(now, facts, limits);
        }
        let stall = self.owed.map(|owed| owed.wait.over_at(limits.write));
        let late = self
            .coming
            .map(|(coming, wait)| (limits.of(coming.stage), wait));
        let idle = self.idle_end(now, facts, limits);
        let known = asked || matches!(facts.usage, Use::Nothing { .. });
        let passed = |due: Option<Instant>| due.is_some_and(|due| now >= due);
        let too_late = late.filter(|((limit, _), wait)| asked && now >= wait.over_at(*limit));
        match too_late {
            _ if facts.phase >= Phase::Deadline => self.over = Some(Cause::Deadline),
            _ if facts.windows == Windows::AllStalled || asked && passed(stall) => {
                self.over = Some(Cause::Stalled);
            }
            _ if passed(facts.ends_by) => self.over = Some(Cause::MaxAgeGrace),
            Some(((_, cause), _)) => self.over = Some(cause),
            None if self.over.is_none() && known && passed(idle) => {
                self.over = Some(facts.why_idle_ends());
            }
            None => {}
        }
        if self.is_forced() {
            return None;
        }
        let soon = |due: Instant, limit| due.min(now + Limits::every(limit));
        let stall = stall.map(|stall| soon(stall, limits.write));
        let late = late.map(|((limit, _), wait)| soon(wait.over_at(limit), limit));
        let idle = idle.filter(|_| self.over.is_none());
        let dues = [stall, late, facts.windows.next(), idle, facts.ends_by];
        dues.into_iter().flatten().min()
    }

    /// Brings what waits for the peer up to now.
    fn bring_up(&mut self, now: Instant, facts: &Facts, limits: &Limits) {
        match (facts.owed, &mut self.owed) {
            (Owed::Unasked, _) => {}
            (Owed::Nothing, owed) => *owed = None,
            (Owed::Bytes { end, taken }, Some(owed)) => {
                owed.comes_to(now, end, taken, limits.rate);
            }
            (Owed::Bytes { end, taken }, None) => drop(self.owes(now, end, taken, limits)),
        }
        self.coming = facts.coming.map(|coming| match self.coming {
            Some((known, mut wait)) if known.is_same(&coming) => {
                match facts.held_up {
                    true => wait.skip(now),
                    false => wait.comes_to(now, coming.bytes, limits.rate),
                }
                (coming, wait)
            }
            _ => (coming, Wait::new(now, coming.bytes)),
        });
    }

    /// When the connection will have been idle for too long, if it is idle.
    fn idle_end(&mut self, now: Instant, facts: &Facts, limits: &Limits) -> Option<Instant> {
        let Some(end) = self.idle(now, facts.usage, limits) else {
            self.busy();
            return None;
        };
        match facts.usage {
            Use::Nothing { .. } if facts.wanted => Some(now),
            Use::Tunnel { .. } => Some(end),
            // From the first byte of a request on it has that one's time.
            Use::Nothing { .. } if !facts.leaving && self.coming.is_some() => {
                self.busy();
                None
            }
            Use::Nothing { .. } if facts.leaving => {
                Some(facts.awaited.map_or(now, |until| until.min(end)))
            }
            // The last answer is not fully on the wire: that is use, seen only now.
            _ if facts.tail => {
                self.busy();
                self.idle(now, facts.usage, limits)
            }
            _ => Some(end),
        }
    }
}

impl Facts {
    fn why_idle_ends(&self) -> Cause {
        match self {
            Self {
                usage: Use::Tunnel { .. },
                ..
            } => Cause::TunnelTimeout,
            Self {
                leaving: false,
                wanted: true,
                ..
            } => Cause::Evicted,
            Self { leaving: false, .. } => Cause::Idle,
            Self {
                retired: Some(cause),
                ..
            } if self.phase < Phase::Draining => *cause,
            _ => Cause::Draining,
        }
    }
}

/// Whether nothing that is done to a connection that ends so is orderly.
fn is_force(cause: Cause) -> bool {
    use Cause::{BodyTimeout, Deadline, Flood, HeaderTimeout, MaxAgeGrace, Stalled, TunnelTimeout};
    matches!(
        cause,
        MaxAgeGrace | BodyTimeout | Deadline | Flood | HeaderTimeout | Stalled | TunnelTimeout
    )
}

impl Windows {
    pub(crate) fn next(self) -> Option<Instant> {
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
        header: Duration::from_secs(5),
        body: Duration::from_secs(6),
        tunnel: Some(Duration::from_secs(20)),
        rate: Rate(100),
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
        /// So much of a request is in that is not all in, and the server waits.
        Comes(Option<Coming>),
        /// There is more than that, and the server reads nothing.
        HeldUp,
        Opens(Windows),
        Turns(Phase),
        Retire,
        /// It ends after so many seconds, whatever it is used for.
        EndsBy(u64),
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
                    retired: None,
                    ends_by: None,
                    wanted: false,
                    awaited: None,
                    usage: NOTHING,
                    owed: Owed::Nothing,
                    coming: None,
                    held_up: false,
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
                        Use::Request => self.machine.busy(),
                        _ => drop(self.machine.idle(self.now, usage, &LIMITS)),
                    }
                }
                Blocked(taken) => {
                    let taken = taken * MUCH;
                    let _ = self.machine.owes(self.now, u64::MAX, taken, &LIMITS);
                }
                Comes(coming) => (facts.coming, facts.held_up) = (coming, false),
                HeldUp => facts.held_up = true,
                Kernel(owed) => {
                    facts.owed = owed;
                    facts.tail = matches!(owed, Owed::Bytes { taken: 1.., .. });
                }
                Opens(windows) => facts.windows = windows,
                Turns(phase) => {
                    facts.phase = facts.phase.max(phase);
                    facts.leaving |= phase >= Phase::Draining;
                }
                EndsBy(seconds) => facts.ends_by = Some(self.now + Duration::from_secs(seconds)),
                Retire => (facts.leaving, facts.retired) = (true, Some(Cause::Retired)),
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

    /// More than the minimum rate asks in any time-out.
    const MUCH: u64 = 10_000;

    const fn held(taken: u64) -> Event {
        waits(u64::MAX, taken * MUCH)
    }

    const fn waits(end: u64, taken: u64) -> Event {
        Kernel(Owed::Bytes { end, taken })
    }

    #[test]
    fn idle_connections_end() {
        use Cause::*;
        let second = Use::Nothing { requests: 2 };
        let upload = |bytes| Is(Use::Upload { bytes });
        let unknown = |bytes| Is(Use::Unknown { bytes });
        let tunnel = |bytes| Is(Use::Tunnel { bytes });
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
            (
                "a tunnel",
                vec![tunnel(1), Wait(19), tunnel(2), Wait(19), Look],
                None,
            ),
            (
                "that nothing goes through",
                vec![tunnel(1), Wait(19), tunnel(1), Wait(1), Look],
                Some(TunnelTimeout),
            ),
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
            (
                "a tunnel",
                vec![Is(Use::Tunnel { bytes: 1 }), Want, Look],
                None,
            ),
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
                "takes too little",
                vec![
                    request,
                    waits(999, 0),
                    Look,
                    Wait(7),
                    waits(999, 7),
                    Look,
                    Wait(2),
                    Look,
                ],
                Some(Stalled),
            ),
            (
                "takes enough",
                vec![
                    request,
                    waits(999, 0),
                    Look,
                    Wait(7),
                    waits(999, 700),
                    Look,
                    Wait(7),
                    Look,
                ],
                None,
            ),
            (
                "too little, but all that there was",
                vec![
                    request,
                    waits(7, 0),
                    Look,
                    Wait(7),
                    waits(14, 7),
                    Look,
                    Wait(7),
                    Look,
                ],
                None,
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
                vec![Is(Use::Tunnel { bytes: 1 }), drain, Wait(19), Look],
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
            (
                "in use until the grace is over",
                vec![
                    Is(Use::Tunnel { bytes: 1 }),
                    Retire,
                    EndsBy(5),
                    Wait(4),
                    Look,
                ],
                None,
            ),
            (
                "but no longer",
                vec![
                    Is(Use::Tunnel { bytes: 1 }),
                    Retire,
                    EndsBy(5),
                    Look,
                    Wait(5),
                    Look,
                ],
                Some(MaxAgeGrace),
            ),
        ] {
            assert_eq!(over(&events), expected, "{name}");
        }
    }

    #[test]
    fn requests_come_in_or_end() {
        use Cause::*;
        let comes = |stage, request, bytes| {
            Comes(Some(Coming {
                stage,
                request,
                bytes,
            }))
        };
        let head = |request, bytes| comes(Stage::Head, request, bytes);
        let body = |request, bytes| comes(Stage::Body, request, bytes);
        let request = Is(Use::Request);
        for (name, events, expected) in [
            (
                "half a head",
                vec![head(0, 9), Look, Wait(5), Look],
                Some(HeaderTimeout),
            ),
            ("not yet", vec![head(0, 9), Look, Wait(4), Look], None),
            (
                "it drips",
                vec![head(0, 9), Look, Wait(4), head(0, 10), Look, Wait(2), Look],
                Some(HeaderTimeout),
            ),
            (
                "it comes slowly",
                vec![head(0, 9), Look, Wait(4), head(0, 409), Look, Wait(4), Look],
                None,
            ),
            (
                "just before keep-alive",
                vec![Is(NOTHING), Look, Wait(9), head(0, 9), Look, Wait(4), Look],
                None,
            ),
            (
                "it is another's",
                vec![head(0, 9), Look, Wait(4), head(1, 9), Look, Wait(4), Look],
                None,
            ),
            (
                "half a body",
                vec![request, body(1, 9), Look, Wait(6), Look],
                Some(BodyTimeout),
            ),
            (
                "a body is no head",
                vec![
                    head(1, 9),
                    Look,
                    Wait(4),
                    request,
                    body(1, 9),
                    Look,
                    Wait(5),
                    Look,
                ],
                None,
            ),
            (
                "the server does not wait for it",
                vec![
                    request,
                    body(1, 9),
                    Look,
                    Wait(4),
                    Comes(None),
                    Look,
                    Wait(9),
                    Look,
                ],
                None,
            ),
            (
                "there is more to read",
                vec![
                    request,
                    body(1, 9),
                    Look,
                    Wait(4),
                    HeldUp,
                    Look,
                    Wait(9),
                    Look,
                ],
                None,
            ),
            (
                "which does not make it young",
                vec![
                    request,
                    body(1, 9),
                    Look,
                    Wait(4),
                    Look,
                    Wait(1),
                    HeldUp,
                    Look,
                    Wait(2),
                    body(1, 9),
                    Look,
                ],
                Some(BodyTimeout),
            ),
            (
                "and then it does",
                vec![
                    request,
                    Comes(None),
                    Look,
                    Wait(9),
                    body(1, 9),
                    Look,
                    Wait(5),
                    Look,
                ],
                None,
            ),
            (
                "who looks without asking knows nothing",
                vec![
                    request,
                    body(1, 9),
                    Look,
                    Wait(9),
                    Kernel(Owed::Unasked),
                    Look,
                ],
                None,
            ),
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
        let first = bench.machine.owes(bench.now, u64::MAX, 7, &LIMITS);
        assert_eq!(first, bench.now + Limits::every(LIMITS.write));
        assert!(bench.machine.is_owed());
        let late = bench.now + LIMITS.write - Duration::from_millis(1);
        assert_eq!(
            bench.machine.owes(late, u64::MAX, 9, &LIMITS),
            bench.now + LIMITS.write
        );
    }

    fn usage() -> impl Strategy<Value = Use> {
        prop_oneof![
            (0..3_u32).prop_map(|requests| Use::Nothing { requests }),
            (0..3_u64).prop_map(|bytes| Use::Upload { bytes }),
            (0..3_u64).prop_map(|bytes| Use::Unknown { bytes }),
            Just(Use::Request),
            (0..3_u64).prop_map(|bytes| Use::Tunnel { bytes }),
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
            (0..3_u64).prop_map(|bytes| {
                Comes(Some(Coming {
                    stage: Stage::Body,
                    request: 1,
                    bytes,
                }))
            }),
            Just(Comes(None)),
            Just(HeldUp),
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
                    let in_use = bench.facts.usage == Use::Request;
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
            let idle = bench.facts.usage != Use::Request;
            let owed = matches!(bench.facts.owed, Owed::Bytes { .. });
            let begun = bench.now;
            bench.facts.held_up = false;
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
            let most = LIMITS.keep_alive + LIMITS.write + LIMITS.keep_alive + LIMITS.tunnel.unwrap();
            prop_assert!(bench.now <= begun + most, "{:?}", bench.now - begun);
        }
    }
}
