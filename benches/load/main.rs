//! What the guarantee costs: `cargo bench --bench load`.
//!
//! The testbed's router runs under [`GracefulTls::serve`](graceful_tls::GracefulTls::serve) and
//! under bare hyper-util + tokio-rustls, in one process, round by round in turn, so that the
//! machine's moods hit both alike. Each server has a runtime of one thread. Printed are ratios,
//! ours over bare, median and spread over the rounds: of requests a second, and of what the
//! server's thread spent on each, which noise elsewhere on the machine does not touch.
//!
//! `-- --rounds N --seconds S` for a longer run.

mod client;
mod servers;
mod stats;

#[path = "../../examples/testbed/bodies.rs"]
#[allow(dead_code)]
mod bodies;
#[path = "../../examples/testbed/routes.rs"]
#[allow(dead_code)]
mod routes;

use std::time::Duration;

use client::{Load, Protocol};
use servers::{Kind, Server};
use stats::{Ratios, Sample};

/// One thing to measure.
struct Scenario {
    name: &'static str,
    load: Load,
}

const SCENARIOS: [Scenario; 5] = [
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
        name: "HTTP/2, 1 MiB",
        load: Load::keep_alive(Protocol::Http2, "/bytes/1048576"),
    },
    Scenario {
        name: "one request a connection, full handshake",
        load: Load::one_per_connection("/close"),
    },
];

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let rounds = option("--rounds").unwrap_or(7.0).max(1.0);
    let time = Duration::from_secs_f64(option("--seconds").unwrap_or(1.0).max(0.05));
    let ours = Server::start(Kind::Graceful)?;
    let bare = Server::start(Kind::Bare)?;
    let client = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    println!(
        "{:<42} {:>22} {:>22}",
        "ours / bare (medians, min to max)", "requests/s", "server CPU per request"
    );
    for Scenario { name, load } in &SCENARIOS {
        let mut ratios = Ratios::default();
        // One round to warm up, not counted.
        for round in 0..=rounds as u32 {
            let measure = |server: &Server| -> Result<Sample, Error> {
                let cpu = server.cpu()?;
                let done = client.block_on(load.run(server.addr, server.connector(), time))?;
                Ok(Sample {
                    per_second: done.requests as f64 / done.took.as_secs_f64(),
                    cpu_per_request: (server.cpu()? - cpu).as_secs_f64() / done.requests as f64,
                })
            };
            // Who goes first changes from round to round.
            let (a, b) = match round % 2 {
                0 => {
                    let a = measure(&ours)?;
                    (a, measure(&bare)?)
                }
                _ => {
                    let b = measure(&bare)?;
                    (measure(&ours)?, b)
                }
            };
            if round > 0 {
                ratios.push(a, b);
            }
        }
        println!(
            "{name:<42} {:>22} {:>22}",
            ratios.per_second(),
            ratios.cpu()
        );
    }
    Ok(())
}

/// The number behind `name` on the command line. `cargo bench` adds words of its own: the rest is
/// passed over.
fn option(name: &str) -> Option<f64> {
    let mut words = std::env::args().skip_while(|word| word != name);
    words.next()?;
    words.next()?.parse().ok()
}
