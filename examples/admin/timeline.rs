//! The last minutes, a sample a second.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use graceful_tls::{GracefulTls, Outcome, Phase, Stats};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// As many are kept: five minutes.
const KEPT: usize = 300;

#[derive(Clone)]
pub(crate) struct Timeline {
    /// Taken since the start; the newest are in `samples`.
    pub(crate) taken: u64,
    pub(crate) samples: VecDeque<Sample>,
    /// When the phase was first seen that it is in.
    phase_since: Instant,
    /// What the shutdown came to, once it is over.
    pub(crate) report: Option<String>,
    phase: Phase,
    ended: Vec<u64>,
}

#[derive(Clone, Serialize)]
pub(crate) struct Sample {
    /// Handshaking, idle, in use, half-closed, draining.
    open: [u64; 5],
    /// How many have ended since the sample before, by outcome.
    ended: Vec<u64>,
}

/// Keeps one until the shutdown is over.
pub(crate) fn keep(tls: &GracefulTls) -> watch::Receiver<Timeline> {
    let (sender, receiver) = watch::channel(Timeline::new(&tls.stats()));
    let tls = tls.clone();
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closed = Box::pin(tls.closed());
        loop {
            let report = tokio::select! {
                _ = ticks.tick() => None,
                report = &mut closed => Some(report.to_string()),
            };
            let over = report.is_some();
            sender.send_modify(|timeline| {
                timeline.take(&tls.stats());
                timeline.report = report;
            });
            if over {
                return;
            }
        }
    });
    receiver
}

impl Timeline {
    fn new(stats: &Stats) -> Self {
        Self {
            taken: 0,
            samples: VecDeque::with_capacity(KEPT),
            phase_since: Instant::now(),
            report: None,
            phase: stats.phase,
            ended: ended(stats),
        }
    }

    /// How long it has been this phase, as far as the samples tell: one may be of the phase before.
    pub(crate) fn seconds_in(&self, phase: Phase) -> u64 {
        match phase == self.phase {
            true => self.phase_since.elapsed().as_secs(),
            false => 0,
        }
    }

    fn take(&mut self, stats: &Stats) {
        if stats.phase != self.phase {
            self.phase = stats.phase;
            self.phase_since = Instant::now();
        }
        let before = std::mem::replace(&mut self.ended, ended(stats));
        let news = self.ended.iter().zip(before);
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            open: [
                stats.handshaking,
                stats.idle,
                stats.in_use,
                stats.half_closed,
                stats.draining,
            ],
            ended: news.map(|(now, before)| now - before).collect(),
        });
        self.taken += 1;
    }
}

fn ended(stats: &Stats) -> Vec<u64> {
    let outcomes = Outcome::ALL.iter();
    outcomes.map(|&outcome| stats.ended_with(outcome)).collect()
}
