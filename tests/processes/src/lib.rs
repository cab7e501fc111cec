//! Runs what is in `examples/` as processes of their own, for tests and benches.
//!
//! `restarting` is a server that replaces itself, `load` clients that count what that costs them,
//! `balancing` two servers behind HAProxy or nginx. Here is where executables come from: `cargo
//! test` has built all of them, in the folder of the test that asks.

pub mod balancing;
pub mod load;
pub mod restarting;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::Duration,
};

/// For what takes a moment, on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// The folder of the repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// An example, of whichever package.
pub fn example(name: &str) -> PathBuf {
    built(&["--example", name], &format!("examples/{name}"))
}

/// The probe.
pub fn probe() -> PathBuf {
    built(&PROBE, PROBE[1])
}

/// What makes [`build`] build the probe.
pub const PROBE: [&str; 2] = ["--bin", "graceful-tls-probe"];

/// An executable beside this one. `cargo test` has built it; naming one test alone may not have.
fn built(what: &[&str], path: &str) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock();
    let path = folder().join(path);
    if !path.exists() {
        build(what);
    }
    path
}

/// Where cargo puts what it builds in the profile of this executable.
fn folder() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    this.parent().and_then(Path::parent).unwrap().to_owned()
}

/// Builds executables as they are now: `&["--example", "load"]`.
pub fn build(what: &[&str]) {
    let mut build = Command::new(env!("CARGO"));
    build.arg("build").args(what).current_dir(root());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    // What cargo tells this program of itself would make it build dependencies anew.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            build.env_remove(name);
        }
    }
    assert!(build.status().unwrap().success());
}

pub fn kill(signal: &str, pid: u32) {
    let command = format!("kill -{signal} {pid}");
    let sent = Command::new("sh")
        .args(["-c", &command])
        .stderr(Stdio::null())
        .status();
    assert!(sent.unwrap().success() || signal == "KILL", "{command}");
}

/// Whether a process runs: one that nobody has waited for does not.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next().map(str::to_owned));
    state.is_some_and(|state| state != "Z" && state != "X")
}
