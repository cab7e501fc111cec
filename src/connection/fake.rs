//! [`FakeConnection`]: a record without a connection, so that a handler can be tested with `oneshot`.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_rustls::rustls::{ProtocolVersion, SupportedCipherSuite, pki_types::CertificateDer};

use super::{Facts, TlsConnection};
use crate::{context::Context, handshakes::Handshake, settings::Settings, transport::Addresses};

/// Sets up a [`TlsConnection`] for a test of a handler. Made by [`TlsConnection::fake`] or
/// [`GracefulTls::fake_connection`](crate::GracefulTls::fake_connection).
///
/// What is not set is not known, as on a connection without SNI, ALPN or an address. With
/// [`GracefulTlsLayer`](crate::GracefulTlsLayer) around the app, handlers find the addresses where they look
/// for those of a connection (`ConnectInfo<SocketAddr>`; tonic's `request.remote_addr()`, but not its
/// `peer_certs()`, whose type only a connection makes).
///
/// ```
/// use axum::{Extension, Router, body::Body, http::Request, routing::get};
/// use graceful_tls::TlsConnection;
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let app = Router::new().route("/", get(|Extension(tls): Extension<TlsConnection>| async move {
///     format!("{:?}", tls.server_name())
/// }));
/// let mut request = Request::new(Body::empty());
/// request.extensions_mut().insert(TlsConnection::fake().server_name("example.org").build());
/// let response = app.oneshot(request).await.unwrap();
/// assert_eq!(response.status(), 200);
/// # }
/// ```
#[must_use = "a fake connection is made by `build`"]
pub struct FakeConnection {
    facts: Facts,
    context: Arc<Context>,
}

impl TlsConnection {
    /// Begins to set up a record without a connection, for a test of a handler. It never drains.
    pub fn fake() -> FakeConnection {
        // Only streams ask for the size of a record.
        FakeConnection::new(Arc::new(Context::new(Settings::default(), 1 << 14)))
    }
}

impl FakeConnection {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let handshake = Arc::new(Handshake::new(Instant::now(), Duration::ZERO));
        Self {
            facts: Facts::failed(Addresses::default(), handshake, Duration::ZERO),
            context,
        }
    }

    /// See [`TlsConnection::server_name`].
    pub fn server_name(mut self, name: &str) -> Self {
        self.facts.server_name = Some(name.into());
        self
    }

    /// See [`TlsConnection::alpn`].
    pub fn alpn(mut self, protocol: &[u8]) -> Self {
        self.facts.alpn = Some(protocol.to_owned().into());
        self
    }

    /// See [`TlsConnection::version`].
    pub fn version(mut self, version: ProtocolVersion) -> Self {
        self.facts.version = Some(version);
        self
    }

    /// See [`TlsConnection::cipher_suite`].
    pub fn cipher_suite(mut self, suite: SupportedCipherSuite) -> Self {
        self.facts.cipher_suite = Some(suite);
        self
    }

    /// See [`TlsConnection::peer_certificates`].
    pub fn peer_certificates(mut self, certificates: Vec<CertificateDer<'static>>) -> Self {
        self.facts.peer_certificates = Some(certificates.into());
        self
    }

    /// See [`TlsConnection::remote_addr`].
    pub fn remote_addr(mut self, addr: SocketAddr) -> Self {
        self.facts.addresses.remote = Some(addr);
        self
    }

    /// See [`TlsConnection::balancer_addr`].
    pub fn balancer_addr(mut self, addr: SocketAddr) -> Self {
        self.facts.addresses.balancer = Some(addr);
        self
    }

    /// See [`TlsConnection::local_addr`].
    pub fn local_addr(mut self, addr: SocketAddr) -> Self {
        self.facts.addresses.local = Some(addr);
        self
    }

    /// The record, to be put into the extensions of a request.
    #[must_use]
    pub fn build(self) -> TlsConnection {
        TlsConnection::new(self.facts, self.context, None)
    }
}

impl fmt::Debug for FakeConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeConnection").finish_non_exhaustive()
    }
}
