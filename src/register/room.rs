//! Who makes room for one more connection.
//!
//! First those that drain, the one that has drained longest before the others: everything has been
//! said to them. Then the one that has been idle longest, which is told, and decides itself whether
//! it really is idle: it ends in order, and does not drain. Those in use are never told, and where the
//! kernel still holds an answer for the client another is told as well.
//!
//! One at a time, so that no more end than have to. Looking for those that have been idle longest is
//! linear in connections: so a few of them are remembered. As long as they are idle still, no other
//! has been for longer.

use std::{collections::VecDeque, sync::PoisonError, time::Duration};

use tokio::time::Instant;

use super::Register;
use crate::connection::{Remembered, TlsConnection};

/// How long one that was told may take. Its task may be one that nobody polls.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// How many are looked for at once.
const FEW: usize = 64;

/// Who makes room now, and who may be next.
#[derive(Debug, Default)]
pub(super) struct GivingWay {
    /// The last one that was told, and when.
    told: Option<(Instant, Remembered)>,
    /// Those that have been idle longest, and since when.
    next: VecDeque<(u64, Remembered)>,
}

impl GivingWay {
    /// Whether one is about to leave.
    fn is_under_way(&self) -> bool {
        let told = self.told.as_ref();
        told.is_some_and(|(at, told)| {
            let makes_room = || told.get().is_some_and(|told| told.makes_room());
            at.elapsed() < PATIENCE && makes_room()
        })
    }

    fn next(&mut self) -> Option<TlsConnection> {
        loop {
            let (since, next) = self.next.pop_front()?;
            let next = next.get().filter(|of| of.idle_since() == Some(since));
            if next.is_some() {
                return next;
            }
        }
    }
}

impl Register {
    /// Tells a connection to make room, unless one is about to; `false` where all are in use.
    pub(crate) fn make_room(&self) -> bool {
        let mut giving_way = self
            .giving_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if giving_way.is_under_way() {
            return true;
        }
        let idle = || {
            giving_way.next().or_else(|| {
                giving_way.next = self.longest_idle();
                giving_way.next()
            })
        };
        let told = self.draining.oldest().or_else(idle);
        giving_way.told = told.as_ref().map(|told| (Instant::now(), told.remember()));
        drop(giving_way);
        // A waker runs foreign code, a lock must not be held for it.
        told.inspect(TlsConnection::want).is_some()
    }

    fn longest_idle(&self) -> VecDeque<(u64, Remembered)> {
        let open = self.lock();
        let idle = |(key, of): (usize, &TlsConnection)| Some((of.idle_since()?, key));
        let mut idle: Vec<_> = open.iter().filter_map(idle).collect();
        if idle.len() > FEW {
            idle.select_nth_unstable(FEW);
            idle.truncate(FEW);
        }
        idle.sort_unstable();
        let known = |(since, key)| Some((since, open.get(key)?.remember()));
        idle.into_iter().filter_map(known).collect()
    }
}
