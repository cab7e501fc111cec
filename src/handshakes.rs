//! The TLS handshakes that run, and which of them gives way when there are too many.
//!
//! Nobody waits for a turn: whoever floods the server with handshakes that never end would have all
//! the turns. When one more begins than may run, one gives way.
//!
//! Who has been silent for some time has to: soon, where its hello is not all in, for an honest client's
//! comes right behind its connection; later, where it was answered, for then a client needs a round trip
//! and has sums to do. Of those the one that is overdue longest. Where nobody has to give way, whoever
//! has just come waits in the listener's queue: in a stampede of honest clients nobody does.
//!
//! Whoever has to give way looks at its socket once more: what has arrived may not have been read yet,
//! where all come at once. Then it was not silent, and another gives way. The task of each is woken for that,
//! and at a shutdown's deadline.
//!
//! Looking for the one is linear in those that run, and done only when there are too many.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;
use tokio::time::Instant;

use crate::traffic::Traffic;

/// The handshakes of one server, or of several that share a shutdown.
#[derive(Debug)]
pub(crate) struct Handshakes {
    most: usize,
    /// What [`Handshake::heard`] counts from.
    epoch: Instant,
    running: Mutex<Slab<Arc<Handshake>>>,
}

impl Handshakes {
    /// `most` may run at once.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            epoch: Instant::now(),
            running: Mutex::default(),
        }
    }

    /// One more begins. If that is one too many, another gives way, if one has to.
    ///
    /// Once it was answered it has to give way when it has been silent for `patience`, before that in an
    /// eighth of it.
    pub(crate) fn begin(self: &Arc<Self>, patience: Duration) -> Running {
        let handshake = Arc::new(Handshake::new(self.epoch, patience));
        Running {
            key: self.enter(handshake.clone()),
            handshakes: self.clone(),
            handshake,
        }
    }

    fn enter(&self, handshake: Arc<Handshake>) -> usize {
        let mut running = self.lock();
        let evicted = match running.len() >= self.most {
            true => self.take(&mut running).ok().flatten(),
            false => None,
        };
        let key = running.insert(handshake);
        drop(running);

        if let Some(evicted) = evicted {
            evicted.wake();
        }
        key
    }

    /// Wakes every one: the phase has come in which they are given up.
    pub(crate) fn wake_all(&self) {
        // A waker runs foreign code, a lock must not be held for it.
        let running: Vec<_> = self.lock().iter().map(|(_, of)| of.clone()).collect();
        for handshake in running {
            handshake.wake();
        }
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.lock().len()
    }

    /// Whether one more would be one too many.
    pub(crate) fn is_full(&self) -> bool {
        self.running() >= self.most
    }

    /// When the next may begin: at once, unless there are too many of which none has to give way.
    pub(crate) fn next_may_begin(&self) -> Result<(), Instant> {
        let running = self.lock();
        match running.len() >= self.most {
            true => self.candidate(&running).map(drop),
            false => Ok(()),
        }
    }

    /// One gives way, if one has to; when to ask again, if nothing has changed by then: when one will have
    /// to, or whoever was told should have gone.
    pub(crate) fn evict(&self) -> Option<Instant> {
        let mut running = self.lock();
        let evicted = self.take(&mut running);
        drop(running);
        match evicted {
            Ok(evicted) => {
                let evicted = evicted?;
                evicted.wake();
                // It goes on if it was heard meanwhile.
                Some(Instant::now() + evicted.patience)
            }
            Err(due) => Some(due),
        }
    }

    fn take(&self, running: &mut Slab<Arc<Handshake>>) -> Result<Option<Arc<Handshake>>, Instant> {
        let Some(key) = self.candidate(running)? else {
            return Ok(None);
        };
        let evicted = running.try_remove(key);
        Ok(evicted.inspect(|of| of.evicted.store(of.heard(), Ordering::Release)))
    }

    /// Which one has to give way, or when one will have to; `None` where none runs.
    fn candidate(&self, running: &Slab<Arc<Handshake>>) -> Result<Option<usize>, Instant> {
        let due = |(key, of): (usize, &Arc<Handshake>)| (self.has_to_give_way(of), key);
        match running.iter().map(due).min() {
            Some((due, _)) if Instant::now() < due => Err(due),
            first => Ok(first.map(|(_, key)| key)),
        }
    }

    /// From when on, if its client says nothing until then.
    fn has_to_give_way(&self, handshake: &Handshake) -> Instant {
        let patience = match handshake.is_answered() {
            true => handshake.patience,
            false => handshake.patience / 8,
        };
        self.epoch + Duration::from_nanos(handshake.heard()) + patience
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Arc<Handshake>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It has not been evicted.
const NEVER: u64 = u64::MAX;

/// One handshake, as its transport and its acceptor see it.
#[derive(Debug)]
pub(crate) struct Handshake {
    epoch: Instant,
    /// How long its client may be silent once it was answered.
    patience: Duration,
    /// When its client was last heard, in nanoseconds: it has connected, or sent something.
    heard: AtomicU64,
    /// The server has answered its hello.
    answered: AtomicBool,
    expired: AtomicBool,
    /// What `heard` was when it had to give way; [`NEVER`] if it has not.
    evicted: AtomicU64,
    /// Its task, while it runs.
    waker: Mutex<Option<Waker>>,
    /// Of its connection, for as long as that lives: so that it needs no allocation of its own.
    pub(crate) traffic: Traffic,
}

impl Handshake {
    pub(crate) fn new(epoch: Instant, patience: Duration) -> Self {
        let handshake = Self {
            epoch,
            patience,
            heard: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            evicted: AtomicU64::new(NEVER),
            waker: Mutex::default(),
            traffic: Traffic::default(),
        };
        handshake.hear();
        handshake
    }

    /// Its client has sent something.
    pub(crate) fn hear(&self) {
        let heard = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.heard.store(heard, Ordering::Relaxed);
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// The server says something.
    pub(crate) fn answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Its time is up.
    pub(crate) fn expire(&self) {
        self.expired.store(true, Ordering::Release);
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.expired.load(Ordering::Acquire)
    }

    /// Its task sees to it that it is woken.
    fn set_waker(&self, task: &Waker) {
        let mut waker = self.waker();
        if !waker.as_ref().is_some_and(|known| known.will_wake(task)) {
            let known = waker.replace(task.clone());
            drop(waker);
            drop(known);
        }
    }

    fn wake(&self) {
        let waker = self.waker().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has given way to a newer one.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Acquire) != NEVER
    }
}

/// One among those that run, until it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    handshakes: Arc<Handshakes>,
    pub(crate) handshake: Arc<Handshake>,
    key: usize,
}

