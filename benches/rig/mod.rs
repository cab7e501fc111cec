//! What every bench measures: the testbed's router, under us and as people serve it today.

#![allow(dead_code, reason = "no bench needs all of it")]

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use graceful_tls::GracefulTls;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore, ServerConfig,
        client::Resumption,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

#[path = "../../examples/testbed/bodies.rs"]
mod bodies;
#[path = "../../examples/testbed/routes.rs"]
mod routes;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Who serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// [`GracefulTls::serve`].
    Graceful,
    /// The loop of hyper-util's and tokio-rustls' own examples: it can't be shut down gracefully.
    Bare,
    /// The same with each connection under hyper-util's `GracefulShutdown`.
    Watched,
    /// axum-server with its rustls acceptor.
    AxumServer,
}

impl Kind {
    pub const ALL: [Self; 4] = [
        Self::Graceful,
        Self::Bare,
        Self::Watched,
        Self::AxumServer,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Graceful => "graceful-tls",
            Self::Bare => "bare",
            Self::Watched => "watched",
            Self::AxumServer => "axum-server",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One certificate, for every server of a run and its clients.
pub struct Certificate {
    config: Arc<ServerConfig>,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub fn new() -> Result<Self, Error> {
        let certified = rcgen::generate_simple_self_signed(["localhost".into()])?;
        let der = certified.cert.der().clone();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_no_client_auth()
            .with_single_cert(vec![der.clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            der,
        })
    }

    /// Serves on `listener` for as long as the runtime lives.
    pub fn serve(&self, kind: Kind, listener: TcpListener) -> Result<SocketAddr, Error> {
        let addr = listener.local_addr()?;
        let tls = GracefulTls::new(self.config.clone())?;
        let router = routes::router(tls.clone());
        match kind {
            Kind::Graceful => {
                tokio::spawn(async move { tls.serve(listener, router).await });
            }
            Kind::Bare => {
                tokio::spawn(bare(listener, self.config.clone(), router, None));
            }
            Kind::Watched => {
                let watch = Some(GracefulShutdown::new());
                tokio::spawn(bare(listener, self.config.clone(), router, watch));
            }
            Kind::AxumServer => {
                let config = axum_server::tls_rustls::RustlsConfig::from_config(self.config.clone());
                let server = axum_server::from_tcp_rustls(listener.into_std()?, config)?;
                tokio::spawn(server.serve(router.into_make_service()));
            }
        }
        Ok(addr)
    }

    /// A client that trusts it, offers `alpn`, and resumes its sessions or does a full handshake
    /// every time.
    pub fn connector(&self, alpn: &[u8], resume: bool) -> Result<TlsConnector, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        if !resume {
            config.resumption = Resumption::disabled();
        }
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

async fn bare(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    watch: Option<GracefulShutdown>,
) {
    let acceptor = TlsAcceptor::from(config);
    while let Ok((tcp, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        let router = router.clone();
        let watcher = watch.as_ref().map(GracefulShutdown::watcher);
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let Ok(tls) = acceptor.accept(tcp).await else {
                return;
            };
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new());
            builder.http2().timer(TokioTimer::new());
            let service = TowerToHyperService::new(router);
            let connection =
                builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
            let _ = match watcher {
                Some(watcher) => watcher.watch(connection.into_owned()).await,
                None => connection.await,
            };
        });
    }
}
