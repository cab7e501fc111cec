//! [`Turns`]: an HTTP/2 connection whose task runs its streams, by way of [`inline`](crate::inline).
//!
//! hyper writes after each stream that it takes. [`Held`] keeps that back while there are more that have
//! come: the ledger knows how many the client has begun, the executor how many hyper has taken. So what many
//! streams answer goes in one write, as if each had a task. Where they do not agree, because one was refused,
//! hyper is polled once more.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    connection::TlsConnection,
    inline::{self, Filter, Turn},
    stream::GracefulStream,
};

pin_project! {
    /// hyper's connection.
    pub(super) struct Turns<C> {
        #[pin]
        protocol: C,
        connection: TlsConnection,
        turn: Turn,
        filter: Option<(Arc<Filter>, Waker)>,
    }
}

impl<C> Turns<C> {
    pub(super) fn new(protocol: C, connection: TlsConnection) -> Self {
        Self {
            protocol,
            connection,
            turn: Turn::NONE,
            filter: None,
        }
    }
}

impl<C: Future> Future for Turns<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        if this.connection.context().settings.handlers_may_block {
            // The executor finds that no connection is polled, and spawns.
            return this.protocol.poll(cx);
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
        if polled.is_pending() && turn.is_woken() {
            cx.waker().wake_by_ref();
        }
        polled
    }
}

/// The stream as hyper sees it.
pub(super) struct Held<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    io: TokioIo<GracefulStream<IO>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Held<IO> {
    pub(super) fn new(stream: GracefulStream<IO>) -> Self {
        Self {
            io: TokioIo::new(stream),
        }
    }

    /// The task needs no wake: it polls again by itself.
    fn is_held(&self) -> bool {
        inline::holds(self.io.inner().connection().requests().begun)
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut TokioIo<GracefulStream<IO>>> {
        Pin::new(&mut self.get_mut().io)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Read for Held<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        inline::reads();
        self.io().poll_read(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Write for Held<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.is_held() {
            true => Poll::Pending,
            false => self.io().poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.is_held() {
            true => Poll::Pending,
            false => self.io().poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}
