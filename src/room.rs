//! Room for one more connection: who waits for it, and what tells them that there may be some.
//!
//! A connection that leaves, begins to drain or becomes idle may make room. It says so only while
//! somebody waits: that is all that this costs a request.

use std::sync::atomic::{AtomicUsize, Ordering, fence};

use tokio::sync::{Notify, futures::Notified};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Room {
    waiting: AtomicUsize,
    changed: Notify,
}

impl Room {
    /// From now on changes are told to whoever has this.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Either it sees what was changed before, or whoever changes it sees that somebody waits.
        fence(Ordering::SeqCst);
        Waiting(self)
    }

    /// Something has changed.
    #[inline]
    pub(crate) fn change(&self) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.tell();
        }
    }

    #[cold]
    fn tell(&self) {
        self.changed.notify_waiters();
    }
}

/// Somebody waits for room, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a Room);

impl Waiting<'_> {
    /// Resolves with the next change, once it has been enabled.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.0.changed.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
