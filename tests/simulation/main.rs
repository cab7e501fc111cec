//! A simulation: real hyper, real rustls and this crate under a paused clock, over in-memory links
//! that misbehave, with random clients and random handlers; all of it follows from one number.
//!
//! ```sh
//! alias simulation='cargo test --release --features _simulation --test simulation'
//! simulation                                  # the seeds from 0 on
//! SEEDS=100000 FIRST=5000 simulation
//! SEED=4711 simulation -- --nocapture         # one, with its trace
//! ```
//!
//! `oracle` says what must hold, and is the place to begin reading. `run` is one run, `settings` its
//! server's; `servers` drives hyper in each way that users do, `handlers` and `tunnels` answer, and
//! `world` notes what they do; `observed` is what the crate's observer is told. `net` is the network,
//! `tls` a TLS that is the same each time, `client` the clients, `trace` the order of events.
//!
//! What the crate asks of a kernel it asks of the links here, which the feature `_simulation` lets
//! answer: what was acknowledged, what is unread, whether there was an RST.
//!
//! A failure prints its seed. What a seed means changes whenever anything here draws differently:
//! note a fault by what it was, and by the seed at a commit.

mod client;
mod endpoints;
mod handlers;
mod net;
mod observed;
mod oracle;
mod run;
mod servers;
mod settings;
mod tls;
mod trace;
mod tunnels;
mod world;

use std::sync::{
    Mutex, Once,
    atomic::{AtomicU64, Ordering},
};

/// After so many seeds that failed, the rest would say nothing new.
const ENOUGH: usize = 20;

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name}={value} is no number")),
    )
}

fn prepare() {
    static PREPARE: Once = Once::new();
    PREPARE.call_once(|| {
        run::watch_panics();
        graceful_tls::simulated::set_kernel(net::KERNEL);
    });
}

/// Runs one seed; what failed, a line each.
fn check(seed: u64, printed: bool) -> Vec<String> {
    let facts = run::run(seed, printed);
    if printed {
        println!("{facts:#?}");
    }
    let failures = oracle::judge(&facts).into_iter();
    failures.map(|failure| failure.line(seed, &facts)).collect()
}

#[test]
fn every_seed_ends_as_it_should() {
    prepare();
    let failed = match number("SEED") {
        Some(seed) => check_one(seed),
        None => check_all(number("FIRST").unwrap_or(0), number("SEEDS").unwrap_or(500)),
    };
    assert!(failed.is_empty(), "{} failures, see above", failed.len());
}

fn check_one(seed: u64) -> Vec<String> {
    let lines = check(seed, true);
    lines.iter().for_each(|line| println!("{line}"));
    lines
}

/// Runs the seeds on all cores, until enough have failed.
fn check_all(first: u64, count: u64) -> Vec<String> {
    let next = AtomicU64::new(first);
    let failed = Mutex::new(Vec::new());
    let enough = number("ENOUGH").map_or(ENOUGH, |n| n as usize);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failed.lock().unwrap().len() >= enough {
                        return;
                    }
                    let lines = check(seed, false);
                    lines.iter().for_each(|line| println!("{line}"));
                    failed.lock().unwrap().extend(lines);
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

/// One thread: what one seed leaves behind must not change the next.
#[test]
fn a_seed_means_the_same_each_time() {
    prepare();
    let seeds = 0..number("TWICE").unwrap_or(30);
    let differs = |seed: &u64| run::run(*seed, false).hash != run::run(*seed, false).hash;
    let differing: Vec<u64> = seeds.filter(differs).collect();
    assert!(differing.is_empty(), "seeds with two traces: {differing:?}");
}
