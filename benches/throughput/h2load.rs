//! Keep-alive load by h2load, where it is installed: it takes less of the machine than a client
//! of ours, and so more of what is measured is the server.

use std::{
    fs,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use crate::{
    client::{Done, Protocol},
    rig::Error,
};

/// How much longer than it should a run may take.
const LIMIT: Duration = Duration::from_secs(20);

pub fn is_installed() -> bool {
    let version = Command::new("h2load")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// `streams` requests at a time on each of `connections`.
pub fn run(
    addr: SocketAddr,
    protocol: Protocol,
    path: &str,
    [connections, streams]: [usize; 2],
    time: Duration,
) -> Result<Done, Error> {
    // Where a server closes a connection at the very end, it goes on for ever.
    let mut command = Command::new("timeout");
    let limit = time + LIMIT;
    command.args(["--signal=KILL", &limit.as_secs().to_string(), "h2load"]);
    if protocol == Protocol::Http1 {
        command.arg("--h1");
    }
    let log = tempfile::NamedTempFile::new()?;
    let output = command
        .arg(format!("--log-file={}", log.path().display()))
        .arg("--threads=1")
        .arg(format!("--max-concurrent-streams={streams}"))
        .arg(format!("--clients={connections}"))
        .arg(format!("--duration={}ms", time.as_millis()))
        .arg(format!("https://localhost:{}{path}", addr.port()))
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    // requests: 27654 total, 27670 started, 27654 done, 27654 succeeded, 0 failed, …
    let count = |what: &str| {
        let line = said.lines().find(|line| line.starts_with("requests:"))?;
        let (before, _) = line.split_once(&format!(" {what}"))?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    };
    let (Some(requests), Some(lost)) = (count("succeeded"), count("failed")) else {
        return Err(format!("h2load did not end, or said {said:?}").into());
    };
    Ok(Done {
        requests,
        lost,
        reset: 0,
        took: time,
        latencies: latencies(&fs::read_to_string(log.path())?),
    })
}

/// A line is when the request was made, its status, and how long it took in microseconds.
fn latencies(log: &str) -> Vec<u32> {
    let of = |line: &str| line.rsplit('\t').next()?.trim().parse().ok();
    log.lines().filter_map(of).collect()
}
