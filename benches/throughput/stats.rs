//! Ratios over rounds.

use std::{fmt, time::Duration};

use crate::{client::Done, rig::Kind};

/// What one server did in one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    pub done: Done,
    pub cpu: Duration,
}

impl Round {
    pub fn per_second(&self) -> f64 {
        self.done.requests as f64 / self.done.took.as_secs_f64()
    }

    fn cpu_per_request(&self) -> f64 {
        self.cpu.as_secs_f64() / self.done.requests as f64
    }
}

/// One scenario: every server, round by round.
pub struct Row {
    pub name: &'static str,
    pub servers: Vec<(Kind, Vec<Round>)>,
}

/// The median of some figures, and how far they spread.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(mut figures: Vec<f64>) -> Self {
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
        write!(f, "{:.3} ({:.3} to {:.3})", self.median, self.min, self.max)
    }
}

impl Row {
    pub const HEAD: &str = "\
to bare: median (min to max)              server         requests/s               CPU per request          lost    RST";

    pub fn new(name: &'static str, servers: &[Kind]) -> Self {
        Self {
            name,
            servers: servers.iter().map(|kind| (*kind, Vec::new())).collect(),
        }
    }

    pub fn push(&mut self, seen: Vec<Round>) {
        for ((_, rounds), round) in self.servers.iter_mut().zip(seen) {
            rounds.push(round);
        }
    }

    /// A figure of `kind` over the same of bare in the same round.
    pub fn to_bare(&self, kind: Kind, figure: fn(&Round) -> f64) -> Spread {
        let of = |kind| {
            self.servers
                .iter()
                .find(|(k, _)| *k == kind)
                .map(|(_, rounds)| rounds)
        };
        let (Some(these), Some(bare)) = (of(kind), of(Kind::Bare)) else {
            return Spread::of(Vec::new());
        };
        let ratios = these
            .iter()
            .zip(bare)
            .map(|(this, bare)| figure(this) / figure(bare));
        Spread::of(ratios.collect())
    }

    pub fn sum(&self, kind: Kind, count: fn(&Done) -> u64) -> u64 {
        let of = self.servers.iter().filter(|(k, _)| *k == kind);
        of.flat_map(|(_, rounds)| rounds)
            .map(|round| count(&round.done))
            .sum()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, _) in &self.servers {
            writeln!(
                f,
                "{:<41} {:<14} {:<24} {:<24} {:<7} {}",
                self.name,
                kind.name(),
                self.to_bare(*kind, Round::per_second).to_string(),
                self.to_bare(*kind, Round::cpu_per_request).to_string(),
                self.sum(*kind, |done| done.lost),
                self.sum(*kind, |done| done.reset),
            )?;
        }
        Ok(())
    }
}

pub const CROWD_HEAD: &str = "\
crowd                     graceful-tls             bare                     axum-server";

/// What each server still gets done beside a crowd.
pub fn crowd_row(name: &str, parts: &[Vec<f64>]) -> String {
    let shown = parts
        .iter()
        .map(|part| format!("{:<25}", Spread::of(part.clone()).to_string()));
    format!("{name:<26}{}", shown.collect::<String>())
}
