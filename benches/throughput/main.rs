//! Requests a second, and what they cost: `cargo bench --bench throughput`.
//!
//! The testbed's router runs under [`GracefulTls::serve`](graceful_tls::GracefulTls::serve), under
//! bare hyper-util + tokio-rustls and under axum-server; beside them are actix-web, nginx and Go's net/http,
//! of `peers`, those that are installed. All have one certificate, of P-256, TCP_NODELAY, and no log.
//! Each is a process on a processor of its own, the client is on the others, and they are measured
//! round by round in turn, so that the machine's moods hit all alike. What is shown are ratios to bare, median
//! and spread over the rounds: of requests a second, of what the server spent on each, in the kernel
//! too, which noise elsewhere hardly touches, and of latencies at three percentiles. Besides, the system
//! calls a request, by strace in a round of their own; how many answers were lost, and how many clients
//! saw an RST.
//!
//! Then the same beside crowds that hurt: what well-behaved clients get done beside them, as a
//! part of what they get done without, and how much of the server's processor a crowd takes by itself: what
//! handshakes cost is gone for the others.
//!
//! `-- --help` says how to measure a part of it, or longer. The figures of a full run go to `benches/results/`, and its
//! table to `benches/README.md`.

mod bars;
mod client;
mod crowd;
mod h2load;
mod server;
mod stats;
mod table;

use std::{path::PathBuf, time::Duration};

use benches::{apart, chart, rig, strace};
use clap::{Parser, builder::PossibleValuesParser};
use client::{CONNECTIONS, Done, Load, Protocol};
use crowd::Crowd;
use rig::{Certificate, Error};
use server::{ASKED_FOR, BARE, CROWDED, SERVERS, Server, Who};
use stats::{Beside, Round, Row};

/// Measures requests a second, and what they cost, beside other servers.
#[derive(Debug, Parser)]
#[command(name = "throughput")]
struct Options {
    /// Rounds, after one to warm up
    #[arg(long, value_name = "N", default_value_t = 7)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,

    /// How long each server is loaded in a round
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = chart::seconds)]
    seconds: Duration,

    /// Scenarios and crowds with these words in their names, and no others
    #[arg(long, value_name = "WORDS", value_parser = words)]
    only: Option<String>,

    /// Bare and these others, with commas between them. `drained` is bare that waits for the client's end of an
    /// HTTP/1 connection: the least that a proper end costs [default: all but drained]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(SERVERS.map(|who| who.name)))]
    servers: Vec<String>,

    /// So many workers for each server that is part of this program, and nobody has a processor of its own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,

    /// Where to write the results, from the repository's folder on, and no table in benches/README.md
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,

    /// cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|words| name.contains(words))
    }

    fn measures(&self, who: &Who) -> bool {
        match self.servers.is_empty() {
            true => who.name != ASKED_FOR,
            false => who.name == BARE || self.servers.iter().any(|name| name == who.name),
        }
    }

    /// Whether it is all that there is to measure.
    fn is_full(&self) -> bool {
        self.only.is_none() && self.servers.is_empty() && self.workers.is_none()
    }
}

/// Words that are in some name of what is measured.
fn words(words: &str) -> Result<String, String> {
    let scenarios = SCENARIOS.iter().map(|scenario| scenario.name);
    let names: Vec<_> = scenarios.chain(CROWDS.map(|(name, _)| name)).collect();
    match names.iter().any(|name| name.contains(words)) {
        true => Ok(words.to_owned()),
        false => Err(format!("they are in none of: {}", names.join("; "))),
    }
}

struct Scenario {
    name: &'static str,
    load: Load,
}

