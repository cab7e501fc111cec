//! The cap on connections that drain at once.
//!
//! Draining costs a descriptor and the TLS state for as long as the peer likes, up to the bounds.
//! A flood of peers that never close must not use up the descriptors, so the number of draining
//! connections is capped: when one more comes in, the one that has drained longest gives way. It
//! has had the most time to read its answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::connection::TlsConnection;

/// The connections that drain now, oldest first.
#[derive(Debug)]
pub(crate) struct Places {
    cap: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by_age: BTreeMap<u64, TlsConnection>,
}

impl Places {
    pub(crate) fn new(cap: usize) -> Self {
        Self {
            cap,
            taken: Mutex::default(),
        }
    }

    /// Takes a place for `connection` and tells the oldest to leave if that is one too many.
    pub(crate) fn take(self: &Arc<Self>, connection: &TlsConnection) -> Place {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let number = taken.next;
        taken.next += 1;
        taken.by_age.insert(number, connection.clone());
        let evicted = match taken.by_age.len() > self.cap {
            true => taken.by_age.pop_first(),
            false => None,
        };
        drop(taken);

        if let Some((_, oldest)) = evicted {
            oldest.evict();
        }
        Place {
            number,
            places: self.clone(),
        }
    }

    /// The one that has drained longest, of those that nobody has told to leave.
    pub(super) fn oldest(&self) -> Option<TlsConnection> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut untold = taken.by_age.values().filter(|of| !of.is_told());
        untold.next().cloned()
    }

    fn leave(&self, number: u64) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let left = taken.by_age.remove(&number);
        drop(taken);
        drop(left);
    }
}

/// A place among the draining connections, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    number: u64,
    places: Arc<Places>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(self.number);
    }
}
