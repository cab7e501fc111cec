//! [`GracefulTls::serve`]: everything included, on hyper.
//!
//! The accept loop hands each connection to a task that does its handshake, and that to another
//! that serves it: in one task their locals would add up for as long as the connection lives.
//! ALPN says which protocol a connection speaks, so that there is no preface to guess from: a
//! client that agreed on none speaks HTTP/1.1 (RFC 9113 3.3).

use std::{
    error::Error as StdError,
    future::Future,
    io,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming as RequestBody,
    server::conn::{http1, http2},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use crate::{
    accept::{Accept, Incoming},
    connection::TlsConnection,
    layer::{GracefulTlsBody, GracefulTlsFuture, RequestLine, begin_on},
    server::{GracefulTls, Server},
    shutdown::{Phase, Report},
    stream::GracefulStream,
};

type BoxError = Box<dyn StdError + Send + Sync>;

impl GracefulTls {
    /// Serves `service` to every connection of `listener`, until a shutdown is over.
    ///
    /// `service` is cloned for every request. [`GracefulTlsLayer`](crate::GracefulTlsLayer) is
    /// applied around it, and [`TlsConnection`] is in the extensions of every request.
    ///
    /// # Errors
    ///
    /// The listener is broken for good; see [`Accept::poll_accept`]. Connections that are open
    /// go on.
    ///
    /// # Cancel safety
    ///
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
        let acceptor = self.acceptor();
        self.server.layered.store(true, Ordering::Relaxed);
        let mut incoming = Incoming::new(listener, acceptor.clone());
        while let Some(accepted) = incoming.next().await? {
            let acceptor = acceptor.clone();
            let service = service.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept_in_turn(accepted).await {
                    spawn(acceptor.server(), stream, service);
                }
            });
        }
        Ok(self.closed().await)
    }
}

/// A hyper service for one connection: every request carries it, and is counted.
struct Counted<S> {
    inner: TowerToHyperService<S>,
    connection: TlsConnection,
}

impl<S, B> hyper::service::Service<Request<RequestBody>> for Counted<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    B: Body,
{
    type Response = Response<GracefulTlsBody<B>>;
    type Error = S::Error;
    type Future = GracefulTlsFuture<
        <TowerToHyperService<S> as hyper::service::Service<Request<RequestBody>>>::Future,
    >;

    /// Counts at once, not when the future is first polled: a stream whose peer has half-closed
    /// has to know that a request is being worked on.
    fn call(&self, mut request: Request<RequestBody>) -> Self::Future {
        let line = RequestLine::of(&request);
        let exchange = begin_on(self.connection.clone(), line, &request);
        request.extensions_mut().insert(self.connection.clone());
        GracefulTlsFuture::new(self.inner.call(request), line, Some(exchange))
    }
}

/// Spawns the task that serves `stream`, in the protocol that ALPN agreed on.
fn spawn<IO, S, B>(server: &Server, stream: GracefulStream<IO>, service: S)
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
    connection.set_managed();
    let mut counted = connection.clone();
    counted.track();
    let service = Counted {
        inner: TowerToHyperService::new(service),
        connection: counted,
    };
    let io = TokioIo::new(stream);
    match connection.is_http2() {
        true => {
            let protocol = server.http2.serve_connection(io, service);
            let goodbye = http2::Connection::graceful_shutdown;
            tokio::spawn(Served::new(protocol, goodbye, connection));
        }
        false => {
            let protocol = server.http1.serve_connection(io, service).with_upgrades();
            let goodbye = http1::UpgradeableConnection::graceful_shutdown;
            tokio::spawn(Served::new(protocol, goodbye, connection));
        }
    }
}

pin_project! {
    /// One connection driven by hyper, which it tells of the shutdown.
    struct Served<C> {
        #[pin]
        protocol: C,
        goodbye: Option<fn(Pin<&mut C>)>,
        connection: TlsConnection,
    }
}

impl<C> Served<C> {
    fn new(protocol: C, goodbye: fn(Pin<&mut C>), connection: TlsConnection) -> Self {
        Self {
            protocol,
            goodbye: Some(goodbye),
            connection,
        }
    }
}

impl<C> Future for Served<C>
where
    C: Future<Output = hyper::Result<()>>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            // First what has come in, then the goodbye: a request that is in the socket already
            // would go unanswered otherwise.
            if let Poll::Ready(result) = this.protocol.as_mut().poll(cx) {
                if let Err(error) = result {
                    tracing::debug!(id = this.connection.id(), %error, "connection failed");
                }
                return Poll::Ready(());
            }
            let phase = this.connection.server().shutdown.phase();
            let ending = phase >= Phase::Draining || this.connection.is_expired();
            match this.goodbye.take_if(|_| ending) {
                Some(goodbye) => goodbye(this.protocol.as_mut()),
                None => return Poll::Pending,
            }
        }
    }
}
