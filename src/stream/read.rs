//! Reading: what the peer sends, what it means that it sends no more, and what the server is told.
//!
//! The end of a connection's time is told in the only word that every server understands: an EOF.
//! A server that gets one while it has something to answer cancels that, so it gets none before
//! everything is answered, and the socket has been looked at once more.

use std::{
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::unconstrained,
    time::Instant,
};

use super::{GracefulStream, State};
use crate::{
    connection::Retirement,
    ledger::{UNKNOWN_TYPE, Use},
    lifetime::HalfClose,
};

/// The longest record on the wire (RFC 5246 6.2.3; in TLS 1.3 it is shorter).
const RECORD: u64 = 5 + (1 << 14) + 2048;

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    pub(super) fn poll_read_any(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.lifetime.over().is_some() {
            return self.poll_read_over(cx, buf);
        }
        if let Some(frames) = &mut self.frames {
            if frames.give(&mut self.ledger, buf) {
                return Poll::Ready(Ok(()));
            }
        }
        match self.half_close {
            HalfClose::Open => self.poll_read_open(cx, buf),
            HalfClose::Waiting { .. } => self.poll_read_half_closed(cx, buf),
            HalfClose::Told | HalfClose::Broken | HalfClose::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_read_open(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let State::Open(tls, _) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        let before = buf.filled().len();
        match Pin::new(tls).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                (self.moved, self.reads) = (true, false);
                self.read = self.received();
                if let Some(at) = self.ledger.received(&buf.filled()[before..]) {
                    // Servers ignore both, but complain of an answer that they did not ask for.
                    buf.filled_mut()[before + at] = UNKNOWN_TYPE;
                }
                self.publish();
                if self.ledger.noise() > self.most_noise {
                    self.judge_noise();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) if buf.remaining() == 0 => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) => {
                let sent = self.answered_so_far();
                self.half_close.close_notify(Instant::now(), sent);
                self.connection.half_closes();
                self.poll_read_half_closed(cx, buf)
            }
            Poll::Ready(Err(error)) => {
                self.half_close = match error.kind() {
                    // tokio-rustls' kind for every error of rustls.
                    io::ErrorKind::InvalidData => HalfClose::Broken,
                    _ => HalfClose::Gone,
                };
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                self.note_parts();
                self.settled();
                self.await_request();
                if self.struck {
                    self.rest();
                }
                Poll::Pending
            }
        }
    }

    /// A part of a record has come, if anything has: all else would have been given.
    #[inline]
    fn note_parts(&mut self) {
        let read = self.received();
        if read != self.read {
            self.parts += read - self.read;
            (self.read, self.moved) = (read, true);
        }
    }

    /// The peer has sent close_notify (RFC 9846 6.1): its answers are still due.
    fn poll_read_half_closed(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let owed = self.owed();
        let patience = self.connection.context().settings.write_timeout;
        let sent = self.answered_so_far();
        if self.half_close.ends(Instant::now(), owed, sent, patience) {
            return Poll::Ready(Ok(()));
        }
        if let Some(due) = self.half_close.next(owed, patience) {
            self.timer.fires_by(due, &self.connection);
        }
        if self.ledger.http2().is_some() {
            let frames = self.frames.get_or_insert_default();
            frames.answer_pings(&mut self.ledger);
            if frames.give(&mut self.ledger, buf) {
                return Poll::Ready(Ok(()));
            }
        }
        let end = ready!(self.poll_discard(cx));
        self.half_close = HalfClose::Gone;
        Poll::Ready(end)
    }

    /// Discards what follows close_notify (RFC 9846 6.1); ready with the FIN, an error, or more
    /// than a drain would take.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let most = self.connection.context().settings.drain.max_bytes;
        let State::Open(tls, _) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        while self.half_close.is_waiting() {
            let mut space = [const { MaybeUninit::uninit() }; 4096];
            let mut buf = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *tls.get_mut().0).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.half_close.discard(buf.filled().len() as u64, most);
                }
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => {
                    self.settled();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The connection's time is over: the server is told of an EOF.
    ///
    /// By force at once; in a tunnel, which would take an EOF for the other end's, as an error. An
    /// idle connection is looked at once more.
    fn poll_read_over(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.lifetime.is_forced() {
            return Poll::Ready(match self.ledger.is_tunnel() {
                true => Err(self.over()),
                false => Ok(()),
            });
        }
        if self.half_close == HalfClose::Open && self.may_have_more() {
            return self.poll_last_look(cx, buf);
        }
        Poll::Ready(Ok(()))
    }

    /// Whether there may be something unread of what had arrived when the time was over.
    ///
    /// What arrives later does not count, and is not read: a peer that never stops sending would
    /// never be idle.
    fn may_have_more(&mut self) -> bool {
        let State::Open(tls, _) = &mut self.state else {
            return false;
        };
        let (io, session) = tls.get_mut();
        // Where the kernel can't be asked, a record may have arrived.
        let arrived = || io.read() + io.readable().unwrap_or(RECORD);
        let until = *self.arrived.get_or_insert_with(arrived);
        io.read_until(Some(until));
        let decrypted = session
            .process_new_packets()
            .is_ok_and(|state| state.plaintext_bytes_to_read() > 0);
        decrypted || io.read() < until
    }

    /// A request that has arrived is answered, and over HTTP/1 is the last.
    fn poll_last_look(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        // Not for want of budget.
        let read = unconstrained(poll_fn(|cx| Poll::Ready(self.poll_read_open(cx, buf))));
        let Poll::Ready(read) = pin!(read).poll(cx) else {
            return Poll::Pending;
        };
        if read.is_pending() {
            let io = self.transport();
            // The runtime may have yet to hear of it, and will wake the task.
            if io.is_some_and(|io| io.is_below_limit() && io.readable() > Some(0)) {
                return Poll::Pending;
            }
            return Poll::Ready(Ok(()));
        }
        let usage = self.ledger.usage(|| 0);
        let used = matches!(
            usage,
            Use::Request | Use::Upload { .. } | Use::Tunnel { .. }
        );
        let revived = used || self.ledger.head_begun();
        if revived && buf.filled().len() > before {
            // Half a head has the time that a head has, and no last look of its own.
            self.arrived = self.arrived.filter(|_| !used);
            if let State::Open(tls, _) = &mut self.state {
                tls.get_mut().0.read_until(None);
            }
            self.lifetime.revive();
            if self.connection.is_wanted() {
                self.connection.stays();
            }
            // HTTP/1 says so in the answer. A GOAWAY now would come before it, and there are clients
            // that give it up then; an HTTP/2 connection is no longer idle, and that is all.
            if !self.ledger.has_control_frames() {
                self.connection.retire(Retirement::Wanted);
            }
        }
        read
    }
}
