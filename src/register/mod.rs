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
    observe::{self, Ended, Observed},
    phase::Phase,
    tally::{Tallies, Totals},
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
    observers: Mutex<Vec<Observed>>,
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
            observers: Mutex::default(),
            tallies: Tallies::default(),
        }
    }

    /// Has one more told of the phases that the shutdown comes to.
    pub(crate) fn is_observed(&self, observed: &Observed) {
        let mut observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        observers.push(observed.clone());
    }

    pub(crate) fn tell_phase(&self, phase: Phase) {
        let observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let observers = observers.clone();
        for observed in observers {
            observed.tell(|of| of.phase(phase));
        }
    }

    /// Enters `connection`, which leaves with what it occupies when its teardown is over.
    pub(crate) fn enter(
        self: &Arc<Self>,
        connection: TlsConnection,
        occupied: Occupied,
        observed: Observed,
    ) -> Registration {
        let key = self.lock().insert(connection.clone());
        Registration {
            register: self.clone(),
            connection,
            key,
            truncated: false,
            occupied,
            observed,
        }
    }

    /// Wakes every connection, so that it looks at the phase.
    pub(crate) fn wake_all(&self) {
        // A waker runs foreign code, a lock must not be held for it.
        for connection in self.open() {
            connection.wake();
        }
    }

    /// Every open connection.
    pub(crate) fn open(&self) -> Vec<TlsConnection> {
        self.lock().iter().map(|(_, of)| of.clone()).collect()
    }

    /// Looks at every open connection.
    pub(crate) fn each(&self, look: impl FnMut(&TlsConnection)) {
        self.lock().iter().map(|(_, of)| of).for_each(look);
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
    observed: Observed,
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

    /// Whether anybody is told of requests.
    pub(crate) fn is_observed(&self) -> bool {
        self.observed.is_observed()
    }

    /// So many requests have begun.
    pub(crate) fn requested(&self, requests: u32) {
        for _ in 0..requests {
            self.observed.tell(|of| of.request(&self.connection));
        }
    }

    /// It begins to end.
    pub(crate) fn closing(&self, cause: Cause) {
        self.connection.closes();
        self.observed.tell(|of| of.closing(&self.connection, cause));
    }

    /// Counts and logs how the connection ended.
    pub(crate) fn ended(&self, cause: Cause, outcome: Outcome) {
        let outcome = match (self.truncated, outcome) {
            (true, Outcome::Aborted) | (false, _) => outcome,
            (true, _) => Outcome::Truncated,
        };
        let connection = &self.connection;
        let totals = Totals {
            requests: connection.requests().begun.into(),
            received: connection.bytes_received(),
            sent: connection.bytes_sent(),
        };
        self.occupied.tally.count(cause, outcome, totals);
        observe::log(connection, cause, outcome);
        self.observed.tell(|of| {
            of.ended(connection, &Ended::new(connection, cause, outcome));
        });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let entry = self.register.lock().try_remove(self.key);
        drop(entry);
        self.connection.forget_tasks();
    }
}
