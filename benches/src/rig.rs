//! What every bench measures: the testbed's router, under us and as people serve it today.

use std::{
    fs, future::poll_fn, hint::black_box, io, net::SocketAddr, path::Path, sync::Arc,
    time::Duration,
};

use app::routes;
use axum::{Router, extract::Path as Parameter, routing::get};
use axum_server::accept::NoDelayAcceptor;
use graceful_tls::{Builder, Drain, GracefulTls};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore, ServerConfig,
        client::Resumption,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use tokio_util::sync::CancellationToken;
use wire::AnyCertificate;

pub mod client;

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
    /// The same over HTTP/1 alone, and it reads until the client closes: the least that a proper end is, without
    /// a bound.
    Drained,
    /// axum-server with its rustls acceptor.
    AxumServer,
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Graceful,
        Self::Bare,
        Self::Watched,
        Self::Drained,
        Self::AxumServer,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Graceful => "graceful-tls",
            Self::Bare => "bare",
            Self::Watched => "watched",
            Self::Drained => "drained",
            Self::AxumServer => "axum-server",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One certificate, for every server of a run and its clients.
pub struct Certificate {
    /// How our servers drain.
    pub drain: Drain,
    /// And how often they look at what is idle.
    pub write_timeout: Option<Duration>,
    config: Arc<ServerConfig>,
    der: CertificateDer<'static>,
    /// It and its key, for other processes.
    pem: [String; 2],
}

/// Their files.
pub const FILES: [&str; 2] = ["cert.pem", "key.pem"];

impl Certificate {
    /// One of P-256, which signs itself.
    pub fn new() -> Result<Self, Error> {
        let made = rcgen::generate_simple_self_signed(["localhost".into()])?;
        Self::of([made.cert.pem(), made.signing_key.serialize_pem()])
    }

