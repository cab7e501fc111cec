//! Restarts in a row, under load.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use processes::{
    balancing::{Farm, backend::Server, balancer::Kind},
    load::{Load, Totals},
};

/// What one balancer and its two servers did.
pub struct Run {
    pub balancer: &'static str,
    pub server: Server,
    pub restarts: u32,
    pub totals: Totals,
    /// How often the balancer had to try again.
    pub retries: u64,
}

impl Run {
    pub fn of(kind: Kind, server: Server, restarts: u32, every: Duration, load: &[String]) -> Self {
        let mut farm = Farm::start(kind, server);
        let load: Vec<_> = load.iter().map(String::as_str).collect();
        let load = Load::start(farm.addr, &load);
        for number in 1..=restarts {
            let begun = Instant::now();
            farm.restart(number as usize);
            eprint!(
                "\r{}, {server}: {number} of {restarts} restarts",
                kind.name()
            );
            sleep(every.saturating_sub(begun.elapsed()));
        }
        eprintln!();
        Self {
            balancer: kind.name(),
            server,
            restarts,
            totals: load.finish(),
            retries: farm.retries(),
        }
    }

    pub fn is_ours(&self) -> bool {
        matches!(self.server, Server::Graceful(_))
    }

    pub fn is_lossless(&self) -> bool {
        self.totals.count("lost") == 0 && self.totals.count("resets") == 0
    }
}
