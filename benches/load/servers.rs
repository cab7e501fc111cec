//! The two servers: ours, and what people write by hand today.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    time::Duration,
};

use axum::Router;
use graceful_tls::GracefulTls;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore, ServerConfig,
        client::Resumption,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use crate::routes;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Graceful,
    Bare,
}

/// A server on a thread of its own.
pub struct Server {
    pub addr: SocketAddr,
    certificate: CertificateDer<'static>,
    thread: String,
    _runtime: Runtime,
}

impl Server {
    pub fn start(kind: Kind) -> Result<Self, Error> {
        let (sender, receiver) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(move || {
                let _ = sender.send(std::fs::read_link("/proc/thread-self"));
            })
            .enable_all()
            .build()?;
        let thread = receiver.recv()??.display().to_string();
        let certified = rcgen::generate_simple_self_signed(["localhost".into()])?;
        let certificate = certified.cert.der().clone();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der())?;
        let config = server_config(certificate.clone(), key)?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let addr = listener.local_addr()?;
        let tls = GracefulTls::new(config.clone())?;
        let router = routes::router(tls.clone());
        match kind {
            Kind::Graceful => drop(runtime.spawn(async move { tls.serve(listener, router).await })),
            Kind::Bare => drop(runtime.spawn(bare(listener, config, router))),
        }
        Ok(Self {
            addr,
            certificate,
            thread,
            _runtime: runtime,
        })
    }

    /// A client that trusts it, and does a full handshake every time.
    pub fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let _ = roots.add(self.certificate.clone());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
            .unwrap_or_else(|error| panic!("{error}"));
        config.resumption = Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }

    /// What the server's thread has used of a processor so far.
    pub fn cpu(&self) -> io::Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/schedstat", self.thread))?;
        let nanos = text.split(' ').next().and_then(|n| n.parse().ok());
        nanos
            .map(Duration::from_nanos)
            .ok_or_else(|| io::Error::other("schedstat can't be read"))
    }
}

fn server_config(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The loop of hyper-util's and tokio-rustls' own examples.
async fn bare(listener: TcpListener, config: Arc<ServerConfig>, router: Router) {
    let acceptor = TlsAcceptor::from(config);
    while let Ok((tcp, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        let router = router.clone();
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let Ok(tls) = acceptor.accept(tcp).await else {
                return;
            };
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new());
            builder.http2().timer(TokioTimer::new());
            let service = TowerToHyperService::new(router);
            let _ = builder
                .serve_connection_with_upgrades(TokioIo::new(tls), service)
                .await;
        });
    }
}
