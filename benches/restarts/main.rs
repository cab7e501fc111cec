//! What clients see of restarts: `cargo bench --bench restarts`.
//!
//! A server that replaces itself (the feature `restart`) is restarted 50 times in a row under the
//! load generator (the example `load`), once as this crate runs it and once as bare hyper-util
//! does, with the same hand-over of the sockets. Printed is what became of every request, and
//! p99 and p99.9 during restarts beside those in the time between, of the same run. `benches/results/restarts.svg`
//! and `.csv` have it over time. The exit status is 1 if this crate has lost a request.
//!
//! `-- --restarts 5 --every-ms 1500` for a shorter run, `-- --help` for the rest.
//!
//! `run` does the restarts, `judge` compares, `table` and `plot` show.

mod judge;
mod plot;
mod run;
mod table;

use std::{error::Error, fs, path::PathBuf, process::ExitCode, time::Duration};

use benches::chart;
use clap::Parser;

use run::Run;

/// Restarts a server under load, and says what clients saw of it.
#[derive(Debug, Parser)]
struct Options {
    /// How many restarts in a row
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    restarts: u32,

    /// From the beginning of one restart to that of the next
    #[arg(long, default_value_t = 3000)]
    #[arg(value_parser = clap::value_parser!(u64).range(100..=600_000))]
    every_ms: u64,

    /// Requests a second
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// How far away the clients are, there and back: what is on the wire when a server ends a
    /// connection is what it can lose
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    rtt_ms: u32,

    /// Connections at once. They take turns: with many of them and a low rate, each is idle for
    /// longer than the lame duck, and a POST over HTTP/1.1 may be lost (see the example's README)
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,

    /// Where to write restarts.svg and restarts.csv, from the repository's folder on
    #[arg(long, default_value = "benches/results")]
    results: PathBuf,

    /// cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

/// The two servers: what they are called, and what the example calls them.
const SERVERS: [(&str, &str); 2] = [("graceful-tls", "graceful"), ("bare hyper-util", "bare")];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    for example in ["restart_testbed", "load"] {
        processes::build(&["--example", example]);
    }
    let every = Duration::from_millis(options.every_ms);
    let load = [
        ("--rate", options.rate),
        ("--rtt-ms", options.rtt_ms),
        ("--connections", options.connections),
    ];
    let load: Vec<_> = load
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut runs = Vec::new();
    for (name, server) in SERVERS {
        runs.push(Run::of(name, server, options.restarts, every, &load)?);
    }
    println!("{}", judge::heading());
    for run in &runs {
        println!("{}", judge::line(run));
    }
    for run in &runs {
        println!("{}", judge::latencies(run));
        print!("{}", judge::losses(run));
    }
    let results = processes::root().join(&options.results);
    fs::create_dir_all(&results)?;
    let csv = chart::heading(&chart::command("restarts")) + &table::csv(&runs);
    fs::write(results.join("restarts.csv"), csv)?;
    plot::draw(&results.join("restarts.svg"), &runs)?;
    println!(
        "written: restarts.svg and restarts.csv in {}",
        results.display()
    );
    Ok(match judge::is_lossless(&runs[0]) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
