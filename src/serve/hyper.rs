//! [`GracefulTls::serve`] and [`serve_connection`](GracefulTls::serve_connection): everything included,
//! on hyper.
//!
//! The accept loop is a task, since the future of [`serve`](GracefulTls::serve) is most often `main`'s own: the
//! thread of that has to be woken for each connection, and to wake a worker in its turn. The loop hands each
//! connection to a task that does its handshake, and that to another
//! that serves it: in one task their locals would add up for as long as the connection lives.
//! ALPN says which protocol a connection speaks, so that there is no preface to guess from: a
//! client that agreed on none speaks HTTP/1.1 (RFC 9113 3.3).

use std::{
    error::Error as StdError,
    fmt::Display,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming as RequestBody, server::conn::http2};
use hyper_util::service::TowerToHyperService;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;
use tracing::Instrument;

use super::{Layered, attached::Attached, corked::Corked, parking::Parking, turns::Turns};
use crate::{
    accept::Accept,
    acceptor::{AcceptLoop, Acceptor, Handshaking},
    connection::TlsConnection,
    graceful_tls::GracefulTls,
    handshake_error::HandshakeError,
    inline::Executor,
    phase::Phase,
    server::Server,
    shutdown::Report,
    stream::GracefulStream,
};

type BoxError = Box<dyn StdError + Send + Sync>;

impl GracefulTls {
    /// Serves `service` to every connection of `listener`, until a shutdown is over.
    ///
    /// `service` is cloned for every request. [`GracefulTlsLayer`](crate::GracefulTlsLayer) is
    /// applied around it, and [`TlsConnection`] is in the extensions of every request.
    ///
    /// Over HTTP/2 a handler that has its answer without waiting is run in the task of its connection, as
    /// over HTTP/1; one that waits gets a task of its own, and all these run in parallel. The first poll of a
    /// handler that computes for long or blocks its thread keeps up the other streams of its connection;
    /// where it takes more than half a millisecond, the next ones have a task each from the start. With
    /// [`Builder::handlers_may_block`](crate::Builder::handlers_may_block) all have.
    ///
    /// # Errors
    ///
    /// The listener is broken for good; see [`Accept::accept`]. Connections that are open
    /// go on. Or the runtime that it was on has been shut down.
    ///
    /// # Panics
    ///
    /// Where the listener does.
    ///
    /// # Cancel safety
    ///
    /// Connections are accepted by a task, also while nobody polls the future.
    /// Dropping the future closes the listener and leaves the open connections to themselves; a
    /// shutdown still reaches them.
    pub async fn serve<A, S, B>(&self, listener: A, service: S) -> io::Result<Report>
    where
        A: Accept,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let incoming = AcceptLoop::new(listener, self.acceptor());
        let accepting = accept(incoming, self.acceptor(), service);
        Attached::spawn(accepting.in_current_span()).await??;
        Ok(self.closed().await)
    }

    /// Serves `service` on one connection that has been accepted elsewhere: behind a PROXY protocol,
    /// from a listener of your own, in a test. Resolves when the connection has ended.
    ///
    /// `client` is the client's address where that is not the socket's; `None` takes the socket's.
    /// What [`serve`](Self::serve) does to `service` is done here. From the call on, before the first
    /// poll, a shutdown waits for the connection. Spawn it, or the next one has to wait:
    ///
    /// ```no_run
    /// # use axum::Router;
    /// # use graceful_tls::{GracefulTls, Phase};
    /// # async fn f(tls: GracefulTls, tcp: tokio::net::TcpListener, app: Router) -> std::io::Result<()> {
    /// let mut draining = Box::pin(tls.reached(Phase::Draining));
    /// loop {
    ///     let accepted = tokio::select! {
    ///         accepted = tcp.accept() => accepted,
    ///         () = &mut draining => break,
    ///     };
    ///     let (io, client) = accepted?;
    ///     tokio::spawn(tls.serve_connection(io, client, app.clone()));
    /// }
    /// drop(tcp);
    /// let report = tls.closed().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// There was no connection: see [`HandshakeError`]. How one has ended is in the log, and counted
    /// in the [`Report`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the connection as a dropped stream ends: requests in flight are cut,
    /// and visibly so.
    pub fn serve_connection<IO, C, S, B>(
        &self,
        io: IO,
        client: C,
        service: S,
    ) -> impl Future<Output = Result<(), HandshakeError>> + Send + use<IO, C, S, B>
    where
        C: Into<Option<SocketAddr>>,
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let acceptor = self.acceptor();
        let arrived = acceptor.arrive(io, client.into());
        // In a box of its own, which goes when it is over.
        let handshake = arrived.map(|accepted| Box::pin(acceptor.accept_arrived(accepted)));
        async move {
            let stream = handshake?.await?;
            let server = acceptor.server();
            match stream.connection().is_http2() {
                true => http2(server, stream, service).await,
                false => http1(server, stream, service).await,
            }
            Ok(())
        }
    }
}

