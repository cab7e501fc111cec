//! The register of open connections, and how those ended that are not open any more.
//!
//! Each connection enters once and leaves once, under a mutex that no poll ever takes. A shutdown
//! walks over it to wake everybody, which is linear in connections, and adds up what is in flight
//! only when somebody asks: steady state pays for no shared counter. Observers are told here of what
//! happens to connections, and of phases in their turn; what a shutdown cuts is remembered for its report.
//! `places` caps how many of them may drain at once, `room` says who makes room for another connection.

mod places;
mod room;

use std::{
    cmp::Reverse,
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use slab::Slab;
use tokio::time::Instant;

use crate::{
    connection::{ConnectionStats, TlsConnection, TrackedRequest},
    context::Occupied,
    ending::{Cause, CutBy, Outcome, Resets},
    observe::{self, Cut, Ended, Observed, WeaklyObserved},
    phase::{Phase, Turned},
    tally::{Tallies, Tally, Totals},
};

pub(crate) use places::Place;
use places::Places;
use room::GivingWay;
pub(crate) use room::PATIENCE;

/// How many of those that were cut short are remembered.
const MOST_CUT: usize = 1000;

/// Every connection whose descriptor is open, and how those ended that are not.
#[derive(Debug)]
pub(crate) struct Register {
    open: Mutex<Slab<TlsConnection>>,
    draining: Arc<Places>,
    giving_way: Mutex<GivingWay>,
    turns: Mutex<Turns>,
    /// From the beginning of a shutdown on.
    cut: Mutex<Option<AllCut>>,
    pub(crate) tallies: Tallies,
}

/// What the server has cut short of the connections that have ended in a shutdown.
#[derive(Debug)]
pub(crate) struct AllCut {
    /// When it began.
    since: Instant,
    /// The first of those that were cut in it.
    pub(crate) now: Vec<Cut>,
    /// How many were cut only before.
    pub(crate) before: u64,
}

impl AllCut {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            now: Vec::new(),
            before: 0,
        }
    }
}

/// Who is told of phases, and of which they are yet to be told.
#[derive(Debug, Default)]
struct Turns {
    observers: Vec<WeaklyObserved>,
    untold: VecDeque<Turn>,
    /// Somebody tells of them.
    telling: bool,
}

/// A phase to be told of, and what waits until that is done.
type Turn = (Phase, Option<Turned>);

impl Turns {
    /// Those who are kept. The others are forgotten.
    fn kept(&mut self) -> Vec<Observed> {
        self.observers.retain(|of| of.upgrade().is_some());
        let kept = self.observers.iter();
        kept.filter_map(WeaklyObserved::upgrade).collect()
    }
}

/// How much there is left to wait for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Left {
    pub(crate) connections: usize,
    pub(crate) requests: u64,
}

impl Register {
    /// `draining` connections may drain at once.
    pub(crate) fn new(draining: usize) -> Self {
        Self {
            open: Mutex::default(),
            draining: Arc::new(Places::new(draining)),
            giving_way: Mutex::default(),
            turns: Mutex::default(),
            cut: Mutex::default(),
            tallies: Tallies::default(),
        }
    }

    /// Has one more told of the phases that the shutdown comes to, as long as somebody keeps it.
    pub(crate) fn tell_phases_to(&self, observed: &Observed) {
        if observed.is_observed() {
            self.turns().observers.push(observed.weak());
        }
    }

    /// All of them.
    pub(crate) fn observers(&self) -> Vec<Observed> {
        self.turns().kept()
    }

    /// The shutdown has come to `phase`. To be called in the order in which they come. What waits for `turned`
    /// waits until observers have been told.
    pub(crate) fn note_phase(&self, phase: Phase, turned: Option<Turned>) {
        self.turns().untold.push_back((phase, turned));
    }

