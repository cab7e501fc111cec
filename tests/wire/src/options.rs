//! What a client offers and how it behaves, and the rustls configuration made of that.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Error};

use super::any_certificate::AnyCertificate;

/// The one TLS version which a client offers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    Tls12,
    Tls13,
}

impl Version {
    /// Both, for tests which have to hold for either.
    pub const BOTH: [Self; 2] = [Self::Tls12, Self::Tls13];
}

/// Options of one connection.  The defaults: TLS 1.3, no ALPN, no resumption, ten seconds.
pub struct Options {
    pub(super) version: Version,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) server_name: String,
    pub(super) client_cert: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    pub(super) timeout: Duration,
    pub(super) recv_buffer: Option<usize>,
    pub(super) read_chunk: usize,
    pub(super) most_bytes: usize,
    verifier: Option<Arc<dyn ServerCertVerifier>>,
    /// The configuration shared by all clones, if sessions are to be resumed.
    resuming: Option<Arc<OnceLock<Arc<ClientConfig>>>>,
}

impl Options {
    pub fn new() -> Self {
        Self {
            version: Version::Tls13,
            alpn: Vec::new(),
            server_name: "localhost".into(),
            client_cert: None,
            timeout: super::DEFAULT_TIMEOUT,
            recv_buffer: None,
            read_chunk: 16 * 1024,
            most_bytes: usize::MAX,
            verifier: None,
            resuming: None,
        }
    }

    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    pub fn tls12(self) -> Self {
        self.version(Version::Tls12)
    }

    pub fn tls13(self) -> Self {
        self.version(Version::Tls13)
    }

    /// Offers exactly these protocols; none at all if empty.
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    pub fn http1(self) -> Self {
        self.alpn(&["http/1.1"])
    }

    pub fn h2(self) -> Self {
        self.alpn(&["h2"])
    }

    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = name.into();
        self
    }

    /// Shows this certificate if the server asks for one.
    pub fn client_cert(
        mut self,
        cert: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Self {
        self.client_cert = Some((cert, key));
        self
    }

    /// The bound of every wait which is not given one of its own.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets `SO_RCVBUF` before connecting, so that a slow reader soon fills it.
    pub fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Reads at most this much from the socket at a time.
    pub fn read_chunk(mut self, bytes: usize) -> Self {
        self.read_chunk = bytes;
        self
    }

    /// Receives at most about so many bytes of plaintext, and from then on reads no more.
    pub fn most_bytes(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// Lets this decide about the server's certificate; otherwise any will do.
    pub fn verifier(mut self, verifier: Arc<dyn ServerCertVerifier>) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Resumes sessions among all connections made with these options and their clones.
    ///
    /// The first of them fixes version, ALPN and client certificate for the others.
    pub fn resuming(mut self) -> Self {
        self.resuming = Some(Arc::default());
        self
    }

    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let Some(shared) = &self.resuming else {
            return self.fresh_config(Resumption::disabled());
        };
        if let Some(config) = shared.get() {
            return Ok(config.clone());
        }
        let config = self.fresh_config(Resumption::in_memory_sessions(8))?;
        Ok(shared.get_or_init(|| config).clone())
    }

    fn fresh_config(&self, resumption: Resumption) -> Result<Arc<ClientConfig>, Error> {
        let provider = Arc::new(ring::default_provider());
        let version = match self.version {
            Version::Tls12 => &rustls::version::TLS12,
            Version::Tls13 => &rustls::version::TLS13,
        };
        let verifier = self.verifier.clone();
        let verifier = verifier.unwrap_or_else(|| Arc::new(AnyCertificate(provider.clone())));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.client_cert {
            Some((cert, key)) => {
                builder.with_client_auth_cert(vec![cert.clone()], key.clone_key())?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.clone();
        config.resumption = resumption;
        Ok(Arc::new(config))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Options {
    fn clone(&self) -> Self {
        let cert = self.client_cert.as_ref();
        Self {
            alpn: self.alpn.clone(),
            server_name: self.server_name.clone(),
            client_cert: cert.map(|(cert, key)| (cert.clone(), key.clone_key())),
            verifier: self.verifier.clone(),
            resuming: self.resuming.clone(),
            ..*self
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alpn: Vec<_> = self
            .alpn
            .iter()
            .map(|p| p.escape_ascii().to_string())
            .collect();
        f.debug_struct("Options")
            .field("version", &self.version)
            .field("alpn", &alpn)
            .field("server_name", &self.server_name)
            .field("client_cert", &self.client_cert.is_some())
            .field("timeout", &self.timeout)
            .field("recv_buffer", &self.recv_buffer)
            .field("read_chunk", &self.read_chunk)
            .field("resuming", &self.resuming.is_some())
            .finish()
    }
}
