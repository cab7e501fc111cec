//! The command line.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, ValueEnum};

/// The exit status of a server that can't start with what it was told.
pub(crate) const UNUSABLE: u8 = 2;

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
    /// nginx before `plain`
    Nginx,
    /// Apache httpd before `plain`
    Apache,
    /// `axum::serve` without TLS
    Plain,
}

impl Settings {
    /// Reads the command line. Where it can't, or is only asked for help, it has said so and the
    /// exit status is the error.
    pub(crate) fn from_args() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            eprintln!("{} (see --help)", first_paragraph(&error.to_string()));
            UNUSABLE.into()
        })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

/// clap's message without the usage, on one line.
fn first_paragraph(message: &str) -> String {
    let lines = message.lines().take_while(|line| !line.is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms @ 1..=86_400_000) => Ok(Duration::from_millis(ms)),
        _ => Err("give milliseconds, 1 to 86400000 (a day)".into()),
    }
}
