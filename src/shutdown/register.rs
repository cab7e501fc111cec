//! The register of open connections.
//!
//! Each connection enters once and leaves once, under a mutex that no poll ever takes. Shutdown
//! walks over it to wake everybody, which is linear in connections, and adds up what is in flight
//! only when somebody asks: steady state pays for no shared counter.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use slab::Slab;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::report::Counts;
use crate::{
    connection::TlsConnection,
    observe,
    teardown::{Cause, Outcome},
};

/// Every connection whose descriptor is open, and how those ended that are not.
#[derive(Debug, Default)]
pub(crate) struct Register {
    open: Mutex<Slab<TlsConnection>>,
    next_id: AtomicU64,
    ended: [AtomicU64; 5],
}

/// How much there is left to wait for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Left {
    pub(crate) connections: usize,
    pub(crate) requests: u64,
}

impl Register {
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Enters `connection`, which leaves with the token when its teardown is over.
    pub(crate) fn enter(&self, connection: TlsConnection, token: TaskTrackerToken) -> Registration {
        let key = self.lock().insert(connection.clone());
        Registration {
            connection,
            key,
            truncated: false,
            _token: token,
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
                .map(|(_, c)| u64::from(c.tally().in_flight))
                .sum(),
        }
    }

    /// How connections have ended since the server began.
    pub(crate) fn counts(&self) -> Counts {
        Counts(std::array::from_fn(|i| {
            self.ended[i].load(Ordering::Relaxed)
        }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<TlsConnection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the register. It moves from the stream to the teardown.
#[derive(Debug)]
pub(crate) struct Registration {
    connection: TlsConnection,
    key: usize,
    truncated: bool,
    _token: TaskTrackerToken,
}

impl Registration {
    pub(crate) fn connection(&self) -> &TlsConnection {
        &self.connection
    }

    /// However well the teardown goes, an exchange was cut short.
    pub(crate) fn set_truncated(&mut self) {
        self.truncated = true;
    }

    /// Counts and logs how the connection ended.
    pub(crate) fn ended(&self, cause: Cause, outcome: Outcome) {
        let truncated = self.truncated || self.connection.tally().in_flight > 0;
        let outcome = match (truncated, outcome) {
            (true, Outcome::Aborted) | (false, _) => outcome,
            (true, _) => Outcome::Truncated,
        };
        let register = &self.connection.server().shutdown.register;
        register.ended[Counts::index(outcome)].fetch_add(1, Ordering::Relaxed);
        observe::ended(&self.connection, cause, outcome);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let register = &self.connection.server().shutdown.register;
        let entry = register.lock().try_remove(self.key);
        drop(entry);
        self.connection.settle();
        self.connection.forget_tasks();
    }
}
