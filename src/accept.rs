//! Where connections come from.
//!
//! [`Accept`] is all that [`serve`](crate::GracefulTls::serve) asks of a listener. It is small so
//! that a listener that reads the PROXY protocol, several sockets at once, or an in-memory duplex
//! in a test fit in the same place. The accept loop on top of it is in `acceptor`.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

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

    /// The next connection that has arrived already, asked of the operating system.
    ///
    /// A runtime may not have noticed it yet. This is the last look before the listener is closed,
    /// which resets what is missed. The default is `None`: nothing beyond
    /// [`poll_accept`](Self::poll_accept).
    fn accept_now(&mut self) -> Option<io::Result<(Self::Io, Option<SocketAddr>)>> {
        None
    }

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

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Io, Option<SocketAddr>)>> {
        Self::poll_accept(self, cx).map_ok(|(io, _)| (io, None))
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
