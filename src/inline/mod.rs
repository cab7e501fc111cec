//! HTTP/2 streams that are answered in the task of their connection.
//!
//! hyper hands the future of each stream to an executor. hyper-util's spawns it: a task for each request,
//! which wakes the connection's when it has answered, which then is polled again to send that. Most handlers
//! do not wait for anything. So [`Executor`] polls the future once, within `execute`, and spawns it only if it
//! is pending then.
//!
//! It is polled there, and not gathered and polled later, for hyper polls the connection again after each
//! stream that it has taken from it: that sends what the stream has answered, with no further poll. So a wake
//! by which the stream asks for that poll is dropped: [`Filter`] is the waker that drops it, on the thread
//! and in the time of that first poll only, and if hyper did not read from the connection after it, the task
//! is woken after all. And there is nothing gathered that could be stranded: hyper calls `execute` from the
//! tasks of streams as well, and those futures are spawned, as all are where no connection is being polled.
//! A [`Turn`] is what a thread knows of the connection that it polls.
//!
//! What a future meets:
//!
//! * The waker of its first poll does nothing. If it is pending, it is spawned, and polled again at once by
//!   its own task with that task's waker.
//! * A panic ends it, as it would end its task: it is dropped, which resets the stream, and others go on.
//! * [`tokio::task::id`] is the connection's in the first poll, and so is tokio's budget of a task. Where a
//!   handler has used it up, it is pending, and gets a task and a budget of its own.
//! * Those of a connection run one after another, for half a millisecond in one poll of it. What has come
//!   beyond that is spawned, and so are the next ones, more and more of them while it goes on: handlers that
//!   compute do so on all workers. Until then one that blocks its thread, by `block_in_place` too, keeps up the
//!   other streams of its connection, and all that the connection's task does: where it waits for one of them it
//!   waits for ever. [`Builder::handlers_may_block`](crate::Builder::handlers_may_block) is for those.
//!
//! hyper and tokio are all it uses, and it knows nothing of connections.

mod executor;
mod turn;
mod waker;

pub use executor::Executor;
pub(crate) use turn::{Turn, holds, reads};
pub(crate) use waker::Filter;
