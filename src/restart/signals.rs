//! What a signal asks for.

use std::{future::poll_fn, io, task::Poll};

use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Request {
    Restart,
    Stop,
}

#[derive(Debug)]
pub(super) struct Signals([(Signal, Request); 4]);

impl Signals {
    /// Catches them from now on: before, they end the process.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self([
            (signal(SignalKind::user_defined2())?, Request::Restart),
            (signal(SignalKind::hangup())?, Request::Restart),
            (signal(SignalKind::terminate())?, Request::Stop),
            (signal(SignalKind::interrupt())?, Request::Stop),
        ]))
    }

    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Request {
        poll_fn(|cx| {
            for (signal, request) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*request);
                }
            }
            Poll::Pending
        })
        .await
    }
}
