//! System calls per request, of the server alone, by strace.
//!
//! The server is a process of its own, with one worker, and the client is this one. Ours is served as
//! its examples show, in `main`'s own future; bare's loop is spawned, which costs it less. A count is not as
//! exact as that of instructions: it depends on how much of an answer the socket takes at once, and on who is
//! faster. Where strace is not installed, or may trace
//! nothing, that is said, and nothing is counted.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use app::routes;
use tokio::net::TcpListener;

use crate::{
    SCENARIOS, Scenario,
    rig::{Certificate, Error, Kind},
};

/// What has this program serve for the client: a folder with the certificate, and who serves.
pub const SERVE: &str = "--serve";

/// How many times as long the long run is as the one under callgrind, so that a call which happens to
/// fall into one of the two runs alone is nothing.
const LONGER: u64 = 5;

/// How often each call was made.
type Calls = BTreeMap<String, f64>;

/// Prints the table; whether every limit was kept.
pub fn compare() -> Result<bool, Error> {
    println!();
    if let Err(reason) = is_permitted() {
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
    let [ours, bare] = [Kind::Graceful, Kind::Bare].map(|kind| per_request(scenario, kind));
    let (ours, bare) = (ours?, bare?);
    let sum = |calls: &Calls| calls.values().sum::<f64>();
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

fn is_permitted() -> Result<(), String> {
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
    let (mut server, addr) = start(folder.path(), &summary, kind)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(scenario.work.run(addr, &certificate, requests));
    // It ends with its input.
    drop(server.stdin.take());
    server.wait()?;
    done?;
    parse(&fs::read_to_string(&summary)?)
}

/// A server under strace.
fn start(folder: &Path, summary: &Path, kind: Kind) -> Result<(Child, SocketAddr), Error> {
    let mut server = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(summary)
        .arg(std::env::current_exe()?)
        .args([SERVE, kind.name()])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let said = server.stdout.take().ok_or("no output")?;
    BufReader::new(said).read_line(&mut line)?;
    Ok((server, line.trim().parse()?))
}

/// `% time, seconds, usecs/call, calls, [errors], name`, a line a call.
fn parse(summary: &str) -> Result<Calls, Error> {
    let lines = summary.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let n = words.get(3)?.parse().ok()?;
        Some(((*words.last()?).to_owned(), n))
    });
    let mut calls: Calls = lines.collect();
    calls.remove("total").ok_or("strace gave no summary")?;
    Ok(calls)
}

/// The server itself, under strace.
pub fn serve(words: &[String]) -> Result<(), Error> {
    let [kind, folder, ..] = words else {
        return Err("--serve KIND FOLDER".into());
    };
    let kind = Kind::named(kind).ok_or("there is no such server")?;
    let certificate = Certificate::read(Path::new(folder))?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        if kind == Kind::Graceful {
            let tls = certificate.graceful()?;
            tls.serve(listener, routes::router(tls.clone())).await?;
            return Ok(());
        }
        let _serving = certificate.serve(kind, listener)?;
        std::future::pending().await
    })
}
