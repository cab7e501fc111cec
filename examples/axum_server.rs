//! axum-server, with TLS that ends properly, and a handle that follows the shutdown.
//!
//! ```sh
//! cargo run --example axum_server          # port 8443
//! cargo run --example axum_server -- 9443  # another; 0 takes any that is free
//! ```
//!
//! Stop it through axum-server's handle, with a POST to `/stop`, or press Ctrl-C: it is the same
//! shutdown, and what is in flight on `/slow` arrives whole.

mod common;

use std::time::Duration;

use axum::{
    Router,
    routing::{get, post},
};
use axum_server::Handle;
use graceful_tls::GracefulTls;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tls = GracefulTls::new(common::config(&common::self_made()?)?)?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    let listener = common::listen().await?;
    println!("Try:  curl -k https://{}/", listener.local_addr()?);

    let handle = Handle::new();
    let stop = handle.clone();
    let app = Router::new()
        .route("/", get("hello\n"))
        .route("/slow", get(slow))
        .route(
            "/stop",
            post(async move || {
                stop.graceful_shutdown(None);
                "stopping\n"
            }),
        );
    // Neither the layer nor connect-info is needed: the server adds both to every connection.
    tls.axum_server(listener, handle)
        .serve(app.into_make_service())
        .await?;

    println!("{}", tls.closed().await);
    Ok(())
}

async fn slow() -> &'static str {
    sleep(Duration::from_secs(3)).await;
    "worth the wait\n"
}
