//! The cork: what the server writes waits in TLS until whoever polls the server says so.
//!
//! h2 flushes after each frame of DATA, so that 1 MiB costs 64 system calls. A corked stream takes what is
//! written into the TLS session, and promises each flush; [`poll_pour`](GracefulStream::poll_pour) keeps
//! the promises, which has to be called whenever the server was polled. So what one poll writes goes to the socket
//! in one call.
//!
//! * Where [`BUFFER_LIMIT`] is held, flushes are true ones until less is: as much rustls holds of any connection.
//!   That bounds memory, and no knowledge is in it: h2 writes what the peer's windows allow, and that has no bound.
//! * A server waits for a slow peer in its flushes, and not in its writes, as it does without a cork. h2 goes on to
//!   read while it flushes, and its PINGs go behind what is held, where they are seen (see `vouch`); while it has
//!   a frame to write it does neither. It flushes when less than the limit is held, and not when nothing is: so
//!   it is as often that it gets on with the next frame as without a cork.
//! * Between two polls something is held only where the transport is blocked.
//! * What is held has not gone out. Whatever judges by how far an answer has come goes by what the peer has
//!   acknowledged of it, and not by what TLS has taken: see [`answered_so_far`](GracefulStream::answered_so_far).
//! * HTTP/1 is flushed as ever, but for the end of the last answer. Behind that hyper most often shuts down in the
//!   same poll: so the flush is left to the shutdown, and answer and close_notify are one packet. Where hyper does not
//!   shut down, as while the request is not all in, `serve::parking` polls it again for the flush. And where a request
//!   has asked for an upgrade nothing is held: hyper may give the stream to whoever waits for that, even if it was
//!   declined, and not everybody flushes a tunnel.
//! * An end finds what is held in the session, as it does what the transport did not take: the teardown sends it first.

use std::{
    io::{self, IoSlice, Write},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{GracefulStream, State, first, frames::BUFFER_LIMIT};

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    /// From now on nothing is written but by [`poll_pour`](Self::poll_pour), unless too much is held. The server
    /// writes and flushes by what is here, so that streams without a cork need not ask whether they have one.
    pub(crate) fn cork(&mut self) {
        self.corked = true;
    }

    /// Takes `bufs`: what `poll_write_vectored` is without a cork.
    pub(crate) fn poll_write_corked(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.prepare_write(cx)?;
        if let State::Open(tls, _) = &mut self.state {
            // A frame that passes the limit goes in whole: what is left of one is a record more.
            tls.get_mut().1.set_buffer_limit(Some(2 * BUFFER_LIMIT));
        }
        self.poll_hold(cx, bufs)
    }

    /// Takes `bufs` into the session, as far as there is room.
    #[inline]
    fn poll_hold(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let State::Open(tls, _) = &mut self.state else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            let taken = tls.get_mut().1.writer().write_vectored(bufs)?;
            if taken > 0 || bufs.iter().all(|buf| buf.is_empty()) {
                self.sent(first(bufs, taken));
                return Poll::Ready(Ok(taken));
            }
            ready!(self.poll_flush_tls(cx))?;
        }
    }

    /// Promises a flush, if there is room for more: what `poll_flush` is without a cork.
    pub(crate) fn poll_flush_corked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_to_flush() {
            return Poll::Ready(Ok(()));
        }
        self.prepare_write(cx)?;
        if self.has_room() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_flush_tls(cx) {
            Poll::Pending if self.has_room() => Poll::Ready(Ok(())),
            flushed => flushed,
        }
    }

    /// What `poll_write_vectored` is for HTTP/1: it waits for the flush, or for the next write where it is large.
    #[inline]
    pub(crate) fn poll_write_http1(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.connection.may_upgrade() {
            return Pin::new(self).poll_write_vectored(cx, bufs);
        }
        self.prepare_write(cx)?;
        if self.holds_back() {
            ready!(self.poll_flush_tls(cx))?;
        }
        self.poll_hold(cx, bufs)
    }

    /// What `poll_flush` is for HTTP/1. The end of the last answer is left to the shutdown.
    #[inline]
    pub(crate) fn poll_flush_http1(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ledger.is_over() && self.leaves() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(self).poll_flush(cx)
    }

    /// Whether a flush is left to the shutdown: for one poll of the server.
    #[cold]
    fn leaves(&mut self) -> bool {
        if self.connection.may_upgrade() {
            return false;
        }
        if !mem::replace(&mut self.left, true) {
            self.connection.leaves_flush();
        }
        self.connection.flush_is_left()
    }

    fn has_room(&self) -> bool {
        self.backlog() < BUFFER_LIMIT as u64
    }

    /// Sends all that is held.
    pub(crate) fn poll_pour(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_to_flush() {
            return Poll::Ready(Ok(()));
        }
        self.prepare_write(cx)?;
        self.poll_flush_tls(cx)
    }

    /// How many bytes TLS holds on the wire of all that it has taken, at most.
    #[inline]
    pub(super) fn backlog(&self) -> u64 {
        match &self.state {
            State::Open(tls, _) if tls.get_ref().1.wants_write() => {
                (self.flushed + self.taken).saturating_sub(self.written())
            }
            _ => 0,
        }
    }
}
