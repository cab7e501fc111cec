//! Ratios over rounds.

use std::{fmt, time::Duration};

use crate::{client::Done, server::BARE};

/// What one server did in one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    pub per_second: f64,
    /// Of the server's processor, in seconds.
    pub cpu: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub lost: u64,
    pub reset: u64,
}

impl Round {
    pub fn of(done: Done, cpu: Duration) -> Self {
        let mut latencies = done.latencies;
        latencies.sort_unstable();
        let percentile = |part: f64| {
            let at = (latencies.len() as f64 * part) as usize;
            latencies
                .get(at)
                .map_or(f64::NAN, |micros| f64::from(*micros))
        };
        Self {
            per_second: done.requests as f64 / done.took.as_secs_f64(),
            cpu: cpu.as_secs_f64() / done.requests as f64,
            p50: percentile(0.5),
            p99: percentile(0.99),
            p999: percentile(0.999),
            lost: done.lost,
            reset: done.reset,
        }
    }
}

/// What is compared of a round, and its name.
pub type Figure = (&'static str, fn(&Round) -> f64);

pub const FIGURES: [Figure; 5] = [
    ("requests/s", |round| round.per_second),
    ("CPU per request", |round| round.cpu),
    ("p50", |round| round.p50),
    ("p99", |round| round.p99),
    ("p99.9", |round| round.p999),
];

/// One server in one scenario.
#[derive(Clone, Debug)]
pub struct Seen {
    pub server: &'static str,
    pub rounds: Vec<Round>,
    /// System calls a request, where they can be counted.
    pub calls: Option<f64>,
}

/// One scenario: every server, round by round.
pub struct Row {
    pub name: &'static str,
    pub servers: Vec<Seen>,
}

/// The median of some figures, and how far they spread.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        // Without the rounds in which one of the two has answered nothing.
        let figures = figures.into_iter().filter(|figure| figure.is_finite());
        let mut figures: Vec<_> = figures.collect();
        figures.sort_by(f64::total_cmp);
        Self {
            min: figures.first().copied().unwrap_or(f64::NAN),
            median: figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN),
            max: figures.last().copied().unwrap_or(f64::NAN),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.min, self.max)
    }
}

impl Row {
    pub fn new(name: &'static str, servers: impl Iterator<Item = &'static str>) -> Self {
        let seen = |server| Seen {
            server,
            rounds: Vec::new(),
            calls: None,
        };
        Self {
            name,
            servers: servers.map(seen).collect(),
        }
    }

    pub fn push(&mut self, rounds: Vec<Round>) {
        for (seen, round) in self.servers.iter_mut().zip(rounds) {
            seen.rounds.push(round);
        }
    }

    /// A figure over the same of bare in the same round.
    pub fn to_bare(&self, seen: &Seen, figure: fn(&Round) -> f64) -> Spread {
        let bare = self.servers.iter().find(|seen| seen.server == BARE);
        let bare = bare.map_or(&[][..], |bare| &bare.rounds);
        let rounds = seen.rounds.iter().zip(bare);
        Spread::of(rounds.map(|(this, bare)| figure(this) / figure(bare)))
    }
}

impl Seen {
    pub fn median(&self, figure: fn(&Round) -> f64) -> f64 {
        Spread::of(self.rounds.iter().map(figure)).median
    }

    pub fn sum(&self, count: fn(&Round) -> u64) -> u64 {
        self.rounds.iter().map(count).sum()
    }
}

/// Good clients beside a crowd: of what they get without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    pub requests: f64,
    pub p99: f64,
    /// What part of the server's processor the crowd takes by itself.
    pub taken: f64,
}
