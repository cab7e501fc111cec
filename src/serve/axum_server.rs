//! axum-server: a server that wraps stream and service together.
//!
//! ```no_run
//! # use axum::Router;
//! # use graceful_tls::GracefulTls;
//! # async fn f(tls: GracefulTls, tcp: tokio::net::TcpListener, app: Router) -> std::io::Result<()> {
//! let handle = axum_server::Handle::new();
//! tls.axum_server(tcp, handle)
//!     .serve(app.into_make_service())
//!     .await?;
//! let report = tls.closed().await;
//! # Ok(()) }
//! ```
//!
//! Neither connect-info nor the layer is needed: the acceptor adds both to each connection's
//! service (`ConnectInfo<SocketAddr>` with the feature `axum`). `Handle::graceful_shutdown` and
//! [`GracefulTls::shutdown`] follow one another. Prefer the second: the first is seen only by what it does, closing the listener (which is why the
//! listener is ours too), and so without a lame duck or a look at the listener's queue before. A
//! time-out given to it is left to axum-server, which then drops the connections, and they end as
//! dropped ones do.
//!
//! The handle is a `Handle<TlsAddress>`, which `Handle::new()` becomes by itself. One of type
//! `Handle<SocketAddr>` can't be taken: the type of the address decides that of the listener, and
//! axum-server's own is closed with clients in its queue, which are reset.

use std::{
    fmt::Debug,
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::Pin,
};

use ::axum_server::{AddrListener, Address, Handle, Server, accept::Accept as AcceptService};
use tokio::{net::TcpStream, sync::Mutex};

use super::Layered;
use crate::{
    accept::Accept,
    acceptor::{AcceptLoop, Accepted, Acceptor},
    graceful_tls::GracefulTls,
    stream::GracefulStream,
};

/// An address, `None` where there is none: of a listener without one, or of a client that has gone.
///
/// `Handle::listening` tells [`Accept::local_addr`]. A make-service and the handler of accept errors get
/// the address of whoever has connected: behind a balancer that tells its clients' ([`Accept::preface`])
/// that is the balancer's, for its header has not been read yet. The client's is
/// [`TlsConnection::remote_addr`](crate::TlsConnection::remote_addr).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsAddress(pub Option<SocketAddr>);

/// A TCP connection on its way to the handshake.
#[derive(Debug)]
pub struct Arrival(Accepted<TcpStream>);

/// The listener of [`GracefulTls::axum_server`].
///
/// It survives accept errors, which it logs. A [`GracefulTls::shutdown`] empties its queue before
/// it closes.
#[derive(Debug)]
pub struct TlsListener {
    incoming: Mutex<Box<dyn Next>>,
    local: Option<SocketAddr>,
    tls: GracefulTls,
}

/// An accept loop, of any listener: axum-server has no place for its type.
trait Next: Debug + Send {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Accepted<TcpStream>>>>;
}

impl<A: Accept<Io = TcpStream>> Next for AcceptLoop<A> {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Accepted<TcpStream>>>> {
        Box::pin(self.next())
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Drop for TlsListener {
    /// axum-server drops it when its handle is told to shut down, and before it waits.
    fn drop(&mut self) {
        self.tls.shutdown();
    }
}

/// The acceptor of [`GracefulTls::axum_server`]: the handshake, and the connection's service.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {
    acceptor: Acceptor,
}

impl GracefulTls {
    /// An axum-server on `listener` whose `handle` and this shutdown follow one another.
    ///
    /// See the [module](mod@crate::serve::axum_server). Call it inside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the server before it is served, or the future of its `serve`, is a
    /// [`shutdown`](Self::shutdown): of every listener, and of all servers that
    /// [share it](crate::Builder::shutdown_with). Connections go on until they have ended, or until the
    /// deadline.
    pub fn axum_server(
        &self,
        listener: impl Accept<Io = TcpStream>,
        handle: Handle<TlsAddress>,
    ) -> Server<TlsAddress, TlsAcceptor> {
        let acceptor = self.acceptor();
        let listener = TlsListener {
            local: listener.local_addr(),
            incoming: Mutex::new(Box::new(AcceptLoop::new(listener, acceptor.clone()))),
            tls: self.clone(),
        };
        self.follow(handle.clone());
        Server::from_listener(listener)
            .handle(handle)
            .acceptor(TlsAcceptor { acceptor })
    }

    fn follow(&self, handle: Handle<TlsAddress>) {
        let draining = self.drained();
        let follow = async move {
            draining.await;
            // No time-out: the stream enforces the deadline.
            handle.graceful_shutdown(None);
        };
        self.server.context.remember_runtime();
        match self.server.context.runtime() {
            Some(runtime) => drop(runtime.spawn(follow)),
            None => tracing::error!("axum_server was called outside a tokio runtime"),
        }
    }
}

impl Address for TlsAddress {
    type Stream = Arrival;
    type Listener = TlsListener;
}

/// So an app's `into_make_service_with_connect_info::<SocketAddr>()` can stay as it is. A client without an
/// address has the unspecified one, `0.0.0.0:0`.
#[cfg(feature = "axum")]
impl ::axum::extract::connect_info::Connected<TlsAddress> for SocketAddr {
    fn connect_info(client: TlsAddress) -> Self {
        let unspecified = Self::from(([0, 0, 0, 0], 0));
        client.0.unwrap_or(unspecified)
    }
}

impl AddrListener<Arrival, TlsAddress> for TlsListener {
    async fn bind_to(address: TlsAddress) -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("make the server of {address:?} with GracefulTls::axum_server"),
        ))
    }

    async fn accept_stream(&self) -> io::Result<(Arrival, TlsAddress)> {
        match self.incoming.lock().await.next().await {
            Ok(Some(accepted)) => {
                let remote = TlsAddress(accepted.remote());
                Ok((Arrival(accepted), remote))
            }
            // The queue is empty, or the listener broken, which has been logged. What is left to
            // do is to wait for the shutdown.
            Ok(None) | Err(_) => pending().await,
        }
    }

    fn get_local_addr(&self) -> io::Result<TlsAddress> {
        Ok(TlsAddress(self.local))
    }
}

type Served<S> = (GracefulStream<TcpStream>, Layered<S>);

impl<S: Send + 'static> AcceptService<Arrival, S> for TlsAcceptor {
    type Stream = GracefulStream<TcpStream>;
    type Service = Layered<S>;
    type Future = BoxFuture<'static, io::Result<Served<S>>>;

    fn accept(&self, Arrival(arrival): Arrival, service: S) -> Self::Future {
        // axum-server drops this future when it shuts down; the handshake has its own way to end.
        let handshake = tokio::spawn(self.acceptor.accept_arrived(arrival));
        Box::pin(async move {
            let stream = handshake.await.map_err(io::Error::other)?;
            let stream = stream.map_err(io::Error::other)?;
            let service = Layered::new(service, stream.connection().clone());
            Ok((*stream, service))
        })
    }
}
