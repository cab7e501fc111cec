//! [`Turns`]: an HTTP/2 connection whose task runs its streams, by way of [`inline`](crate::inline).
//!
//! hyper writes after each stream that it takes. [`Corked`] keeps that back while there are more that have
//! come: the ledger knows how many the client has begun, the executor how many hyper has taken. So what many
//! streams answer goes in one write, as if each had a task. Where they do not agree, because one was refused,
//! hyper is polled once more. The cork alone would send that together as well, but in a record for each answer:
//! at 100 streams that costs a quarter more of the CPU.
//!
//! What hyper has written by the end of its poll is poured then: the connection has been polled, and nobody is
//! going to write more. It is not polled for that again.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};

use super::corked::Corked;
use crate::{
    connection::TlsConnection,
    inline::{Filter, Turn},
};

pin_project! {
    /// hyper's connection.
    pub(super) struct Turns<C, IO>
    where
        IO: AsyncRead,
        IO: AsyncWrite,
        IO: Unpin,
        IO: Send,
        IO: 'static,
    {
        #[pin]
        protocol: C,
        stream: Corked<IO>,
        connection: TlsConnection,
        turn: Turn,
        filter: Option<(Arc<Filter>, Waker)>,
    }
}

impl<C, IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Turns<C, IO> {
    pub(super) fn new(protocol: C, stream: Corked<IO>, connection: TlsConnection) -> Self {
        Self {
            protocol,
            stream,
            connection,
            turn: Turn::NONE,
            filter: None,
        }
    }
}

impl<C, IO> Future for Turns<C, IO>
where
    C: Future,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        if this.connection.context().settings.handlers_may_block {
            // The executor finds that no connection is polled, and spawns.
            let polled = this.protocol.poll(cx);
            if polled.is_pending() {
                this.stream.pour(cx);
            }
            return polled;
        }
        let known = this.filter.take();
        let known = known.filter(|(filter, _)| filter.is_of(cx.waker()));
        let (filter, waker) = this.filter.insert(known.unwrap_or_else(|| {
            let filter = Filter::new(cx.waker());
            (filter.clone(), filter.into())
        }));
        let mut filtered = Context::from_waker(waker);
        let turn = this.turn;
        turn.begin();
        let mut polled = turn.run(filter, || this.protocol.as_mut().poll(&mut filtered));
        turn.has_taken(this.connection.requests().begun);
        if polled.is_pending() && turn.lets_go() {
            polled = turn.run(filter, || this.protocol.as_mut().poll(&mut filtered));
            turn.has_taken(this.connection.requests().begun);
        }
        if polled.is_pending() {
            this.stream.pour(&mut filtered);
            if turn.is_woken() {
                cx.waker().wake_by_ref();
            }
        }
        polled
    }
}
