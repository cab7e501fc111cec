//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use graceful_tls::restart::{ListenAddress, Restart, RestartBuilder};

use crate::format::Log;

/// A server that replaces itself on SIGUSR2 or SIGHUP, and stops on SIGTERM or Ctrl-C.
#[derive(Clone, Debug, Parser)]
#[command(name = "restart_testbed", args_override_self = true)]
pub(crate) struct Settings {
    /// Address to listen on, unless systemd passes sockets; may be given more than once
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    pub(crate) listen: Vec<ListenAddress>,

    /// Certificate chain, PEM, the server's own first [default: makes one for localhost]
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,

    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// What serves the connections
    #[arg(long, value_enum, default_value_t = Server::Graceful)]
    pub(crate) server: Server,

    /// How long connections that are open may go on being used, once this process is stopped: every
    /// HTTP/1 answer tells the client to make a new one
    #[arg(long = "lame-duck-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(default_value = "250", allow_negative_numbers = true)]
    pub(crate) lame_duck: Duration,

    /// How long a connection may be open with no exchange in flight [default: the server's own]
    #[arg(long = "keep-alive-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) keep_alive: Option<Duration>,

    /// What `Keep-Alive: timeout=` announces, in whole seconds [default: not announced]
    #[arg(long = "keep-alive-header-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) keep_alive_header: Option<Duration>,

    /// How long requests in flight may go on after that
    #[arg(long = "shutdown-timeout-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(default_value = "30000", allow_negative_numbers = true)]
    pub(crate) shutdown_timeout: Duration,

    /// How long what is in flight may stay with a process that was replaced [default: as long as that]
    #[arg(long = "old-process-timeout-ms", value_name = "MS", value_parser = milliseconds)]
    pub(crate) old_process_timeout: Option<Duration>,

    /// How long a new process may take to be ready
    #[arg(long = "ready-within-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(default_value = "30000", allow_negative_numbers = true)]
    pub(crate) ready_within: Duration,

    /// How long the old process takes over again if the new one dies
    #[arg(long = "undo-within-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(default_value = "1000", allow_negative_numbers = true)]
    pub(crate) undo_within: Duration,

    /// How many old processes may live
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) max_old_processes: usize,

    /// Over HTTP/2 a client at work is told when its last request has been answered, at half of that
    /// time at the latest
    #[arg(long)]
    pub(crate) patient_goaway: bool,

    /// Keeps the process id of the one that serves in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// How the log looks: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log: Log,

    /// Appends the log to this file [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// Only checks the settings; a restart does so first
    #[arg(long)]
    pub(crate) check: bool,
}

impl Settings {
    pub(crate) fn restart(&self) -> RestartBuilder {
        let mut restart = Restart::builder()
            .check(self.check)
            .ready_within(self.ready_within)
            .undo_within(self.undo_within)
            .max_old_processes(self.max_old_processes);
        for address in &self.listen {
            restart = restart.listen("https", address.clone());
        }
        if let Some(path) = &self.pid_file {
            restart = restart.pid_file(path);
        }
        if let Some(timeout) = self.old_process_timeout {
            restart = restart.old_process_timeout(timeout);
        }
        restart
    }
}

/// What serves the connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[expect(clippy::enum_variant_names, reason = "the names of the servers")]
pub(crate) enum Server {
    /// This crate.
    Graceful,
    /// hyper-util and its GracefulShutdown, to compare with.
    Bare,
    /// axum-server and its handle, to compare with.
    AxumServer,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms @ 0..=DAY_MS) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("give milliseconds, 0 to {DAY_MS} (a day)")),
    }
}

/// A duration that may not be zero, because it would end every connection at once.
fn time_limit(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms @ 1..=DAY_MS) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("give milliseconds, 1 to {DAY_MS} (a day)")),
    }
}
