//! The byte stream under TLS, watched where it costs nothing.
//!
//! [`Transport`] counts the bytes that the socket takes and gives (for `traffic`), and asks the kernel how many of
//! them the peer has acknowledged (`kernel`): rustls accepts plaintext into a buffer of its own, and
//! the kernel into another, so that a write that succeeds says nothing of the peer. While the
//! handshake runs it does three things more: it looks at the first byte, to tell plain HTTP from TLS
//! without an extra `peek`; it notes that the client was heard and answered; and it fails every operation once the
//! handshake has expired, which is the only way to get the socket back out of
//! a handshake that has not ended. `options` are those of TCP, `addresses` whose connection it is.

mod addresses;
mod kernel;
mod options;
#[cfg(feature = "_simulation")]
pub mod simulated;
#[cfg(feature = "tonic")]
mod tonic;

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::handshakes;
pub(crate) use addresses::{Addresses, addresses, local_of_accepted};
pub(crate) use options::{is_prepared, prepare, prepare_listener};

/// The transport under one TLS connection.
#[derive(Debug)]
pub(crate) struct Transport<IO> {
    io: IO,
    /// What others know of it: how much has gone either way, and while it runs, the handshake.
    shared: Arc<handshakes::Handshake>,
    /// An operation has failed; the system has given the peer up.
    failed: bool,
    vanished: bool,
    watch: Watch,
}

/// What a read or a write has to mind.
#[derive(Debug)]
enum Watch {
    Nothing,
    Handshake(Handshake),
    /// Reading ends for now when so many bytes were read in all.
    Until(u64),
}

/// What is watched while the handshake runs.
#[derive(Debug, Default)]
struct Handshake {
    begun: bool,
    /// What was read of plain HTTP, if that is what it speaks.
    plain: Option<Box<[u8]>>,
}

/// The error a read gives when the peer speaks something that looks like HTTP.
#[derive(Debug, thiserror::Error)]
#[error("the peer speaks plain HTTP")]
pub(crate) struct PlainHttp;

impl<IO> Transport<IO> {
    /// Every read, write and flush fails once `handshake` has expired, until [`established`](Self::established).
    pub(crate) fn new(io: IO, handshake: Arc<handshakes::Handshake>) -> Self {
        Self {
            io,
            shared: handshake,
            failed: false,
            vanished: false,
            watch: Watch::Handshake(Handshake::default()),
        }
    }

    /// The handshake is over: stop watching it. Gives what was read of plain HTTP.
    pub(crate) fn established(&mut self) -> Vec<u8> {
        match mem::replace(&mut self.watch, Watch::Nothing) {
            Watch::Handshake(handshake) => handshake.plain.map_or_else(Vec::new, Vec::from),
            Watch::Nothing | Watch::Until(_) => Vec::new(),
        }
    }

    /// Reads give no more when so many bytes were read in all, but say that nothing is there.
    pub(crate) fn read_until(&mut self, limit: Option<u64>) {
        self.watch = limit.map_or(Watch::Nothing, Watch::Until);
    }

    /// Whether there is a limit to what is read, and it is not reached.
    pub(crate) fn is_below_limit(&self) -> bool {
        matches!(self.watch, Watch::Until(limit) if self.read() < limit)
    }

