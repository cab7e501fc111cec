//! The certificate, from files or made here, and rustls' configuration around it.

use std::{fmt::Display, path::Path, sync::Arc};

use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
        pem::{self, PemObject},
    },
};

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, session resumption as rustls has it.
pub fn config(cert: Option<&Path>, key: Option<&Path>) -> Result<ServerConfig, String> {
    let (chain, secret) = match (cert, key) {
        (Some(cert), Some(key)) => (read_chain(cert)?, read_key(key)?),
        (None, None) => self_made().map_err(|error| format!("no certificate made: {error}"))?,
        (Some(_), None) => return Err("--key is missing: give the key that fits --cert".into()),
        (None, Some(_)) => return Err("--cert is missing: give the one that fits --key".into()),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| explain(&error, cert, key))?;
    // The last is what `curl --http1.0` offers, alone.
    config.alpn_protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"]
        .map(<[u8]>::to_vec)
        .to_vec();
    Ok(config)
}

fn self_made() -> Result<Identity, rcgen::Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.into()], key.into()))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .and_then(|chain| match chain.is_empty() {
            true => Err(pem::Error::NoItemsFound),
            false => Ok(chain),
        });
    chain.map_err(|error| unreadable("--cert", path, "certificate", &error))
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| unreadable("--key", path, "unencrypted private key", &error))
}

fn unreadable(setting: &str, path: &Path, what: &str, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::Io(error) => format!("{setting} {path}: {error}: give a file to read"),
        pem::Error::NoItemsFound => {
            format!("{setting} {path}: holds no {what}: give a PEM file that does")
        }
        _ => format!("{setting} {path}: not valid PEM: give a PEM file of the {what}"),
    }
}

/// Says which of the two files rustls does not like.
fn explain(error: &rustls::Error, cert: Option<&Path>, key: Option<&Path>) -> String {
    let (cert, key) = (shown(cert), shown(key));
    match error {
        rustls::Error::InconsistentKeys(_) => format!(
            "--key {key}: it does not belong to the first certificate of --cert {cert}: give the \
             key that does"
        ),
        rustls::Error::InvalidCertificate(_) => format!(
            "--cert {cert}: the first certificate can't be read: give one in X.509, the server's \
             own first"
        ),
        _ => format!("--key {key}: {error}: give an ECDSA P-256 or P-384, Ed25519 or RSA key"),
    }
}

fn shown(path: Option<&Path>) -> impl Display {
    path.unwrap_or(Path::new("")).display()
}
