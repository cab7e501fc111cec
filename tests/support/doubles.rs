//! Transports that misbehave, and one that tells when it was let go.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    time::Instant,
};

/// How a [`Double`] misbehaves, once it is told to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Vice {
    None,
    /// Takes one byte a write.
    OneByte,
    /// Takes no byte at all.
    Deaf,
    /// Never finishes a flush.
    StuckFlush,
    /// Fails every write, as after an RST.
    Reset,
    /// Fails the half-close.
    StuckShutdown,
}

/// The server's end of an in-memory connection.
pub struct Double {
    io: DuplexStream,
    handle: Handle,
}

/// Tells a [`Double`] what to do, and when it was dropped.
#[derive(Clone)]
pub struct Handle {
    vice: Arc<Mutex<Vice>>,
    half_closed: Arc<AtomicBool>,
    dropped: Arc<Mutex<Option<Instant>>>,
}

/// A double and the client's end.
pub fn double(capacity: usize) -> (Double, DuplexStream, Handle) {
    let (io, client) = tokio::io::duplex(capacity);
    let handle = Handle {
        vice: Arc::new(Mutex::new(Vice::None)),
        half_closed: Arc::default(),
        dropped: Arc::default(),
    };
    let double = Double {
        io,
        handle: handle.clone(),
    };
    (double, client, handle)
}

impl Handle {
    pub fn set(&self, vice: Vice) {
        *self.vice.lock().unwrap() = vice;
    }

    fn vice(&self) -> Vice {
        *self.vice.lock().unwrap()
    }

    pub fn half_closed(&self) -> bool {
        self.half_closed.load(Ordering::Acquire)
    }

    /// When the server let go of it.
    pub fn dropped(&self) -> Option<Instant> {
        *self.dropped.lock().unwrap()
    }

    /// Waits until the server lets go of it; the clock may be paused.
    pub async fn wait_dropped(&self) -> Instant {
        for _ in 0..100_000 {
            if let Some(at) = self.dropped() {
                return at;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("the server still holds the connection after 100 s");
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        *self.handle.dropped.lock().unwrap() = Some(Instant::now());
    }
}

impl AsyncRead for Double {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Double {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.handle.vice() {
            Vice::OneByte => Pin::new(&mut self.io).poll_write(cx, &buf[..buf.len().min(1)]),
            Vice::Deaf => Poll::Pending,
            Vice::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Vice::None | Vice::StuckFlush | Vice::StuckShutdown => {
                Pin::new(&mut self.io).poll_write(cx, buf)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.handle.vice() {
            Vice::StuckFlush => Poll::Pending,
            _ => Pin::new(&mut self.io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.handle.vice() == Vice::StuckShutdown {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        self.handle.half_closed.store(true, Ordering::Release);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
