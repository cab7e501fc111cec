//! The attacks, one family a file.
//!
//! An attack runs until it is over or dropped, from one thread and from 127.0.0.1. How long its
//! connections are held the kernel's table tells (see `watch`), but for those that are ended sooner
//! than anybody looks there: a flood tells by itself.

pub mod drips;
pub mod exhaustion;
pub mod floods;
pub mod slow;
pub mod vanished;

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use crate::{known::Server, rig::Error, watch::Held};

/// An attack, and the words of a reader for it.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    pub id: &'static str,
    pub title: &'static str,
    pub kind: Kind,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Slow(slow::Mode),
    Drip(drips::Drip),
    Flood(floods::Flood),
    Vanished(vanished::When),
    Descriptors,
    Handshakes,
}

/// Whom, with how much, and for how long at most.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub addr: SocketAddr,
    pub connections: usize,
    pub until: Instant,
}

/// All there are, in the order of the table.
pub fn all() -> Vec<Attack> {
    let slow = slow::MODES.map(|(id, title, mode)| (id, title, Kind::Slow(mode)));
    let drips = drips::DRIPS.map(|(id, title, drip)| (id, title, Kind::Drip(drip)));
    let floods = floods::FLOODS.map(|(id, title, flood)| (id, title, Kind::Flood(flood)));
    let vanished = vanished::WHEN.map(|(id, title, when)| (id, title, Kind::Vanished(when)));
    let exhaustion = [
        (
            "descriptors",
            "400 idle clients on 200 descriptors, then 80 newcomers",
            Kind::Descriptors,
        ),
        (
            "handshakes",
            "2,000 half-open handshakes, renewed when closed",
            Kind::Handshakes,
        ),
    ];
    slow.into_iter()
        .chain(drips)
        .chain(vanished)
        .chain(floods)
        .chain(exhaustion)
        .map(|(id, title, kind)| Attack { id, title, kind })
        .collect()
}

impl Attack {
    /// Whether one of the words is in its name; no words name every one.
    pub fn is_named(&self, words: &[String]) -> bool {
        words.is_empty() || words.iter().any(|word| self.id.contains(word.as_str()))
    }

    /// Whether it can be made on a server as that is set up here: a proxy has no tunnels.
    pub fn applies_to(&self, server: &Server) -> bool {
        let proxy = matches!(server.id, "nginx" | "apache");
        self.id != "vanished-tunnel" || !proxy
    }

    /// Whether it wants no more than to hold connections, and little of the processor: several may
    /// run side by side.
    pub fn only_holds(&self) -> bool {
        matches!(self.kind, Kind::Slow(_) | Kind::Drip(_) | Kind::Vanished(_))
    }

    /// Whether it says itself how long each connection was held, since no look could see that. It
    /// ends when its time is over, and has to be waited for.
    pub fn tells(&self) -> bool {
        matches!(self.kind, Kind::Flood(_))
    }

    /// How many descriptors each process of the server has.
    pub fn descriptors(&self) -> u64 {
        match self.kind {
            Kind::Descriptors => exhaustion::DESCRIPTORS,
            _ => 16_384,
        }
    }

    /// Does it. What it gives is empty where the kernel's table is to be asked.
    pub async fn run(&self, target: Target) -> Result<Vec<Held>, Error> {
        match self.kind {
            Kind::Slow(mode) => slow::run(mode, target).await.map(|()| Vec::new()),
            Kind::Drip(drip) => drips::run(drip, target).await,
            Kind::Flood(flood) => floods::run(flood, target).await,
            Kind::Vanished(when) => vanished::run(when, target).await,
            Kind::Descriptors => exhaustion::idle(target).await,
            Kind::Handshakes => exhaustion::half_open(target).await,
        }
    }
}

/// So many of the same at once, begun within a second, until all are over. An error of one is an
/// attack that failed, as they do.
async fn crowd<F>(n: usize, mut one: impl FnMut() -> F) -> Result<Vec<Held>, Error>
where
    F: Future<Output = Result<Vec<Held>, Error>> + Send + 'static,
{
    let mut all = JoinSet::new();
    let pause = Duration::from_secs(1) / u32::try_from(n)?.max(1);
    for _ in 0..n {
        all.spawn(one());
        tokio::time::sleep(pause).await;
    }
    let mut held = Vec::new();
    while let Some(one) = all.join_next().await {
        held.extend(one?.unwrap_or_default());
    }
    Ok(held)
}
