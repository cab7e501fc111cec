//! The teardown's IO: does what the machine says.
//!
//! The driver works on the transport and the rustls session themselves. After a TLS error
//! tokio-rustls answers every flush with that error, and the alert that explains it would never
//! leave; `ServerConnection::write_tls` has no such memory.

use std::{
    future::Future,
    io::{self, Read, Write},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::rustls::ServerConnection;

use super::{Action, Cause, Machine, Outcome, Seat};
use crate::{
    connection::{Interest, TlsConnection},
    shutdown::Registration,
    transport::Transport,
};

/// How much is read at once when there is no TLS session left to read through.
const DISCARD: usize = 16 * 1024;

/// What one attempt to read came to.
enum Discarded {
    Bytes(usize),
    PeerClosed,
}

/// Ends one connection, and resolves when its descriptor may be closed.
///
/// Cancel safety: dropped before it is done, it makes one last attempt that does not block.
pub(crate) struct Teardown<IO: AsyncRead + AsyncWrite + Unpin> {
    io: Transport<IO>,
    /// `None` where there is no session to speak of: a failed handshake, a failed session.
    session: Option<ServerConnection>,
    machine: Machine,
    cause: Cause,
    /// Bytes the transport had taken when the machine was last told of progress.
    written: u64,
    sleep: Option<Pin<Box<Sleep>>>,
    seat: Option<Seat>,
    registration: Registration,
    done: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Teardown<IO> {
    /// `notify` asks for close_notify, which a failed session can't send. `sleep` is a timer that
    /// has nothing else to do any more.
    pub(crate) fn new(
        io: Transport<IO>,
        mut session: Option<ServerConnection>,
        registration: Registration,
        cause: Cause,
        notify: bool,
        peer_closed: bool,
        sleep: Option<Pin<Box<Sleep>>>,
    ) -> Self {
        // A failed session repeats its error. It sent a fatal alert, or was sent one, and neither
        // is followed by close_notify (RFC 8446 6.2).
        let unread = session.as_mut().map(|s| s.process_new_packets());
        let alive = matches!(unread, Some(Ok(_)));
        if let (Some(session), Some(Ok(state))) = (&mut session, unread) {
            // rustls takes nothing more in while it holds much that nobody will read.
            discard_plaintext(session, state.plaintext_bytes_to_read());
        }
        let mut bounds = registration.connection().server().settings.bounds();
        if cause == Cause::Stalled {
            // The peer has had its time.
            bounds.flush = Duration::ZERO;
        }
        Self {
            written: io.written(),
            io,
            session,
            machine: Machine::new(Instant::now(), bounds, notify && alive, peer_closed),
            cause,
            sleep,
            seat: None,
            registration,
            done: false,
        }
    }

    fn connection(&self) -> &TlsConnection {
        self.registration.connection()
    }

    /// Does what can be done now. `None` says that the peer or the clock has to move first.
    fn advance(&mut self, cx: &mut Context<'_>) -> Option<Outcome> {
        loop {
            let progress = match self.machine.action() {
                Action::Notify => self.notify(),
                Action::Flush => self.poll_flush(cx),
                Action::HalfClose => self.poll_half_close(cx),
                Action::Drain => self.poll_drain(cx),
                Action::Close(outcome) => return Some(outcome),
            };
            if progress.is_pending() {
                return None;
            }
        }
    }

    fn notify(&mut self) -> Poll<()> {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
        }
        self.machine.notified(Instant::now());
        Poll::Ready(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flushed = match &mut self.session {
            Some(session) => poll_write_tls(&mut self.io, session, cx),
            None => Pin::new(&mut self.io).poll_flush(cx),
        };
        if self.io.written() != self.written {
            self.written = self.io.written();
            self.machine.wrote(Instant::now());
        }
        match ready!(flushed) {
            Ok(()) => self.machine.flushed(),
            Err(_) => self.machine.failed(),
        }
        Poll::Ready(())
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(Pin::new(&mut self.io).poll_shutdown(cx)) {
            Ok(()) => self.machine.half_closed(Instant::now()),
            Err(_) => self.machine.failed(),
        }
        Poll::Ready(())
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.connection().is_evicted() {
            self.machine.evicted();
            return Poll::Ready(());
        }
        match ready!(self.poll_discard(cx)) {
            Ok(Discarded::Bytes(n)) => self.machine.received(Instant::now(), n),
            Ok(Discarded::PeerClosed) => self.machine.peer_closed(),
            Err(_) => self.machine.failed(),
        }
        Poll::Ready(())
    }

    /// Reads through TLS while it can be, to see the peer's close_notify; else as it comes.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Discarded>> {
        let Some(session) = &mut self.session else {
            return poll_discard_raw(&mut self.io, cx);
        };
        let io = &mut self.io;
        match session.read_tls(&mut SyncIo { io, cx }) {
            Ok(0) => Poll::Ready(Ok(Discarded::PeerClosed)),
            Ok(n) => match session.process_new_packets() {
                Ok(state) if state.peer_has_closed() => Poll::Ready(Ok(Discarded::PeerClosed)),
                Ok(state) => {
                    discard_plaintext(session, state.plaintext_bytes_to_read());
                    Poll::Ready(Ok(Discarded::Bytes(n)))
                }
                Err(_) => {
                    self.session = None;
                    Poll::Ready(Ok(Discarded::Bytes(n)))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits for the machine's deadline; `Ready` when it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.machine.deadline() else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
        self.machine.tick(Instant::now());
        Poll::Ready(())
    }

    /// The task that polled so far will not again: an eviction has to find the next one.
    pub(crate) fn leave_task(&mut self) {
        self.seat = None;
    }

    /// What needs no waiting: called where nobody will poll again.
    pub(crate) fn attempt(&mut self) -> Option<Outcome> {
        let outcome = self.advance(&mut Context::from_waker(std::task::Waker::noop()));
        self.finish(outcome?);
        outcome
    }

    fn finish(&mut self, outcome: Outcome) {
        self.done = true;
        self.seat = None;
        self.registration.ended(self.cause, outcome);
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Teardown<IO> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = self.get_mut();
        loop {
            if let Some(outcome) = this.advance(cx) {
                this.finish(outcome);
                return Poll::Ready(outcome);
            }
            if this.machine.action() == Action::Drain && this.seat.is_none() {
                // First the waker, then the seat: an eviction in between is not lost.
                this.connection().register(Interest::Read, cx.waker());
                this.connection().register(Interest::Write, cx.waker());
                this.seat = Some(this.connection().server().seats.take(this.connection()));
                continue;
            }
            ready!(this.poll_deadline(cx));
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Drop for Teardown<IO> {
    fn drop(&mut self) {
        if self.done || self.attempt().is_some() {
            return;
        }
        let outcome = match self.machine.action() {
            Action::Drain => Outcome::PeerSilent,
            _ => Outcome::Aborted,
        };
        self.finish(outcome);
    }
}

/// Writes all that `session` holds.
fn poll_write_tls<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Transport<IO>,
    session: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while session.wants_write() {
        match session.write_tls(&mut SyncIo { io, cx }) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Pin::new(io).poll_flush(cx)
}

fn poll_discard_raw<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Transport<IO>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Discarded>> {
    let mut space = [const { MaybeUninit::uninit() }; DISCARD];
    let mut buf = ReadBuf::uninit(&mut space);
    ready!(Pin::new(io).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(match buf.filled().len() {
        0 => Discarded::PeerClosed,
        n => Discarded::Bytes(n),
    }))
}

fn discard_plaintext(session: &mut ServerConnection, mut left: usize) {
    let mut reader = session.reader();
    while left > 0 {
        let n = io::BufRead::fill_buf(&mut reader).map_or(0, <[u8]>::len);
        if n == 0 {
            return;
        }
        io::BufRead::consume(&mut reader, n);
        left = left.saturating_sub(n);
    }
}

/// The blocking face of an asynchronous transport that rustls asks for: `Pending` is `WouldBlock`.
struct SyncIo<'a, 'cx, T> {
    io: &'a mut T,
    cx: &'a mut Context<'cx>,
}

fn would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<T: AsyncRead + Unpin> Read for SyncIo<'_, '_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        would_block(Pin::new(&mut *self.io).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<T: AsyncWrite + Unpin> Write for SyncIo<'_, '_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        would_block(Pin::new(&mut *self.io).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        would_block(Pin::new(&mut *self.io).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        would_block(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}