impl Running {
    /// Ready when it has to give way; until then the task is woken for that, and by [`Handshakes::wake_all`].
    ///
    /// What has arrived is to be read before: who has been heard does not give way.
    pub(crate) fn poll_evicted(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.handshake.set_waker(cx.waker());
        match self.handshake.is_evicted() && !self.goes_on() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Whether its client has been heard since it was evicted: then it takes the place of another.
    fn goes_on(&mut self) -> bool {
        let handshake = &self.handshake;
        let goes_on = handshake.heard() > handshake.evicted.load(Ordering::Acquire);
        if goes_on {
            handshake.evicted.store(NEVER, Ordering::Release);
            self.key = self.handshakes.enter(handshake.clone());
        }
        goes_on
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.handshakes.lock();
        // Another may have the key of one that was evicted.
        let left = match self.handshake.is_evicted() {
            true => None,
            false => running.try_remove(self.key),
        };
        drop(running);
        drop(left);
        // Its connection keeps it: not the task as well.
        let waker = self.handshake.waker().take();
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicU32, task::Wake};

    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_one_that_has_been_silent_longest_gives_way() {
        let all = Arc::new(Handshakes::new(3));
        let mut running = Vec::new();
        for _ in 0..3 {
            running.push(all.begin(PATIENCE));
            advance(Duration::from_millis(1)).await;
        }
        advance(PATIENCE / 8).await;
        // The first has spoken since: so it is the second.
        running[0].handshake.hear();
        running.push(all.begin(PATIENCE));
        let evicted: Vec<_> = running.iter().map(|of| of.handshake.is_evicted()).collect();
        assert_eq!(evicted, [false, true, false, false]);
        poll_fn(|cx| running[1].poll_evicted(cx)).await;

        // The one that took its key stays when it leaves.
        drop(running.remove(1));
        assert_eq!(all.lock().len(), 3);
        running.clear();
        assert_eq!(all.lock().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_room_nobody_gives_way() {
        let all = Arc::new(Handshakes::new(1));
        drop(all.begin(PATIENCE));
        let second = all.begin(PATIENCE);
        assert!(!second.handshake.is_evicted());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_has_to_before_its_time() {
        let all = Arc::new(Handshakes::new(2));
        let [first, second] = [all.begin(PATIENCE), all.begin(PATIENCE)];
        let begun = Instant::now();
        first.handshake.answer();
        assert_eq!(all.next_may_begin(), Err(begun + PATIENCE / 8));
        assert_eq!(all.evict(), Some(begun + PATIENCE / 8));
        // Who does not ask is not refused.
        let third = all.begin(PATIENCE);
        third.handshake.answer();
        let evicted = || [&first, &second, &third].map(|of| of.handshake.is_evicted());
        assert_eq!(evicted(), [false; 3]);
        advance(PATIENCE / 8).await;
        assert_eq!(all.next_may_begin(), Ok(()));
        assert_eq!(all.evict(), Some(Instant::now() + PATIENCE));
        assert_eq!(evicted(), [false, true, false]);
        // Those that were answered have more.
        assert_eq!(all.evict(), Some(begun + PATIENCE));
        first.handshake.hear();
        advance(PATIENCE - PATIENCE / 8).await;
        assert_eq!(all.evict(), Some(Instant::now() + PATIENCE));
        assert_eq!(evicted(), [false, true, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_none_runs_none_gives_way() {
        assert_eq!(Handshakes::new(0).evict(), None);
    }

    #[derive(Default)]
    struct Task(AtomicU32);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn its_task_is_woken_while_it_runs_and_then_let_go() {
        let all = Arc::new(Handshakes::new(1));
        let task = Arc::new(Task::default());
        let waker = Waker::from(task.clone());
        let mut running = all.begin(PATIENCE);
        let handshake = running.handshake.clone();
        let polled = running.poll_evicted(&Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(waker);
        all.wake_all();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert_eq!(Arc::strong_count(&task), 2);
        drop(running);
        assert_eq!(Arc::strong_count(&task), 1, "its connection keeps it");
        all.wake_all();
        handshake.wake();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_been_heard_meanwhile_goes_on_and_another_gives_way() {
        let all = Arc::new(Handshakes::new(2));
        let [mut first, second] = [all.begin(PATIENCE), all.begin(PATIENCE)];
        advance(PATIENCE / 8).await;
        let _third = all.begin(PATIENCE);
        assert!(first.handshake.is_evicted() && !first.goes_on());
        advance(Duration::from_millis(1)).await;
        first.handshake.hear();
        assert!(first.goes_on() && !first.handshake.is_evicted());
        assert!(second.handshake.is_evicted());
        assert_eq!(all.lock().len(), 2);
    }
}
