//! The process that takes over.
//!
//! It is checked first and started then: what a check finds costs nothing, and `ecdysis` can't try
//! again once a program did not even start.

use std::{
    env::args_os,
    ffi::OsString,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use ecdysis::Ecdysis;
use tokio::{process::Command, task::spawn_blocking, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::sockets::Sockets;

/// How long a check may take. `ecdysis` gives the start as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts the program anew and waits until it is ready; why it is not is the error.
pub(crate) async fn start(
    ecdysis: Arc<Ecdysis>,
    sockets: Arc<Sockets>,
    stopping: CancellationToken,
) -> Result<(), String> {
    tokio::select! {
        checked = check() => checked?,
        () = stopping.cancelled() => return Err("it was told to stop first".into()),
    }
    sockets
        .tell_next()
        .map_err(|error| format!("the new process can't be told where to listen: {error}"))?;
    let upgrade = spawn_blocking(move || ecdysis.upgrade().map_err(|error| error.to_string()));
    let ended = upgrade.await.map_err(|error| error.to_string())?;
    ended.map_err(|error| match error.as_str() {
        "child exited unexpectedly" => {
            "the new process exited or was killed before it was ready: see what it said last".into()
        }
        "timed out waiting for ready signal from child" => {
            format!("the new process was not ready within {PATIENCE:?}, and was killed")
        }
        _ => format!("the new process could not be started: {error}"),
    })
}

/// Lets the program look at its settings, without serving.
async fn check() -> Result<(), String> {
    let words: Vec<OsString> = args_os().collect();
    let (program, args) = words
        .split_first()
        .ok_or("this program does not know its name")?;
    let shown = program.to_string_lossy();
    let checked = Command::new(program)
        .args(args)
        .arg("--check")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    match timeout(PATIENCE, checked).await {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(format!("{shown} --check: {}", complaint(&output))),
        Ok(Err(error)) => Err(format!("{shown} can't be started: {error}")),
        Err(_) => Err(format!("{shown} --check: not done within {PATIENCE:?}")),
    }
}

/// The last it said, or else how it ended.
fn complaint(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    match said.lines().last() {
        Some(line) => line.trim_start_matches("error: ").to_owned(),
        None => output.status.to_string(),
    }
}
