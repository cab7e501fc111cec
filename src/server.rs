//! [`Server`]: what one server is made of, and its connections need not know.

use std::{net::SocketAddr, sync::Arc};

use hyper::server::conn::{http1, http2};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::{
    choice::Choice,
    context::Context,
    gate::{Filter, Gate, Pass},
    handshakes::Handshakes,
    inline::Executor,
    observe::Observed,
    register::Register,
    settings::Settings,
    shutdown::Shutdown,
    tally::Tally,
};

/// One server.
pub(crate) struct Server {
    pub(crate) tls: TlsAcceptor,
    pub(crate) choice: Option<Arc<Choice>>,
    pub(crate) http1: Arc<http1::Builder>,
    pub(crate) http2: http2::Builder<Executor>,
    pub(crate) handshakes: Arc<Handshakes>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) context: Arc<Context>,
    pub(crate) register: Arc<Register>,
    pub(crate) shutdown: Shutdown,
    pub(crate) observed: Observed,
    /// Of its listeners, in the report.
    pub(crate) name: Option<Arc<str>>,
    /// Where the ends of connections are counted that come from no listener of an address.
    pub(crate) elsewhere: Arc<Tally>,
}

/// What a server is made of.
pub(crate) struct Parts {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) choice: Option<Arc<Choice>>,
    pub(crate) settings: Settings,
    pub(crate) filter: Option<Filter>,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<Executor>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) observed: Observed,
}

impl Server {
    pub(crate) fn new(parts: Parts) -> Self {
        let register = Arc::new(Register::new(parts.settings.drain.max_connections));
        let context = Context::new(parts.settings.clone(), record(&parts.tls));
        let context = Arc::new(context);
        let handshakes = Arc::new(Handshakes::new(context.settings.max_handshakes()));
        let shutdown = Shutdown::new(context.clone(), register.clone(), handshakes.clone());
        Self::of(parts, context, register, shutdown, handshakes)
    }

    /// One that shares the shutdown of this one, and the room for connections and handshakes.
    pub(crate) fn beside(&self, mut parts: Parts) -> Self {
        parts.settings.max_connections = Some(self.context.max_connections);
        self.shutdown.covers(&parts.settings);
        let context = self
            .context
            .beside(parts.settings.clone(), record(&parts.tls));
        let (register, shutdown) = (self.register.clone(), self.shutdown.clone());
        let handshakes = self.handshakes.clone();
        Self::of(parts, Arc::new(context), register, shutdown, handshakes)
    }

    fn of(
        parts: Parts,
        context: Arc<Context>,
        register: Arc<Register>,
        shutdown: Shutdown,
        handshakes: Arc<Handshakes>,
    ) -> Self {
        let settings = &context.settings;
        register.tell_phases_to(&parts.observed);
        Self {
            elsewhere: register.tallies.of(parts.name.as_ref(), None),
            tls: parts.tls.into(),
            choice: parts.choice,
            http1: Arc::new(parts.http1),
            http2: parts.http2,
            handshakes,
            gate: Arc::new(Gate::new(parts.filter, settings.max_connections_per_client)),
            context,
            register,
            shutdown,
            observed: parts.observed,
            name: parts.name,
        }
    }

    /// Whether a client may come in.
    pub(crate) fn admit(&self, client: Option<SocketAddr>) -> Option<Pass> {
        let pass = self.gate.admit(client);
        if pass.is_none() {
            self.register.tallies.refuse();
        }
        pass
    }

    /// Where the ends of a listener's connections are counted.
    pub(crate) fn tally(&self, listener: Option<SocketAddr>) -> Arc<Tally> {
        match listener {
            Some(_) => self.register.tallies.of(self.name.as_ref(), listener),
            None => self.elsewhere.clone(),
        }
    }
}

/// How much plaintext goes into a record: `max_fragment_size` is what it comes to with its head.
fn record(tls: &ServerConfig) -> u64 {
    const LONGEST: usize = 1 << 14;
    const HEAD: usize = 5;
    let record = tls.max_fragment_size.map(|size| size.saturating_sub(HEAD));
    record.unwrap_or(LONGEST).clamp(1, LONGEST) as u64
}
