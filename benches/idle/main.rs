//! Many idle connections: what they weigh, and how they are told to go.
//!
//! `cargo bench --bench idle`, or `-- --connections 1000,3000 --rounds 1 --many 1000` for a shorter run.
//!
//! Ours parks what is idle at each strike of its write time-out, which is short here. Connections come in waves
//! of a hundred, with pauses longer than that, and the first wave does not count: what is seen is what an idle one
//! weighs. Those that all come at once weigh what they do unparked, for memory that
//! is free in the middle of a heap is resident still. HTTP/2 can't park.
//!
//! Each server runs in a process of its own, is given its connections, each with one request
//! answered, and then SIGTERM. The client looks at what each of them gets: close_notify, a bare FIN
//! or an RST. `alerts` is no server but the least that can be done over HTTP/1: one task a connection that
//! writes the alert when told. Servers take turns, round by round; printed are the medians.
//!
//! Then up to 50,000 of ours, in [`many`].

mod client;
mod many;
mod server;
mod table;

use std::{
    fmt::Display,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use benches::{chart, rig};
use chart::option;
use clap::{Parser, builder::RangedU64ValueParser};
use client::{Clients, Ends, Protocol, WAVE};
use rig::Error;
use server::{ROOMY, Server};
use table::Row;

fn main() -> ExitCode {
    let result = match option("--serve") {
        Some(server) => server::run(&server),
        None => match option(many::OF) {
            Some(what) => many::run(&what),
            None => compare(),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("idle: {error}");
            ExitCode::from(2)
        }
    }
}

/// Measures what idle connections cost, beside other servers.
#[derive(Debug, Parser)]
#[command(name = "idle")]
struct Options {
    /// How many there are, one number after another
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    #[arg(default_value = "1000,3000,5000,10000")]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    connections: Vec<usize>,

    /// How many of ours are looked at closer: their snapshot, eviction and shutdown
    #[arg(
        long,
        value_name = "NUMBERS",
        value_delimiter = ',',
        default_value = "1000,10000,50000"
    )]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    many: Vec<usize>,

    /// How often each server is measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,

    /// Where to write the results, from the repository's folder on, and no table in benches/README.md
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,

    /// cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

fn compare() -> Result<(), Error> {
    let options = Options::parse();
    rlimit::increase_nofile_limit(ROOMY)?;
    let mut rows = Vec::new();
    table::print_head();
    for protocol in Protocol::ALL {
        for &n in &options.connections {
            rows.extend(side_by_side(protocol, n, options.rounds)?);
        }
    }
    let mut crowds = Vec::new();
    for protocol in Protocol::ALL {
        for &n in &options.many {
            let seen = many::look(protocol, n)?;
            println!("{protocol}, {n}: {seen:?}");
            crowds.push((protocol, n, seen));
        }
    }
    let command = chart::command("idle");
    table::write(&rows, &command)?;
    if options.results.is_some() {
        return Ok(());
    }
    let [beside, many] = [table::beside(&rows), table::many(&crowds)];
    let stamp = chart::stamp();
    chart::readme(
        "idle",
        &format!("{beside}\n{many}\n`{command}`; {stamp}.\n"),
    )
}

/// What was seen of one server with its connections.
struct Seen {
    /// Resident bytes a connection, idle and while draining.
    idle: f64,
    draining: f64,
    /// From SIGTERM to the last close_notify, FIN or RST.
    told: Duration,
    /// From the clients' answers to the exit.
    exit: Duration,
    ends: Ends,
}

/// All servers, in turn.
fn side_by_side(protocol: Protocol, n: usize, rounds: usize) -> Result<Vec<Row>, Error> {
    let servers: Vec<_> = Server::of(protocol).collect();
    let mut seen: Vec<Vec<Seen>> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (server, seen) in servers.iter().zip(&mut seen) {
            seen.push(look(*server, protocol, n)?);
        }
    }
    let rows = servers.iter().zip(&seen);
    let mut rows: Vec<_> = rows
        .map(|(server, seen)| Row::of(*server, protocol, n, seen))
        .collect();
    table::compare(&mut rows);
    rows.iter().for_each(|row| println!("{row}"));
    Ok(rows)
}

/// One server with `n` connections, from its start to its exit.
fn look(server: Server, protocol: Protocol, n: usize) -> Result<Seen, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut process = Process::start(server)?;
    let clients = |n| Clients::connect(protocol, process.addr, n);
    // The first ones pay for what all share.
    let warm = runtime.block_on(clients(WAVE))?;
    let before = process.resident()?;
    let mut many = runtime.block_on(clients(n))?;
    let idle = process.resident()? - before;
    process.terminate()?;
    let begun = Instant::now();
    let ends = runtime.block_on(many.wait_for_ends());
    let told = begun.elapsed();
    let draining = process.resident().map_or(0.0, |now| now - before);
    let answered = Instant::now();
    drop((many, warm));
    process.wait(Duration::from_secs(30))?;
    Ok(Seen {
        idle: idle / n as f64,
        draining: draining / n as f64,
        told,
        exit: answered.elapsed(),
        ends,
    })
}

/// Resident bytes of a process, or of `self`.
fn resident(process: impl Display) -> Result<f64, Error> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .ok_or("the process has no memory left")?
        .trim()
        .parse()?;
    Ok(kib * 1024.0)
}

/// A server in a process of its own; killed when dropped.
struct Process {
    child: Child,
    addr: SocketAddr,
}

impl Process {
    fn start(server: Server) -> Result<Self, Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", server.name()])
            // Else malloc gives memory back by a history of its own.
            .env("MALLOC_ARENA_MAX", "1")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse();
        let process = Self {
            addr: addr.clone().unwrap_or(([127, 0, 0, 1], 0).into()),
            child,
        };
        addr.map_err(|_| format!("the server said {line:?}"))?;
        Ok(process)
    }

    fn resident(&self) -> Result<f64, Error> {
        resident(self.child.id())
    }

    fn terminate(&self) -> Result<(), Error> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> Result<(), Error> {
        let end = Instant::now() + limit;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err("the server does not exit".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
