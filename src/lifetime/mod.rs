//! How long a connection may live, without IO and without a clock.
//!
//! A connection is *in use* while a request is unanswered, an upload moves, or a tunnel is open.
//! Everything else is idle, and ends at the keep-alive time-out, or at once when the server drains.
//! What is in use is never ended for its age, but for a peer that takes nothing of what waits for
//! it: that is *stalled*, and ends at the write time-out.
//!
//! ```text
//!            nothing in use             keep-alive time-out, draining, retired
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
    /// Whether the connection is to end as soon as nothing is in use.
    pub(crate) retired: bool,
    /// Until when a request may still come in although the connection is to end: one whose head has
    /// begun, or the first of a connection that was on its way when the shutdown began.
    pub(crate) awaited: Option<Instant>,
    pub(crate) usage: Use,
    pub(crate) owed: Owed,
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
        if !self.is_idle_since(usage) {
            self.idle = Some(Since {
                at: now,
                mark: usage,
            });
        }
        self.idle.map_or(now, |idle| idle.at) + limits.keep_alive
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
        match () {
            () if facts.phase >= Phase::Deadline => self.over = Some(Cause::Deadline),
            () if facts.windows == Windows::AllStalled || passed(stall) => {
                self.over = Some(Cause::Stalled);
            }
            () if self.over.is_none() && passed(idle) => self.over = Some(facts.why_idle_ends()),
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
            Use::Nothing { .. } if facts.is_leaving() => {
                Some(facts.awaited.map_or(now, |until| until.min(end)))
            }
            // The last answer is not fully on the wire: that is use, seen only now.
            _ if matches!(facts.owed, Owed::Since(_)) => {
                self.busy();
                Some(self.idle(now, facts.usage, limits))
            }
            _ => Some(end),
        }
    }
}

impl Facts {
    fn is_leaving(&self) -> bool {
        self.retired || self.phase >= Phase::Draining
    }

    fn why_idle_ends(&self) -> Cause {
        match self {
            _ if self.phase >= Phase::Draining => Cause::Draining,
            Self { retired: true, .. } => Cause::Retired,
            _ => Cause::Idle,
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
