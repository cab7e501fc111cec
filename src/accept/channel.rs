//! A channel as a listener, for who accepts connections in ways of their own.

use std::{future::pending, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc::Receiver,
};

use super::Accept;

/// Connections that somebody else has accepted, with their clients' addresses.
///
/// A shutdown takes those that wait in the channel, as it does of a listener's queue. Once every sender
/// is dropped no more come, and the server goes on with those that it has.
impl<IO> Accept for Receiver<(IO, Option<SocketAddr>)>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Io = IO;

    async fn accept(&mut self) -> io::Result<(IO, Option<SocketAddr>)> {
        match self.recv().await {
            Some(accepted) => Ok(accepted),
            None => pending().await,
        }
    }

    fn accept_now(&mut self) -> Option<io::Result<(IO, Option<SocketAddr>)>> {
        self.try_recv().ok().map(Ok)
    }
}
