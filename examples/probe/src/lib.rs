//! See how any HTTPS server ends its connections.
//!
//! ```sh
//! graceful-tls-probe https://127.0.0.1:8443
//! ```
//!
//! It makes about a hundred connections, each of which does something that makes a server end it,
//! looks at the wire, and says of each ending whether it is as it should be, allowed, or worse. It
//! knows nothing of what the server is made of.
//!
//! `target` finds the server, `scenarios` has what clients do, `watch` looks on until the end,
//! `judge` says what that is worth, and `run` is what comes of it: put side by side by
//! `rows`, printed by `table`, drawn by `page`; `advice` is what to do about it. The crate `wire` is the client below all this. `process` and `shutdown` are for servers that the
//! probe starts itself, `crew` runs everything side by side.

mod advice;
mod args;
mod black_box;
mod command_line;
mod crew;
mod descriptors;
mod judge;
mod label;
mod page;
pub mod process;
mod rows;
pub mod run;
mod scenarios;
mod seen;
mod shutdown;
mod stage;
mod table;
mod target;
mod timeline;
mod trust;
mod watch;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use args::Args;
use command_line::UNUSABLE;
use crew::Takes;
use process::{Process, free_port};
use run::{Ending, FORMAT, Run, Server, Verdict};
use target::{Facts, Target};
use wire::Version;

/// The program: reads the command line, looks, and says what it has seen.
#[must_use]
pub fn main() -> ExitCode {
    let args = match command_line::parse::<Args>() {
        Ok(args) => args,
        Err(status) => return status,
    };
    match act(&args) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error}");
            UNUSABLE.into()
        }
    }
}

fn act(args: &Args) -> Result<ExitCode, String> {
    let Some(url) = &args.url else {
        let runs: Vec<_> = args
            .from
            .iter()
            .map(|file| read(file))
            .collect::<Result<_, _>>()?;
        write_page(args, &runs)?;
        return Ok(ExitCode::SUCCESS);
    };
    args.check()?;
    let target = Target::parse(url)?;
    target.may_be_probed(args)?;
    let target = match target.addr.port() {
        0 if args.has_port_placeholder() => target.on_port(free_port(target.addr)?),
        0 => return Err(format!("{url}: port 0 needs --start with {{port}} in it")),
        _ => target,
    };
    let run = probe(args, &target)?;
    show(args, &run)?;
    write_page(args, std::slice::from_ref(&run))?;
    let worst = run.endings.iter().map(|ending| ending.verdict).max();
    Ok(match worst.is_some_and(Verdict::is_fault) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn probe(args: &Args, target: &Target) -> Result<Run, String> {
    let (started, begun) = (SystemTime::now(), Instant::now());
    let process = match &args.start {
        Some(command) => Some(Process::start(command, target.addr)?),
        None => None,
    };
    let facts = target.examine(args)?;
    introduce(args, target, &facts);
    let endings = play(args, target, &facts, process);
    Ok(Run {
        format: FORMAT,
        server: Server {
            name: args.name.clone().unwrap_or(target.authority.clone()),
            url: target.url.clone(),
            software: facts.software,
        },
        started: humantime::format_rfc3339_seconds(started).to_string(),
        took_ms: begun.elapsed().as_millis() as u64,
        endings,
    })
}

/// All scenarios. Shutdowns run beside the others where each can have a port of its own.
fn play(args: &Args, target: &Target, facts: &Facts, process: Option<Process>) -> Vec<Ending> {
    let mut jobs = black_box::jobs(args, target, facts);
    let shutdowns = match args.start {
        Some(_) => shutdown::jobs(args, target, facts),
        None => Vec::new(),
    };
    if args.has_port_placeholder() {
        jobs.extend(shutdowns);
        announce(args, jobs.len(), crew::takes(&jobs, args.at_once));
        return crew::run(jobs, args.at_once);
    }
    let takes = crew::takes(&jobs, args.at_once) + crew::takes(&shutdowns, 1);
    announce(args, jobs.len() + shutdowns.len(), takes);
    let mut endings = crew::run(jobs, args.at_once);
    drop(process);
    endings.extend(crew::run(shutdowns, 1));
    endings
}

/// Says how long it will take, where anybody waits for it.
fn announce(args: &Args, jobs: usize, takes: Takes) {
    if args.json {
        return;
    }
    let (usual, most) = (takes.usual.as_secs(), takes.most.as_secs());
    let why = match (args.quick, usual == most) {
        (true, _) => ": what waits for the server's time-outs is left out",
        (false, true) => ": as long as it may hold silent clients; --quick leaves those out",
        (false, false) => "",
    };
    anstream::println!("{jobs} scenarios, up to {usual} s{why}");
    if most > usual {
        anstream::println!("where it hangs otherwise, up to {most} s");
    }
}

/// Says what was found out before anything is tried, unless only JSON is wanted.
fn introduce(args: &Args, target: &Target, facts: &Facts) {
    if args.json {
        return;
    }
    let versions = facts.versions.iter().map(|version| match version {
        Version::Tls12 => "TLS 1.2",
        Version::Tls13 => "TLS 1.3",
    });
    let mut speaks: Vec<_> = versions.collect();
    speaks.extend(facts.http1.then_some("HTTP/1.1"));
    speaks.extend(facts.http2.then_some("HTTP/2"));
    let software = facts.software.as_deref().unwrap_or("no Server header");
    let trust = match (&args.ca, args.insecure || target.is_loopback()) {
        (Some(file), _) => format!("certificate verified against {}", file.display()),
        (None, true) => "any certificate taken".into(),
        (None, false) => "certificate verified".into(),
    };
    anstream::println!(
        "{} ({software}): {}; {trust}",
        target.url,
        speaks.join(", ")
    );
    if !facts.sees_descriptors {
        anstream::println!(
            "its descriptors can't be seen from here: how long it holds them is not known"
        );
    }
    if args.start.is_some() && !args.has_port_placeholder() {
        anstream::println!(
            "shutdowns are looked at afterwards, one by one: {{port}} in --start lets them run beside"
        );
    }
}

fn show(args: &Args, run: &Run) -> Result<(), String> {
    if args.json {
        let json = serde_json::to_string_pretty(run).map_err(|error| error.to_string())?;
        println!("{json}");
    } else {
        anstream::print!("{}", table::render(run));
    }
    Ok(())
}

fn read(file: &Path) -> Result<Run, String> {
    let named = |error: &dyn std::fmt::Display| format!("--from {}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| named(&error))?;
    let run: Run = serde_json::from_str(&text)
        .map_err(|error| named(&format_args!("{error}: give what --json printed")))?;
    match run.format {
        FORMAT => Ok(run),
        other => Err(named(&format_args!(
            "format {other}: this version reads {FORMAT}"
        ))),
    }
}

fn write_page(args: &Args, runs: &[Run]) -> Result<(), String> {
    let Some(file) = &args.html else {
        return Ok(());
    };
    fs::write(file, page::render(runs))
        .map_err(|error| format!("--html {}: {error}", file.display()))
}
