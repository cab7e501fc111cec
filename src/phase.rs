//! How far a server's shutdown has come, for everybody who has to know.
//!
//! ```text
//! Serving ──▶ LameDuck ──▶ (sweep) ──▶ Draining ──▶ (last call) ──▶ Deadline ──▶ Closed
//!              answers      the queue   idle ones     gRPC answers    the rest     every
//!              say          of the      end, others   end with        is ended     teardown
//!              `close`      listener    finish        a status        by force     is over
//!                           emptied,
//!                           then closed
//! ```
//!
//! The two in brackets are steps between phases: nobody but the accept loops and the gRPC answers
//! has to know of them, and those are told by a token of their own.
//!
//! The phase is one atomic, because every poll of every connection looks at it, and a token for each
//! that is reached, for those who wait: they are woken in the order in which they came. Who walks
//! through the phases is `shutdown`.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use crate::named::named;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How far a shutdown has come. Phases only go forward, but for one: a lame duck can be
/// [called off](crate::GracefulTls::resume).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
#[repr(u8)]
pub enum Phase {
    /// Accepting and answering.
    #[default]
    Serving,
    /// Accepting and answering still, but every HTTP/1 answer says `Connection: close` and
    /// readiness is to be reported as false.
    LameDuck,
    /// Not accepting any more. Idle connections end, the others finish what is in flight.
    Draining,
    /// The time for finishing is over: what is left is ended by force.
    Deadline,
    /// Every connection has ended.
    Closed,
}

impl Phase {
    /// All that are reached by somebody, in their order.
    const REACHED: [Self; 4] = [Self::LameDuck, Self::Draining, Self::Deadline, Self::Closed];

    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Serving,
            1 => Self::LameDuck,
            2 => Self::Draining,
            3 => Self::Deadline,
            _ => Self::Closed,
        }
    }
}

named!(Phase:
    Serving "serving"
    LameDuck "lame_duck"
    Draining "draining"
    Deadline "deadline"
    Closed "closed"
);

/// Phases that have been reached. What waits for them resolves when this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Turned(Vec<CancellationToken>);

impl Drop for Turned {
    fn drop(&mut self) {
        for token in &self.0 {
            token.cancel();
        }
    }
}

/// The phase of one server, and what hangs on it.
#[derive(Debug)]
pub(crate) struct Phases {
    phase: AtomicU8,
    /// One for each of [`Phase::REACHED`]. That of the lame duck is another after each undo.
    reached: Mutex<[CancellationToken; 4]>,
    /// Tells the accept loops to empty their queues and close.
    pub(crate) stop_accepting: CancellationToken,
    /// Skips to the deadline.
    pub(crate) hurry: CancellationToken,
    /// Tells gRPC answers to end with a status, because the deadline is about to cut them.
    pub(crate) last_call: CancellationToken,
    /// Held by every accept loop.
    pub(crate) listeners: TaskTracker,
    /// Held by every gRPC answer.
    pub(crate) calls: TaskTracker,
    /// Held by every handshake and connection until its descriptor is closed.
    pub(crate) connections: TaskTracker,
    /// Held by servers of another kind that are waited for.
    pub(crate) others: TaskTracker,
}

impl Default for Phases {
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Serving as u8),
            reached: Default::default(),
            stop_accepting: CancellationToken::new(),
            hurry: CancellationToken::new(),
            last_call: CancellationToken::new(),
            listeners: TaskTracker::new(),
            calls: TaskTracker::new(),
            connections: TaskTracker::new(),
            others: TaskTracker::new(),
        }
    }
}

impl Phases {
    #[inline]
    pub(crate) fn now(&self) -> Phase {
        Phase::from_u8(self.phase.load(Ordering::Acquire))
    }

    /// Whether `phase` has been reached.
    #[inline]
    pub(crate) fn is_past(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Acquire) >= phase as u8
    }

    /// Moves on to `phase`.
    pub(crate) fn enter(&self, phase: Phase) {
        drop(self.turn(phase));
    }

    /// Moves on to `phase`, of which whoever waits for it is yet to be told: they may come back, so
    /// not under a lock.
    pub(crate) fn turn(&self, phase: Phase) -> Turned {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        let mut turned = Turned(self.tokens().to_vec());
        turned.0.truncate(phase as usize);
        turned
    }

    /// Back from the lame duck. Only whoever walks through the phases knows that it is not over.
    pub(crate) fn resume(&self) {
        let mut tokens = self.tokens();
        tokens[0] = CancellationToken::new();
        self.phase.store(Phase::Serving as u8, Ordering::Release);
    }

    fn tokens(&self) -> MutexGuard<'_, [CancellationToken; 4]> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves once all that a shutdown waits for is over. Cancel safe.
    pub(crate) async fn over(&self) {
        // While the ones are waited for, more of the others may come.
        while !self.is_over() {
            self.connections.wait().await;
            self.others.wait().await;
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.connections.is_empty() && self.others.is_empty()
    }

    /// Resolves once `phase` is reached. Cancel safe.
    pub(crate) async fn reached(&self, phase: Phase) {
        let Some(at) = Phase::REACHED.iter().position(|of| *of == phase) else {
            return;
        };
        let token = self.tokens()[at].clone();
        token.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    /// One that comes while others are waited for, as from an accept loop of the user's, counts too.
    #[test]
    fn is_not_over_while_anything_is_open() {
        let phases = Phases::default();
        phases.connections.close();
        phases.others.close();
        let other = phases.others.token();
        let mut over = pin!(phases.over());
        let mut is_over = || {
            let mut cx = Context::from_waker(Waker::noop());
            over.as_mut().poll(&mut cx) == Poll::Ready(())
        };
        assert!(!is_over());
        let connection = phases.connections.token();
        drop(other);
        assert!(!is_over());
        drop(connection);
        assert!(is_over());
    }
}
