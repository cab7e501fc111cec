//! [`Parking`]: an HTTP/1 connection that keeps hyper's part of it only while there is something to do.
//!
//! What hyper keeps of an idle connection, a read buffer of 8 KiB before all, is as much as TLS does. So a
//! connection is *parked* at the strike of its timer that finds it idle: hyper's part is taken apart, and built
//! anew when the next byte comes. Meanwhile the stream is read and flushed as hyper would do it, and so watches
//! the time, the phase and the room for others as ever; what is an end to an idle hyper is one here.
//!
//! ```text
//!             a byte                     EOF, an error
//!   Parked ───────────▶ Active   Parked ───────────────▶ Ending ──▶ flushed, shut down
//!     ▲                   │
//!     └───────────────────┘
//!       the timer has struck, and nothing is left in hyper
//! ```
//!
//! The timer strikes each write time-out in any case. So nothing is asked on the way of a request, a busy
//! connection is built anew no more than once in that time, and an idle one has given its memory back after it.
//! So no more have one than were used within that time, and nobody has to choose among them.
//!
//! A client that has not said anything yet is no other: a connection that were born parked would have to be read
//! twice for its first request, and the buffer would be taken while TLS has one, which leaves a hole.
//!
//! # When nothing is left in hyper
//!
//! - All that it was given was a whole request, or several, each answered; what it said has been flushed,
//!   nothing of a next request has come, and the client's direction is open: the ledger knows.
//! - It asked for more at the strike, and there was nothing. It does so only where its buffer holds nothing
//!   more that it can use. A body that a handler does not read stays there, and hyper does not ask.
//! - It also asked for more before the last answer began. A body that was decoded only after the answer
//!   was, for a task that goes on with it, leaves hyper with the sender of that body: if it were dropped, the
//!   task would take the body to be cut. So a connection whose last request had a body that its handler left
//!   behind is not parked before the next one; nor any where hyper does not look for the end of a client that
//!   waits (`half_close`).
//!
//! An upgrade that was asked for and declined is over at the answer, and whoever still waits for it is told so
//! when the connection is parked; hyper tells it at the next such request, or at the end.
//!
//! What is found in hyper's buffer all the same, such as an empty line, is given to the next one first.

use std::{
    error::Error as StdError,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http_body::Body;
use hyper::{
    body::Incoming,
    rt::{Read, ReadBuf, ReadBufCursor, Write},
    server::conn::http1::{Builder, Parts, UpgradeableConnection},
    service::HttpService,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{connection::TlsConnection, stream::GracefulStream};

type BoxError = Box<dyn StdError + Send + Sync>;

/// One connection.
pub(super) struct Parking<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming>,
{
    state: State<IO, S>,
    builder: Arc<Builder>,
    connection: TlsConnection,
}

/// Each has the stream; hyper's part has a box, which goes with it.
enum State<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming>,
{
    Parked(Lent<IO>, S),
    Active(Box<UpgradeableConnection<Lent<IO>, S>>),
    Ending(Lent<IO>),
    Over,
}

// Neither the stream nor the service is ever pinned.
impl<IO, S> Unpin for Parking<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming>,
{
}

impl<IO, S, B> Future for Parking<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<(), BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Active(protocol) => match Pin::new(&mut **protocol).poll(cx) {
                    Poll::Ready(end) => return Poll::Ready(end.map_err(Into::into)),
                    Poll::Pending if !this.connection.takes_rest() => return Poll::Pending,
                    Poll::Pending => {
                        if !this.park() {
                            return Poll::Pending;
                        }
                    }
                },
                State::Parked(io, _) => match ready!(io.poll_parked(cx))? {
                    Some(byte) => this.activate(Ahead::Byte(byte)),
                    None => this.end(),
                },
                State::Ending(io) => {
                    ready!(Pin::new(&mut *io).poll_flush(cx))?;
                    return Pin::new(io).poll_shutdown(cx).map_err(Into::into);
                }
                State::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<IO, S, B> Parking<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(builder: Arc<Builder>, stream: Box<GracefulStream<IO>>, service: S) -> Self {
        let connection = stream.connection().clone();
        let io = Lent {
            io: TokioIo::new(stream),
            ahead: Ahead::Nothing,
        };
        let protocol = builder.serve_connection(io, service);
        Self {
            state: State::Active(Box::new(protocol.with_upgrades())),
            builder,
            connection,
        }
    }

    /// The task is woken as before: the stream was read a moment ago. Whether it has to be polled at once.
    #[cold]
    #[inline(never)]
    fn park(&mut self) -> bool {
        let State::Active(protocol) = mem::replace(&mut self.state, State::Over) else {
            return true;
        };
        let Some(parts) = protocol.into_parts() else {
            return true;
        };
        let Parts {
            io,
            read_buf,
            service,
            ..
        } = parts;
        self.state = State::Parked(io, service);
        let left = !read_buf.is_empty();
        if left {
            self.activate(Ahead::Bytes(read_buf.to_vec()));
        }
        left
    }

    #[cold]
    #[inline(never)] // or each poll pays for the room that the stream is moved by
    fn activate(&mut self, ahead: Ahead) {
        // A parked connection is found at rest at each strike.
        self.connection.takes_rest();
        let parked = mem::replace(&mut self.state, State::Over);
        if let State::Parked(mut io, service) = parked {
            io.ahead = ahead;
            let protocol = self.builder.serve_connection(io, service);
            self.state = State::Active(Box::new(protocol.with_upgrades()));
        }
    }

    #[cold]
    #[inline(never)]
    fn end(&mut self) {
        let parked = mem::replace(&mut self.state, State::Over);
        if let State::Parked(io, _) = parked {
            self.state = State::Ending(io);
        }
    }
}

/// What was read before hyper was there to do it.
enum Ahead {
    Nothing,
    Byte(u8),
    Bytes(Vec<u8>),
}

/// The stream as hyper sees it, until it is parked or upgraded.
struct Lent<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    io: TokioIo<Box<GracefulStream<IO>>>,
    ahead: Ahead,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Lent<IO> {
    /// What hyper does with a connection that is idle: it reads, and flushes. The byte that comes; `None`
    /// where it would shut down, as it does after an error of reading too.
    ///
    /// One byte, for hyper reads the rest where it is to be.
    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<u8>>> {
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        match Pin::new(&mut *self).poll_read(cx, buf.unfilled()) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(buf.filled().first().copied())),
            Poll::Ready(Err(_)) => Poll::Ready(Ok(None)),
            Poll::Pending => match Pin::new(self).poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            },
        }
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut TokioIo<Box<GracefulStream<IO>>>> {
        Pin::new(&mut self.get_mut().io)
    }

    #[cold]
    fn give(&mut self, mut buf: ReadBufCursor<'_>) {
        let ahead = match mem::replace(&mut self.ahead, Ahead::Nothing) {
            Ahead::Nothing => Vec::new(),
            Ahead::Byte(byte) => return buf.put_slice(&[byte]),
            Ahead::Bytes(bytes) => bytes,
        };
        let (now, later) = ahead.split_at(ahead.len().min(buf.remaining()));
        buf.put_slice(now);
        if !later.is_empty() {
            self.ahead = Ahead::Bytes(later.to_vec());
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Read for Lent<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !matches!(self.ahead, Ahead::Nothing) {
            self.get_mut().give(buf);
            return Poll::Ready(Ok(()));
        }
        self.io().poll_read(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Write for Lent<IO> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}
