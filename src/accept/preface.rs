//! [`Preface`]: what a connection says before TLS, and who reads it.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

/// What a [`Preface`] returns: a boxed future of what has been read.
pub type Reading<'a> = Pin<Box<dyn Future<Output = io::Result<PrefaceInfo>> + Send + 'a>>;

type Read<IO> = dyn Fn(&mut IO, Option<SocketAddr>) -> Reading<'_> + Send + Sync;

/// Reads what every connection of a listener has to say before TLS. See [`Accept::preface`].
///
/// It runs in the connection's own task, so it may take its time: as one of the handshakes that
/// [`max_handshakes`](crate::Builder::max_handshakes) caps, within
/// [`handshake_timeout`](crate::Builder::handshake_timeout), and a shutdown waits for it as it does for
/// them. [`connection_filter`](crate::Builder::connection_filter) and
/// [`max_connections_per_client`](crate::Builder::max_connections_per_client) are asked when it has ended.
///
/// What is read is gone, so it must not read a byte of the ClientHello that follows.
///
/// ```
/// # use graceful_tls::{Accept, Preface};
/// # use std::{io, net::{IpAddr, SocketAddr}};
/// # use tokio::{io::AsyncReadExt, net::{TcpListener, TcpStream}};
/// /// Each connection begins with the four bytes of its client's address.
/// struct Told(TcpListener);
///
/// impl Accept for Told {
///     type Io = TcpStream;
///
///     async fn accept(&mut self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
///         Accept::accept(&mut self.0).await
///     }
///
///     fn preface(&self) -> Option<Preface<TcpStream>> {
///         Some(Preface::new(|io: &mut TcpStream, _balancer| {
///             Box::pin(async move {
///                 let mut address = [0; 4];
///                 io.read_exact(&mut address).await?;
///                 Ok(SocketAddr::new(IpAddr::from(address), 0).into())
///             })
///         }))
///     }
///
///     fn accept_now(&mut self) -> Option<io::Result<(TcpStream, Option<SocketAddr>)>> {
///         self.0.accept_now()
///     }
///
///     fn local_addr(&self) -> Option<SocketAddr> {
///         Accept::local_addr(&self.0)
///     }
/// }
/// ```
///
/// [`Accept::preface`]: crate::Accept::preface
pub struct Preface<IO>(Arc<Read<IO>>);

/// What a [`Preface`] has told. Made of an address, or of `None`, by `into()`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct PrefaceInfo {
    /// The client's address; `None` is a client without one.
    pub client: Option<SocketAddr>,
}

impl From<Option<SocketAddr>> for PrefaceInfo {
    fn from(client: Option<SocketAddr>) -> Self {
        Self { client }
    }
}

impl From<SocketAddr> for PrefaceInfo {
    fn from(client: SocketAddr) -> Self {
        Some(client).into()
    }
}

impl<IO> Preface<IO> {
    /// `read` gets the connection and the address that [`accept`](crate::Accept::accept) has given, else
    /// that of the socket, and returns what the connection says of its client.
    ///
    /// Its error ends the connection ([`HandshakeError::Preface`](crate::HandshakeError::Preface)).
    pub fn new(
        read: impl Fn(&mut IO, Option<SocketAddr>) -> Reading<'_> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }

    /// Reads it. Not cancel safe: what has been read is lost.
    ///
    /// For a listener around another one, whose preface comes first.
    ///
    /// # Errors
    ///
    /// What the closure gives.
    pub async fn read(&self, io: &mut IO, own: Option<SocketAddr>) -> io::Result<PrefaceInfo> {
        (self.0)(io, own).await
    }
}

impl<IO> Clone for Preface<IO> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<IO> fmt::Debug for Preface<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preface").finish_non_exhaustive()
    }
}
