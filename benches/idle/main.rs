//! Many idle connections: what they weigh, and how they are told to go.
//!
//! `cargo bench --bench idle`, or `-- --connections 1000,3000 --rounds 1` for a shorter run.
//!
//! Ours parks what is idle at each strike of its write time-out, which is short here. Connections come in waves,
//! with pauses longer than that: what is seen is a server to which they come by and by, and of which no more
//! than a tenth is not parked yet. Those that all come at once weigh what they do unparked, for memory that
//! is free in the middle of a heap is resident still.
//!
//! Each server runs in a process of its own, is given its connections, each with one request
//! answered, and then SIGTERM. The client looks at what each of them gets: close_notify, a bare FIN
//! or an RST. `alerts` is no server but the least that can be done: one task a connection that
//! writes the alert when told. Servers take turns, round by round; printed are the medians.

mod client;
mod server;

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use benches::{chart, rig};
use chart::option;
use client::{Clients, Ends};
use rig::Error;
use server::{ROOMY, Server};

fn main() -> ExitCode {
    let result = match option("--serve") {
        Some(server) => server::run(&server),
        None => compare(
            &option("--connections").unwrap_or("1000,3000,5000,10000".into()),
            &option("--rounds").unwrap_or("3".into()),
        ),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("idle: {error}");
            ExitCode::from(2)
        }
    }
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

fn compare(connections: &str, rounds: &str) -> Result<(), Error> {
    let rounds: usize = rounds.parse().map_err(|_| "--rounds wants a number")?;
    rlimit::increase_nofile_limit(ROOMY)?;
    println!(
        "{:>11} {:<13} {:>9} {:>6} {:>9} {:>9} {:>6} {:>9} {:>8} {:>7} {:>6}",
        "connections",
        "server",
        "B idle",
        "ratio",
        "draining",
        "told ms",
        "ratio",
        "exit ms",
        "notified",
        "bare",
        "RST"
    );
    let mut rows = Vec::new();
    let mut lines = vec![Vec::new(); Server::ALL.len()];
    for n in connections.split(',') {
        let n: usize = n.parse().map_err(|_| "--connections wants numbers")?;
        let mut seen: Vec<Vec<Seen>> = Server::ALL.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (server, seen) in Server::ALL.iter().zip(&mut seen) {
                seen.push(look(*server, n)?);
            }
        }
        print(n, &seen);
        for ((server, seen), line) in Server::ALL.iter().zip(&seen).zip(&mut lines) {
            rows.push(row(n, *server, seen));
            line.push((n as f64, median(seen, Seen::told_ms)));
        }
    }
    let command =
        format!("cargo bench --bench idle -- --connections {connections} --rounds {rounds}");
    chart::csv("idle", &command, HEAD, &rows)?;
    draw(lines)
}

const HEAD: &str =
    "connections,server,bytes_idle,bytes_draining,told_ms,exit_ms,notified,bare_fin,rst";

fn row(n: usize, server: Server, seen: &[Seen]) -> String {
    let ends = sum(seen);
    format!(
        "{n},{},{:.0},{:.0},{:.1},{:.1},{},{},{}",
        server.name(),
        median(seen, |s| s.idle),
        median(seen, |s| s.draining),
        median(seen, Seen::told_ms),
        median(seen, |s| s.exit.as_secs_f64() * 1e3),
        ends.notified,
        ends.bare,
        ends.reset,
    )
}

fn draw(lines: Vec<Vec<(f64, f64)>>) -> Result<(), Error> {
    let title = "From SIGTERM to the last connection that was told to go";
    chart::svg("idle", (900, 460), title, |area| {
        let lines = chart::Lines {
            x: "idle connections",
            y: "milliseconds",
            names: Server::ALL.map(Server::name).into(),
            lines,
        };
        lines.draw(area)
    })
}

fn sum(seen: &[Seen]) -> Ends {
    seen.iter()
        .fold(Ends::default(), |sum, seen| sum + seen.ends)
}

impl Seen {
    fn told_ms(&self) -> f64 {
        self.told.as_secs_f64() * 1e3
    }
}

fn print(n: usize, seen: &[Vec<Seen>]) {
    let at = |server| Server::ALL.iter().position(|s| *s == server);
    let of = |server, figure: fn(&Seen) -> f64| {
        at(server).map_or(f64::NAN, |i| median(&seen[i], figure))
    };
    for (server, seen) in Server::ALL.iter().zip(seen) {
        let ends = sum(seen);
        let idle = median(seen, |s| s.idle);
        let told = median(seen, Seen::told_ms);
        println!(
            "{n:>11} {:<13} {idle:>9.0} {:>6.3} {:>9.0} {told:>9.1} {:>6.2} {:>9.1} {:>8} {:>7} {:>6}",
            server.name(),
            idle / of(Server::Bare, |s| s.idle),
            median(seen, |s| s.draining),
            told / of(Server::Alerts, Seen::told_ms),
            median(seen, |s| s.exit.as_secs_f64() * 1e3),
            ends.notified,
            ends.bare,
            ends.reset,
        );
    }
}

fn median(seen: &[Seen], figure: fn(&Seen) -> f64) -> f64 {
    let mut figures: Vec<f64> = seen.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// One server with `n` connections, from its start to its exit.
fn look(server: Server, n: usize) -> Result<Seen, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut process = Process::start(server)?;
    let clients = |n| Clients::connect(process.addr, n);
    // The first ones pay for what all share.
    let warm = runtime.block_on(clients(100))?;
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

    /// Resident bytes.
    fn resident(&self) -> Result<f64, Error> {
        let mut status = String::new();
        let path = format!("/proc/{}/status", self.child.id());
        std::fs::File::open(path)?.read_to_string(&mut status)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .ok_or("the process has no memory left")?
            .trim()
            .parse()?;
        Ok(kib * 1024.0)
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
