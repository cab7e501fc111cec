//! The testbed's endpoints behind a server that replaces itself, for tests and benches.
//!
//! The feature `restart` starts the new process whatever serves the connections: this crate (`graceful`), or, to
//! compare with, hyper-util alone (`bare`) or `axum_server`. `settings` has the options, `log` the log, in the
//! `format` of all examples.

mod axum_server;
mod bare;
#[path = "../../../examples/common/log.rs"]
mod format;
mod graceful;
mod log;
mod settings;

use std::{io::Write, process::ExitCode};

use app::{
    command_line::{self, UNUSABLE},
    tls,
};
use graceful_tls::restart::{Listener, Restart, Running};
use tokio_rustls::rustls::ServerConfig;

use settings::{Server, Settings};

fn main() -> ExitCode {
    let settings = match command_line::parse::<Settings>() {
        Ok(settings) => settings,
        Err(status) => return status,
    };
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is a file on a full disk, the exit status has to do.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            UNUSABLE.into()
        }
    }
}

fn run(settings: &Settings) -> Result<(), String> {
    log::start(settings)?;
    let config = tls::config(settings.cert.as_deref(), settings.key.as_deref())?;
    graceful::tls(settings, config.clone())?;
    let restart = settings
        .restart()
        .open()
        .map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| format!("no threads could be started: {error}"))?;
    let report = runtime.block_on(serve(settings, config, restart))?;
    say(&report);
    Ok(())
}

async fn serve(
    settings: &Settings,
    config: ServerConfig,
    restart: Restart,
) -> Result<String, String> {
    match settings.server {
        Server::Graceful => graceful::serve(settings, config, restart).await,
        Server::Bare => bare::serve(settings, config, restart).await,
        Server::AxumServer => axum_server::serve(settings, config, restart).await,
    }
}

/// From here on this process is the one that serves, whatever it serves with.
fn begin(mut restart: Restart) -> Result<(Vec<Listener>, Running), String> {
    let listeners = restart.listeners("https");
    let listeners = listeners.map_err(|error| error.to_string())?;
    let running = restart.ready().map_err(|error| error.to_string())?;
    let pid = std::process::id();
    say(&format!("listening on {} (pid {pid})", running.addresses()));
    Ok((listeners, running))
}

/// Writes a line to standard output at once. Whoever has closed it does not want it.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
