//! The command line.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

/// The exit status of a server that can't start with what it was told.
pub(crate) const UNUSABLE: u8 = 2;

/// A server that replaces itself on SIGUSR2 or SIGHUP, and stops on SIGTERM or Ctrl-C.
#[derive(Clone, Debug, Parser)]
#[command(name = "restart", args_override_self = true)]
pub(crate) struct Settings {
    /// Address to listen on, may be given more than once; sockets that systemd passes come first
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    pub(crate) listen: Vec<SocketAddr>,

    /// Certificate chain, PEM, the server's own first [default: makes one for localhost]
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,

    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// What serves the connections
    #[arg(long, value_enum, default_value_t = Server::Graceful)]
    pub(crate) server: Server,

    /// How long connections that are open may go on being used, once this process is replaced or
    /// stopped: every HTTP/1 answer tells the client to make a new one
    #[arg(long = "lame-duck-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(default_value = "250", allow_negative_numbers = true)]
    pub(crate) lame_duck: Duration,

    /// How long requests in flight may go on after that
    #[arg(long = "shutdown-timeout-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(default_value = "30000", allow_negative_numbers = true)]
    pub(crate) shutdown_timeout: Duration,

    /// Keeps the process id of the one that serves in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// Appends the log to this file [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// Only checks the settings; a restart does so first
    #[arg(long)]
    pub(crate) check: bool,
}

/// What serves the connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Server {
    /// This crate.
    Graceful,
    /// hyper-util and its GracefulShutdown, to compare with.
    Bare,
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
            eprintln!("{} (see --help)", one_line(&error.to_string()));
            UNUSABLE.into()
        })
    }
}

/// clap's message without the usage, on one line.
fn one_line(message: &str) -> String {
    message
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms @ 0..=DAY_MS) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("give milliseconds, 0 to {DAY_MS} (a day)")),
    }
}
