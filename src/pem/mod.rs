//! [`PemFiles`]: a certificate and its key from files, read again when they change.
//!
//! rustls asks for the certificate at each handshake, so that is when the files are looked at: see `watched`.
//!
//! Two files can't be changed at once. In between they may not fit together, or one may be written in
//! part; then the old certificate stays, and the files are read again at each look until they can be used.
//!
//! `read` reads them, and says what is wrong with them.

mod read;

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use tokio_rustls::rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::watched::Watched;

pub use read::PemError;
use read::read;

/// A certificate and its private key from PEM files (RFC 7468), read again when they change.
///
/// The certificate's file has the server's own first, and behind it those that signed it, as certbot's
/// `fullchain.pem` has. The key's is one of PKCS #8, PKCS #1 or SEC 1, not encrypted. It may be the same file.
///
/// The files are looked at when a client connects, no more than once a second. New handshakes get the
/// new certificate; connections that are open keep theirs, and sessions go on to be resumed (RFC 9846 2.2)
/// as if nothing had changed: after a key is lost, restart the server. What can't be used changes nothing,
/// and is said once in the log, at `error`. The look blocks for as long as the file system takes.
///
/// Clones mean the same files. As a [`ResolvesServerCert`] it goes with any other settings of rustls:
///
/// ```no_run
/// # use graceful_tls::{GracefulTls, PemFiles, rustls::{ServerConfig, server::danger::ClientCertVerifier}};
/// # use std::{error::Error, sync::Arc};
/// # fn f(verifier: Arc<dyn ClientCertVerifier>) -> Result<(), Box<dyn Error>> {
/// let files = PemFiles::load("cert.pem", "key.pem")?;
/// let mut config = ServerConfig::builder()
///     .with_client_cert_verifier(verifier)
///     .with_cert_resolver(Arc::new(files.clone()));
/// config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
/// let tls = GracefulTls::builder(config).build()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct PemFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    files: Watched<2>,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl PemFiles {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// See [`PemError`].
    pub fn load(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, PemError> {
        let provider = CryptoProvider::get_default().ok_or(PemError::NoCryptoProvider)?;
        let files = Watched::new([cert.into(), key.into()]);
        let current = RwLock::new(Arc::new(read(files.paths(), provider)?));
        Ok(Self {
            shared: Arc::new(Shared {
                files,
                provider: provider.clone(),
                current,
            }),
        })
    }

    /// Reads both files again, now. What can't be used changes nothing.
    ///
    /// It blocks for as long as reading two small files takes. Any number of calls at once do no harm.
    ///
    /// # Errors
    ///
    /// See [`PemError`].
    pub fn reload(&self) -> Result<(), PemError> {
        let shared = &self.shared;
        shared.files.read_again(|paths| shared.read(paths))
    }

    /// rustls' configuration around these files: `h2` and `http/1.1`, no client certificates, and rustls'
    /// defaults.
    ///
    /// Each call makes another, with sessions of its own: make one, and keep it.
    ///
    /// # Errors
    ///
    /// [`PemError::CryptoProvider`].
    pub fn config(&self) -> Result<ServerConfig, PemError> {
        let mut config = ServerConfig::builder_with_provider(self.shared.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(PemError::CryptoProvider)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for PemFiles {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.shared.look();
        Some(self.shared.current().clone())
    }
}

impl Shared {
    /// Reads the files if they have changed.
    fn look(&self) {
        let [cert, key] = self.files.paths();
        match self.files.look(|paths| self.read(paths)) {
            None => {}
            Some(Ok(())) => tracing::info!(?cert, ?key, "the certificate has been read again"),
            Some(Err(error)) => tracing::error!(%error, "the certificate stays the old one"),
        }
    }

    fn read(&self, paths: &[PathBuf; 2]) -> Result<(), PemError> {
        let new = Arc::new(read(paths, &self.provider)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