    /// Tells of the phases that have been noted, unless somebody does already: who is told may come back, so
    /// not under a lock, and what comes meanwhile is told after that.
    pub(crate) fn tell_phases(&self) {
        if std::mem::replace(&mut self.turns().telling, true) {
            return;
        }
        while let Some(((phase, turned), observers)) = self.next_untold() {
            for observed in observers {
                observed.tell(|of| of.phase(phase));
            }
            drop(turned);
        }
    }

    fn next_untold(&self) -> Option<(Turn, Vec<Observed>)> {
        let mut turns = self.turns();
        let next = turns.untold.pop_front();
        turns.telling = next.is_some();
        Some((next?, turns.kept()))
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters `connection`, which leaves with what it occupies when its teardown is over.
    pub(crate) fn enter(
        self: &Arc<Self>,
        connection: TlsConnection,
        occupied: Occupied,
        observed: Observed,
    ) -> Registration {
        let key = self.lock().insert(connection.clone());
        Registration {
            register: self.clone(),
            connection,
            key,
            cut: CutBy::Nobody,
            was_cut: false,
            failed_at: None,
            resets: Resets::default(),
            occupied,
            observed,
        }
    }

    /// Wakes every connection, so that it looks at the phase.
    pub(crate) fn wake_all(&self) {
        // A waker runs foreign code, a lock must not be held for it.
        for connection in self.open() {
            connection.wake();
        }
    }

    /// Every open connection.
    pub(crate) fn open(&self) -> Vec<TlsConnection> {
        self.lock().iter().map(|(_, of)| of.clone()).collect()
    }

    /// A connection has ended that the server has cut short, at this moment or by its end: a report says which.
    fn note_cut(&self, connection: &TlsConnection, cause: Cause, at: Option<Instant>) {
        let mut all = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = &mut *all {
            match at.is_some_and(|at| at < all.since) {
                true => all.before += 1,
                false if all.now.len() < MOST_CUT => all.now.push(Cut::new(connection, cause)),
                false => {}
            }
        }
    }

    /// A shutdown begins: from now on it is noted what is cut short. What `look` sees is of the same moment.
    pub(crate) fn watch_cuts<T>(&self, look: impl FnOnce() -> T) -> T {
        self.count(|| {
            *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(AllCut::new());
            look()
        })
    }

    /// What has been cut short since the shutdown began, and what `look` sees at the same moment.
    pub(crate) fn take_cuts<T>(&self, look: impl FnOnce() -> T) -> (AllCut, T) {
        self.count(|| {
            let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
            (cut.take().unwrap_or_else(AllCut::new), look())
        })
    }

    /// The requests that have been in flight longest, as far as they are known by name, and whose.
    pub(crate) fn longest(&self, most: usize) -> Vec<(TrackedRequest, Option<SocketAddr>)> {
        let mut all = Vec::new();
        for connection in self.open() {
            let peer = connection.remote_addr();
            let tracked = connection.tracked_requests().into_iter();
            all.extend(tracked.map(|of| (of, peer)));
        }
        all.sort_by_key(|(of, _)| Reverse(of.age));
        all.truncate(most);
        all
    }

    /// The connections that have been open longest.
    pub(crate) fn oldest(&self, most: usize) -> Vec<ConnectionStats> {
        let mut all = self.open();
        all.sort_by_key(TlsConnection::id);
        all.iter().take(most).map(TlsConnection::stats).collect()
    }

    /// What an open connection counts for is counted in another place, in one step.
    fn count<T>(&self, count: impl FnOnce() -> T) -> T {
        let _open = self.lock();
        count()
    }

    /// Looks at every open connection, and at what the others have counted for, as of one moment.
    pub(crate) fn look(&self, look: impl FnOnce(&Slab<TlsConnection>, &[Arc<Tally>])) {
        let open = self.lock();
        look(&open, &self.tallies.all());
    }

    pub(crate) fn left(&self) -> Left {
        let open = self.lock();
        Left {
            connections: open.len(),
            requests: open
                .iter()
                .map(|(_, c)| u64::from(c.requests().in_flight))
                .sum(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<TlsConnection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry in the register. It moves from the stream to the teardown.
#[derive(Debug)]
pub(crate) struct Registration {
    register: Arc<Register>,
    connection: TlsConnection,
    key: usize,
    /// By its end.
    cut: CutBy,
    /// Its client was the cause that something was cut before.
    was_cut: bool,
    /// When the server last broke off an answer, if it has.
    failed_at: Option<Instant>,
    resets: Resets,
    occupied: Occupied,
    observed: Observed,
}

impl Registration {
    pub(crate) fn connection(&self) -> &TlsConnection {
        &self.connection
    }

    /// However well the teardown goes, an exchange was cut short.
    pub(crate) fn set_cut(&mut self, by: CutBy) {
        self.cut = by;
    }

    /// Whatever it ends for, so many answers have been broken off before, or there was something else that its
    /// client was the cause of.
    pub(crate) fn set_resets(&mut self, resets: Resets, was_cut: bool) {
        (self.resets, self.was_cut) = (resets, was_cut);
    }

    /// So many answers were broken off by the server, and the connection goes on.
    pub(crate) fn failed(&mut self, answers: u32) {
        if answers > 0 {
            self.failed_at = Some(Instant::now());
        }
        for _ in 0..answers {
            self.connection.fails();
            observe::log_failed(&self.connection);
            self.observed.tell(|of| of.request_failed(&self.connection));
        }
    }

    /// A place among those that drain; the connection that has drained longest gives way for it.
    pub(crate) fn place_to_drain(&self) -> Place {
        let place = self.register.draining.take(&self.connection);
        self.connection.context().room.change();
        place
    }

    /// Whether anybody is told of requests.
    pub(crate) fn is_observed(&self) -> bool {
        self.observed.is_observed()
    }

    /// So many requests have begun.
    pub(crate) fn requested(&self, requests: u32) {
        for _ in 0..requests {
            self.observed.tell(|of| of.request(&self.connection));
        }
    }

    /// It begins to end.
    pub(crate) fn closing(&self, cause: Cause) {
        self.connection.closes();
        self.observed.tell(|of| of.closing(&self.connection, cause));
    }

    /// Counts and logs how the connection ended.
    pub(crate) fn ended(&self, cause: Cause, outcome: Outcome) {
        let (cut, outcome) = self.judge(outcome);
        let connection = &self.connection;
        let ended = Ended::new(connection, cause, outcome, self.resets);
        let totals = Totals {
            requests: ended.requests.into(),
            requests_failed: ended.requests_failed.into(),
            received: ended.received,
            sent: ended.sent,
        };
        let by_server = cut == CutBy::Server;
        self.register.count(|| {
            connection.count_elsewhere();
            self.occupied.tally.count(cause, outcome, totals);
            if outcome == Outcome::Truncated {
                let at = (!by_server).then_some(self.failed_at).flatten();
                self.register.note_cut(connection, cause, at);
            }
        });
        observe::log(connection, &ended, by_server);
        self.observed.tell(|of| of.ended(connection, &ended));
    }

    /// Who has cut what is cut by the end itself, and what that makes of how the teardown went.
    fn judge(&self, outcome: Outcome) -> (CutBy, Outcome) {
        let cut = match self.connection.last_calls() {
            0 => self.cut,
            _ => CutBy::Server,
        };
        let outcome = match cut {
            // What the server has cut was lost before, whatever the peer does then.
            _ if self.resets.failed > 0 => Outcome::Truncated,
            CutBy::Server => Outcome::Truncated,
            CutBy::Peer => Outcome::Aborted,
            CutBy::Nobody if self.was_cut => Outcome::Aborted,
            CutBy::Nobody => outcome,
        };
        (cut, outcome)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // With its runtime, or the task that had to end it.
        if !self.connection.is_counted() {
            let cause = match self.connection.version() {
                Some(_) => Cause::Dropped,
                None => Cause::Handshake,
            };
            self.closing(cause);
            self.ended(cause, Outcome::Aborted);
        }
        let entry = self.register.lock().try_remove(self.key);
        drop(entry);
        self.connection.forget_tasks();
    }
}
