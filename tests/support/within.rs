//! A server within the test's own process, for a client that blocks, such as `wire`.

#![allow(dead_code)]

use std::{future::Future, net::SocketAddr, time::Duration};

use graceful_tls::{Builder, GracefulTls, Report};
use tokio::{
    net::{TcpListener, TcpSocket},
    runtime::Runtime,
    time::{Instant, timeout},
};

/// A server on a runtime of its own, which ends with it.
pub struct Within {
    pub addr: SocketAddr,
    pub tls: GracefulTls,
    pub runtime: Runtime,
}

impl Within {
    /// Runs `serve`, which takes the connections of the listener.
    pub fn start<F>(builder: Builder, serve: impl FnOnce(GracefulTls, TcpListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::receiving(None, builder, serve)
    }

    /// The same, with sockets whose kernel receives no more than about this at a time.
    pub fn receiving<F>(
        buffer: Option<u32>,
        builder: Builder,
        serve: impl FnOnce(GracefulTls, TcpListener) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(Runtime::new().unwrap(), buffer, builder, serve)
    }

    /// The same on this runtime.
    pub fn on<F>(
        runtime: Runtime,
        buffer: Option<u32>,
        builder: Builder,
        serve: impl FnOnce(GracefulTls, TcpListener) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tls = builder.build().unwrap();
        let inside = runtime.enter();
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(buffer) = buffer {
            socket.set_recv_buffer_size(buffer).unwrap();
        }
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1024).unwrap();
        drop(inside);
        let addr = listener.local_addr().unwrap();
        runtime.spawn(serve(tls.clone(), listener));
        Self { addr, tls, runtime }
    }

    /// Waits for the end of the shutdown that has begun.
    pub fn closed(&self, limit: Duration) -> Report {
        let since = Instant::now();
        let closed = self
            .runtime
            .block_on(async { timeout(limit, self.tls.closed()).await });
        closed.unwrap_or_else(|_| panic!("not closed after {:?}", since.elapsed()))
    }
}
