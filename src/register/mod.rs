//! The register of open connections, and how those ended that are not open any more.
//!
//! Each connection enters once and leaves once, under a mutex that no poll ever takes. A shutdown
//! walks over it to wake everybody, which is linear in connections, and adds up what is in flight
//! only when somebody asks: steady state pays for no shared counter. `places` caps how many of
//! them may drain at once, `room` says who makes room for another connection.

mod places;
mod room;

use std::sync::{Arc, Mutex, PoisonError};

use slab::Slab;

use crate::{
    connection::TlsConnection,
    context::Occupied,
    ending::{Cause, Outcome},
    observe,
    tally::Tallies,
};

pub(crate) use places::Place;
use places::Places;
use room::GivingWay;
pub(crate) use room::PATIENCE;

/// Every connection whose descriptor is open, and how those ended that are not.
#[derive(Debug)]
pub(crate) struct Register {
    open: Mutex<Slab<TlsConnection>>,
    draining: Arc<Places>,
    giving_way: Mutex<GivingWay>,
    pub(crate) tallies: Tallies,
}

/// How much there is left to wait for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Left {
    pub(crate) connections: usize,
    pub(crate) requests: u64,
}

impl Register {
    /// `draining` connections may drain at once.
    pub(crate) fn new(draining: usize) -> Self {
        Self {
            open: Mutex::default(),
            draining: Arc::new(Places::new(draining)),
            giving_way: Mutex::default(),
            tallies: Tallies::default(),
        }
    }

    /// Enters `connection`, which leaves with what it occupies when its teardown is over.
    pub(crate) fn enter(
        self: &Arc<Self>,
        connection: TlsConnection,
        occupied: Occupied,
    ) -> Registration {
        let key = self.lock().insert(connection.clone());
        Registration {
            register: self.clone(),
            connection,
            key,
            truncated: false,
            occupied,
        }
    }

    /// Wakes every connection, so that it looks at the phase.
    pub(crate) fn wake_all(&self) {
        // A waker runs foreign code, a lock must not be held for it.
        let open: Vec<TlsConnection> = self.lock().iter().map(|(_, c)| c.clone()).collect();
        for connection in open {
            connection.wake();
        }
    }

    pub(crate) fn left(&self) -> Left {
        let open = self.lock();
        Left {
            connections: open.len(),
            requests: open
                .iter()
                .map(|(_, c)| u64::from(c.requests().in_flight))
                .sum(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<TlsConnection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry in the register. It moves from the stream to the teardown.
#[derive(Debug)]
pub(crate) struct Registration {
    register: Arc<Register>,
    connection: TlsConnection,
    key: usize,
    truncated: bool,
    occupied: Occupied,
}

impl Registration {
    pub(crate) fn connection(&self) -> &TlsConnection {
        &self.connection
    }

    /// However well the teardown goes, an exchange was cut short.
    pub(crate) fn set_truncated(&mut self) {
        self.truncated = true;
    }

    /// A place among those that drain; the connection that has drained longest gives way for it.
    pub(crate) fn place_to_drain(&self) -> Place {
        let place = self.register.draining.take(&self.connection);
        self.connection.context().room.change();
        place
    }

    /// Counts and logs how the connection ended.
    pub(crate) fn ended(&self, cause: Cause, outcome: Outcome) {
        let outcome = match (self.truncated, outcome) {
            (true, Outcome::Aborted) | (false, _) => outcome,
            (true, _) if cause == Cause::Abandoned => Outcome::Aborted,
            (true, _) => Outcome::Truncated,
        };
        self.occupied.tally.count(outcome);
        observe::ended(&self.connection, cause, outcome);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let entry = self.register.lock().try_remove(self.key);
        drop(entry);
        self.connection.forget_tasks();
    }
}
