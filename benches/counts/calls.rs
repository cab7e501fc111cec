//! System calls per request, of the server alone, by strace.
//!
//! The server is a process of its own (see `apart`), and the client is this one. A count is not as
//! exact as that of instructions: it depends on how much of an answer the socket takes at once, and on who is
//! faster. Where strace is not installed, or may trace
//! nothing, that is said, and nothing is counted.

use benches::{
    apart,
    strace::{self, Calls},
};

use crate::{
    SCENARIOS, Scenario,
    rig::{Certificate, Error, Kind},
};

/// How many times as long the long run is as the one under callgrind, so that a call which happens to
/// fall into one of the two runs alone is nothing.
const LONGER: u64 = 5;

/// How often a limit that was passed is looked at again: what somebody else on the machine adds is not there each time.
const AGAIN: usize = 4;

/// Prints the table; whether every limit was kept.
pub fn compare() -> Result<bool, Error> {
    println!();
    if let Err(reason) = strace::is_permitted() {
        println!("system calls are NOT counted: {reason}");
        return Ok(true);
    }
    let title = "system calls per request";
    println!("{title:<42} {:>7} {:>7} {:>7}", "ours", "bare", "limit");
    let mut kept = true;
    for scenario in &SCENARIOS {
        if let Some(limit) = scenario.calls {
            kept &= row(scenario, limit)?;
        }
    }
    Ok(kept)
}

fn row(scenario: &Scenario, limit: f64) -> Result<bool, Error> {
    let sum = |calls: &Calls| calls.values().sum::<f64>();
    let bare = per_request(scenario, Kind::Bare)?;
    let mut ours = per_request(scenario, Kind::Graceful)?;
    for _ in 0..AGAIN {
        if sum(&ours) <= limit {
            break;
        }
        ours = per_request(scenario, Kind::Graceful)?;
    }
    let kept = sum(&ours) <= limit;
    println!(
        "{:<42} {:>7.2} {:>7.2} {limit:>7.2}{}\n    ours: {}\n    bare: {}",
        scenario.title,
        sum(&ours),
        sum(&bare),
        if kept { "" } else { "  PASSED" },
        list(&ours),
        list(&bare),
    );
    Ok(kept)
}

/// What was called most comes first; what was called by accident not at all.
fn list(calls: &Calls) -> String {
    let mut calls: Vec<_> = calls.iter().filter(|(_, n)| n.abs() >= 0.05).collect();
    calls.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let calls = calls.iter().map(|(name, n)| format!("{n:.1} {name}"));
    calls.collect::<Vec<_>>().join(", ")
}

fn per_request(scenario: &Scenario, kind: Kind) -> Result<Calls, Error> {
    let [few, many] = scenario.requests;
    let many = many * LONGER;
    let mut calls = count(scenario, kind, many)?;
    for (name, n) in count(scenario, kind, few)? {
        *calls.entry(name).or_default() -= n;
    }
    calls.values_mut().for_each(|n| *n /= (many - few) as f64);
    Ok(calls)
}

/// The calls of a server that is asked `requests` times, the start included.
fn count(scenario: &Scenario, kind: Kind, requests: u64) -> Result<Calls, Error> {
    let folder = tempfile::tempdir()?;
    let certificate = Certificate::new()?;
    certificate.save(folder.path())?;
    let summary = folder.path().join("calls");
    let mut traced = strace::command(&summary);
    traced
        .arg(std::env::current_exe()?)
        .args(apart::words(kind, folder.path(), 1)?);
    let (mut server, addr) = apart::start(traced)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(scenario.work.run(addr, &certificate, requests));
    // It ends with its input.
    drop(server.stdin.take());
    server.wait()?;
    done?;
    strace::read(&summary)
}
