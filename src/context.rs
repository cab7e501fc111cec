//! [`Context`]: all that a connection sees of its server.
//!
//! The certificates, the handshakes' places and hyper's builders stay with `Server`, which
//! connections do not know. So a handler that keeps its `TlsConnection` keeps no keys alive, and a
//! connection can be made in a test without TLS.
//!
//! Servers that share a shutdown have settings of their own, and the rest in common.

use std::{
    mem,
    sync::{
        Arc, Mutex, Once, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use tokio::{runtime::Handle, time::Instant};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    departures::Departures,
    ending::Cause,
    gate::Pass,
    phase::Phases,
    room::Room,
    settings::{Bounds, Settings},
    sparing::Sparing,
    tally::Tally,
};

/// What all connections of one server share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) settings: Settings,
    /// As its settings have them: each teardown goes by them.
    pub(crate) bounds: Arc<Bounds>,
    /// What `Keep-Alive` says, where it is announced.
    pub(crate) keep_alive_header: Option<HeaderValue>,
    /// How much plaintext goes into a record (RFC 9846 5.1).
    pub(crate) record: u64,
    pub(crate) phases: Arc<Phases>,
    /// How many connections may be open.
    pub(crate) max_connections: usize,
    pub(crate) room: Arc<Room>,
    /// What connections count from when they became idle.
    pub(crate) epoch: Instant,
    /// Whether it has been said that close_notify was withheld for want of knowledge.
    pub(crate) warned: Once,
    /// Whether it has been said that an answer did not pass the layer.
    pub(crate) unlayered: Once,
    /// What is said of connections that were cut short, for each cause apart: what one client can bring about
    /// leaves out no line about the faults of handlers.
    pub(crate) losses: Arc<[Sparing; Cause::ALL.len()]>,
    /// When connections have to go, from the beginning of a shutdown on.
    departures: Arc<Mutex<Option<Departures>>>,
    /// How many connections there have been.
    connections: Arc<AtomicU32>,
    runtime: Arc<OnceLock<Handle>>,
}

impl Context {
    pub(crate) fn new(settings: Settings, record: u64) -> Self {
        Self {
            keep_alive_header: settings.keep_alive_header.and_then(keep_alive),
            record,
            max_connections: settings.max_connections(),
            bounds: Arc::new(settings.bounds()),
            settings,
            phases: Arc::default(),
            room: Arc::default(),
            epoch: Instant::now(),
            warned: Once::new(),
            unlayered: Once::new(),
            losses: Arc::new(std::array::from_fn(|_| Sparing::new())),
            departures: Arc::default(),
            connections: Arc::default(),
            runtime: Arc::default(),
        }
    }

    /// Of a server that shares the shutdown of this one, and the room for connections.
    pub(crate) fn beside(&self, settings: Settings, record: u64) -> Self {
        Self {
            phases: self.phases.clone(),
            room: self.room.clone(),
            epoch: self.epoch,
            losses: self.losses.clone(),
            departures: self.departures.clone(),
            connections: self.connections.clone(),
            runtime: self.runtime.clone(),
            ..Self::new(settings, record)
        }
    }

    pub(crate) fn departures(&self) -> Option<Departures> {
        *self
            .departures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_departures(&self, departures: Option<Departures>) {
        *self
            .departures
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = departures;
    }

    /// What a connection holds from the moment it is accepted: no phase may pass it over, and it counts.
    pub(crate) fn occupy(self: &Arc<Self>, pass: Pass, tally: Arc<Tally>) -> Occupied {
        Occupied {
            pass,
            tally,
            token: Some(self.phases.connections.token()),
            context: self.clone(),
        }
    }

    /// Whether there are as many connections as there may be.
    pub(crate) fn is_full(&self) -> bool {
        self.phases.connections.len() >= self.max_connections
    }

    /// The number of a new connection, on this server.
    pub(crate) fn next_number(&self) -> u32 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Remembers the runtime that the connections live on, for what is done outside it.
    pub(crate) fn remember_runtime(&self) {
        if self.runtime.get().is_none() {
            if let Ok(handle) = Handle::try_current() {
                let _ = self.runtime.set(handle);
            }
        }
    }

    /// The runtime to finish a connection on: this thread's, which is its own but for handles that
    /// were moved, else the one connections are accepted on.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        Handle::try_current()
            .ok()
            .or_else(|| self.runtime.get().cloned())
    }

    /// The runtime that lasts as long as the server: the one connections are accepted on, else
    /// this thread's. Whoever calls may do so from one that lives for a moment only.
    pub(crate) fn lasting_runtime(&self) -> Option<Handle> {
        self.runtime
            .get()
            .cloned()
            .or_else(|| Handle::try_current().ok())
    }
}

/// A connection whose descriptor is open, in a handshake, in use, idle or draining.
#[derive(Debug)]
pub(crate) struct Occupied {
    token: Option<TaskTrackerToken>,
    context: Arc<Context>,
    pass: Pass,
    /// Where its end is counted.
    pub(crate) tally: Arc<Tally>,
}

impl Occupied {
    /// It is known now whose it is.
    pub(crate) fn admit(&mut self, pass: Pass) {
        self.pass = pass;
    }

    /// All of it, for whoever goes on with the connection: nothing is held here any more.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            token: self.token.take(),
            context: self.context.clone(),
            pass: mem::take(&mut self.pass),
            tally: self.tally.clone(),
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.token.is_some()
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // Before whoever waits for room looks how many there are.
        if self.token.take().is_some() {
            self.context.room.change();
        }
    }
}

/// Whole seconds.
fn keep_alive(announced: Duration) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("timeout={}", announced.as_secs())).ok()
}
