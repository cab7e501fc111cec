//! tonic, with TLS that ends properly: gRPC health checks, one by one and as a stream.
//!
//! ```sh
//! cargo run --example tonic          # port 8443
//! cargo run --example tonic -- 9443  # another; 0 takes any that is free
//! ```
//!
//! It prints a command that starts the client. Press Ctrl-C in the server then: the client hears
//! that it is no longer served, and its stream, which would have no end, ends whole.

mod common;

use std::{fs, path::Path};

use anyhow::Context;
use graceful_tls::{GracefulTls, GracefulTlsLayer, Phase};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Server};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::{HealthReporter, health_reporter},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let known = ["a port or client", "its server", "the certificate"];
    let [port, server, certificate] = common::start(known)?;
    match (port.as_deref(), server, certificate) {
        (Some("client"), Some(server), Some(certificate)) => {
            client(&server, certificate.as_ref()).await
        }
        (_, None, None) => serve(port).await,
        _ => anyhow::bail!("give a port, or client, its server and the certificate"),
    }
}

async fn serve(port: Option<String>) -> anyhow::Result<()> {
    let identity = common::self_made()?;
    let directory = tempfile::tempdir()?;
    let certificate = directory.path().join("cert.pem");
    fs::write(&certificate, identity.cert.pem())?;

    let tls = GracefulTls::new(common::config(&identity)?)?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    let listener = common::listen_on(port).await?;
    println!(
        "Try:  cargo run --example tonic -- client {} {}",
        listener.local_addr()?,
        certificate.display()
    );

    let (reporter, health) = health_reporter();
    tokio::spawn(goodbye(tls.clone(), reporter));
    Server::builder()
        .layer(GracefulTlsLayer)
        .add_service(health)
        .serve_with_incoming_shutdown(tls.incoming(listener), tls.drained())
        .await?;

    println!("{}", tls.closed().await);
    Ok(())
}

/// Tells those who watch while new calls are still answered, and ends their streams after that:
/// else the deadline would, half a minute later, with a status to retry on.
async fn goodbye(tls: GracefulTls, mut reporter: HealthReporter) {
    tls.reached(Phase::LameDuck).await;
    let status = ServingStatus::NotServing;
    reporter.set_service_status("", status).await;
    tls.reached(Phase::Draining).await;
    reporter.clear_service_status("").await;
}

/// Asks once, then listens until the server ends the stream.
async fn client(address: &str, certificate: &Path) -> anyhow::Result<()> {
    let certificate = fs::read(certificate).context("the server's certificate")?;
    let trust = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificate));
    let server = Endpoint::try_from(format!("https://{address}"))?.tls_config(trust)?;
    let mut health = HealthClient::new(server.connect().await?);

    let everything = HealthCheckRequest::default();
    let answer = health.check(everything.clone()).await?;
    println!("check: {:?}", answer.get_ref().status());
    let mut answers = health.watch(everything).await?.into_inner();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => println!("watch: {:?}", answer.status()),
            Ok(None) => break println!("watch: ended"),
            Err(status) => break println!("watch: {:?}: {}", status.code(), status.message()),
        }
    }
    Ok(())
}