/// Serves what comes, until no more does.
async fn accept<A, S, B>(
    mut incoming: AcceptLoop<A>,
    acceptor: Acceptor,
    service: S,
) -> io::Result<()>
where
    A: Accept,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    while let Some(accepted) = incoming.next().await? {
        tokio::spawn(Arriving {
            handshake: acceptor.accept_arrived(accepted),
            service: Some(service.clone()),
        });
    }
    Ok(())
}

/// A connection until it has a task that serves it, in the protocol that ALPN agreed on. Written by hand: an `async`
/// block would have room for the handshake twice.
struct Arriving<IO, S> {
    handshake: Handshaking<IO>,
    service: Option<S>,
}

// The service is never pinned.
impl<IO: Unpin, S> Unpin for Arriving<IO, S> {}

impl<IO, S, B> Future for Arriving<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let arrived = ready!(Pin::new(&mut self.handshake).poll(cx));
        if let (Ok(stream), Some(service)) = (arrived, self.service.take()) {
            let server = self.handshake.acceptor().server();
            match stream.connection().is_http2() {
                true => drop(tokio::spawn(http2(server, stream, service))),
                false => drop(tokio::spawn(http1(server, stream, service))),
            }
        }
        Poll::Ready(())
    }
}

fn http1<IO, S, B>(
    server: &Server,
    stream: Box<GracefulStream<IO>>,
    service: S,
) -> Served<Parking<IO, Told<S>>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body + 'static,
    B::Error: Into<BoxError>,
{
    let connection = stream.connection().clone();
    let service = told(service, &connection);
    let protocol = Parking::new(server.http1.clone(), stream, service);
    Served::new(protocol, connection)
}

type Http2<IO, S> = Turns<http2::Connection<Corked<IO>, Told<S>, Executor>, IO>;

fn http2<IO, S, B>(
    server: &Server,
    stream: Box<GracefulStream<IO>>,
    service: S,
) -> Served<Http2<IO, S>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let connection = stream.connection().clone();
    let service = told(service, &connection);
    let stream = Corked::new(stream);
    let protocol = server.http2.serve_connection(stream.clone(), service);
    let turns = Turns::new(protocol, stream, connection.clone());
    Served::new(turns, connection)
}

/// The user's service, as hyper calls it.
type Told<S> = TowerToHyperService<Layered<S>>;

fn told<S>(service: S, connection: &TlsConnection) -> Told<S> {
    TowerToHyperService::new(Layered::new(service, connection.clone()))
}

pin_project! {
    /// One connection driven by hyper.
    ///
    /// It needs not be told of a shutdown: the layer says `Connection: close`, the stream GOAWAY, and
    /// ends what is idle.
    struct Served<C> {
        #[pin]
        protocol: C,
        connection: TlsConnection,
    }
}

impl<C> Served<C> {
    fn new(protocol: C, connection: TlsConnection) -> Self {
        Self {
            protocol,
            connection,
        }
    }
}

impl<C, E> Future for Served<C>
where
    C: Future<Output = Result<(), E>>,
    E: Display,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match this.protocol.poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Ready(Err(error)) => {
                tracing::debug!(id = this.connection.id(), %error, "connection failed");
                Poll::Ready(())
            }
            // hyper may have nothing to read or to write, and so not see that it is over. What is left
            // of the stream is dropped with it, and ends properly.
            Poll::Pending if this.connection.phase() >= Phase::Deadline => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }
}
