//! The servers: `serve`, and loops of one's own, as users write them.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use graceful_tls::{Accept, GracefulStream, GracefulTls, GracefulTlsLayer, Phase, Report};
use hyper::{Request, Response, body::Incoming, server::conn::http1, server::conn::http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{Layer, Service, ServiceExt};

use crate::{
    handlers::{BoxError, Handlers},
    net::ServerEnd,
    settings::{Http2, Settings},
};

/// The queue that the kernel keeps for a listener.
#[derive(Debug)]
pub struct Listener {
    queue: mpsc::UnboundedReceiver<ServerEnd>,
    /// The runtime hears of a client so long after it has come.
    late: Duration,
    hears: Option<Pin<Box<Sleep>>>,
}

impl Listener {
    pub fn new(queue: mpsc::UnboundedReceiver<ServerEnd>, rng: &mut fastrand::Rng) -> Self {
        let late = Duration::from_millis(*rng.choice(&[0, 0, 1, 20]).unwrap());
        let hears = None;
        Self { queue, late, hears }
    }

    /// Whether the runtime has heard of a client.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.late.is_zero() {
            return Poll::Ready(());
        }
        if self.queue.is_empty() {
            self.hears = None;
            // Takes nothing, and is woken by the next.
            return self.queue.poll_recv(cx).map(drop);
        }
        let late = self.late;
        let hears = self.hears.get_or_insert_with(|| Box::pin(sleep(late)));
        hears.as_mut().poll(cx)
    }

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(ServerEnd, Option<SocketAddr>)>> {
        ready!(self.poll_heard(cx));
        match ready!(self.queue.poll_recv(cx)) {
            Some(end) => Poll::Ready(Ok(end.accepted())),
            None => Poll::Pending,
        }
    }
}

impl Accept for Listener {
    type Io = ServerEnd;

    async fn accept(&mut self) -> io::Result<(ServerEnd, Option<SocketAddr>)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn accept_now(&mut self) -> Option<io::Result<(ServerEnd, Option<SocketAddr>)>> {
        Some(Ok(self.queue.try_recv().ok()?.accepted()))
    }
}

/// Who drives the connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Driver {
    /// `GracefulTls::serve`.
    Serve,
    /// hyper-util's builder, which finds the protocol out by itself.
    Auto,
    /// hyper's builders, chosen by ALPN.
    Hyper,
}

/// One kind of server.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub driver: Driver,
    /// `GracefulTlsLayer` is around the service.
    pub layer: bool,
    /// hyper's own graceful shutdown begins when draining does.
    pub tells_hyper: bool,
    /// hyper has a timer, and with it 30 s for the head of a request.
    pub timer: bool,
    pub http2: Http2,
    /// An accept loop that does its handshakes itself, and ends with draining.
    pub accepts: bool,
    /// The task of each connection is cancelled so long after its handshake.
    pub cancels: Option<Duration>,
}

impl Kind {
    /// The PINGs of HTTP/2.
    pub fn pings(&self) -> Option<(Duration, Duration)> {
        let timer = self.timer || self.driver == Driver::Serve;
        self.http2.pings.filter(|_| timer)
    }

    pub fn random(rng: &mut fastrand::Rng, settings: &Settings) -> Self {
        use Driver::{Auto, Hyper, Serve};
        let driver = *rng.choice(&[Serve, Serve, Auto, Hyper]).unwrap();
        Self {
            driver,
            layer: driver == Serve || rng.u8(..3) > 0,
            tells_hyper: rng.bool(),
            timer: rng.bool(),
            http2: settings.http2,
            accepts: driver != Serve && rng.u8(..3) == 0,
            cancels: (driver != Serve && rng.u8(..6) == 0)
                .then(|| Duration::from_millis(rng.u64(0..4000))),
        }
    }

