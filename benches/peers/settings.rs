//! The command line.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, ValueEnum};

/// A server as people write it today, with the testbed's endpoints.
#[derive(Debug, Parser)]
#[command(name = "peers")]
pub(crate) struct Settings {
    /// What serves the connections
    #[arg(long, value_enum)]
    pub(crate) server: Server,

    /// Port on 127.0.0.1 to listen on; 0 takes a free one
    #[arg(long, value_name = "N", default_value = "8443")]
    pub(crate) port: u16,

    /// Certificate chain, PEM, the server's own first [default: makes one for localhost]
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,

    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// How long a request's head may take, where the server has such a time-out [default: its own]
    #[arg(long = "header-timeout-ms", value_name = "MS", value_parser = milliseconds)]
    pub(crate) header_timeout: Option<Duration>,

    /// How long requests in flight may go on at a shutdown, where the server has such a time-out
    #[arg(long = "shutdown-timeout-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(default_value = "10000")]
    pub(crate) shutdown_timeout: Duration,

    /// After how many requests nginx closes a connection
    #[arg(long, value_name = "N", default_value = "1000")]
    pub(crate) keepalive_requests: u32,
}

/// What serves the connections.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(clippy::enum_variant_names, reason = "the names of the servers")]
pub(crate) enum Server {
    /// hyper-util's auto builder over tokio-rustls, with hyper-util's `GracefulShutdown`
    BareHyper,
    /// axum-server with `bind_rustls` and its handle
    AxumServer,
    /// `axum::serve` over tls-listener
    TlsListener,
    /// actix-web with its own TLS, a few endpoints
    ActixWeb,
    /// Go's net/http, a few endpoints
    Go,
    /// nginx before `plain`
    Nginx,
    /// Apache httpd before `plain`
    Apache,
    /// `axum::serve` without TLS
    Plain,
}

impl Settings {
    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err("give milliseconds, 1 to 86400000 (a day)".into()),
    }
}