    #[inline]
    fn check_time(&self) -> io::Result<()> {
        match &self.watch {
            Watch::Handshake(_) if self.shared.is_expired() => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    /// Bytes taken by the socket so far.
    pub(crate) fn written(&self) -> u64 {
        self.shared.traffic.written()
    }

    /// Bytes given by the socket so far.
    pub(crate) fn read(&self) -> u64 {
        self.shared.traffic.read()
    }

    /// Where others see how much has gone either way.
    pub(crate) fn shared(&self) -> Arc<handshakes::Handshake> {
        self.shared.clone()
    }

    /// Whether the system has given the peer up: it acknowledges nothing, or can't be reached.
    pub(crate) fn has_vanished(&self) -> bool {
        self.vanished
    }

    /// An operation has failed.
    #[cold]
    fn note(&mut self, error: io::Error) -> io::Error {
        self.failed = true;
        // Where it was told on the way that there is none to the peer, the system says that instead.
        self.vanished |= matches!(
            error.kind(),
            io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
        );
        error
    }
}

impl<IO: 'static> Transport<IO> {
    /// Bytes written that the peer's side has yet to acknowledge. 0 where the system can't tell.
    pub(crate) fn unacknowledged(&self) -> u64 {
        kernel::unacknowledged(&self.io)
    }

    /// Bytes that the peer's side has acknowledged so far; where the system can't tell, those that
    /// the socket has taken.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.written().saturating_sub(self.unacknowledged())
    }

    /// Whether nothing can be sent or received any more, because the peer has reset the connection or
    /// was given up. The kernel says so once: to an operation, or here.
    pub(crate) fn has_failed(&mut self) -> bool {
        if !self.failed {
            let error = kernel::take_error(&self.io);
            error.map(|error| self.note(error));
        }
        self.failed
    }

    /// Bytes that have arrived and were not read, asked of the kernel: the runtime may not have
    /// heard of them. `None` where the system can't tell.
    pub(crate) fn readable(&self) -> Option<u64> {
        kernel::readable(&self.io)
    }
}

impl Handshake {
    /// A TLS record of a handshake begins with 22; a request line with a capital letter.
    fn look(&mut self, received: &[u8]) -> io::Result<()> {
        let Some(first) = received.first() else {
            return Ok(());
        };
        if !self.begun && first.is_ascii_uppercase() {
            self.plain = Some(received.into());
            return Err(io::Error::new(io::ErrorKind::InvalidData, PlainHttp));
        }
        self.begun = true;
        Ok(())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Transport<IO> {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.watch {
            Watch::Nothing => this.poll_count(cx, buf),
            Watch::Handshake(_) => this.poll_handshake(cx, buf),
            Watch::Until(limit) => this.poll_read_until(limit, cx, buf),
        }
    }
}

impl<IO: AsyncRead + Unpin> Transport<IO> {
    #[inline]
    fn poll_count(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf)).map_err(|error| self.note(error))?;
        self.shared.traffic.reads(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }

    #[cold]
    fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_time()?;
        let before = buf.filled().len();
        ready!(self.poll_count(cx, buf))?;
        let received = &buf.filled()[before..];
        if !received.is_empty() {
            self.shared.hear();
        }
        Poll::Ready(match &mut self.watch {
            Watch::Handshake(handshake) => handshake.look(received),
            Watch::Nothing | Watch::Until(_) => Ok(()),
        })
    }

    #[cold]
    fn poll_read_until(
        &mut self,
        limit: u64,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = limit.saturating_sub(self.read());
        if left == 0 {
            return Poll::Pending;
        }
        let len = usize::try_from(left).map_or(buf.remaining(), |left| left.min(buf.remaining()));
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(len));
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut part));
        let n = part.filled().len();
        read.map_err(|error| self.note(error))?;
        buf.advance(n);
        self.shared.traffic.reads(n);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> Transport<IO> {
    fn poll_counted(
        &mut self,
        write: impl FnOnce(Pin<&mut IO>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Watch::Handshake(_) = &self.watch {
            self.check_time()?;
            self.shared.answer();
        }
        let n = ready!(write(Pin::new(&mut self.io))).map_err(|error| self.note(error))?;
        self.shared.traffic.writes(n);
        Poll::Ready(Ok(n))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Transport<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_counted(|io| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_counted(|io| match bufs {
            // One piece, as most answers are one record. Over TCP it goes by send(2), which is less work for the
            // kernel than writev(2).
            [buf] => io.poll_write(cx, buf),
            _ => io.poll_write_vectored(cx, bufs),
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check_time()?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
