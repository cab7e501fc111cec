//! [`PemFiles`]: a certificate and its key from files, read again when they change.
//!
//! rustls asks for the certificate at each handshake, so that is when the files are looked at, no more than
//! once a second: no task has to live for it, nothing is missed while no client comes, and no runtime
//! is needed to make a server. A look is two calls to the system, and goes through symbolic links: what
//! counts is which file it is in the end, when it was written, and how long it is. So a volume of
//! Kubernetes, whose link is swapped, certbot, which points its links at new files, and a plain copy over the
//! old files are all seen. A notification of the file system would tell of the link, or of the folder, or
//! not at all (NFS), depending on which of these it is.
//!
//! Two files can't be changed at once. In between they may not fit together, or one may be written in
//! part; then the old certificate stays, and the files are read again at each look until they can be used:
//! what stood in the way, such as rights or a want of descriptors, may not show in them.
//!
//! `read` reads them, and says what is wrong with them.

mod read;

use std::{
    fs::{self, Metadata},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

pub use read::PemError;
use read::read;

/// How often the files are looked at, at most.
const LOOKS: Duration = Duration::from_secs(1);

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
    paths: [PathBuf; 2],
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    looks: Mutex<Looks>,
}

/// What was seen of the files, and when to look again.
#[derive(Debug)]
struct Looks {
    /// Of those that are in use.
    seen: Seen,
    next: Instant,
    /// What has kept newer ones from being used.
    failed: Option<String>,
}

impl PemFiles {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// See [`PemError`].
    pub fn load(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, PemError> {
        let paths = [cert.into(), key.into()];
        let provider = CryptoProvider::get_default().ok_or(PemError::NoCryptoProvider)?;
        let looks = Mutex::new(Looks {
            seen: seen(&paths),
            next: Instant::now() + LOOKS,
            failed: None,
        });
        let current = RwLock::new(Arc::new(read(&paths, provider)?));
        Ok(Self {
            shared: Arc::new(Shared {
                paths,
                provider: provider.clone(),
                current,
                looks,
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
        let mut looks = shared.looks.lock().unwrap_or_else(PoisonError::into_inner);
        shared.read_again(&mut looks, seen(&shared.paths))
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
    /// Reads the files if they have changed. While one looks, the others go on with what there is.
    fn look(&self) {
        let Ok(mut looks) = self.looks.try_lock() else {
            return;
        };
        if Instant::now() < looks.next {
            return;
        }
        looks.next = Instant::now() + LOOKS;
        let said = looks.failed.take();
        // Before they are read: what changes meanwhile is seen at the next look.
        let seen = seen(&self.paths);
        if seen == looks.seen {
            return;
        }
        let [cert, key] = &self.paths;
        match self.read_again(&mut looks, seen) {
            Ok(()) => tracing::info!(?cert, ?key, "the certificate has been read again"),
            Err(_) if looks.failed == said => {}
            Err(error) => tracing::error!(%error, "the certificate stays the old one"),
        }
    }

    /// Only what can be used has been seen: the rest is read again at the next look.
    fn read_again(&self, looks: &mut Looks, seen: Seen) -> Result<(), PemError> {
        let new = read(&self.paths, &self.provider);
        looks.failed = new.as_ref().err().map(PemError::to_string);
        let new = Arc::new(new?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        looks.seen = seen;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

type Seen = [Option<Version>; 2];

fn seen(paths: &[PathBuf; 2]) -> Seen {
    paths.each_ref().map(|path| Version::of(path))
}

/// What tells a file from what it was before. `None` is one that can't be looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Version {
    file: u64,
    length: u64,
    written: Option<SystemTime>,
}

impl Version {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            file: number(&metadata),
            length: metadata.len(),
            written: metadata.modified().ok(),
        })
    }
}

#[cfg(unix)]
fn number(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> u64 {
    0
}