    /// The one that another process has [saved](Self::save).
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let [cert, key] = FILES.map(|file| fs::read_to_string(folder.join(file)));
        Self::of([cert?, key?])
    }

    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let mut files = FILES.iter().zip(&self.pem);
        files.try_for_each(|(file, pem)| fs::write(folder.join(file), pem))
    }

    fn of(pem: [String; 2]) -> Result<Self, Error> {
        let der = CertificateDer::from_pem_slice(pem[0].as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(pem[1].as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_no_client_auth()
            .with_single_cert(vec![der.clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            drain: Drain::default(),
            write_timeout: None,
            config: Arc::new(config),
            der,
            pem,
        })
    }

    /// Serves on `listener` until told to shut down, or for as long as the runtime lives.
    pub fn serve(&self, kind: Kind, listener: TcpListener) -> Result<Serving, Error> {
        let config = self.config.clone();
        let tls = self.graceful()?;
        let router = router(&tls);
        Ok(match kind {
            Kind::Graceful => {
                let serving = tls.clone();
                tokio::spawn(async move { serving.serve(listener, router).await });
                Serving::Graceful(tls)
            }
            Kind::Bare => {
                tokio::spawn(bare(listener, config, router, None));
                Serving::Bare
            }
            Kind::Watched => {
                let stop = CancellationToken::new();
                let watch = Some((GracefulShutdown::new(), stop.clone()));
                Serving::Watched(stop, tokio::spawn(bare(listener, config, router, watch)))
            }
            Kind::Drained => {
                tokio::spawn(drained(listener, config, router));
                Serving::Bare
            }
            Kind::AxumServer => {
                let handle = axum_server::Handle::new();
                let config = axum_server::tls_rustls::RustlsConfig::from_config(config);
                let server = axum_server::from_tcp_rustls(listener.into_std()?, config)?
                    .map(|acceptor| acceptor.acceptor(NoDelayAcceptor))
                    .handle(handle.clone())
                    .serve(router.into_make_service());
                Serving::AxumServer(handle, tokio::spawn(async { drop(server.await) }))
            }
        })
    }

    /// Ours, with no lame duck: what is measured is the end, not the wait for it. And without
    /// connect-info, which those that it is compared with have not either.
    pub fn graceful(&self) -> Result<GracefulTls, Error> {
        self.graceful_with(|builder| builder)
    }

    /// The same with other settings too.
    pub fn graceful_with(
        &self,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Result<GracefulTls, Error> {
        let builder = GracefulTls::builder(self.config.clone())
            .lame_duck(Duration::ZERO)
            .connect_info(false)
            .drain(self.drain.clone());
        let builder = match self.write_timeout {
            Some(timeout) => builder.write_timeout(timeout),
            None => builder,
        };
        Ok(change(builder).build()?)
    }

    /// What does the server's handshakes without us.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// A client that trusts it, offers `alpn`, and resumes its sessions or does a full handshake
    /// every time.
    pub fn connector(&self, alpn: &[u8], resume: bool) -> Result<TlsConnector, Error> {
        let mut config = self.client(rustls::ALL_VERSIONS)?;
        config.alpn_protocols = vec![alpn.to_vec()];
        if !resume {
            config.resumption = Resumption::disabled();
        }
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// A client that resumes over TLS 1.2.
    pub fn tls12_connector(&self) -> Result<TlsConnector, Error> {
        let config = self.client(&[&rustls::version::TLS12])?;
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn client(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

/// A client that trusts every certificate: one that connects to another process.
pub fn any_certificate(alpn: &[u8]) -> Result<TlsConnector, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What is served: the testbed's, and `/compute/{rounds}`, whose handler keeps the processor for so many rounds.
pub fn router(tls: &GracefulTls) -> Router {
    routes::router(tls.clone()).route("/compute/{rounds}", get(compute))
}

async fn compute(Parameter(rounds): Parameter<u64>) -> &'static str {
    // An odd multiplier: no step of it can be left out, and none is like another.
    let product = (0..rounds).fold(1_u64, |product, n| black_box(product).wrapping_mul(n | 1));
    black_box(product);
    routes::HELLO
}

/// A server at work.
pub enum Serving {
    Graceful(GracefulTls),
    Bare,
    Watched(CancellationToken, JoinHandle<()>),
    AxumServer(axum_server::Handle<SocketAddr>, JoinHandle<()>),
}

impl Serving {
    /// Shuts down as gracefully as the server can, with no deadline.
    pub async fn shut_down(self) {
        match self {
            Self::Graceful(tls) => {
                tls.shutdown();
                tls.closed().await;
            }
            Self::Bare => {}
            Self::Watched(stop, served) => {
                stop.cancel();
                let _ = served.await;
            }
            Self::AxumServer(handle, served) => {
                handle.graceful_shutdown(None);
                let _ = served.await;
            }
        }
    }
}

async fn bare(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
    watch: Option<(GracefulShutdown, CancellationToken)>,
) {
    let acceptor = TlsAcceptor::from(config);
    let (watch, stop) = watch.unzip();
    let stop = stop.unwrap_or_default();
    while let Some(Ok((tcp, _))) = stop.run_until_cancelled(listener.accept()).await {
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
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
            let _ = match watcher {
                Some(watcher) => watcher.watch(connection.into_owned()).await,
                None => connection.await,
            };
        });
    }
    if let Some(watch) = watch {
        watch.shutdown().await;
    }
}

async fn drained(listener: TcpListener, config: Arc<ServerConfig>, router: Router) {
    let acceptor = TlsAcceptor::from(config);
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let Ok(tls) = acceptor.accept(tcp).await else {
                return;
            };
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new());
            let service = TowerToHyperService::new(router);
            let mut connection = builder.serve_connection(TokioIo::new(tls), service);
            let served = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
            let mut tls = connection.into_parts().io.into_inner();
            if served.is_ok() && tls.shutdown().await.is_ok() {
                let mut rest = [0; 512];
                while tls.read(&mut rest).await.is_ok_and(|n| n > 0) {}
            }
        });
    }
}
