//! [`Arrival`]: a connection from the moment it is accepted until its handshake is over.
//!
//! Each handshake has an end that is told of and counted, also one whose future is dropped: by a loop that
//! does not want to wait, or with its runtime. Whoever drops an arrival that is not over has given it up.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::field::display;

use super::Acceptor;
use crate::{
    connection::{Facts, TlsConnection},
    context::{Context, Occupied},
    gate::Pass,
    handshake_error::HandshakeError,
    handshakes::{Handshake, Running},
    observe::HandshakeFailed,
    phase::Phase,
    register::Registration,
    tally::Tally,
    transport::Addresses,
};

/// A connection on its way: what keeps a shutdown waiting for it, and by when it has to arrive.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(super) begun: Begun,
    /// Its place among the handshakes.
    pub(super) running: Running,
    /// When the handshake has to be over.
    pub(super) deadline: Instant,
    /// Whether it came after the shutdown had begun.
    pub(super) late: bool,
}

/// A handshake that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    acceptor: Acceptor,
    pub(super) addresses: Addresses,
    handshake: Arc<Handshake>,
    at: Instant,
    /// Until its descriptor is closed; nothing any more once it is over.
    occupied: Occupied,
}

impl Acceptor {
    /// What a connection holds from the moment it is accepted.
    pub(super) fn arrival(&self, pass: Pass, tally: Arc<Tally>, addresses: Addresses) -> Arrival {
        tally.accept();
        self.server
            .observed
            .tell(|of| of.accepted(addresses.remote));
        let context = &self.server.context;
        let Context {
            phases, settings, ..
        } = &**context;
        let now = Instant::now();
        let occupied = context.occupy(pass, tally);
        let running = self.server.handshakes.begin(settings.handshake_timeout / 8);
        Arrival {
            begun: Begun {
                acceptor: self.clone(),
                addresses,
                handshake: running.handshake.clone(),
                at: now,
                occupied,
            },
            running,
            deadline: now + settings.handshake_timeout,
            late: phases.now() > Phase::Serving,
        }
    }
}

impl Begun {
    pub(super) fn took(&self) -> Duration {
        self.at.elapsed()
    }

    /// It is known now whose it is.
    pub(super) fn admit(&mut self, pass: Pass) {
        self.occupied.admit(pass);
    }

    /// It is over, one way or the other: the connection enters the register.
    pub(super) fn enter(
        &mut self,
        facts: Facts,
        first_request_by: Option<Instant>,
    ) -> Registration {
        let server = &self.acceptor.server;
        let connection = TlsConnection::new(facts, server.context.clone(), first_request_by);
        let observed = server.observed.clone();
        let occupied = self.occupied.take();
        server.register.enter(connection, occupied, observed)
    }

    /// It has failed. Whatever is said to its client yet, nothing is served.
    pub(super) fn fail(&mut self, error: &HandshakeError) -> Registration {
        let took = self.took();
        let facts = Facts::failed(self.addresses, self.handshake.clone(), took);
        let registration = self.enter(facts, None);
        registration.connection().closes();
        let (id, peer) = (registration.connection().id(), self.addresses.remote);
        let peer = peer.map(display);
        tracing::debug!(id, peer, reason = %error.reason(), %error, "handshake failed");
        self.tell_failed(error, took);
        registration
    }

    pub(super) fn tell_failed(&self, error: &HandshakeError, took: Duration) {
        let peer = self.addresses.remote;
        let failed = HandshakeFailed { peer, error, took };
        let observed = &self.acceptor.server.observed;
        observed.tell(|of| of.handshake_failed(&failed));
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.occupied.is_held() {
            drop(self.fail(&HandshakeError::Dropped));
        }
    }
}
