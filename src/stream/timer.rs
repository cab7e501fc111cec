//! The one timer of a connection.
//!
//! It is hardly ever reset: it is set for no later than the earliest thing that may come due, and for
//! no later than the write time-out, since nothing else tells that a peer has stopped to acknowledge.
//! When it fires, the stream looks at what has really happened since, and sets it anew; a busy
//! connection pays for that once in many requests.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Waker},
};

use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use crate::connection::TlsConnection;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// One that has to be [set](Self::set): `sleep` is of another deadline, and of another's.
    pub(super) fn new(sleep: Option<Pin<Box<Sleep>>>) -> Self {
        Self { sleep }
    }

    /// Whether it has fired, and was not set since.
    #[inline]
    pub(super) fn has_fired(&self) -> bool {
        self.sleep.as_ref().is_some_and(|sleep| sleep.is_elapsed())
    }

    /// Sees to it that it fires by `due`, and the connection's tasks are woken then.
    #[inline]
    pub(super) fn fires_by(&mut self, due: Instant, connection: &TlsConnection) {
        match &self.sleep {
            Some(sleep) if sleep.deadline() <= due || sleep.is_elapsed() => {}
            _ => self.set(due, connection),
        }
    }

    /// Sets it for `due`.
    pub(super) fn set(&mut self, due: Instant, connection: &TlsConnection) {
        match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(due);
                register(sleep, connection);
            }
            None => register(self.sleep.insert(Box::pin(sleep_until(due))), connection),
        }
    }

    /// For whoever ends the connection.
    pub(super) fn take(&mut self) -> Option<Pin<Box<Sleep>>> {
        self.sleep.take()
    }
}

/// Registers the timer with a waker that finds the connection's tasks, wherever they move.
///
/// In a task whose budget is used up a timer says that it is pending and registers nothing: so it
/// is polled outside of any budget.
fn register(sleep: &mut Pin<Box<Sleep>>, connection: &TlsConnection) {
    let waker: Waker = connection.waker();
    let mut sleep = unconstrained(sleep.as_mut());
    let fired = Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker));
    // Where it has fired already, the next poll of the stream sees it: make sure there is one.
    if fired.is_ready() {
        waker.wake();
    }
}
