//! [`Corked`]: the stream under an HTTP/2 connection, which whoever polls that connection pours.
//!
//! hyper keeps its IO to itself, so the two of them share it. Both are in one task, and the lock is never
//! waited for.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{inline, stream::GracefulStream};

/// See the [module](self).
pub(super) struct Corked<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    shared: Arc<Mutex<Shared<IO>>>,
}

struct Shared<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    io: TokioIo<Box<GracefulStream<IO>>>,
    /// What came of pouring, which hyper has to know.
    failed: Option<io::Error>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Clone for Corked<IO> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Corked<IO> {
    pub(super) fn new(mut stream: Box<GracefulStream<IO>>) -> Self {
        stream.cork();
        let shared = Arc::new(Mutex::new(Shared {
            io: TokioIo::new(stream),
            failed: None,
        }));
        Self { shared }
    }

    fn shared(&self) -> MutexGuard<'_, Shared<IO>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what hyper has written. It has flushed already, and is told of an error by its next flush or write.
    pub(super) fn pour(&self, cx: &mut Context<'_>) {
        let mut shared = self.shared();
        if shared.failed.is_some() {
            return;
        }
        if let Poll::Ready(Err(error)) = shared.io.inner_mut().poll_pour(cx) {
            shared.failed = Some(error);
            cx.waker().wake_by_ref();
        }
    }

    /// Whether a write has to wait for streams that hyper has not taken yet. The task needs no wake for that: it
    /// polls again by itself.
    fn is_held(&self) -> bool {
        inline::holds(self.shared().io.inner().connection().requests().begun)
    }

    /// hyper writes, or what comes to the same.
    fn writes<T>(
        &self,
        write: impl FnOnce(&mut GracefulStream<IO>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut shared = self.shared();
        match shared.failed.take() {
            Some(error) => Poll::Ready(Err(error)),
            None => write(shared.io.inner_mut()),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Read for Corked<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        inline::reads();
        Pin::new(&mut self.shared().io).poll_read(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Write for Corked<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.is_held() {
            true => Poll::Pending,
            false => self.writes(|stream| stream.poll_write_corked(cx, &[IoSlice::new(bytes)])),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.is_held() {
            true => Poll::Pending,
            false => self.writes(|stream| stream.poll_write_corked(cx, slices)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writes(|stream| stream.poll_flush_corked(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.shared().io).poll_shutdown(cx)
    }
}
