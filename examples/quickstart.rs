//! The smallest complete server.
//!
//! ```sh
//! cargo run -p quickstart          # port 8443
//! cargo run -p quickstart -- 9443  # another
//! ```
//!
//! In the published package, where it is an example like the others: `cargo run --example quickstart`.
//!
//! It makes its own certificate, and serves `/` and `/slow`. Ask for `/slow`, press Ctrl-C, and
//! see that the answer still arrives whole. A second Ctrl-C does not wait for it.

#[path = "common/log.rs"]
mod log;

use std::{error::Error, process::ExitCode, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::get};
use futures_util::stream;
use graceful_tls::GracefulTls;
use tokio::{net::TcpListener, time::sleep};
use tokio_rustls::rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let [port] = log::start(["a port"])?;
    let port = port.unwrap_or("8443".into());
    let port: u16 = port.parse().map_err(|_| {
        format!("{port:?} is not a port: give a number up to 65535, or nothing for 8443")
    })?;
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| format!("port {port}: {error}: give another one, as in `-- 9443`"))?;
    let address = listener.local_addr()?;

    let tls = GracefulTls::builder(self_made()?).build()?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    let app = Router::new()
        .route("/", get("hello\n"))
        .route("/slow", get(async || Body::from_stream(slow())));

    println!("Try:  curl -kN https://{address}/slow");
    println!("Then press Ctrl-C here: the answer still arrives whole.");
    let report = tls.serve(listener, app).await?;
    println!("{report}");
    Ok(())
}

/// One line each half a second, for five seconds.
fn slow() -> impl stream::Stream<Item = Result<String, std::io::Error>> {
    stream::unfold(1, |line| async move {
        sleep(Duration::from_millis(500)).await;
        (line <= 10).then(|| (Ok(format!("line {line} of 10\n")), line + 1))
    })
}

/// A certificate for localhost that nobody has signed.
fn self_made() -> Result<ServerConfig, Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.into()], key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
