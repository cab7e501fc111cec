//! One attack on one server, from its start to its end.
//!
//! First a good client alone, then the attack with a good client beside it. It is over when nobody
//! is held any more, or when its time is. Then the attackers let go, and the server should have
//! nothing of theirs left, answer once more and go in peace when told.

use std::{
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::{
    attacks::{Attack, Target},
    good::{Good, ask},
    known::Server,
    plan::Plan,
    rig::Error,
    servers::{Running, Yard},
    watch::{Held, Watch},
};

/// The pace and the number of asks without an attack.
const ALONE: (Duration, usize) = (Duration::from_millis(50), 20);

/// How often is looked how it goes.
const LOOK: Duration = Duration::from_millis(200);

/// How long an attack has to begin.
const BEGIN: Duration = Duration::from_secs(5);

/// How long a server may take to be rid of attackers who have gone. Where the accept queue was full
/// the kernel may hand connections over that ended many seconds ago.
const TIDY: Duration = Duration::from_secs(20);

/// How long it may take to go when told, with its lame duck and a deadline.
const GO: Duration = Duration::from_secs(25);

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub attack: Attack,
    pub server: &'static Server,
    pub seen: Seen,
    /// Connections still owned when the attackers had gone.
    pub left: usize,
    /// Bytes resident then.
    pub after: u64,
    /// Whether it answered then.
    pub answers: bool,
    /// Whether it went in peace when told.
    pub goes: bool,
}

/// What was seen meanwhile.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Shortest first.
    pub held: Vec<Held>,
    /// At once.
    pub most_held: usize,
    pub alone: Good,
    pub beside: Good,
    /// Bytes resident, before and at the most.
    pub before: u64,
    pub peak: u64,
}

impl Seen {
    /// How long the connection in the middle was held.
    pub fn median(&self) -> Option<Held> {
        self.held.get(self.held.len() / 2).copied()
    }

    pub fn longest(&self) -> Option<Held> {
        self.held.last().copied()
    }
}

/// Does it.
pub fn run(
    attack: Attack,
    server: &'static Server,
    yard: &Yard,
    watch: &Watch,
    plan: &Plan,
) -> Result<Outcome, Error> {
    let running = yard.start(server, attack.descriptors(), plan.ours(&attack))?;
    watch.begin(running.addr.port());
    let alone = good(&running, ALONE.0, ALONE.1)?;
    let mut seen = besiege(attack, &running, watch, plan, alone)?;
    seen.held.sort_unstable_by_key(|held| held.time);
    let left = left(&running, watch);
    let after = running.memory();
    let answers = good(&running, ALONE.0, 1)?.failures == 0;
    Ok(Outcome {
        attack,
        server,
        left,
        after,
        answers,
        goes: running.stop(GO),
        seen,
    })
}

/// The attack, with a good client beside it.
fn besiege(
    attack: Attack,
    running: &Running,
    watch: &Watch,
    plan: &Plan,
    alone: Good,
) -> Result<Seen, Error> {
    let (stop, enough) = (CancellationToken::new(), CancellationToken::new());
    let before = running.memory();
    let begun = Instant::now();
    let attackers = attackers(attack, running, plan, stop.clone());
    sleep(plan.lead(&attack));
    let (pace, most) = plan.pace(&attack);
    let beside = ask(running.addr, pace, most, enough.clone());
    let peak = await_end(attack, running, watch, begun, plan.bound(&attack));
    let port = running.addr.port();
    let (held, most_held) = (watch.held(port), watch.peak(port));
    enough.cancel();
    let beside = joined(beside)?;
    stop.cancel();
    let told = joined(attackers)?;
    Ok(Seen {
        held: if told.is_empty() { held } else { told },
        most_held,
        alone,
        beside,
        before,
        peak: peak.max(before),
    })
}

/// Waits until its time is over, or nobody is held any more and nobody comes back; gives the most
/// memory used.
fn await_end(
    attack: Attack,
    running: &Running,
    watch: &Watch,
    begun: Instant,
    bound: Duration,
) -> u64 {
    let mut peak = 0;
    while begun.elapsed() < bound {
        peak = peak.max(running.memory());
        let over = attack.only_holds() && watch.open(running.addr.port()) == 0;
        if over && begun.elapsed() > BEGIN {
            break;
        }
        sleep(LOOK);
    }
    peak
}

/// In a thread of their own, until told to stop or their time is over: then their sockets close.
fn attackers(
    attack: Attack,
    running: &Running,
    plan: &Plan,
    stop: CancellationToken,
) -> JoinHandle<Result<Vec<Held>, Error>> {
    let (addr, connections, bound) = (running.addr, plan.connections(), plan.bound(&attack));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let target = Target {
                addr,
                connections,
                until: tokio::time::Instant::now() + bound,
            };
            if attack.tells() {
                return attack.run(target).await;
            }
            let done = stop.run_until_cancelled(attack.run(target)).await;
            stop.cancelled().await;
            done.unwrap_or(Ok(Vec::new()))
        })
    })
}

/// A good client alone.
fn good(running: &Running, pace: Duration, most: usize) -> Result<Good, Error> {
    joined(ask(running.addr, pace, most, CancellationToken::new()))
}

fn joined<T>(thread: JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    thread.join().map_err(|_| "a thread panicked")?
}

/// Waits until the server is rid of the attackers, and gives how many it is not.
fn left(running: &Running, watch: &Watch) -> usize {
    let begun = Instant::now();
    loop {
        let left = watch.open(running.addr.port());
        if left == 0 || begun.elapsed() > TIDY {
            return left;
        }
        sleep(LOOK);
    }
}
