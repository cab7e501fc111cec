//! What the two sides hold: a socket for the server, and the same without a task for the client.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use graceful_tls::simulated::Known;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};

use super::{Client, Link, Server, Side, State, log};
use crate::trace::{Stamp, event};

/// What a read came to.
#[derive(Debug)]
pub enum Received {
    Bytes(usize),
    Nothing,
    Fin,
    Reset,
}

impl State {
    fn receive(&mut self, side: Side, buf: &mut [u8]) -> Received {
        // It says so once, and of the end after that.
        if self.ends[side as usize].reset {
            return match self.tell(side) {
                true => Received::Reset,
                false => Received::Fin,
            };
        }
        let most = self.ways[side.other() as usize].unread.min(buf.len());
        let most = self.vary(most);
        let way = &mut self.ways[side.other() as usize];
        if most == 0 {
            return match way.fin_arrived && way.unread == 0 {
                true => Received::Fin,
                false => Received::Nothing,
            };
        }
        let mut n = 0;
        while n < most {
            let Some(front) = way.inbox.front_mut() else {
                break;
            };
            let part = front.len().min(most - n);
            buf[n..n + part].copy_from_slice(&front[..part]);
            front.advance(part);
            if front.is_empty() {
                way.inbox.pop_front();
            }
            n += part;
        }
        way.unread -= n;
        self.wake_pump();
        Received::Bytes(n)
    }

    /// How many bytes were taken; `None` after an RST or a FIN.
    fn take(&mut self, side: Side, buf: &[u8]) -> Option<usize> {
        let end = &self.ends[side as usize];
        if end.reset || end.dropped || self.ways[side as usize].closing {
            return None;
        }
        let held = self.ways[side as usize].unacknowledged();
        let free = self.nature.send_buffer.saturating_sub(held);
        let n = self.vary(free.min(buf.len()));
        self.ways[side as usize].queued.extend_from_slice(&buf[..n]);
        self.wake_pump();
        Some(n)
    }

    /// Whether the end of this side is told only now that it has been reset.
    fn tell(&mut self, side: Side) -> bool {
        let first = !std::mem::replace(&mut self.ends[side as usize].told, true);
        if first && side == Server {
            let stamp = event(self.conn, "server is told of the RST", 0);
            self.log.rst_told = Some(stamp);
        }
        first
    }

    fn fin(&mut self, side: Side) {
        self.ways[side as usize].closing = true;
        self.wake_pump();
    }
}

/// The client's end. Nothing here waits; [`watch`](Self::watch) says when to look again.
#[derive(Debug)]
pub struct ClientEnd {
    link: Link,
    closed: bool,
}

impl ClientEnd {
    pub(super) fn new(link: Link) -> Self {
        let closed = false;
        Self { link, closed }
    }

    pub fn read(&mut self, buf: &mut [u8]) -> Received {
        self.link.lock().receive(Client, buf)
    }

    pub fn write(&mut self, buf: &[u8]) -> Option<usize> {
        self.link.lock().take(Client, buf)
    }

    pub fn fin(&mut self) {
        self.link.lock().fin(Client);
    }

    /// Lets go of it; `rst` as with `SO_LINGER` of zero.
    pub fn close(&mut self, rst: bool) -> Stamp {
        let mut state = self.link.lock();
        if !std::mem::replace(&mut self.closed, true) {
            state.close(Client, rst);
        }
        event(state.conn, "client closes", u64::from(rst))
    }

    /// Wakes the task at the next arrival, or when there is space again.
    pub fn watch(&mut self, cx: &Context<'_>) {
        let end = &mut self.link.lock().ends[Client as usize];
        end.reader = Some(cx.waker().clone());
        end.writer = Some(cx.waker().clone());
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        if !self.closed {
            self.close(false);
        }
    }
}

/// The server's end: its socket.
#[derive(Debug)]
pub struct ServerEnd {
    link: Link,
    budget: Budget,
}

