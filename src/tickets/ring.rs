//! [`Ring`]: the keys that open tickets, and the one among them that seals.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    error::TicketKeysError,
    key::{self, Key, Name},
};

const HOUR: u64 = 60 * 60;

/// The keys, and how long they and their tickets are good for.
#[derive(Debug)]
pub(super) struct Ring {
    keys: BTreeMap<Name, Arc<Key>>,
    sealing: Arc<Key>,
    /// Whether any of them has sealed here.
    has_sealed: AtomicBool,
    times: Times,
}

/// In seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    rotate_every: u64,
    pub(super) lifetime: u32,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            rotate_every: 6 * HOUR,
            lifetime: 12 * HOUR as u32,
        }
    }
}

impl Times {
    pub(super) fn rotate_every(&mut self, value: Duration) -> Result<(), TicketKeysError> {
        let seconds = seconds(value).ok_or(TicketKeysError::RotateEvery { value })?;
        self.rotate_every = seconds.into();
        Ok(())
    }

    pub(super) fn lifetime(&mut self, value: Duration) -> Result<(), TicketKeysError> {
        self.lifetime = seconds(value).ok_or(TicketKeysError::Lifetime { value })?;
        Ok(())
    }
}

/// A minute to seven days.
fn seconds(value: Duration) -> Option<u32> {
    let seconds = u32::try_from(value.as_secs()).ok()?;
    let longest = Duration::from_secs(7 * 24 * HOUR);
    (seconds >= 60 && value <= longest).then_some(seconds)
}

impl Ring {
    pub(super) fn new(sealing: Key) -> Self {
        let sealing = Arc::new(sealing);
        Self::of(vec![sealing.clone()], sealing)
    }

    /// `sealing` is one of the keys.
    pub(super) fn of(keys: Vec<Arc<Key>>, sealing: Arc<Key>) -> Self {
        Self {
            keys: keys.into_iter().map(|key| (key.name, key)).collect(),
            sealing,
            has_sealed: AtomicBool::new(false),
            times: Times::default(),
        }
    }

    pub(super) fn times(&mut self) -> &mut Times {
        &mut self.times
    }

    pub(super) fn lifetime(&self) -> u32 {
        self.times.lifetime
    }

    pub(super) fn sealing(&self) -> Arc<Key> {
        self.has_sealed.store(true, Ordering::Relaxed);
        self.sealing.clone()
    }

    /// The key that a ticket was sealed with.
    pub(super) fn of_ticket(&self, ticket: &[u8]) -> Option<Arc<Key>> {
        self.keys.get(key::name(ticket)?).cloned()
    }

    /// All of them, the one that seals first.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        let others = self
            .keys
            .values()
            .filter(|key| key.name != self.sealing.name);
        [&self.sealing].into_iter().chain(others).map(Arc::as_ref)
    }

    /// Whether the key that seals has to be followed by another.
    pub(super) fn is_due(&self, now: u64) -> bool {
        now.saturating_sub(self.sealing.made) >= self.times.rotate_every
    }

    /// From now on `next` seals.
    pub(super) fn rotate(&mut self, next: Key) {
        self.seal_with(Arc::new(next));
    }

    /// Whether there is a key of which every ticket has expired.
    pub(super) fn has_expired(&self, now: u64) -> bool {
        self.keys.values().any(|key| self.is_expired(key, now))
    }

    /// Those are gone.
    pub(super) fn prune(&mut self, now: u64) {
        let keys = std::mem::take(&mut self.keys).into_iter();
        self.keys = keys.filter(|(_, key)| !self.is_expired(key, now)).collect();
    }

    fn is_expired(&self, key: &Key, now: u64) -> bool {
        let opens_for = self.times.rotate_every + u64::from(self.times.lifetime);
        key.name != self.sealing.name && now.saturating_sub(key.made) >= opens_for
    }

    /// Goes on with another's keys, of which the first seals; its own open what they have sealed, if anything.
    pub(super) fn adopt(&mut self, keys: Vec<Arc<Key>>) {
        let Some(first) = keys.first().cloned() else {
            return;
        };
        if !*self.has_sealed.get_mut() {
            self.keys.remove(&self.sealing.name);
        }
        self.keys
            .extend(keys.into_iter().map(|key| (key.name, key)));
        self.sealing = first;
    }

    /// Has these in place of its own.
    pub(super) fn replace(&mut self, other: Self) {
        let times = self.times;
        *self = Self { times, ..other };
    }

    fn seal_with(&mut self, key: Arc<Key>) {
        self.keys.insert(key.name, key.clone());
        self.sealing = key;
    }
}
