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
//! * A server that shuts down has promises to keep: they are kept first, as flushes of its own, and the goodbyes go
//!   with that. Any other end finds what is held in the session, as it does what the transport did not take.

use std::{
    io::{self, IoSlice, Write},
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
        let written = self.poll_hold(cx, bufs);
        if let Poll::Ready(Ok(n)) = &written {
            self.sent(first(bufs, *n));
        }
        written
    }

    /// Takes `bufs` into the session, as far as there is room.
    fn poll_hold(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let State::Open(tls, _) = &mut self.state else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            let session = tls.get_mut().1;
            // A frame that passes the limit goes in whole: what is left of one is a record more.
            session.set_buffer_limit(Some(2 * BUFFER_LIMIT));
            let taken = session.writer().write_vectored(bufs)?;
            if taken > 0 || bufs.iter().all(|buf| buf.is_empty()) {
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
