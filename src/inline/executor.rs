//! [`Executor`]: polls a future once, and spawns it if it is pending.

use std::{
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use pin_project_lite::pin_project;
use tokio_util::sync::ReusableBoxFuture;

use super::turn;

thread_local! {
    /// The allocation of the last future that was ready: the next one is mostly of its kind.
    static SPARE: Cell<Option<Boxed>> = const { Cell::new(None) };
}

type Boxed = ReusableBoxFuture<'static, ()>;

/// What runs the streams of an HTTP/2 connection that [`GracefulTls::serve`](crate::GracefulTls::serve) and
/// [`serve_connection`](crate::GracefulTls::serve_connection) serve.
///
/// A stream whose handler has its answer without waiting is answered in the connection's task; all others
/// have a task each, as with hyper-util's `TokioExecutor`. It is the type parameter of the hyper builder in
/// [`Builder::http2`](crate::Builder::http2), and there is nothing to do with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        match turn::takes() {
            true => turn::runs(|| first_poll(future)),
            false => drop(tokio::spawn(future)),
        }
    }
}

fn first_poll<F>(future: F)
where
    F: Future + Send + 'static,
{
    let mut boxed = boxed(future);
    // It is not looked at after a panic.
    let polled = catch_unwind(AssertUnwindSafe(move || {
        let mut cx = Context::from_waker(Waker::noop());
        (boxed.poll(&mut cx).is_pending(), boxed)
    }));
    match polled {
        Ok((true, pending)) => drop(tokio::spawn(pending)),
        Ok((false, spare)) => SPARE.set(Some(spare)),
        // The hook has told of it. What was thrown may throw when it is dropped.
        Err(panic) => drop(catch_unwind(AssertUnwindSafe(|| drop(panic)))),
    }
}

fn boxed<F: Future + Send + 'static>(future: F) -> Boxed {
    let future = Once {
        future: Some(future),
    };
    match SPARE.take() {
        Some(mut spare) => {
            spare.set(future);
            spare
        }
        None => Boxed::new(future),
    }
}

pin_project! {
    /// A future that is dropped when it is ready, and leaves its place.
    struct Once<F> {
        #[pin]
        future: Option<F>,
    }
}

impl<F: Future> Future for Once<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut place = self.project().future;
        if let Some(future) = place.as_mut().as_pin_mut() {
            drop(ready!(future.poll(cx)));
        }
        place.set(None);
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use hyper::rt::Executor as _;
    use tokio::{sync::oneshot, task};

    use super::*;
    use crate::inline::{Filter, Turn};

    /// What is so after a poll of a connection that does this. The test is in no task.
    fn polled(poll: impl FnOnce(&Waker)) -> Turn {
        let filter = Filter::new(Waker::noop());
        let mut turn = Turn::NONE;
        turn.begin();
        turn.run(&filter, || poll(&filter.clone().into()));
        turn
    }

    #[tokio::test]
    async fn what_is_ready_is_over_at_once() {
        let (sender, mut receiver) = oneshot::channel();
        polled(|_| Executor.execute(async { sender.send(task::try_id()) }));
        assert_eq!(receiver.try_recv(), Ok(None));
    }

    #[tokio::test]
    async fn what_waits_gets_a_task() {
        let (sender, receiver) = oneshot::channel();
        let (go, wait) = oneshot::channel::<()>();
        polled(|_| {
            Executor.execute(async {
                let _ = wait.await;
                let _ = sender.send(task::try_id());
            });
        });
        go.send(()).unwrap();
        assert!(receiver.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn elsewhere_it_has_one_from_the_start() {
        let (sender, receiver) = oneshot::channel();
        Executor.execute(async { sender.send(task::try_id()) });
        assert!(receiver.await.unwrap().is_some());
        let (sender, receiver) = oneshot::channel();
        polled(|_| {
            Executor.execute(async { Executor.execute(async { sender.send(task::try_id()) }) })
        });
        assert!(receiver.await.unwrap().is_some(), "a stream's own");
    }

    #[tokio::test]
    async fn a_panic_ends_itself() {
        struct Thrower;
        impl Drop for Thrower {
            fn drop(&mut self) {
                panic!("on purpose, again");
            }
        }
        let kept = Arc::new(());
        let held = kept.clone();
        polled(|_| Executor.execute(async { panic!("on purpose") }));
        polled(|_| {
            Executor.execute(async move {
                let _held = held;
                std::panic::panic_any(Thrower)
            });
        });
        assert_eq!(Arc::strong_count(&kept), 1);
        let (sender, mut receiver) = oneshot::channel();
        polled(|_| Executor.execute(async { sender.send(()) }));
        assert_eq!(receiver.try_recv(), Ok(()), "others go on");
    }

    #[tokio::test]
    async fn a_wake_is_remembered_until_hyper_reads() {
        let wakes = |waker: &Waker| {
            let waker = waker.clone();
            async move { waker.wake() }
        };
        let woken = polled(|waker| Executor.execute(wakes(waker)));
        assert!(woken.is_woken());
        let read = polled(|waker| {
            Executor.execute(wakes(waker));
            crate::inline::reads();
        });
        assert!(!read.is_woken());
        let other = polled(|waker| {
            let waker = waker.clone();
            Executor.execute(async move { thread::spawn(|| waker.wake()).join().unwrap() });
        });
        assert!(!other.is_woken(), "the task itself was");
    }
}
