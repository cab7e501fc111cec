//! What people run today, with the testbed's endpoints: for the probe, the benches and the tests
//! to compare with.
//!
//! ```sh
//! cargo run --release --example peers -- --server bare-hyper --port 8443
//! ```
//!
//! Each server is written after its project's own examples, one a file: `bare_hyper`,
//! `axum_server` and `tls_listener`. `proxy` starts nginx or Apache httpd, with `nginx.conf` and
//! `apache.conf`, before `plain`, which has no TLS. Router, certificate, ALPN and TLS versions are
//! the testbed's. `actix_web` and `go` have a few of its endpoints.
//!
//! It prints `listening on ADDR` once it accepts connections, begins a graceful shutdown on
//! SIGTERM and exits 0. What can't work is said in one line, with exit status 2.

mod actix_web;
mod axum_server;
mod bare_hyper;
mod go;
mod plain;
mod proxy;
mod settings;
mod tls_listener;

use std::{error::Error, net::SocketAddr, process::ExitCode, sync::Arc};

use app::{command_line, routes, tls};
use axum::Router;
use graceful_tls::GracefulTls;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_rustls::rustls::ServerConfig;

use settings::{Server, Settings};

/// What every peer is given to serve.
struct Site {
    app: Router,
    tls: Arc<ServerConfig>,
    /// SIGTERM, looked out for before anyone can connect.
    terminations: Signal,
}

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match command_line::parse::<Settings>() {
        Ok(settings) => settings,
        Err(status) => return status,
    };
    match run(&settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            command_line::UNUSABLE.into()
        }
    }
}

async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let site = site(settings)?;
    match settings.server {
        Server::BareHyper => bare_hyper::serve(site, settings).await,
        Server::AxumServer => axum_server::serve(site, settings).await,
        Server::TlsListener => tls_listener::serve(site, settings).await,
        Server::ActixWeb => actix_web::serve(site, settings).await,
        Server::Go => go::serve(site, settings).await,
        Server::Nginx => proxy::serve(&proxy::NGINX, site, settings).await,
        Server::Apache => proxy::serve(&proxy::APACHE, site, settings).await,
        Server::Plain => plain::serve(site, settings).await,
    }
}

fn site(settings: &Settings) -> Result<Site, Box<dyn Error>> {
    let tls = Arc::new(tls::config(
        settings.cert.as_deref(),
        settings.key.as_deref(),
    )?);
    // For the state of `/ready` alone: nothing here serves with it.
    let app = routes::router(GracefulTls::new(tls.clone())?);
    let terminations = signal(SignalKind::terminate())?;
    Ok(Site {
        app,
        tls,
        terminations,
    })
}

/// Listens, and says so.
async fn listen(addr: SocketAddr) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(addr).await;
    let listener = listener.map_err(|error| unbound(addr, &error))?;
    let addr = listener.local_addr().map_err(|error| error.to_string())?;
    println!("listening on {addr}");
    Ok(listener)
}

fn unbound(addr: SocketAddr, error: &std::io::Error) -> String {
    let port = addr.port();
    format!("--port {port}: {error}: choose another, or let --port 0 take a free one")
}

/// Resolves at the first SIGTERM; later ones have no effect.
async fn terminated(mut terminations: Signal) {
    terminations.recv().await;
}
