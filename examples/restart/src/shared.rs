//! A listener that another process accepts from too.
//!
//! Closing a listener resets what waits in its queue, so a server takes all of that first. Of a
//! socket that was handed over nothing is reset, and all of it is the new process's business.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use graceful_tls::Accept;
use tokio::net::{TcpListener, TcpStream};

/// Whether the next process accepts, so that this one must not.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandedOver(Arc<AtomicBool>);

impl HandedOver {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A listener that nothing more is accepted from once it is handed over, not even by the last sweep
/// before it is closed.
#[derive(Debug)]
pub(crate) struct Shared {
    listener: TcpListener,
    handed_over: HandedOver,
}

impl Shared {
    pub(crate) fn new(listener: TcpListener, handed_over: HandedOver) -> Self {
        Self {
            listener,
            handed_over,
        }
    }
}

impl Accept for Shared {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (io, client) = poll_fn(|cx| match self.handed_over.get() {
            true => Poll::Pending,
            false => self.listener.poll_accept(cx),
        })
        .await?;
        Ok((io, Some(client)))
    }

    fn accept_now(&mut self) -> Option<io::Result<(TcpStream, Option<SocketAddr>)>> {
        match self.handed_over.get() {
            true => None,
            false => self.listener.accept_now(),
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Accept::local_addr(&self.listener)
    }
}
