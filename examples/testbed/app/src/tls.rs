//! The certificate, from files or made here, and rustls' configuration around it.

use std::path::Path;

use graceful_tls::PemFiles;
use tokio_rustls::rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer};

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, session resumption as rustls has it.
pub fn config(cert: Option<&Path>, key: Option<&Path>) -> Result<ServerConfig, String> {
    // An error says that there is one already.
    let _ = ring::default_provider().install_default();
    let mut config = match (cert, key) {
        (Some(cert), Some(key)) => PemFiles::load(cert, key)
            .and_then(|files| files.config())
            .map_err(|error| format!("--cert and --key: {error}"))?,
        (None, None) => self_made(["localhost", "127.0.0.1", "::1"])?,
        (Some(_), None) => return Err("--key is missing: give the key that fits --cert".into()),
        (None, Some(_)) => return Err("--cert is missing: give the one that fits --key".into()),
    };
    // The last is what `curl --http1.0` offers, alone.
    config.alpn_protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"]
        .map(<[u8]>::to_vec)
        .to_vec();
    Ok(config)
}

/// rustls' configuration around a certificate made here, with nothing offered yet.
pub fn self_made<const N: usize>(names: [&str; N]) -> Result<ServerConfig, String> {
    let no_certificate = |error: rcgen::Error| format!("no certificate made: {error}");
    let made = rcgen::generate_simple_self_signed(names.map(String::from));
    let made = made.map_err(no_certificate)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.into()], key.into())
        .map_err(|error| error.to_string())
}
