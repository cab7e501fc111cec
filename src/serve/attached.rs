//! [`Attached`]: a task that is over when the future that waits for it is dropped.
//!
//! It uses tokio's tasks and nothing of this crate. Aborting a task drops what it holds when its runtime comes
//! to it, which is later, and never where nobody drives the runtime any more. A listener has to be
//! closed by then: whoever drops [`GracefulTls::serve`](crate::GracefulTls::serve) may bind its address the
//! next moment.

use std::{
    future::{Future, poll_fn},
    io,
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::task::JoinHandle;

/// A future that runs as a task; dropping it drops that future.
pub(super) struct Attached<F: Future> {
    future: Arc<Shared<F>>,
    task: JoinHandle<F::Output>,
}

/// `None` once it has been dropped.
struct Shared<F>(Mutex<Option<Pin<Box<F>>>>);

impl<F> Attached<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    pub(super) fn spawn(future: F) -> Self {
        let future = Arc::new(Shared(Mutex::new(Some(Box::pin(future)))));
        let shared = future.clone();
        let task = tokio::spawn(poll_fn(move |cx| shared.poll(cx)));
        Self { future, task }
    }
}

impl<F: Future> Shared<F> {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<F::Output> {
        match &mut *self.lock() {
            Some(future) => future.as_mut().poll(cx),
            // It is being aborted.
            None => Poll::Pending,
        }
    }
}

impl<F> Shared<F> {
    fn lock(&self) -> MutexGuard<'_, Option<Pin<Box<F>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future> Future for Attached<F> {
    /// An error if the runtime has dropped the task. A panic goes on here.
    type Output = io::Result<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.task).poll(cx));
        Poll::Ready(ended.map_err(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(cancelled) => io::Error::other(cancelled),
        }))
    }
}

impl<F: Future> Drop for Attached<F> {
    fn drop(&mut self) {
        self.task.abort();
        // Where a worker polls it right now, this waits for the end of that poll.
        let future = self.future.lock().take();
        drop(future);
    }
}
