//! Reads a certificate and its key, and says of each file what is wrong with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio_rustls::rustls::{
    self,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};

/// Why a certificate and its key can't be used. The text names the file and the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// There is no such file.
    #[error(
        "{}: there is no such file: give the path of a PEM file (a relative one begins at the working \
         directory)", path.display()
    )]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// This process may not read the file.
    #[error(
        "{}: this process may not read it: give its user the right to, on the file and its folders",
        path.display()
    )]
    PermissionDenied {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be read otherwise.
    #[error("{}: it can't be read ({source}): give a PEM file", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not PEM, or damaged: cut short, or not what its lines say.
    #[error("{}: it is not valid PEM, {}: write the file anew", path.display(), damage(source))]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// There is no certificate in the file.
    #[error(
        "{}: there is no certificate in it: give a PEM file with `-----BEGIN CERTIFICATE-----` (DER can \
         be converted: openssl x509 -inform der)", path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The first certificate can't be understood.
    #[error(
        "{}: the first certificate can't be used ({source}): give one in X.509, the server's own first",
        path.display()
    )]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// There is no private key in the file.
    #[error(
        "{}: there is no private key in it: give the PEM file with `-----BEGIN PRIVATE KEY-----`",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is encrypted.
    #[error(
        "{0}: the private key is encrypted: write it without a passphrase (openssl pkey -in {0})",
        path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// There is more than one private key in the file.
    #[error(
        "{}: there are {count} private keys in it: leave the one that belongs to the certificate",
        path.display()
    )]
    SeveralKeys {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The crypto provider can't use the private key.
    #[error(
        "{}: the private key can't be used ({source}): give one of ECDSA P-256 or P-384, Ed25519 or RSA",
        path.display()
    )]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The private key is another certificate's.
    #[error(
        "{}: the private key does not belong to the first certificate in {}: give the one that does, and \
         put the server's own certificate first", key.display(), cert.display()
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
pub(super) fn read(
    [cert, key]: &[PathBuf; 2],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, PemError> {
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
