//! An HTTPS server that replaces itself while it serves, without losing a request.
//!
//! ```sh
//! cargo run --release --example restart -- --listen 127.0.0.1:8443 --pid-file /tmp/restart.pid
//! kill -USR2 "$(cat /tmp/restart.pid)"
//! ```
//!
//! SIGUSR2 or SIGHUP starts the program anew, from the same path: a binary, certificate or setting
//! that has been replaced there takes effect. The new process inherits the listening sockets, so
//! that there is no moment when none is open. Once it says that it is ready, the old one stops
//! accepting, finishes what it has begun, as [`GracefulTls`](graceful_tls::GracefulTls) does, and
//! exits. If the new one does not get that far, the old one goes on serving and says why.
//!
//! SIGTERM or Ctrl-C stops the process that gets it; a second one skips to the deadline. Under
//! systemd it takes its sockets from a socket unit and says when it is ready: see `README.md`.
//!
//! `settings` has the options, and `sockets` says where the listeners come from. `process` is the
//! life of one process: it serves until a signal (`signals`) stops or replaces it; `replacement`
//! starts the new one, with Cloudflare's `ecdysis`, and the listener is `shared` with it. `server`
//! runs the testbed's endpoints behind this crate; `bare` behind hyper-util alone and `axum_server`
//! behind that crate, to compare with. `systemd`, `pid_file` and `log`, in the `format` of all
//! examples, tell others how it goes.

mod axum_server;
mod bare;
#[path = "../../common/log.rs"]
mod format;
mod log;
mod pid_file;
mod process;
mod replacement;
mod server;
mod settings;
mod shared;
mod signals;
mod sockets;
mod systemd;

use std::{io::Write, process::ExitCode};

use app::{
    command_line::{self, UNUSABLE},
    tls,
};
use ecdysis::Ecdysis;

use settings::Settings;

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
    server::graceful(settings, config.clone())?;
    pid_file::check(settings)?;
    if settings.check {
        return Ok(());
    }
    // While there is one thread: what is read from the environment is removed from it.
    let ecdysis = Ecdysis::new();
    let sockets = sockets::open(&ecdysis, settings)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| format!("no threads could be started: {error}"))?;
    runtime.block_on(process::run(settings, config, ecdysis, sockets))
}
