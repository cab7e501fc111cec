//! What the crate's observer is told, for the oracles: how connections ended, and in which order things
//! happened to each.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr};

use graceful_tls::{Cause, Ended, HandshakeFailed, Observer, Outcome, Phase, TlsConnection};

use crate::trace::{Stamp, now};

/// One end.
#[derive(Clone, Debug)]
pub struct Observed {
    pub at: Stamp,
    /// The number of the client: its port.
    pub conn: Option<usize>,
    pub id: u64,
    pub cause: Cause,
    pub outcome: Outcome,
}

impl Observed {
    /// All that was sent has reached the client, it says.
    pub fn claims_all(&self) -> bool {
        let claims = [Outcome::Clean, Outcome::PeerSilent, Outcome::DrainCut];
        claims.contains(&self.outcome)
    }
}

/// Everything that the observer was told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub accepted: u64,
    pub failed: u64,
    pub established: u64,
    pub ended: Vec<Observed>,
    pub phases: Vec<Phase>,
    connections: BTreeMap<u64, Life>,
    /// What was told in the wrong order.
    pub wrong: Option<String>,
}

/// What was told of one connection.
#[derive(Clone, Copy, Debug, Default)]
struct Life {
    established: bool,
    requests: u32,
    closing: Option<Cause>,
    ended: bool,
}

thread_local! {
    static TOLD: RefCell<Told> = RefCell::default();
}

/// Takes what was told on this thread since last time.
pub fn take() -> Told {
    TOLD.with(RefCell::take)
}

/// Remembers what it is told.
#[derive(Debug)]
pub struct Keeper;

impl Told {
    fn happens(&mut self, id: u64, what: &str, change: impl FnOnce(&mut Life) -> bool) {
        let life = self.connections.entry(id).or_default();
        if !change(life) {
            let wrong = format!("{what} of {id}: {life:?}");
            self.wrong.get_or_insert(wrong);
        }
    }
}

fn tell(change: impl FnOnce(&mut Told)) {
    TOLD.with(|told| change(&mut told.borrow_mut()));
}

impl Observer for Keeper {
    fn accepted(&self, _: Option<SocketAddr>) {
        tell(|told| told.accepted += 1);
    }

    fn handshake_failed(&self, _: &HandshakeFailed<'_>) {
        tell(|told| told.failed += 1);
    }

    fn established(&self, connection: &TlsConnection) {
        tell(|told| {
            told.established += 1;
            told.happens(connection.id(), "established", |life| {
                life.requests == 0
                    && life.closing.is_none()
                    && !std::mem::replace(&mut life.established, true)
            });
        });
    }

    fn request(&self, connection: &TlsConnection) {
        tell(|told| {
            told.happens(connection.id(), "request", |life| {
                life.requests += 1;
                life.established && !life.ended
            });
        });
    }

    fn closing(&self, connection: &TlsConnection, cause: Cause) {
        tell(|told| {
            told.happens(connection.id(), "closing", |life| {
                !life.ended && life.closing.replace(cause).is_none()
            });
        });
    }

    fn ended(&self, connection: &TlsConnection, ended: &Ended) {
        let at = now();
        let port = connection
            .remote_addr()
            .map(|peer| usize::from(peer.port()));
        tell(|told| {
            told.ended.push(Observed {
                at,
                conn: port,
                id: connection.id(),
                cause: ended.cause,
                outcome: ended.outcome,
            });
            told.happens(connection.id(), "ended", |life| {
                life.closing == Some(ended.cause)
                    && (life.requests >= ended.requests || !life.established)
                    && !std::mem::replace(&mut life.ended, true)
            });
        });
    }

    fn phase(&self, phase: Phase) {
        tell(|told| told.phases.push(phase));
    }
}