impl ServerEnd {
    pub(super) fn new(link: Link) -> Self {
        let budget = Budget::new();
        Self { link, budget }
    }

    /// What the kernel knows of this socket, where it can be asked.
    pub(super) fn known(&self) -> Option<Known> {
        let state = self.link.lock();
        let out = &state.ways[Server as usize];
        // The FIN is a byte of its own.
        let fin = u64::from(out.closing && !out.fin_arrived);
        let known = Known {
            unacknowledged: out.unacknowledged() as u64 + fin,
            readable: state.ways[Client as usize].unread as u64,
        };
        state.nature.asked.then_some(known)
    }

    /// Whether it was reset, which nobody has been told yet; where it can be asked.
    pub(super) fn take_error(&self) -> Option<bool> {
        let mut state = self.link.lock();
        let asked = state.nature.asked;
        asked.then(|| state.ends[Server as usize].reset && state.tell(Server))
    }

    /// It was taken from the listener's queue. The port is the number of its client.
    pub fn accepted(self) -> (Self, Option<SocketAddr>) {
        let mut state = self.link.lock();
        state.log.accepted = Some(event(state.conn, "server accepts", 0));
        let port = u16::try_from(state.conn).unwrap();
        drop(state);
        (self, Some(([127, 0, 0, 1], port).into()))
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let mut state = self.link.lock();
        let unread = state.ways[Client as usize].unread;
        let stamp = event(state.conn, "server closes", unread as u64);
        state.log.dropped = Some(stamp);
        state.log.unread = unread;
        let queued = state.log.accepted.is_none();
        if unread > 0 || queued {
            state.log.reset_sent = Some(stamp);
        }
        state.close(Server, queued);
    }
}

impl AsyncRead for ServerEnd {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.budget.poll(cx));
        let mut state = self.link.lock();
        match state.receive(Server, buf.initialize_unfilled()) {
            Received::Bytes(n) => {
                let stamp = event(state.conn, "server reads", n as u64);
                log::add(&mut state.log.read, n, stamp);
                buf.advance(n);
                Poll::Ready(Ok(()))
            }
            Received::Fin => Poll::Ready(Ok(())),
            Received::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Received::Nothing => {
                crate::trace::poll();
                state.ends[Server as usize].reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for ServerEnd {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.budget.poll(cx));
        let mut state = self.link.lock();
        match state.take(Server, buf) {
            None if state.ends[Server as usize].reset && state.tell(Server) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            }
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Some(0) if !buf.is_empty() => {
                let stamp = event(state.conn, "server's write waits", buf.len() as u64);
                state.log.blocked.get_or_insert(stamp);
                state.ends[Server as usize].writer = Some(cx.waker().clone());
                Poll::Pending
            }
            Some(n) => {
                let stamp = event(state.conn, "server writes", n as u64);
                state.log.blocked = None;
                log::add(&mut state.log.written, n, stamp);
                Poll::Ready(Ok(n))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        crate::trace::poll();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.link.lock();
        // tokio takes that for a success.
        if state.ends[Server as usize].reset {
            return Poll::Ready(Ok(()));
        }
        let stamp = event(state.conn, "server half-closes", 0);
        state.log.fin.get_or_insert(stamp);
        state.fin(Server);
        Poll::Ready(Ok(()))
    }
}

/// Takes part in tokio's cooperative scheduling, as a socket does: a channel of the runtime's own
/// asks for a unit of the task's budget, and gives way when there is none left.
#[derive(Debug)]
struct Budget {
    sender: mpsc::UnboundedSender<()>,
    receiver: mpsc::UnboundedReceiver<()>,
    asked: bool,
}

impl Budget {
    fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let asked = false;
        Self {
            sender,
            receiver,
            asked,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.asked, true) {
            self.sender.send(()).unwrap();
        }
        std::task::ready!(self.receiver.poll_recv(cx));
        self.asked = false;
        Poll::Ready(())
    }
}
