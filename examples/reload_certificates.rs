//! A certificate that changes without a restart: SIGHUP reads it anew.
//!
//! ```sh
//! cargo run --example reload_certificates          # port 8443
//! cargo run --example reload_certificates -- 9443  # another; 0 takes any that is free
//! ```
//!
//! It starts with a self-made certificate, in a directory that it removes at its end, and prints
//! a command that replaces it. Open connections keep the old one, new ones get the new one. Files
//! that can't be used change nothing, and the log says why.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::Arc,
};

use anyhow::Context;
use arc_swap::ArcSwap;
use axum::{Extension, Router, routing::get};
use graceful_tls::{GracefulTls, TlsConnection};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What rustls asks, for each new connection, which certificate to show.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let files = tempfile::tempdir()?;
    let identity = common::self_made()?;
    fs::write(files.path().join("cert.pem"), identity.cert.pem())?;
    fs::write(
        files.path().join("key.pem"),
        identity.signing_key.serialize_pem(),
    )?;

    let current = Arc::new(Current(ArcSwap::from_pointee(load(files.path())?)));
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(current.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = GracefulTls::new(config)?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    let hangup = signal(SignalKind::hangup())?;
    tokio::spawn(reload(hangup, current, files.path().to_owned()));

    let listener = common::listen().await?;
    println!("Try:  curl -kv https://{}/", listener.local_addr()?);
    println!(
        "Then: cd {} && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem \
         -subj /CN=localhost && kill -HUP {}",
        files.path().display(),
        process::id(),
    );
    let app = Router::new().route("/", get(describe));
    println!("{}", tls.serve(listener, app).await?);
    Ok(())
}

async fn reload(mut hangup: Signal, current: Arc<Current>, files: PathBuf) {
    while hangup.recv().await.is_some() {
        match load(&files) {
            Ok(new) => {
                current.0.store(Arc::new(new));
                println!("reloaded: new connections get the new certificate");
            }
            Err(error) => println!("not reloaded, the old certificate stays: {error:#}"),
        }
    }
}

/// Reads both files, and checks that they belong together.
fn load(files: &Path) -> anyhow::Result<CertifiedKey> {
    let chain = CertificateDer::pem_file_iter(files.join("cert.pem"))
        .and_then(Iterator::collect)
        .context("cert.pem")?;
    let key = PrivateKeyDer::from_pem_file(files.join("key.pem")).context("key.pem")?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).context("cert.pem and key.pem")
}

async fn describe(Extension(tls): Extension<TlsConnection>) -> String {
    let (id, served) = (tls.id(), tls.requests_served());
    format!("connection {id}, {served} requests served before this one\n")
}
