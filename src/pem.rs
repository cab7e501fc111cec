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
//! part; then the old certificate stays, and at the next look there is something new to see.

use std::{
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

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
    seen: Seen,
    next: Instant,
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
        let looks = Mutex::new(Looks::at(&paths));
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
        // Before they are read: what changes meanwhile is seen at the next look.
        let mut looks = shared.looks.lock().unwrap_or_else(PoisonError::into_inner);
        *looks = Looks::at(&shared.paths);
        shared.read_again()
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
        let before = looks.seen;
        *looks = Looks::at(&self.paths);
        if looks.seen == before {
            return;
        }
        let [cert, key] = &self.paths;
        match self.read_again() {
            Ok(()) => tracing::info!(?cert, ?key, "the certificate has been read again"),
            Err(error) => tracing::error!(%error, "the certificate stays the old one"),
        }
    }

    fn read_again(&self) -> Result<(), PemError> {
        let new = Arc::new(read(&self.paths, &self.provider)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Looks {
    fn at(paths: &[PathBuf; 2]) -> Self {
        Self {
            seen: paths.each_ref().map(|path| Version::of(path)),
            next: Instant::now() + LOOKS,
        }
    }
}

type Seen = [Option<Version>; 2];

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

/// Why a certificate and its key can't be used. The text names the file and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// There is no such file.
    #[error("{path}: there is no such file: give the path of a PEM file (a relative one begins at the working directory)", path = path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// This process may not read the file.
    #[error("{path}: this process may not read it: give its user the right to, on the file and its folders", path = path.display())]
    PermissionDenied {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be read otherwise.
    #[error("{path}: it can't be read ({source}): give a PEM file", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not PEM, or damaged: cut short, or not what its lines say.
    #[error("{path}: it is not valid PEM, {why}: write the file anew", path = path.display(), why = damage(source))]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error(
        "{path}: there is no certificate in it: give a PEM file with `-----BEGIN CERTIFICATE-----` (DER can be \
         converted: openssl x509 -inform der)", path = path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The first certificate can't be understood.
    #[error("{path}: the first certificate can't be used ({source}): give one in X.509, the server's own first", path = path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// There is no private key in the file.
    #[error("{path}: there is no private key in it: give the PEM file with `-----BEGIN PRIVATE KEY-----`", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is encrypted.
    #[error("{path}: the private key is encrypted: write it without a passphrase (openssl pkey -in …)", path = path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// There is more than one private key in the file.
    #[error("{path}: there are {count} private keys in it: leave the one that belongs to the certificate", path = path.display())]
    SeveralKeys {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The crypto provider can't use the private key.
    #[error("{path}: the private key can't be used ({source}): give one of ECDSA P-256 or P-384, Ed25519, or RSA", path = path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The private key is another certificate's.
    #[error(
        "{key}: the private key does not belong to the first certificate in {cert}: give the one that does, and \
         put the server's own certificate first", key = key.display(), cert = cert.display()
    )]
    KeyMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// This process has no crypto provider installed, and rustls has no default of its own to tell.
    #[error(
        "no crypto provider is installed: at the beginning of main, call \
         rustls::crypto::ring::default_provider().install_default(), with rustls' feature `ring`; or the same of \
         aws_lc_rs"
    )]
    NoCryptoProvider,
    /// The crypto provider has no cipher suite for the TLS versions that rustls was built with.
    #[error("the crypto provider that is installed can't be used: {0}")]
    CryptoProvider(#[source] rustls::Error),
}

/// In words for people: some of rustls' are lists of bytes.
fn damage(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "it is cut short before an END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is damaged",
        pem::Error::Base64Decode(_) => "its base64 is damaged",
        _ => "it is damaged",
    }
}

/// Reads both files, and checks that they belong together.
fn read([cert, key]: &[PathBuf; 2], provider: &CryptoProvider) -> Result<CertifiedKey, PemError> {
    let chain = read_chain(cert)?;
    let signer = provider.key_provider.load_private_key(read_key(key)?);
    let signer = signer.map_err(|source| PemError::BadKey {
        path: key.clone(),
        source,
    })?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        // Where the provider can't tell the handshake will.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(PemError::KeyMismatch {
            cert: cert.clone(),
            key: key.clone(),
        }),
        Err(source) => Err(PemError::BadCertificate {
            path: cert.clone(),
            source,
        }),
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let chain: Vec<_> = items(path, &read_file(path)?)?;
    match chain.is_empty() {
        true => Err(PemError::NoCertificate { path: path.into() }),
        false => Ok(chain),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, PemError> {
    let text = read_file(path)?;
    // As a section of its own, or in a head that only OpenSSL understands.
    if [" ENCRYPTED PRIVATE KEY-", "4,ENCRYPTED"]
        .iter()
        .any(|mark| contains(&text, mark))
    {
        return Err(PemError::EncryptedKey { path: path.into() });
    }
    let mut keys: Vec<_> = items(path, &text)?;
    match (keys.len(), keys.pop()) {
        (1, Some(key)) => Ok(key),
        (_, None) => Err(PemError::NoKey { path: path.into() }),
        (count, _) => Err(PemError::SeveralKeys {
            path: path.into(),
            count,
        }),
    }
}

fn contains(text: &[u8], mark: &str) -> bool {
    text.windows(mark.len()).any(|part| part == mark.as_bytes())
}

fn read_file(path: &Path) -> Result<Vec<u8>, PemError> {
    fs::read(path).map_err(|source| unreadable(path.into(), source))
}

fn unreadable(path: PathBuf, source: io::Error) -> PemError {
    match source.kind() {
        io::ErrorKind::NotFound => PemError::NotFound { path },
        io::ErrorKind::PermissionDenied => PemError::PermissionDenied { path },
        _ => PemError::Io { path, source },
    }
}

fn items<T: PemObject>(path: &Path, text: &[u8]) -> Result<Vec<T>, PemError> {
    let items = T::pem_slice_iter(text).collect::<Result<_, _>>();
    items.map_err(|source| PemError::NotPem {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Root, as which tests may run, may read everything.
    #[test]
    fn a_file_that_may_not_be_read_is_named_with_the_fix() {
        let error = unreadable("key.pem".into(), io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            error.to_string(),
            "key.pem: this process may not read it: give its user the right to, on the file and its folders"
        );
    }
}
