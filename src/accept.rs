//! Where connections come from.
//!
//! [`Accept`] is all that [`serve`](crate::GracefulTls::serve) asks of a listener. It is small so
//! that a listener that reads the PROXY protocol, several sockets at once, or an in-memory duplex
//! in a test fit in the same place. `Incoming` is the accept loop on top of it: it waits for a
//! free handshake slot, survives errors such as running out of descriptors, and empties the
//! listener's queue before it lets the listener go, because closing a listener resets what waits
//! in it.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    acceptor::{Acceptor, Turn},
    transport::{self, Addresses},
};

/// A source of connections.
pub trait Accept: Send + 'static {
    /// The byte stream of one connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and the client's address if there is one.
    ///
    /// # Errors
    ///
    /// An error that says that the listener itself is broken (`InvalidInput`, `NotConnected`,
    /// `Unsupported`, or `EBADF` and its like) ends the server. Any other is logged and the
    /// listener polled again after a pause.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Io, Option<SocketAddr>)>>;

    /// The address that clients connect to, if there is one.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

impl Accept for tokio::net::TcpListener {
    type Io = tokio::net::TcpStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Io, Option<SocketAddr>)>> {
        Self::poll_accept(self, cx).map_ok(|(io, addr)| (io, Some(addr)))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Self::local_addr(self).ok()
    }
}

#[cfg(unix)]
impl Accept for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Io, Option<SocketAddr>)>> {
        Self::poll_accept(self, cx).map_ok(|(io, _)| (io, None))
    }
}

/// The pause after the first error in a row; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long the runtime gets to notice what has just arrived in the listener's queue.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

/// How often the queue is looked at before it counts as empty.
const SWEEPS: u32 = 2;

/// One connection that has been accepted and got its turn for the handshake.
#[derive(Debug)]
pub(crate) struct Accepted<IO> {
    pub(crate) io: IO,
    pub(crate) addresses: Addresses,
    pub(crate) turn: Turn,
}

/// The accept loop.
#[derive(Debug)]
pub(crate) struct Incoming<A> {
    listener: A,
    acceptor: Acceptor,
    pause: Duration,
    /// `Some` once the server stops accepting: how many looks at the queue are left.
    sweeps: Option<u32>,
    /// Tells the shutdown that the listener is still open.
    _open: TaskTrackerToken,
}

impl<A: Accept> Incoming<A> {
    pub(crate) fn new(listener: A, acceptor: Acceptor) -> Self {
        let _open = acceptor.server().shutdown.listeners.token();
        Self {
            listener,
            acceptor,
            pause: FIRST_PAUSE,
            sweeps: None,
            _open,
        }
    }

    /// The next connection; `None` once the server has stopped accepting and the queue is empty.
    ///
    /// # Errors
    ///
    /// The listener is broken for good.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Accepted<A::Io>>> {
        let mut turn = None;
        loop {
            match self.sweeps {
                None => {
                    if let Some(accepted) = self.wait(&mut turn).await? {
                        return Ok(Some(accepted));
                    }
                }
                Some(0) => return Ok(None),
                Some(left) => {
                    if let Some(accepted) = self.look().await? {
                        return Ok(Some(accepted));
                    }
                    self.sweeps = Some(left - 1);
                    sleep(SWEEP_PAUSE).await;
                }
            }
        }
    }

    /// Waits for a turn and a connection; `None` to be called again.
    async fn wait(&mut self, turn: &mut Option<Turn>) -> io::Result<Option<Accepted<A::Io>>> {
        let server = self.acceptor.server().clone();
        let stop = server.shutdown.stop_accepting.cancelled();
        let listener = &mut self.listener;
        let acceptor = &self.acceptor;
        let next = async {
            if turn.is_none() {
                *turn = Some(acceptor.turn().await);
            }
            poll_fn(|cx| listener.poll_accept(cx)).await
        };
        let accepted = tokio::select! {
            biased;
            accepted = next => accepted,
            () = stop => {
                self.sweeps = Some(SWEEPS);
                return Ok(None);
            }
        };
        match (accepted, turn.take()) {
            (Ok(accepted), Some(turn)) => {
                self.pause = FIRST_PAUSE;
                Ok(Some(self.accepted(accepted, turn)))
            }
            (Err(error), kept) => {
                *turn = kept;
                self.survive(error).await?;
                Ok(None)
            }
            (Ok(_), None) => Ok(None),
        }
    }

    /// One look at the queue.
    async fn look(&mut self) -> io::Result<Option<Accepted<A::Io>>> {
        let accepted = poll_fn(|cx| match self.listener.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending => Poll::Ready(None),
        })
        .await;
        match accepted {
            Some(Ok(accepted)) => {
                let turn = self.acceptor.turn().await;
                Ok(Some(self.accepted(accepted, turn)))
            }
            Some(Err(error)) => self.survive(error).await.map(|()| None),
            None => Ok(None),
        }
    }

    fn accepted(&self, (io, remote): (A::Io, Option<SocketAddr>), turn: Turn) -> Accepted<A::Io> {
        let mut addresses = transport::prepare(&io);
        addresses.remote = remote.or(addresses.remote);
        Accepted {
            io,
            addresses,
            turn,
        }
    }

    /// Logs an error and pauses, unless it concerns one connection only, or the listener for good.
    async fn survive(&mut self, error: io::Error) -> io::Result<()> {
        if concerns_one_connection(&error) {
            tracing::debug!(%error, "a client was gone before it was accepted");
            return Ok(());
        }
        if is_fatal(&error) {
            tracing::error!(%error, "the listener is broken");
            return Err(error);
        }
        tracing::error!(
            %error,
            pause_ms = self.pause.as_millis(),
            "no connection could be accepted, trying again (out of descriptors? see `ulimit -n`)"
        );
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn is_fatal(error: &io::Error) -> bool {
    // EBADF and ENOTSOCK have no kind of their own; their numbers are those of Linux and macOS.
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected | io::ErrorKind::Unsupported
    ) || (cfg!(unix) && matches!(error.raw_os_error(), Some(9 | 38 | 88)))
}
