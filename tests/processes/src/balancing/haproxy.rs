//! HAProxy: how to run it, and what its statistics say.

use std::{
    collections::HashMap,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
};

pub(super) fn arguments(command: &mut Command, folder: &Path) {
    // In the foreground, and files are named from there.
    command.args(["-db", "-f", "haproxy.cfg", "-C"]).arg(folder);
    command.current_dir(folder);
}

pub(super) fn is_up(folder: &Path, server: &str) -> bool {
    row(folder, server).is_some_and(|row| row["status"] == "UP")
}

/// Connections tried again with the same server, and requests sent to another one.
pub(super) fn retries(folder: &Path) -> u64 {
    let row = row(folder, "BACKEND").expect("HAProxy tells");
    let count = |name: &str| row[name].parse::<u64>().unwrap();
    count("wretr") + count("wredis")
}

/// The statistics of a server, or of both.
fn row(folder: &Path, server: &str) -> Option<HashMap<String, String>> {
    let mut socket = UnixStream::connect(folder.join("haproxy.sock")).ok()?;
    socket.write_all(b"show stat\n").ok()?;
    let mut table = String::new();
    socket.read_to_string(&mut table).ok()?;
    let mut lines = table.trim_start_matches("# ").lines();
    let names = lines.next()?.split(',').map(str::to_owned);
    let line = lines.find(|line| line.starts_with(&format!("servers,{server},")))?;
    Some(names.zip(line.split(',').map(str::to_owned)).collect())
}
