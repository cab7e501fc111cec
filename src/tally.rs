//! What became of connections, listener by listener.
//!
//! A connection adds to the tally of its listener when it is accepted and when it ends, so that one which
//! lives pays nothing. A shutdown compares what they all say with what they said when it began.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::ending::{Cause, Outcome};

/// The tallies of all listeners that there have been, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    all: Mutex<Vec<Arc<Tally>>>,
    /// Clients that were refused before anything was spent on them, by any server.
    refused: AtomicU64,
}

/// What became of the connections of one listener.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) name: Option<Arc<str>>,
    /// `None` where connections come from elsewhere.
    pub(crate) address: Option<SocketAddr>,
    /// Accepted, whatever became of them.
    accepted: AtomicU64,
    /// By cause, and each by outcome.
    ended: [[AtomicU64; Outcome::ALL.len()]; Cause::ALL.len()],
    /// Of those that have ended.
    requests: AtomicU64,
    requests_failed: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// What has gone through connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) requests_failed: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// Connections by cause, and each by outcome.
pub(crate) type ByCause = [[u64; Outcome::ALL.len()]; Cause::ALL.len()];

/// Connections by outcome, in the order of [`Outcome`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts(pub(crate) [u64; 5]);

impl Tallies {
    /// That of a listener; one that is opened again goes on where it was.
    pub(crate) fn of(&self, name: Option<&Arc<str>>, address: Option<SocketAddr>) -> Arc<Tally> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |of: &&Arc<Tally>| (of.name.as_ref(), of.address) == (name, address);
        if let Some(found) = all.iter().find(same) {
            return found.clone();
        }
        let tally = Arc::new(Tally {
            name: name.cloned(),
            address,
            accepted: AtomicU64::new(0),
            ended: [const { [const { AtomicU64::new(0) }; Outcome::ALL.len()] }; Cause::ALL.len()],
            requests: AtomicU64::new(0),
            requests_failed: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        });
        all.push(tally.clone());
        tally
    }

    /// All of them. More may come, behind these.
    pub(crate) fn all(&self) -> Vec<Arc<Tally>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }

    /// One more was refused.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Tally {
    /// One more has been accepted.
    pub(crate) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// One has ended, through which this has gone.
    pub(crate) fn count(&self, cause: Cause, outcome: Outcome, totals: Totals) {
        self.ended[cause as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(totals.requests, Ordering::Relaxed);
        self.requests_failed
            .fetch_add(totals.requests_failed, Ordering::Relaxed);
        self.received.fetch_add(totals.received, Ordering::Relaxed);
        self.sent.fetch_add(totals.sent, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            requests: self.requests.load(Ordering::Relaxed),
            requests_failed: self.requests_failed.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn by_cause(&self) -> ByCause {
        let load = |of: &AtomicU64| of.load(Ordering::Relaxed);
        std::array::from_fn(|cause| std::array::from_fn(|of| load(&self.ended[cause][of])))
    }

    pub(crate) fn counts(&self) -> Counts {
        let all = self.by_cause().into_iter().map(Counts);
        all.fold(Counts::default(), Counts::plus)
    }
}

impl Counts {
    pub(crate) fn since(self, before: Self) -> Self {
        Self(std::array::from_fn(|i| {
            self.0[i].saturating_sub(before.0[i])
        }))
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}