    /// Serves until the shutdown is over; `draining` says when that begins.
    pub async fn run(
        self,
        tls: GracefulTls,
        listener: Listener,
        handlers: Handlers,
        draining: CancellationToken,
    ) -> Report {
        if self.driver == Driver::Serve {
            return tls.serve(listener, handlers).await.unwrap();
        }
        match self.accepts {
            true => self.accept(&tls, listener, handlers, draining).await,
            false => self.take(&tls, listener, handlers, draining).await,
        }
        tls.closed().await
    }

    /// Takes streams that have shaken hands.
    async fn take(
        self,
        tls: &GracefulTls,
        listener: Listener,
        handlers: Handlers,
        draining: CancellationToken,
    ) {
        let mut incoming = tls.incoming(listener);
        while let Some(stream) = incoming.next().await.unwrap() {
            tokio::spawn(self.serve(draining.clone(), stream, handlers.clone()));
        }
    }

    /// An accept loop of its own. What is in the queue when draining begins is reset.
    async fn accept(
        self,
        tls: &GracefulTls,
        mut listener: Listener,
        handlers: Handlers,
        draining: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                () = tls.reached(Phase::Draining) => return,
            };
            let (io, _) = accepted.unwrap();
            let (acceptor, draining, handlers) =
                (tls.acceptor(), draining.clone(), handlers.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(io).await {
                    self.serve(draining, stream, handlers).await;
                }
            });
        }
    }

    async fn serve(
        self,
        draining: CancellationToken,
        stream: GracefulStream<ServerEnd>,
        handlers: Handlers,
    ) {
        let served = self.serve_to_its_end(draining, stream, handlers);
        match self.cancels {
            Some(after) => drop(timeout(after, served).await),
            None => served.await,
        }
    }

    async fn serve_to_its_end(
        self,
        draining: CancellationToken,
        stream: GracefulStream<ServerEnd>,
        handlers: Handlers,
    ) {
        let connection = stream.connection().clone();
        match self.layer {
            true => {
                let service = GracefulTlsLayer.layer(handlers);
                let service = service.map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(connection.clone());
                    request
                });
                self.drive(draining, stream, service).await;
            }
            false => self.drive(draining, stream, handlers).await,
        }
    }

    async fn drive<S, B>(
        self,
        draining: CancellationToken,
        stream: GracefulStream<ServerEnd>,
        service: S,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let http2 = stream.connection().alpn() == Some(b"h2");
        let service = TowerToHyperService::new(service);
        let io = TokioIo::new(stream);
        // The dance is the same for each, but their types have nothing in common.
        macro_rules! drive {
            ($connection:expr) => {{
                let mut connection = pin!($connection);
                if self.tells_hyper {
                    tokio::select! {
                        biased;
                        _ = connection.as_mut() => return,
                        () = draining.cancelled() => connection.as_mut().graceful_shutdown(),
                    }
                }
                let _ = connection.await;
            }};
        }
        if self.driver == Driver::Auto {
            let builder = self.auto();
            drive!(builder.serve_connection_with_upgrades(io, service));
        } else if http2 {
            drive!(self.http2().serve_connection(io, service));
        } else {
            drive!(self.http1().serve_connection(io, service).with_upgrades());
        }
    }

    fn auto(self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().auto_date_header(false);
        let Http2 { pings, window } = self.http2;
        let mut http2 = builder.http2();
        http2
            .auto_date_header(false)
            .initial_stream_window_size(window);
        if self.timer {
            http2.timer(TokioTimer::new());
        }
        if let (Some((every, timeout)), true) = (pings, self.timer) {
            http2.keep_alive_interval(every).keep_alive_timeout(timeout);
        }
        if self.timer {
            builder.http1().timer(TokioTimer::new());
        }
        builder
    }

    fn http1(self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder.auto_date_header(false);
        if self.timer {
            builder.timer(TokioTimer::new());
        }
        builder
    }

    fn http2(self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        self.http2.apply(&mut builder, self.timer);
        if self.timer {
            builder.timer(TokioTimer::new());
        }
        builder
    }
}
