//! Certificates that change while the server runs.
//!
//! ```sh
//! cargo run --example reload_certificates          # port 8443
//! cargo run --example reload_certificates -- 9443  # another; 0 takes any that is free
//! ```
//!
//! It writes a certificate of its own to a directory that it removes at its end, and prints a command that
//! replaces it. Open connections keep the old one, new ones get the new one, with nothing more to do: the
//! files are looked at as clients come. SIGHUP reads them at once, and says what is wrong with them. Files
//! that can't be used change nothing.

mod common;

use std::{fs, process};

use axum::{Extension, Router, routing::get};
use graceful_tls::{GracefulTls, PemFiles, TlsConnection};
use rustls::crypto::ring;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // An error says that there is one already.
    let _ = ring::default_provider().install_default();
    let directory = tempfile::tempdir()?;
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    let identity = common::self_made()?;
    fs::write(&cert, identity.cert.pem())?;
    fs::write(&key, identity.signing_key.serialize_pem())?;

    // Without a SIGHUP it is one line: GracefulTls::from_pem_files(cert, key)?
    let files = PemFiles::load(cert, key)?;
    let tls = GracefulTls::builder(files.config()?).build()?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    tokio::spawn(reload(signal(SignalKind::hangup())?, files));

    let listener = common::listen().await?;
    println!("Try:  curl -kv https://{}/", listener.local_addr()?);
    println!(
        "Then: cd {} && openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem \
         -subj /CN=localhost && kill -HUP {}",
        directory.path().display(),
        process::id(),
    );
    let app = Router::new().route("/", get(describe));
    println!("{}", tls.serve(listener, app).await?);
    Ok(())
}

async fn reload(mut hangup: Signal, files: PemFiles) {
    while hangup.recv().await.is_some() {
        match files.reload() {
            Ok(()) => println!("reloaded: new connections get the new certificate"),
            Err(error) => println!("not reloaded, the old certificate stays: {error}"),
        }
    }
}

async fn describe(Extension(tls): Extension<TlsConnection>) -> String {
    let (id, served) = (tls.id(), tls.requests_served());
    format!("connection {id}, {served} requests served before this one\n")
}
