//! A certificate by ACME, with TLS-ALPN-01 (RFC 8737) on the same port as everything else.
//!
//! ```sh
//! apt-get install pebble                                         # an ACME directory for tests
//! cargo run --manifest-path examples/acme/Cargo.toml            # port 8443
//! cargo run --manifest-path examples/acme/Cargo.toml -- 9443    # another; 0 takes any that is free
//! ```
//!
//! It starts a directory of its own on this machine, pebble, and the name server that leads pebble here. The
//! crate rustls-acme orders a certificate, pebble looks at the challenge's certificate on this server, and a
//! moment later the server has one for `example.test`. Those connections of pebble are ended after their
//! handshake, with close_notify; the HTTP server never sees them.
//!
//! For Let's Encrypt leave `pebble` out: `AcmeConfig::new([your name])` of rustls-acme, with its feature
//! `webpki-roots`, `directory_lets_encrypt(true)`, a `DirCache`, and port 443.

#[path = "../../common/log.rs"]
mod log;
mod pebble;

use std::{future::ready, sync::Arc};

use anyhow::Context;
use axum::{Router, routing::get};
use futures_util::StreamExt;
use graceful_tls::GracefulTls;
use pebble::Pebble;
use rustls::crypto::ring;
use rustls_acme::{AcmeConfig, is_tls_alpn_challenge};
use tokio::net::TcpListener;

/// Whatever ends in `.test` belongs to nobody (RFC 6761 6.2).
const NAME: &str = "example.test";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // An error says that there is one already.
    let _ = ring::default_provider().install_default();
    let [port] = log::start(["a port"]).map_err(anyhow::Error::msg)?;
    let port = port.unwrap_or("8443".into());
    let number = port.parse::<u16>().context("give a port, up to 65535")?;
    let listener = TcpListener::bind(("127.0.0.1", number)).await?;
    let address = listener.local_addr()?;

    let pebble = Pebble::start(address.port()).await?;
    let mut acme = AcmeConfig::new_with_client_config([NAME], pebble.client()?)
        .directory(pebble.directory())
        .state();

    // Two configurations: what ACME servers ask for has nothing in common with what clients do.
    let challenge = acme.challenge_rustls_config();
    let mut config = Arc::unwrap_or_clone(acme.default_rustls_config());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = GracefulTls::builder(config)
        .config_for_client(move |hello| {
            let asked = is_tls_alpn_challenge(&hello);
            ready(Ok(asked.then(|| challenge.clone())))
        })
        .build()?;
    tls.shutdown_on(graceful_tls::signal::terminate());

    tokio::spawn(async move {
        while let Some(event) = acme.next().await {
            match event {
                Ok(event) => println!("ACME: {event:?}"),
                Err(error) => println!("ACME, which tries again: {error}"),
            }
        }
    });
    println!("listening on {address}");
    println!("Try:  curl -kv --connect-to {NAME}:443:{address} https://{NAME}/");
    let app = Router::new().route("/", get(async || "hello\n"));
    println!("{}", tls.serve(listener, app).await?);
    Ok(())
}