const SCENARIOS: [Scenario; 11] = [
    Scenario {
        name: "HTTP/1.1 keep-alive, 6 bytes",
        load: Load::keep_alive(Protocol::Http1, "/"),
    },
    Scenario {
        name: "HTTP/1.1 keep-alive, 1 MiB",
        load: Load::keep_alive(Protocol::Http1, "/bytes/1048576"),
    },
    Scenario {
        name: "HTTP/2, 6 bytes",
        load: Load::keep_alive(Protocol::Http2, "/"),
    },
    Scenario {
        name: "HTTP/2, 6 bytes, 2 streams",
        load: Load::streams(2, "/"),
    },
    Scenario {
        name: "HTTP/2, 6 bytes, 8 streams",
        load: Load::streams(8, "/"),
    },
    Scenario {
        name: "HTTP/2, 6 bytes, 100 streams",
        load: Load::streams(100, "/"),
    },
    Scenario {
        name: "HTTP/2, 6 bytes after 1 ms, 8 streams",
        load: Load::streams(8, "/sleep/1"),
    },
    Scenario {
        name: "HTTP/2, 1 MiB",
        load: Load::keep_alive(Protocol::Http2, "/bytes/1048576"),
    },
    Scenario {
        name: "one request a connection, full handshake",
        load: Load::Once { resume: false },
    },
    Scenario {
        name: "one request a connection, resumed",
        load: Load::Once { resume: true },
    },
    Scenario {
        name: "unread upload, answered with 4 MiB",
        load: Load::Upload,
    },
];

const CROWDS: [(&str, Crowd); 4] = [
    ("a storm of handshakes", Crowd::Storm),
    ("1,000 stuck readers", Crowd::StuckReaders),
    ("10,000 idle", Crowd::Idle),
    ("draining at the cap", Crowd::Lingerers),
];

/// What good clients do beside a crowd: the handler computes, so that the server and not the client has the most to
/// do, for the crowd shares the client's processor.
const GOOD: Load = Load::keep_alive(Protocol::Http1, "/compute/100000");

/// What a crowd takes is little: it shows in longer windows.
const WINDOWS: u32 = 5;

fn main() -> Result<(), Error> {
    if let Some(served) = apart::is_server() {
        return served;
    }
    let options = Options::parse();
    rlimit::increase_nofile_limit(16_384)?;
    chart::warn_of_pacing();
    let bench = Bench::start(options)?;
    let rows = bench.steady()?;
    let crowds = bench.crowded()?;
    match bench.options.is_full() {
        true => show(&rows, &crowds, &bench.options),
        false => Ok(()),
    }
}

fn show(rows: &[Row], crowds: &str, options: &Options) -> Result<(), Error> {
    let (rounds, seconds) = (options.rounds, options.seconds.as_secs_f64());
    let command =
        format!("cargo bench --bench throughput -- --rounds {rounds} --seconds {seconds}");
    bars::write(rows, &command)?;
    if options.results.is_some() {
        return Ok(());
    }
    let stamp = chart::stamp();
    let table = format!("{}\n`{command}`; {stamp}.\n", table::of(rows));
    chart::readme("throughput", &table)?;
    chart::readme("crowds", &format!("{crowds}\n`{command}`; {stamp}.\n"))
}

struct Bench {
    servers: Vec<Server>,
    certificate: Certificate,
    client: tokio::runtime::Runtime,
    options: Options,
    h2load: bool,
    traces: bool,
}

impl Bench {
    fn start(options: Options) -> Result<Self, Error> {
        let certificate = Certificate::new()?;
        let folder = tempfile::tempdir()?;
        certificate.save(folder.path())?;
        let workers = options.workers.map(usize::from);
        let named = SERVERS.into_iter().filter(|who| options.measures(who));
        let servers = named.filter_map(|who| {
            let server = Server::start(who, folder.path(), workers);
            let said = server.inspect_err(|error| println!("{} is left out: {error}", who.name));
            said.ok()
        });
        let servers: Vec<_> = servers.collect();
        if workers.is_none() {
            server::make_way()?;
        }
        let h2load = h2load::is_installed();
        if !h2load {
            println!(
                "h2load, of Debian's nghttp2-client, is not installed: all load is by hyper's client"
            );
        }
        let traces = strace::is_permitted();
        if let Err(reason) = &traces {
            println!("system calls are not counted: {reason}");
        }
        Ok(Self {
            servers,
            certificate,
            client: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
            options,
            h2load,
            traces: traces.is_ok(),
        })
    }

