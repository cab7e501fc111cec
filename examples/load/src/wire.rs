//! How a connection ended, seen from below and from above TLS.
//!
//! hyper says only that a connection has failed. Whether the server sent an RST, a FIN, or a
//! close_notify before it, and whether any byte of an answer had come, is noted here.

use std::{
    future::Future,
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_rustls::client::TlsStream;

/// How long the server gets to end its direction, once we have ended ours.
const LINGER: Duration = Duration::from_secs(2);

/// What was seen of one connection.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    reset: AtomicBool,
    fin: AtomicBool,
    close_notify: AtomicBool,
    received: AtomicU64,
    sent: AtomicU64,
}

/// How far the two directions had come, in bytes of HTTP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    received: u64,
    sent: u64,
}

impl Wire {
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
        }
    }

    pub(crate) fn has_received_since(&self, mark: Mark) -> bool {
        self.mark().received > mark.received
    }

    pub(crate) fn has_sent_since(&self, mark: Mark) -> bool {
        self.mark().sent > mark.sent
    }

    pub(crate) fn is_reset(&self) -> bool {
        self.reset.load(Relaxed)
    }

    pub(crate) fn has_close_notify(&self) -> bool {
        self.close_notify.load(Relaxed)
    }

    /// A FIN came, and no close_notify before it.
    pub(crate) fn lacks_close_notify(&self) -> bool {
        self.fin.load(Relaxed) && !self.has_close_notify()
    }

    /// The server ended the connection, and not by force.
    pub(crate) fn has_ended(&self) -> bool {
        !self.is_reset() && (self.fin.load(Relaxed) || self.has_close_notify())
    }

    fn note(&self, error: &io::Error) {
        // A write fails so when an RST came before it.
        if matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ) {
            self.reset.store(true, Relaxed);
        }
    }
}

/// The socket, near or far.
pub(crate) struct Tcp {
    io: Pin<Box<dyn Socket>>,
    wire: Arc<Wire>,
}

pub(crate) trait Socket: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Socket for T {}

impl Tcp {
    pub(crate) fn new(io: impl Socket + 'static, wire: Arc<Wire>) -> Self {
        let io = Box::pin(io);
        Self { io, wire }
    }

    fn noted<T>(&self, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &poll {
            self.wire.note(error);
        }
        poll
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = self.io.as_mut().poll_read(cx, buf);
        if matches!(poll, Poll::Ready(Ok(()))) && buf.filled().len() == before {
            self.wire.fin.store(true, Relaxed);
        }
        self.noted(poll)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = self.io.as_mut().poll_write(cx, buf);
        self.noted(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = self.io.as_mut().poll_write_vectored(cx, bufs);
        self.noted(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}

/// The TLS stream. Its shutdown waits for the server's end, to see how that looks.
pub(crate) struct Tls {
    io: TlsStream<Tcp>,
    wire: Arc<Wire>,
    /// Since our end was sent.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Tls {
    pub(crate) fn new(io: TlsStream<Tcp>, wire: Arc<Wire>) -> Self {
        Self {
            io,
            wire,
            lingering: None,
        }
    }

    /// Reads what still comes until the server's end, or until it has taken too long.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scrap);
            match Pin::new(&mut *self).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        match &mut self.lingering {
            Some(limit) => limit.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.io).poll_read(cx, buf);
        if matches!(poll, Poll::Ready(Ok(()))) {
            match buf.filled().len() - before {
                0 => self.wire.close_notify.store(true, Relaxed),
                n => drop(self.wire.received.fetch_add(n as u64, Relaxed)),
            }
        }
        poll
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = poll {
            self.wire.sent.fetch_add(n as u64, Relaxed);
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.lingering = Some(Box::pin(sleep(LINGER)));
        }
        self.poll_linger(cx).map(Ok)
    }
}
