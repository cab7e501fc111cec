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
//! `-- --rounds N --seconds S` for a longer run, `--only WORDS` for the scenarios and crowds with
//! these words in their names, `--servers NAMES` for bare and these others: `drained` too, which is bare that waits
//! for the client's end of an HTTP/1 connection, the least that a proper end costs. `--workers N` gives those of one
//! program N workers each, and nobody a processor of its own. The figures of a full run go to `benches/results/`,
//! and its table to `benches/README.md`.

mod bars;
mod client;
mod crowd;
mod h2load;
mod server;
mod stats;
mod table;

use std::time::Duration;

use benches::{apart, chart, rig, strace};
use chart::option;
use client::{CONNECTIONS, Done, Load, Protocol};
use crowd::Crowd;
use rig::{Certificate, Error};
use server::{ASKED_FOR, BARE, CROWDED, SERVERS, Server, Who};
use stats::{Beside, Round, Row};

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
    let number = |name| option(name).and_then(|word| word.parse::<f64>().ok());
    let rounds = number("--rounds").unwrap_or(7.0).max(1.0) as usize;
    let time = Duration::from_secs_f64(number("--seconds").unwrap_or(1.0).max(0.05));
    rlimit::increase_nofile_limit(16_384)?;
    chart::warn_of_pacing();
    let workers = number("--workers").map(|n| n.max(1.0) as usize);
    let bench = Bench::start(time, workers)?;
    let rows = bench.steady(rounds)?;
    let crowds = bench.crowded(rounds.div_ceil(2))?;
    match ["--only", "--servers", "--workers"].map(option) {
        [None, None, None] => show(&rows, &crowds, rounds, time),
        // Not all of it.
        _ => Ok(()),
    }
}

fn show(rows: &[Row], crowds: &str, rounds: usize, time: Duration) -> Result<(), Error> {
    let seconds = time.as_secs_f64();
    let command =
        format!("cargo bench --bench throughput -- --rounds {rounds} --seconds {seconds}");
    bars::write(rows, &command)?;
    match option("--results") {
        Some(_) => Ok(()),
        None => {
            let stamp = chart::stamp();
            let table = format!("{}\n`{command}`; {stamp}.\n", table::of(rows));
            chart::readme("throughput", &table)?;
            chart::readme("crowds", &format!("{crowds}\n`{command}`; {stamp}.\n"))
        }
    }
}

struct Bench {
    servers: Vec<Server>,
    certificate: Certificate,
    client: tokio::runtime::Runtime,
    time: Duration,
    h2load: bool,
    traces: bool,
}

impl Bench {
    fn start(time: Duration, workers: Option<usize>) -> Result<Self, Error> {
        let certificate = Certificate::new()?;
        let folder = tempfile::tempdir()?;
        certificate.save(folder.path())?;
        let named = option("--servers");
        let mut names = named.iter().flat_map(|names| names.split(','));
        if let Some(name) = names.find(|name| SERVERS.iter().all(|who| who.name != *name)) {
            let known = SERVERS.map(|who| who.name).join(", ");
            return Err(format!("--servers: there is no {name:?}, but {known}").into());
        }
        let is_named = |who: &Who| match &named {
            Some(names) => who.name == BARE || names.split(',').any(|name| name == who.name),
            None => who.name != ASKED_FOR,
        };
        let servers = SERVERS.into_iter().filter(is_named).filter_map(|who| {
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
            time,
            h2load,
            traces: traces.is_ok(),
        })
    }

    fn steady(&self, rounds: usize) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        for scenario in SCENARIOS.iter().filter(|s| is_wanted(s.name)) {
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
        let counted = server.calls(|| self.own(server, load, self.time));
        let counted = counted.inspect_err(|error| println!("{}: {error}", server.name));
        let (calls, done) = counted.ok()?;
        Some(calls / done.requests as f64)
    }

    /// The table of what good clients get beside each crowd.
    fn crowded(&self, rounds: usize) -> Result<String, Error> {
        let servers = &self.servers[..CROWDED.min(self.servers.len())];
        let mut table = table::head(servers.iter().map(|server| server.name));
        println!(
            "\n{}, beside a crowd: of what it is without\n{table}",
            SCENARIOS[0].name
        );
        for (name, crowd) in CROWDS.into_iter().filter(|(name, _)| is_wanted(name)) {
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
        let time = self.time * WINDOWS;
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
        self.load_for(server, load, self.time)
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

fn is_wanted(name: &str) -> bool {
    option("--only").is_none_or(|words| name.contains(&words))
}
