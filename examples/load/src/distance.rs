//! A network between here and the server: what is sent arrives later, in both directions.
//!
//! On loopback a request is on the wire for microseconds, and a server that ends a connection
//! without looking is hardly ever caught. Clients are tens of milliseconds away.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, Sleep, sleep_until},
};

/// The most that is read at once.
const CHUNK: usize = 64 * 1024;

/// What is on its way, and when it arrives. No bytes are the end.
type Cargo = (Instant, io::Result<Bytes>);

/// A socket whose other end is farther away than it is.
#[derive(Debug)]
pub(crate) struct Distant {
    delay: Duration,
    /// `None` once our end was sent.
    out: Option<UnboundedSender<Cargo>>,
    arriving: UnboundedReceiver<Cargo>,
    /// What comes next, and until when it is on its way.
    next: Option<(Pin<Box<Sleep>>, io::Result<Bytes>)>,
}

impl Distant {
    pub(crate) fn new(tcp: TcpStream, round_trip: Duration) -> Self {
        let (reads, writes) = tcp.into_split();
        let (out, outgoing) = unbounded_channel();
        let (incoming, arriving) = unbounded_channel();
        let delay = round_trip / 2;
        tokio::spawn(send(writes, outgoing));
        tokio::spawn(receive(reads, incoming, delay));
        Self {
            delay,
            out: Some(out),
            arriving,
            next: None,
        }
    }
}

/// Sends what has been on its way for long enough. An error is seen by the reader too.
async fn send(mut writes: OwnedWriteHalf, mut outgoing: UnboundedReceiver<Cargo>) {
    while let Some((arrives, Ok(bytes))) = outgoing.recv().await {
        sleep_until(arrives).await;
        let sent = match bytes.is_empty() {
            true => writes.shutdown().await,
            false => writes.write_all(&bytes).await,
        };
        if sent.is_err() {
            break;
        }
    }
    // An end that was not sent is not made up: the reader may still be there.
    writes.forget();
}

async fn receive(mut reads: OwnedReadHalf, incoming: UnboundedSender<Cargo>, delay: Duration) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = reads.read(&mut buffer).await;
        let read = read.map(|n| Bytes::copy_from_slice(&buffer[..n]));
        let is_last = read.as_ref().map_or(true, Bytes::is_empty);
        if incoming.send((Instant::now() + delay, read)).is_err() || is_last {
            return;
        }
    }
}

impl AsyncRead for Distant {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some((arrives, _)) = &mut self.next {
                ready!(arrives.as_mut().poll(cx));
            }
            match &mut self.next {
                Some((_, Ok(bytes))) if !bytes.is_empty() => {
                    let part = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..part]);
                    bytes.advance(part);
                    if bytes.is_empty() {
                        self.next = None;
                    }
                    return Poll::Ready(Ok(()));
                }
                // The end stays the end.
                Some((_, Ok(_))) => return Poll::Ready(Ok(())),
                Some((_, Err(error))) => return Poll::Ready(Err(error.kind().into())),
                None => {}
            }
            let Some((arrives, cargo)) = ready!(self.arriving.poll_recv(cx)) else {
                return Poll::Ready(Ok(()));
            };
            self.next = Some((Box::pin(sleep_until(arrives)), cargo));
        }
    }
}

impl Distant {
    fn put(&mut self, bytes: Bytes) -> io::Result<()> {
        let cargo = (Instant::now() + self.delay, Ok(bytes));
        let sent = self.out.as_ref().map(|out| out.send(cargo));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl AsyncWrite for Distant {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = self.put(Bytes::copy_from_slice(buf));
        Poll::Ready(sent.map(|()| buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.put(Bytes::new());
        self.out = None;
        Poll::Ready(sent)
    }
}
