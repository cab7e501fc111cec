//! What the examples have in common: the log, the listener, and a self-made certificate.

#![allow(dead_code, reason = "not every example needs all of it")]

mod log;

use anyhow::Context;
use rcgen::{CertifiedKey, KeyPair};
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use tokio::net::TcpListener;

/// Starts the log, and listens on the port that the first argument says, or on 8443.
pub(crate) async fn listen() -> anyhow::Result<TcpListener> {
    let [port] = start(["a port"])?;
    listen_on(port).await
}

/// Listens on this port, or on 8443.
pub(crate) async fn listen_on(port: Option<String>) -> anyhow::Result<TcpListener> {
    let port = port.unwrap_or("8443".into());
    let number = port
        .parse::<u16>()
        .with_context(|| format!("{port:?} is not a port: give a number up to 65535"))?;
    let listener = TcpListener::bind(("127.0.0.1", number))
        .await
        .with_context(|| format!("port {port}: give another one, or 0 for any that is free"))?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// Starts the log, and gives the other arguments.
pub(crate) fn start<const N: usize>(known: [&str; N]) -> anyhow::Result<[Option<String>; N]> {
    log::start(known).map_err(anyhow::Error::msg)
}

/// A certificate for this machine that nobody has signed, and its key.
pub(crate) fn self_made() -> Result<CertifiedKey<KeyPair>, rcgen::Error> {
    rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])
}

/// rustls' configuration around a certificate.
pub(crate) fn config(identity: &CertifiedKey<KeyPair>) -> Result<ServerConfig, rustls::Error> {
    let chain = vec![identity.cert.der().clone()];
    let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
