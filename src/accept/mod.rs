//! Where connections come from.
//!
//! [`Accept`] is all that [`serve`](crate::GracefulTls::serve) asks of a listener. It is small so
//! that several sockets at once, a channel (`channel`), or an in-memory duplex in a test (`memory`)
//! fit in the same place. What a connection has to say before TLS is its [`Preface`], which is read in
//! a task of its own: `proxy_protocol` is one. The accept loop on top of it is in `acceptor`.

mod channel;
mod memory;
mod preface;
#[cfg(feature = "proxy-protocol")]
pub mod proxy_protocol;

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
};

use tokio::io::{AsyncRead, AsyncWrite};

pub use memory::{InMemory, InMemoryConnector, in_memory};
pub use preface::{Preface, PrefaceInfo, Reading};

/// A source of connections.
///
/// Implemented for tokio's TCP and Unix listeners, for a channel of connections
/// ([`mpsc::Receiver`](tokio::sync::mpsc::Receiver)) and for [`InMemory`].
///
/// ```
/// # use graceful_tls::Accept;
/// # use std::{io, net::SocketAddr};
/// # use tokio::net::{TcpListener, TcpStream};
/// /// Two sockets, one listener.
/// struct Both(TcpListener, TcpListener);
///
/// impl Accept for Both {
///     type Io = TcpStream;
///
///     async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
///         let (io, client) = tokio::select! {
///             accepted = self.0.accept() => accepted?,
///             accepted = self.1.accept() => accepted?,
///         };
///         Ok((io, Some(client)))
///     }
///
///     // The last look before the sockets are closed: without it, who waits in their queues is reset.
///     fn accept_now(&mut self) -> Option<io::Result<(TcpStream, Option<SocketAddr>)>> {
///         self.0.accept_now().or_else(|| self.1.accept_now())
///     }
///
///     // One has to do, in the log and in the report.
///     fn local_addr(&self) -> Option<SocketAddr> {
///         self.0.local_addr().ok()
///     }
/// }
/// ```
pub trait Accept: Send + 'static {
    /// The byte stream of one connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and the client's address if there is one.
    ///
    /// One call at a time, and nobody waits for anything else here: what a connection has to say first is
    /// for [`preface`](Self::preface).
    ///
    /// # Cancel safety
    ///
    /// It has to be cancel safe, as [`TcpListener::accept`](tokio::net::TcpListener::accept) is: a future
    /// that is dropped before it is ready must lose no connection.
    ///
    /// # Errors
    ///
    /// An error that says that the listener itself is broken (`InvalidInput`, `NotConnected`,
    /// `Unsupported`, or `EBADF` and its like) ends the server. Any other is logged and the
    /// listener polled again after a pause.
    fn accept(&mut self)
    -> impl Future<Output = io::Result<(Self::Io, Option<SocketAddr>)>> + Send;

    /// The next connection that has arrived already, asked of the operating system.
    ///
    /// A runtime may not have noticed it yet. This is the last look before the listener is closed,
    /// which resets what is missed. The default is `None`: nothing beyond
    /// [`accept`](Self::accept).
    fn accept_now(&mut self) -> Option<io::Result<(Self::Io, Option<SocketAddr>)>> {
        None
    }

    /// What every connection has to say before TLS, such as a PROXY protocol header. The default is
    /// `None`: nothing.
    ///
    /// It is asked for once, when the server takes the listener.
    fn preface(&self) -> Option<Preface<Self::Io>> {
        None
    }

    /// The address that clients connect to, if there is one.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }
}

impl Accept for tokio::net::TcpListener {
    type Io = tokio::net::TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Io, Option<SocketAddr>)> {
        let (io, client) = poll_fn(|cx| self.poll_accept(cx)).await?;
        Ok((io, Some(client)))
    }

    fn accept_now(&mut self) -> Option<io::Result<(Self::Io, Option<SocketAddr>)>> {
        let accepted = accept_raw(&socket2::SockRef::from(&*self))?;
        Some(accepted.and_then(|(socket, remote)| {
            let io = Self::Io::from_std(socket.into())?;
            Ok((io, remote.as_socket()))
        }))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        Self::local_addr(self).ok()
    }
}

#[cfg(unix)]
impl Accept for tokio::net::UnixListener {
    type Io = tokio::net::UnixStream;

    async fn accept(&mut self) -> io::Result<(Self::Io, Option<SocketAddr>)> {
        let (io, _) = poll_fn(|cx| self.poll_accept(cx)).await?;
        Ok((io, None))
    }

    fn accept_now(&mut self) -> Option<io::Result<(Self::Io, Option<SocketAddr>)>> {
        let accepted = accept_raw(&socket2::SockRef::from(&*self))?;
        Some(accepted.and_then(|(socket, _)| Ok((Self::Io::from_std(socket.into())?, None))))
    }
}

/// A connection from the queue, without waiting for one.
fn accept_raw(
    listener: &socket2::SockRef<'_>,
) -> Option<io::Result<(socket2::Socket, socket2::SockAddr)>> {
    match listener.accept() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        accepted => Some(accepted.and_then(|(socket, remote)| {
            socket.set_nonblocking(true)?;
            Ok((socket, remote))
        })),
    }
}
