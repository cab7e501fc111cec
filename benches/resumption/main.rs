//! The second after a restart, with the keys of session tickets and without: `cargo bench --bench resumption`.
//!
//! A thousand clients have had an answer each, and hold the tickets that came with it. The server is restarted, and
//! all of them come back within a second. Shown is how many resume their session, and the CPU that the server
//! needs in that second, kernel included: this crate's, whose successor has imported the keys or not, and nginx,
//! reloaded with a file of keys (`ssl_session_ticket_key`) and without. `benches/results/resumption.csv` has it
//! too. Configurations take turns, round by round; printed are the medians.
//!
//! `-- --clients N --rounds N` for other numbers.
//!
//! `server` is ours, in a process of its own; `nginx` starts the other; `clients` come and come back.

mod clients;
mod nginx;
mod server;

use std::{process::ExitCode, time::Duration};

use benches::{chart, rig};
use chart::option;
use clients::Clients;
use nginx::Nginx;
use rig::Error;
use server::Ours;
use tokio_rustls::rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

fn main() -> ExitCode {
    let result = match option("--serve") {
        Some(keys) => server::run(&keys),
        None => compare(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("resumption: {error}");
            ExitCode::from(2)
        }
    }
}

/// A server that can be restarted.
trait Server {
    fn addr(&self) -> std::net::SocketAddr;

    /// When it is over, whoever has served before has ended.
    fn restart(&mut self) -> Result<(), Error>;

    /// The process that serves now.
    fn pid(&self) -> u32;
}

#[derive(Clone, Copy)]
struct Kind {
    server: &'static str,
    keys: bool,
    tls: &'static SupportedProtocolVersion,
}

impl Kind {
    fn all() -> Vec<Self> {
        let kinds = ["graceful-tls", "nginx"].map(|server| {
            [&TLS12, &TLS13].map(|tls| [false, true].map(|keys| Self { server, keys, tls }))
        });
        kinds.into_iter().flatten().flatten().collect()
    }

    fn start(self) -> Result<Box<dyn Server>, Error> {
        Ok(match self.server {
            "nginx" => Box::new(Nginx::start(self.keys)?),
            _ => Box::new(Ours::start(self.keys)?),
        })
    }

    fn tls(self) -> &'static str {
        match std::ptr::eq(self.tls, &TLS12) {
            true => "1.2",
            false => "1.3",
        }
    }

    fn keys(self) -> &'static str {
        match (self.server, self.keys) {
            (_, false) => "none",
            ("nginx", true) => "a file",
            _ => "imported",
        }
    }
}

/// What the second after one restart was like.
struct Second {
    resumed: usize,
    cpu: Duration,
}

fn compare() -> Result<(), Error> {
    let number = |name, default| match option(name) {
        Some(word) => word.parse().map_err(|_| format!("{name} wants a number")),
        None => Ok(default),
    };
    let (clients, rounds) = (number("--clients", 1000)?, number("--rounds", 3)?);
    rlimit::increase_nofile_limit(4 * clients as u64 + 100)?;
    let mut kinds = Kind::all();
    if !Nginx::is_there() {
        eprintln!("MISSING, so NOT MEASURED: nginx");
        kinds.retain(|kind| kind.server != "nginx");
    }
    let mut seconds: Vec<Vec<Second>> = kinds.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (kind, seconds) in kinds.iter().zip(&mut seconds) {
            seconds.push(second(*kind, clients)?);
        }
    }
    show(&kinds, &seconds, clients, rounds)
}

fn second(kind: Kind, clients: usize) -> Result<Second, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut server = kind.start()?;
    let clients = Clients::new(clients, kind.tls, server.addr())?;
    let before = runtime.block_on(clients.come())?;
    if before > 0 {
        return Err(format!("{before} clients have resumed what there was not").into());
    }
    server.restart()?;
    let idle = cpu(server.pid())?;
    let resumed = runtime.block_on(clients.come())?;
    let cpu = cpu(server.pid())? - idle;
    Ok(Second { resumed, cpu })
}

/// What a process of one thread has needed.
fn cpu(pid: u32) -> Result<Duration, Error> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanos = stat.split(' ').next().ok_or("schedstat is empty")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

fn show(
    kinds: &[Kind],
    seconds: &[Vec<Second>],
    clients: usize,
    rounds: usize,
) -> Result<(), Error> {
    let command =
        format!("cargo bench --bench resumption -- --clients {clients} --rounds {rounds}");
    println!(
        "{:<13} {:>3}  {:<9} {:>8} {:>7} {:>6}",
        "server", "TLS", "keys", "resumed", "CPU ms", "ratio"
    );
    let mut rows = Vec::new();
    let mut without = f64::NAN;
    for (kind, seconds) in kinds.iter().zip(seconds) {
        let (server, tls, keys) = (kind.server, kind.tls(), kind.keys());
        let resumed = median(seconds, |second| second.resumed as f64 / clients as f64);
        let cpu = median(seconds, |second| second.cpu.as_secs_f64() * 1e3);
        if !kind.keys {
            without = cpu;
        }
        println!(
            "{server:<13} {tls:>3}  {keys:<9} {:>6.1} % {cpu:>7.1} {:>6.2}",
            resumed * 100.0,
            cpu / without
        );
        rows.push(format!(
            "{server},{tls},{keys},{clients},{resumed:.3},{cpu:.1}"
        ));
    }
    chart::csv(
        "resumption",
        &command,
        "server,tls,keys,clients,resumed,cpu_ms",
        &rows,
    )
}

fn median(seconds: &[Second], figure: impl Fn(&Second) -> f64) -> f64 {
    let mut figures: Vec<f64> = seconds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
