//! Counts what became of requests and connections, and when.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::Notify, time::Instant};

use crate::{mix::Kind, verdict::Refusal, wire::Wire};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Arc<str>,
    /// When it ended, from the beginning of the load.
    pub(crate) at: Duration,
    /// From when it was due.
    pub(crate) took: Duration,
    pub(crate) lost: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) begun: Duration,
    pub(crate) samples: Vec<Sample>,
    /// Requests and losses by kind.
    pub(crate) kinds: BTreeMap<Arc<str>, (u64, u64)>,
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) refused: BTreeMap<Refusal, u64>,
    pub(crate) refused_at: Vec<Duration>,
    /// Connections opened and closed.
    pub(crate) opened: Vec<Duration>,
    pub(crate) closed: Vec<Duration>,
    pub(crate) resets: u64,
    pub(crate) without_close_notify: u64,
}

impl Counts {
    pub(crate) fn lost(&self) -> u64 {
        self.lost.values().sum()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }

    pub(crate) fn open(&self) -> usize {
        self.opened.len() - self.closed.len()
    }
}

#[derive(Debug)]
pub(crate) struct Tally {
    begun: Instant,
    counts: Mutex<Counts>,
    closed: Notify,
}

impl Tally {
    pub(crate) fn new(begun: Instant) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let counts = Counts {
            begun: now.unwrap_or_default().saturating_sub(begun.elapsed()),
            ..Counts::default()
        };
        Self {
            begun,
            counts: Mutex::new(counts),
            closed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// A request has been answered, or else lost for this reason.
    pub(crate) fn settled(&self, due: Instant, kind: &Kind, outcome: Result<(), String>) {
        let (at, took, lost) = (self.begun.elapsed(), due.elapsed(), outcome.is_err());
        let mut counts = self.lock();
        let of_kind = counts.kinds.entry(kind.name.clone()).or_default();
        of_kind.0 += 1;
        of_kind.1 += u64::from(lost);
        counts.samples.push(Sample {
            kind: kind.name.clone(),
            at,
            took,
            lost,
        });
        if let Err(why) = outcome {
            *counts
                .lost
                .entry(format!("{}: {why}", kind.name))
                .or_default() += 1;
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        let at = self.begun.elapsed();
        let mut counts = self.lock();
        *counts.refused.entry(refusal).or_default() += 1;
        counts.refused_at.push(at);
    }

    /// A connection was reset before it was one.
    pub(crate) fn reset(&self) {
        self.lock().resets += 1;
    }

    /// A connection is open until what this gives is dropped.
    pub(crate) fn opened(self: &Arc<Self>, wire: Arc<Wire>) -> Open {
        let at = self.begun.elapsed();
        self.lock().opened.push(at);
        let tally = self.clone();
        Open { tally, wire }
    }

    pub(crate) async fn all_closed(&self) {
        while self.lock().open() > 0 {
            self.closed.notified().await;
        }
    }

    pub(crate) fn progress(&self) -> String {
        let counts = self.lock();
        format!(
            "{:5.1} s: {} requests, {} lost, {} refused, {} RST, {} open connections",
            self.begun.elapsed().as_secs_f64(),
            counts.samples.len(),
            counts.lost(),
            counts.refused(),
            counts.resets,
            counts.open(),
        )
    }
}

/// An open connection; says how it ended when dropped.
#[derive(Debug)]
pub(crate) struct Open {
    tally: Arc<Tally>,
    wire: Arc<Wire>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let at = self.tally.begun.elapsed();
        let mut counts = self.tally.lock();
        counts.closed.push(at);
        counts.resets += u64::from(self.wire.is_reset());
        counts.without_close_notify += u64::from(self.wire.lacks_close_notify());
        self.tally.closed.notify_one();
    }
}
