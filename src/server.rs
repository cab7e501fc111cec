//! [`Server`]: what one server is made of, and its connections need not know.

use std::sync::Arc;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::{
    choice::Choice,
    context::Context,
    gate::{Filter, Gate},
    handshakes::Handshakes,
    register::Register,
    settings::Settings,
    shutdown::Shutdown,
};

/// One server.
pub(crate) struct Server {
    pub(crate) tls: TlsAcceptor,
    pub(crate) choice: Option<Arc<Choice>>,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<TokioExecutor>,
    pub(crate) handshakes: Arc<Handshakes>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) context: Arc<Context>,
    pub(crate) register: Arc<Register>,
    pub(crate) shutdown: Shutdown,
}

impl Server {
    pub(crate) fn new(
        tls: Arc<ServerConfig>,
        choice: Option<Arc<Choice>>,
        settings: Settings,
        filter: Option<Filter>,
        http1: http1::Builder,
        http2: http2::Builder<TokioExecutor>,
    ) -> Self {
        let handshakes = Arc::new(Handshakes::new(
            settings.max_handshakes(),
            settings.handshake_timeout / 8,
        ));
        let gate = Arc::new(Gate::new(filter, settings.max_connections_per_client));
        let register = Arc::new(Register::new(settings.drain.max_connections));
        let context = Arc::new(Context::new(settings, record(&tls)));
        Self {
            tls: tls.into(),
            choice,
            http1,
            http2,
            handshakes,
            gate,
            shutdown: Shutdown::new(context.clone(), register.clone()),
            context,
            register,
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
