//! `axum::serve`, with TLS that ends properly.
//!
//! ```sh
//! cargo run --example axum          # port 8443
//! cargo run --example axum -- 9443  # another; 0 takes any that is free
//! ```
//!
//! Ask for `/slow`, press Ctrl-C, and see that the answer still arrives whole.

mod common;

use std::time::Duration;

use axum::{Router, routing::get};
use graceful_tls::{GracefulTls, TlsConnection};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tls = GracefulTls::new(common::config(&common::self_made()?)?)?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    let listener = common::listen().await?;
    println!("Try:  curl -k https://{}/", listener.local_addr()?);

    let app = Router::new()
        .route("/", get(describe))
        .route("/slow", get(slow));
    axum::serve(tls.listener(listener), tls.service(app))
        .with_graceful_shutdown(tls.drained())
        .await?;

    println!("{}", tls.closed().await);
    Ok(())
}

/// What is known of the connection.
async fn describe(tls: TlsConnection) -> String {
    let protocol = String::from_utf8_lossy(tls.alpn().unwrap_or(b"no ALPN"));
    format!(
        "connection {} to {:?}, {protocol} over {:?}, {} requests served before this one\n",
        tls.id(),
        tls.server_name(),
        tls.version(),
        tls.requests_served(),
    )
}

async fn slow() -> &'static str {
    sleep(Duration::from_secs(3)).await;
    "worth the wait\n"
}
