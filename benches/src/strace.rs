//! System calls, counted by strace.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use crate::rig::Error;

/// How often each call was made.
pub type Calls = BTreeMap<String, f64>;

/// Why nothing can be counted.
pub fn is_permitted() -> Result<(), String> {
    let mut traced = Command::new("strace");
    let output = traced.args(["-o", "/dev/null", "true"]).output();
    let output = output.map_err(|error| {
        format!("strace can't be run ({error}): install it (apt-get install strace)")
    })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "strace may trace nothing here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// What traces: a program, whose words follow, or processes, by `-p`. All of their threads and children
/// count.
pub fn command(summary: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(summary);
    command
}

/// `% time, seconds, usecs/call, calls, [errors], name`, a line a call.
pub fn read(summary: &Path) -> Result<Calls, Error> {
    let summary = fs::read_to_string(summary)?;
    let lines = summary.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let n = words.get(3)?.parse().ok()?;
        Some(((*words.last()?).to_owned(), n))
    });
    let mut calls: Calls = lines.collect();
    calls.remove("total").ok_or("strace gave no summary")?;
    Ok(calls)
}
