//! Requests a second: `cargo bench --bench throughput`.
//!
//! The testbed's router runs under [`GracefulTls::serve`](graceful_tls::GracefulTls::serve), under
//! bare hyper-util + tokio-rustls and under axum-server, in one process, round by round in turn,
//! so that the machine's moods hit all alike. Each server has a runtime of one thread. Printed are
//! ratios to bare, median and spread over the rounds: of requests a second, and of what the
//! server's thread spent on each, which noise elsewhere on the machine does not touch; and how
//! many answers were lost and how many clients saw an RST.
//!
//! Then the same beside crowds that hurt: what well-behaved clients get done beside them, as a
//! part of what they get done without.
//!
//! `-- --rounds N --seconds S` for a longer run, `--only WORDS` for the scenarios and crowds with
//! these words in their names. The figures of a full run go to `benches/results/`.

mod bars;
mod client;
mod crowd;
mod h2load;
mod server;
mod stats;

use std::time::Duration;

use benches::{chart, rig};
use chart::option;
use client::{CONNECTIONS, Done, Load, Protocol};
use crowd::Crowd;
use rig::{Certificate, Error, Kind};
use server::Server;
use stats::{Round, Row};

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

const CROWDS: [(&str, Crowd); 3] = [
    ("a storm of handshakes", Crowd::Storm),
    ("1,000 stuck readers", Crowd::StuckReaders),
    ("draining at the cap", Crowd::Lingerers),
];

/// Who is measured: bare is what the others are compared with.
const SERVERS: [Kind; 3] = [Kind::Graceful, Kind::Bare, Kind::AxumServer];

fn main() -> Result<(), Error> {
    let number = |name| option(name).and_then(|word| word.parse::<f64>().ok());
    let rounds = number("--rounds").unwrap_or(7.0).max(1.0) as usize;
    let time = Duration::from_secs_f64(number("--seconds").unwrap_or(1.0).max(0.05));
    rlimit::increase_nofile_limit(16_384)?;
    let bench = Bench::start(time)?;
    let rows = bench.steady(rounds)?;
    bench.crowded(rounds.div_ceil(2))?;
    let command = format!(
        "cargo bench --bench throughput -- --rounds {rounds} --seconds {}",
        time.as_secs_f64()
    );
    match option("--only") {
        Some(_) => Ok(()),
        None => bars::write(&rows, &command),
    }
}

struct Bench {
    servers: Vec<Server>,
    certificate: Certificate,
    client: tokio::runtime::Runtime,
    time: Duration,
    h2load: bool,
}

impl Bench {
    fn start(time: Duration) -> Result<Self, Error> {
        let mut certificate = Certificate::new()?;
        // Few enough for a crowd to reach.
        certificate.drain.max_connections = 128;
        let servers = SERVERS.map(|kind| Server::start(kind, &certificate));
        let h2load = h2load::is_installed();
        println!(
            "keep-alive load by {}",
            match h2load {
                true => "h2load",
                false => "hyper's client (h2load, of Debian's nghttp2-client, is not installed)",
            }
        );
        Ok(Self {
            servers: servers.into_iter().collect::<Result<_, _>>()?,
            certificate,
            client: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?,
            time,
            h2load,
        })
    }

    fn steady(&self, rounds: usize) -> Result<Vec<Row>, Error> {
        println!("{}", Row::HEAD);
        let mut rows = Vec::new();
        for scenario in SCENARIOS.iter().filter(|s| is_wanted(s.name)) {
            let mut row = Row::new(scenario.name, &SERVERS);
            // One round to warm up, not counted.
            for round in 0..=rounds {
                let seen = self.round(round, |server| self.load(server, scenario.load))?;
                if round > 0 {
                    row.push(seen);
                }
            }
            print!("{row}");
            rows.push(row);
        }
        Ok(rows)
    }

    fn crowded(&self, rounds: usize) -> Result<(), Error> {
        println!(
            "\nHTTP/1.1 keep-alive, 6 bytes, beside a crowd: of what it is without\n{}",
            stats::CROWD_HEAD
        );
        let load = Load::keep_alive(Protocol::Http1, "/");
        for (name, crowd) in CROWDS.into_iter().filter(|(name, _)| is_wanted(name)) {
            let mut parts = vec![Vec::new(); self.servers.len()];
            for round in 0..rounds {
                let alone = self.round(round, |server| self.load(server, load))?;
                let beside = self.round(round, |server| {
                    let gathered = self
                        .client
                        .block_on(crowd.gather(server.addr, &self.certificate))?;
                    let seen = self.load(server, load);
                    drop(gathered);
                    // Let them go.
                    std::thread::sleep(Duration::from_millis(300));
                    seen
                })?;
                for ((part, alone), beside) in parts.iter_mut().zip(alone).zip(beside) {
                    part.push(beside.per_second() / alone.per_second());
                }
            }
            println!("{}", stats::crowd_row(name, &parts));
        }
        Ok(())
    }

    /// Each server once; who goes first changes from round to round.
    fn round(
        &self,
        round: usize,
        measure: impl Fn(&Server) -> Result<Round, Error>,
    ) -> Result<Vec<Round>, Error> {
        let n = self.servers.len();
        let mut seen = vec![Round::default(); n];
        for at in (0..n).map(|i| (i + round) % n) {
            seen[at] = measure(&self.servers[at])?;
        }
        Ok(seen)
    }

    fn load(&self, server: &Server, load: Load) -> Result<Round, Error> {
        let cpu = server.cpu()?;
        let done = match load {
            Load::KeepAlive {
                protocol,
                path,
                streams,
            } if self.h2load => {
                let at_once = [CONNECTIONS, streams];
                h2load::run(server.addr, protocol, path, at_once, self.time)?
            }
            _ => self.own(server, load)?,
        };
        Ok(Round {
            done,
            cpu: server.cpu()? - cpu,
        })
    }

    fn own(&self, server: &Server, load: Load) -> Result<Done, Error> {
        let run = load.run(server.addr, &self.certificate, self.time);
        self.client.block_on(run)
    }
}

fn is_wanted(name: &str) -> bool {
    option("--only").is_none_or(|words| name.contains(&words))
}
