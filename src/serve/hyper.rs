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
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming as RequestBody;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use crate::{
    accept::Accept,
    acceptor::AcceptLoop,
    connection::TlsConnection,
    graceful_tls::GracefulTls,
    layer::{Asked, GracefulTlsBody, GracefulTlsFuture},
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
    /// # Errors
    ///
    /// The listener is broken for good; see [`Accept::accept`]. Connections that are open
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
        let mut incoming = AcceptLoop::new(listener, acceptor.clone());
        while let Some(accepted) = incoming.next().await? {
            let acceptor = acceptor.clone();
            let service = service.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept_arrived(accepted).await {
                    spawn(acceptor.server(), stream, service);
                }
            });
        }
        Ok(self.closed().await)
    }
}

/// The service of one connection: every request carries it, and has passed the layer.
#[derive(Clone)]
struct Layered<S> {
    inner: S,
    connection: TlsConnection,
}

impl<S, B> Service<Request<RequestBody>> for Layered<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    B: Body,
{
    type Response = Response<GracefulTlsBody<B>>;
    type Error = S::Error;
    type Future = GracefulTlsFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline(never)] // or the request is moved twice more
    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let asked = Asked::new(&request, Some(&self.connection));
        request.extensions_mut().insert(self.connection.clone());
        let connection = Some(self.connection.clone());
        GracefulTlsFuture::new(self.inner.call(request), asked, connection)
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
    let mut seen = connection.clone();
    seen.see_layer();
    let service = TowerToHyperService::new(Layered {
        inner: service,
        connection: seen,
    });
    let io = TokioIo::new(stream);
    match connection.is_http2() {
        true => {
            let protocol = server.http2.serve_connection(io, service);
            tokio::spawn(Served::new(protocol, connection));
        }
        false => {
            let protocol = server.http1.serve_connection(io, service).with_upgrades();
            tokio::spawn(Served::new(protocol, connection));
        }
    }
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

impl<C> Future for Served<C>
where
    C: Future<Output = hyper::Result<()>>,
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
