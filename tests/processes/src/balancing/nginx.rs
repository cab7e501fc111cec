//! nginx: how to run it, and what its log says.

use std::{
    fs, os::unix::fs::MetadataExt, path::Path, process::Command, thread::sleep, time::Duration,
};

/// `fail_timeout` in the configuration: nginx counts whole seconds, so that it may take one more.
const FAIL_TIMEOUT: Duration = Duration::from_millis(2200);
/// `flush` of the access log, and a little more.
const FLUSH: Duration = Duration::from_millis(1500);

pub(super) fn arguments(command: &mut Command, folder: &Path) {
    command.arg("-p").arg(folder);
    command.args(["-e", "error.log", "-c", "nginx.conf"]);
    // Its workers would be somebody else, who can't write here.
    if fs::metadata(folder).unwrap().uid() == 0 {
        command.args(["-g", "user root;"]);
    }
}

/// It does not ask its servers: it tries them again after a while.
pub(super) fn has_forgotten_failures() -> bool {
    sleep(FAIL_TIMEOUT);
    true
}

/// Requests that were sent, or were to be sent, to more than one server.
pub(super) fn retries(folder: &Path) -> u64 {
    sleep(FLUSH);
    let log = fs::read_to_string(folder.join("access.log")).unwrap();
    log.lines().filter(|line| line.contains(", ")).count() as u64
}
