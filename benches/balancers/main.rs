//! What clients see of restarts behind a balancer: `cargo bench --bench balancers`.
//!
//! Two servers behind HAProxy (with HTTP/2 and with HTTP/1.1 to them) and behind nginx, configured
//! as in `examples/behind_a_balancer`, are restarted 50 times, in turn, under the load generator
//! (the example `load`): once the testbed, and once bare hyper-util with its `GracefulShutdown`.
//! Printed is what became of every request, and how often the balancer had to send one again.
//! `benches/results/balancers.csv` keeps it. The exit status is 1 if this crate has lost a request.
//!
//! `-- --restarts 4 --balancer nginx` for a shorter run, `-- --lame-duck-ms 0,250,3500` to see what
//! too short a lame duck does, `-- --help` for the rest.
//!
//! `run` does the restarts, `table` shows.

mod run;
mod table;

use std::{error::Error, fs, path::PathBuf, process::ExitCode, time::Duration};

use benches::chart;
use clap::Parser;

use processes::balancing::{backend::Server, balancer::Kind};
use run::Run;

/// Restarts two servers behind a balancer under load, and says what clients saw of it.
#[derive(Debug, Parser)]
struct Options {
    /// How many restarts in a row
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    restarts: u32,

    /// From the beginning of one restart to that of the next, at least
    #[arg(long, default_value_t = 5500, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    every_ms: u64,

    /// Requests a second
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// Connections at once
    #[arg(long, default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,

    /// The kinds of requests, as the load generator takes them [default: a bit of everything]
    #[arg(long, value_name = "KINDS")]
    mix: Option<String>,

    /// Which balancers, with commas between them: haproxy-h2, haproxy-h1, nginx
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    #[arg(default_value = "haproxy-h2,haproxy-h1,nginx")]
    balancer: Vec<Kind>,

    /// Lame ducks of the testbed, with commas between them
    #[arg(long, value_delimiter = ',', default_value = "3500")]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=60_000))]
    lame_duck_ms: Vec<u64>,

    /// Leaves bare hyper-util out
    #[arg(long)]
    no_bare: bool,

    /// Where to write the results, from the repository's folder on
    #[arg(long, default_value = "benches/results/balancers.csv")]
    csv: PathBuf,

    /// cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn servers(&self) -> Vec<Server> {
        let bare = (!self.no_bare).then_some(Server::Bare);
        let graceful = self.lame_duck_ms.iter().copied().map(Server::Graceful);
        graceful.chain(bare).collect()
    }

    fn load(&self) -> Vec<String> {
        let mut load = vec![
            format!("--rate={}", self.rate),
            format!("--connections={}", self.connections),
        ];
        load.extend(self.mix.iter().map(|mix| format!("--mix={mix}")));
        load
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let options = Options::parse();
    let every = Duration::from_millis(options.every_ms);
    for example in ["testbed", "restart_testbed", "load"] {
        processes::build(&["--example", example]);
    }
    let kinds = options.balancer.iter().copied();
    let mut runs = Vec::new();
    for kind in kinds.filter(|kind| kind.is_installed()) {
        for server in options.servers() {
            runs.push(Run::of(
                kind,
                server,
                options.restarts,
                every,
                &options.load(),
            ));
        }
    }
    if runs.is_empty() {
        return Err("no balancer is installed: apt install haproxy nginx".into());
    }
    print!("{}", table::of(&runs));
    let file = processes::root().join(&options.csv);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let csv = chart::heading(&chart::command("balancers")) + &table::csv(&runs);
    fs::write(&file, csv)?;
    println!("written: {}", file.display());
    Ok(
        match runs
            .iter()
            .filter(|run| run.is_ours())
            .all(Run::is_lossless)
        {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
    )
}

fn kind(name: &str) -> Result<Kind, String> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    kind.ok_or("give haproxy-h2, haproxy-h1 or nginx".into())
}
