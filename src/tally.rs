//! How connections have ended, listener by listener.
//!
//! A connection adds to the tally of its listener when it ends, and a shutdown compares what they all say
//! with what they said when it began.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::ending::Outcome;

/// The tallies of all listeners that there have been, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<Vec<Arc<Tally>>>);

/// How the connections of one listener have ended.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) name: Option<Arc<str>>,
    /// `None` where connections come from elsewhere.
    pub(crate) address: Option<SocketAddr>,
    ended: [AtomicU64; 5],
}

/// Connections by outcome, in the order of [`Outcome`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts(pub(crate) [u64; 5]);

impl Tallies {
    /// That of a listener; one that is opened again goes on where it was.
    pub(crate) fn of(&self, name: Option<&Arc<str>>, address: Option<SocketAddr>) -> Arc<Tally> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |of: &&Arc<Tally>| (of.name.as_ref(), of.address) == (name, address);
        if let Some(found) = all.iter().find(same) {
            return found.clone();
        }
        let tally = Arc::new(Tally {
            name: name.cloned(),
            address,
            ended: Default::default(),
        });
        all.push(tally.clone());
        tally
    }

    /// All of them. More may come, behind these.
    pub(crate) fn all(&self) -> Vec<Arc<Tally>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clone()
    }
}

impl Tally {
    pub(crate) fn count(&self, outcome: Outcome) {
        let index = match outcome {
            Outcome::Clean => 0,
            Outcome::PeerSilent => 1,
            Outcome::DrainCut => 2,
            Outcome::Truncated => 3,
            Outcome::Aborted => 4,
        };
        self.ended[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts(std::array::from_fn(|i| {
            self.ended[i].load(Ordering::Relaxed)
        }))
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
