//! tonic, as seen on the wire: unary answers larger than the HTTP/2 window, which the server has
//! handed on at once, with their status behind them, and what an idle client is told.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;
#[path = "support/within.rs"]
mod within;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bytes::{Buf, BufMut};
use graceful_tls::{Builder, GracefulTls, GracefulTlsLayer};
use http::{Request, Response};
use judge::{Then, at_most, ends_properly_h2, is_notified_within};
use support::{VERSIONS, pair};
use tokio::net::TcpListener;
use tonic::{
    Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, NamedService},
    transport::Server,
};
use tower::{Service, service_fn};
use wire::{H2, H2Options, Options, Version};
use within::Within;

const LONG: Duration = Duration::from_secs(10);
/// Longer than the lame duck and a second of draining.
const PAUSE: Duration = Duration::from_millis(1600);
const WINDOW: usize = 16 << 10;
const MESSAGE: usize = 200_000;
/// With the five bytes in front of it.
const LENGTH: usize = MESSAGE + 5;

/// Messages that are bytes.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut message = vec![0; buf.remaining()];
        buf.copy_to_slice(&mut message);
        Ok(Some(message))
    }
}

/// A service of one unary call.
#[derive(Clone, Copy, Debug)]
struct Large;

impl NamedService for Large {
    const NAME: &'static str = "test.Large";
}

impl Service<Request<Body>> for Large {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = |_: tonic::Request<Vec<u8>>| async {
            Ok::<_, Status>(tonic::Response::new(vec![b'x'; MESSAGE]))
        };
        Box::pin(async move { Ok(Grpc::new(Raw).unary(service_fn(answer), request).await) })
    }
}

fn server(builder: Builder) -> Within {
    Within::start(
        builder,
        |tls: GracefulTls, listener: TcpListener| async move {
            Server::builder()
                .layer(GracefulTlsLayer)
                .add_service(Large)
                .serve_with_incoming_shutdown(tls.incoming(listener), tls.drained())
                .await
                .unwrap();
        },
    )
}

/// Runs in both versions of TLS at once.
fn both(settings: fn(Builder) -> Builder, test: impl Fn(&Within, Version) + Sync) {
    thread::scope(|scope| {
        for (version, protocol) in Version::BOTH.into_iter().zip(VERSIONS) {
            let test = &test;
            scope.spawn(move || test(&server(settings(pair(protocol).0)), version));
        }
    });
}

/// Calls, and reads what the window lets through.
fn calls(server: &Within, version: Version) -> (H2, u32) {
    let options = Options::new().version(version).h2();
    let window = H2Options::window(WINDOW as u32);
    let mut h2 = H2::connect_with(server.addr, &options, window).unwrap();
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/test.Large/Get"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let stream = h2.send_request(&fields, false).unwrap();
    h2.data(stream, &[0; 5], true).unwrap();
    let came = h2.pump_until(LONG, |h2| h2.stream(stream).body.len() == WINDOW);
    assert!(came, "{h2:?}");
    (h2, stream)
}

/// Opens the window in three steps, with a pause before each.
fn reads_on(h2: &mut H2, stream: u32) {
    let step = (LENGTH - WINDOW).div_ceil(3);
    for n in 1..=3 {
        h2.pump_until(PAUSE, |_| false);
        h2.open(stream, step as u32).unwrap();
        let goal = LENGTH.min(WINDOW + n * step);
        let came = h2.pump_until(LONG, |h2| h2.stream(stream).body.len() >= goal);
        assert!(came, "{h2:?}");
    }
    let answer = h2.wait_stream(stream, LONG);
    assert!(
        answer.is_complete() && answer.body.len() == LENGTH,
        "{h2:?}"
    );
    let status = answer
        .trailers
        .iter()
        .find(|(name, _)| name == "grpc-status");
    assert_eq!(status.map(|(_, value)| value.as_str()), Some("0"), "{h2:?}");
}

#[test]
fn a_unary_answer_arrives_whole_across_a_shutdown() {
    both(
        |builder| builder.shutdown_timeout(LONG),
        |server, version| {
            let (mut h2, stream) = calls(server, version);
            server.tls.shutdown();
            reads_on(&mut h2, stream);
            ends_properly_h2(&mut h2, Then::Closes);
            let report = server.closed(LONG);
            assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
        },
    );
}

#[test]
fn and_across_the_keep_alive_time_out() {
    let timeout = Duration::from_millis(1000);
    both(
        |builder| builder.keep_alive_timeout(Duration::from_millis(1000)),
        |server, version| {
            let (mut h2, stream) = calls(server, version);
            reads_on(&mut h2, stream);
            let since = h2.conn.now();
            let ending = ends_properly_h2(&mut h2, Then::Closes);
            is_notified_within(&ending, since, (timeout / 2, at_most(timeout)));
        },
    );
}

#[test]
fn an_idle_client_is_told_once_and_exactly() {
    for name in ["keep-alive", "draining"] {
        both(
            |builder| builder.keep_alive_timeout(Duration::from_millis(1500)),
            |server, version| {
                let (mut h2, stream) = calls(server, version);
                h2.open(stream, LENGTH as u32).unwrap();
                assert!(h2.wait_stream(stream, LONG).is_complete(), "{h2:?}");
                if name == "draining" {
                    server.tls.shutdown();
                }
                ends_properly_h2(&mut h2, Then::Closes);
                assert_eq!(h2.goaways(), [(stream, 0)], "{name}: {h2:?}");
            },
        );
    }
}

#[test]
fn one_that_the_deadline_cuts_is_reported() {
    both(
        |builder| builder.shutdown_timeout(Duration::from_millis(1500)),
        |server, version| {
            let (mut h2, stream) = calls(server, version);
            server.tls.shutdown();
            ends_properly_h2(&mut h2, Then::Closes);
            assert!(!h2.stream(stream).is_complete(), "{h2:?}");
            let report = server.closed(LONG);
            assert_eq!((report.truncated, report.connections()), (1, 1), "{report}");
            assert!(report.deadline_reached, "{report}");
        },
    );
}
