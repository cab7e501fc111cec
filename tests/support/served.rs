//! One app under three servers, in the test's own process, and clients that look at the wire.

#![allow(dead_code)]

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use graceful_tls::{Builder, GracefulTls};
use http::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{copy, split},
    net::TcpListener,
    runtime::Runtime,
    time::sleep,
};
use wire::{Client, H2, H2Options, Options, Version};

use crate::{support, within::Within};

/// For what has to happen soon.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// More than all buffers hold on the way to a client that does not read.
pub const LARGE: usize = 32 << 20;

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;
pub type Serve = fn(GracefulTls, TcpListener, Router) -> Serving;

pub const SERVERS: [(&str, Serve); 3] = [
    ("serve", |tls, tcp, app| {
        Box::pin(async move { tls.serve(tcp, app).await.map(drop).unwrap() })
    }),
    ("axum::serve", |tls, tcp, app| {
        let server = axum::serve(tls.listener(tcp), tls.service(app));
        let server = server.with_graceful_shutdown(tls.drained());
        Box::pin(async move { server.await.unwrap() })
    }),
    ("axum-server", |tls, tcp, app| {
        Box::pin(async move {
            let server = tls.axum_server(tcp, axum_server::Handle::new());
            server.serve(app.into_make_service()).await.unwrap();
        })
    }),
];

pub fn app() -> Router {
    Router::new()
        .route("/", get("hello\n"))
        .route("/silent", get(pending::<()>))
        .route("/never", get(never))
        .route("/cut", get(cut))
        .route("/panic", get(panics))
        .route("/large", get(async || vec![b'x'; LARGE]))
        .route("/slow", get(slow))
        .route("/upload", post(async |body: Bytes| body.len().to_string()))
        .route("/tunnel", get(tunnel))
}

async fn never() -> Body {
    let begun = stream::iter([Ok::<_, Infallible>("four")]);
    Body::from_stream(begun.chain(stream::pending()))
}

/// The handler cuts its own answer.
async fn cut() -> Body {
    Body::from_stream(stream::iter([Ok("four"), Err("cut")]))
}

async fn panics() -> &'static str {
    panic!("as a handler may")
}

async fn slow() -> &'static str {
    sleep(Duration::from_millis(500)).await;
    "hello\n"
}

/// Gives back what comes, after 101.
async fn tunnel(request: Request) -> Response<Body> {
    tokio::spawn(async move {
        let io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        let (mut read, mut write) = split(io);
        let _ = copy(&mut read, &mut write).await;
    });
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "echo");
    answer.body(Body::empty()).unwrap()
}

/// Waits until this is so, or says what is instead.
pub fn until<T: std::fmt::Debug>(mut look: impl FnMut() -> T, so: impl Fn(&T) -> bool) -> T {
    let late = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if so(&seen) {
            return seen;
        }
        assert!(Instant::now() < late, "{seen:#?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A server, and how to reach it.
pub struct Served {
    pub within: Within,
    pub version: Version,
    pub name: &'static str,
}

impl Served {
    pub fn start(
        server: (&'static str, Serve),
        version: Version,
        app: Router,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        Self::on(Runtime::new().unwrap(), server, version, app, change)
    }

    pub fn on(
        runtime: Runtime,
        (name, serve): (&'static str, Serve),
        version: Version,
        app: Router,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let builder = support::pair(support::VERSIONS[version as usize]).0;
        let builder = change(builder.lame_duck(Duration::ZERO));
        let within = Within::on(runtime, None, builder, |tls, tcp| serve(tls, tcp, app));
        Self {
            within,
            version,
            name,
        }
    }

    pub fn tls(&self) -> &GracefulTls {
        &self.within.tls
    }

    pub fn options(&self) -> Options {
        Options::new().version(self.version)
    }

    pub fn client(&self) -> Client {
        Client::connect_with(self.within.addr, &self.options().http1()).unwrap()
    }

    pub fn h2(&self) -> H2 {
        H2::connect_with(self.within.addr, &self.options().h2(), H2Options::default()).unwrap()
    }
}

/// A request without a body, sent and not waited for.
pub fn ask(client: &mut Client, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.send(request).unwrap();
}

/// Under each server and each version of TLS.
pub fn everywhere(run: impl Fn((&'static str, Serve), Version)) {
    for server in SERVERS {
        for version in Version::BOTH {
            eprintln!("{} {version:?}", server.0);
            run(server, version);
        }
    }
}