    fn steady(&self) -> Result<Vec<Row>, Error> {
        let rounds = self.options.rounds.into();
        let mut rows = Vec::new();
        for scenario in SCENARIOS.iter().filter(|of| self.options.wants(of.name)) {
            let mut row = Row::new(scenario.name, self.servers.iter().map(|server| server.name));
            // One round to warm up, not counted.
            for round in 0..=rounds {
                let measure = |server: &Server| self.load(server, scenario.load);
                let seen = self.round(&self.servers, round, measure)?;
                if round > 0 {
                    row.push(seen);
                }
            }
            if self.traces {
                for (seen, server) in row.servers.iter_mut().zip(&self.servers) {
                    seen.calls = self.calls(server, scenario.load);
                }
            }
            rows.push(row);
            println!(
                "{}",
                table::of(&rows[rows.len() - 1..]).replace("<br>", "\n    ")
            );
        }
        Ok(rows)
    }

    /// `None` where this process may not trace that one.
    ///
    /// Never by h2load, which does not come to an end where nginx is as slow as strace makes it.
    fn calls(&self, server: &Server, load: Load) -> Option<f64> {
        let counted = server.calls(|| self.own(server, load, self.options.seconds));
        let counted = counted.inspect_err(|error| println!("{}: {error}", server.name));
        let (calls, done) = counted.ok()?;
        Some(calls / done.requests as f64)
    }

    /// The table of what good clients get beside each crowd.
    fn crowded(&self) -> Result<String, Error> {
        let mut crowds = CROWDS.to_vec();
        crowds.retain(|(name, _)| self.options.wants(name));
        if crowds.is_empty() {
            return Ok(String::new());
        }
        let rounds = usize::from(self.options.rounds).div_ceil(2);
        let servers = &self.servers[..CROWDED.min(self.servers.len())];
        let mut table = table::head(servers.iter().map(|server| server.name));
        println!(
            "\n{}, beside a crowd: of what it is without\n{table}",
            SCENARIOS[0].name
        );
        for (name, crowd) in crowds {
            let mut seen = vec![Vec::new(); servers.len()];
            for round in 0..rounds {
                let beside = self.round(servers, round, |server| self.beside(server, crowd))?;
                for (seen, beside) in seen.iter_mut().zip(beside) {
                    seen.push(beside);
                }
            }
            let row = table::crowd_row(name, &seen);
            print!("{row}");
            table += &row;
        }
        Ok(table)
    }

    /// Good clients alone, and at once after that beside the crowd.
    fn beside(&self, server: &Server, crowd: Crowd) -> Result<Beside, Error> {
        server.settle()?;
        let time = self.options.seconds * WINDOWS;
        let alone = self.load_for(server, GOOD, time)?;
        let gathering = crowd.gather(server.addr, &self.certificate);
        let gathered = self.client.block_on(gathering)?;
        if crowd.is_still() {
            server.settle()?;
        }
        let before = server.cpu()?;
        std::thread::sleep(time);
        let taken = (server.cpu()? - before).div_duration_f64(time);
        let beside = self.load_for(server, GOOD, time)?;
        drop(gathered);
        Ok(Beside {
            requests: beside.per_second / alone.per_second,
            p99: beside.p99 / alone.p99,
            taken,
        })
    }

    /// Each server once; who goes first changes from round to round.
    fn round<T: Clone + Default>(
        &self,
        servers: &[Server],
        round: usize,
        measure: impl Fn(&Server) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let n = servers.len();
        let mut seen = vec![T::default(); n];
        for at in (0..n).map(|i| (i + round) % n) {
            seen[at] = measure(&servers[at])?;
        }
        Ok(seen)
    }

    fn load(&self, server: &Server, load: Load) -> Result<Round, Error> {
        self.load_for(server, load, self.options.seconds)
    }

    fn load_for(&self, server: &Server, load: Load, time: Duration) -> Result<Round, Error> {
        let cpu = server.cpu()?;
        let done = match load {
            Load::KeepAlive {
                protocol,
                path,
                streams,
            } if self.h2load => {
                let at_once = [CONNECTIONS, streams];
                h2load::run(server.addr, protocol, path, at_once, time)?
            }
            _ => self.own(server, load, time)?,
        };
        Ok(Round::of(done, server.cpu()? - cpu))
    }

    fn own(&self, server: &Server, load: Load, time: Duration) -> Result<Done, Error> {
        let run = load.run(server.addr, &self.certificate, time);
        self.client.block_on(run)
    }
}
