//! Servers that drive hyper themselves and have no layer around their service: what is in flight is
//! not cut, and what another connection has shown of itself says nothing of this one.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;
#[path = "support/within.rs"]
mod within;

use std::{
    error::Error,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use graceful_tls::{GracefulStream, GracefulTls, GracefulTlsLayer, TlsConnection};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use judge::{
    PROMPT, Then, at_most, ends_properly, ends_properly_h2, is_hello, is_notified_within, post,
};
use support::{VERSIONS, pair};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tower::{Layer, ServiceExt, service_fn};
use wire::{Client, H2, H2Options, Options, Version};
use within::Within;

const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Longer than three keep-alive time-outs.
const LONGER: Duration = Duration::from_millis(1800);
const LONG: Duration = Duration::from_secs(10);

/// Answers at once, or after a while; with the length of an upload, if there is one.
async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if request.uri().path() == "/sleep" {
        sleep(LONGER).await;
    }
    let mut length = 0;
    while let Some(frame) = request.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    let text = match length {
        0 => "hello\n".into(),
        length => length.to_string(),
    };
    Ok(Response::new(Full::from(text)))
}

/// Which connections have the layer around their service.
type Layered = fn(u64) -> bool;

/// A loop as users write it. Connections are numbered as they come.
fn server(version: Version, layered: Layered, keep_alive: Duration) -> Within {
    let (builder, _) = pair(VERSIONS[version as usize]);
    let builder = builder
        .keep_alive_timeout(keep_alive)
        .lame_duck(Duration::from_millis(50))
        .shutdown_timeout(LONG);
    let serve = move |tls: GracefulTls, listener: TcpListener| async move {
        let mut incoming = tls.incoming(listener);
        let mut number = 0;
        while let Ok(Some(stream)) = incoming.next().await {
            tokio::spawn(one(stream, layered(number)));
            number += 1;
        }
    };
    Within::start(builder, serve)
}

async fn one(
    stream: GracefulStream<TcpStream>,
    layered: bool,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let connection: TlsConnection = stream.connection().clone();
    let http = auto::Builder::new(TokioExecutor::new());
    let io = TokioIo::new(stream);
    if !layered {
        let service = TowerToHyperService::new(service_fn(answer));
        return http.serve_connection(io, service).await;
    }
    let service = GracefulTlsLayer.layer(service_fn(answer));
    let service = service.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        request
    });
    let service = TowerToHyperService::new(service);
    http.serve_connection(io, service).await
}

fn client_of(server: &Within, version: Version) -> Client {
    let options = Options::new().version(version).http1();
    Client::connect_with(server.addr, &options).unwrap()
}

fn h2_of(server: &Within, version: Version) -> H2 {
    let options = Options::new().version(version).h2();
    H2::connect_with(server.addr, &options, H2Options::default()).unwrap()
}

/// No connection has the layer.
const NONE: Layered = |_| false;
/// The first has it.
const FIRST: Layered = |number| number == 0;

/// The first connection asks for something, and so shows whether it has the layer.
fn first_asks(server: &Within, version: Version) -> Client {
    let mut client = client_of(server, version);
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    client
}

/// Every test for a server without the layer, and for one where another connection has it.
fn everywhere(keep_alive: Duration, test: impl Fn(&Within, Version) + Sync) {
    thread::scope(|scope| {
        for version in Version::BOTH {
            for (name, layered) in [("no layer", NONE), ("a layer elsewhere", FIRST)] {
                let test = &test;
                let run = move || {
                    let server = server(version, layered, keep_alive);
                    let mut first = first_asks(&server, version);
                    test(&server, version);
                    let _ = first.close();
                };
                let named = thread::Builder::new().name(format!("{version:?}, {name}"));
                named.spawn_scoped(scope, run).unwrap();
            }
        }
    });
}

#[test]
fn a_handler_that_takes_longer_than_keep_alive_is_answered() {
    everywhere(KEEP_ALIVE, |server, version| {
        let mut client = client_of(server, version);
        for path in ["/sleep", "/", "/sleep"] {
            assert!(
                is_hello(&client.get(path).unwrap(), "hello\n"),
                "{client:?}"
            );
        }
        let since = client.now();
        let ending = ends_properly(&mut client, Then::Closes);
        is_notified_within(&ending, since, (KEEP_ALIVE / 2, at_most(KEEP_ALIVE)));
    });
}

#[test]
fn so_it_is_over_http2() {
    everywhere(KEEP_ALIVE, |server, version| {
        let mut h2 = h2_of(server, version);
        for path in ["/sleep", "/", "/sleep"] {
            let answer = h2.h2_get(path).unwrap();
            assert!(answer.is_complete() && answer.text() == "hello\n", "{h2:?}");
        }
        let since = h2.conn.now();
        let ending = ends_properly_h2(&mut h2, Then::Closes);
        is_notified_within(&ending, since, (KEEP_ALIVE / 2, at_most(KEEP_ALIVE)));
    });
}

#[test]
fn an_upload_that_takes_longer_than_keep_alive_is_answered() {
    everywhere(KEEP_ALIVE, |server, version| {
        let mut client = client_of(server, version);
        client.send(post("/", 20)).unwrap();
        for _ in 0..20 {
            thread::sleep(LONGER / 20);
            client.send("u").unwrap();
        }
        assert!(
            is_hello(&client.read_response().unwrap(), "20"),
            "{client:?}"
        );
        ends_properly(&mut client, Then::Closes);

        let mut h2 = h2_of(server, version);
        let stream = h2.post("/").unwrap();
        for n in 1..=20 {
            h2.pump_until(LONGER / 20, |h2| h2.conn.close_notified());
            h2.data(stream, b"u", n == 20).unwrap();
        }
        let answer = h2.wait_stream(stream, LONG);
        assert!(answer.is_complete() && answer.text() == "20", "{h2:?}");
        ends_properly_h2(&mut h2, Then::Closes);
    });
}

/// hyper is not told of the shutdown by this loop: the stream ends its connections.
#[test]
fn idle_connections_end_when_draining_begins() {
    everywhere(2 * LONG, |server, version| {
        let mut client = client_of(server, version);
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
        let mut h2 = h2_of(server, version);
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        let since = Instant::now();
        server.tls.shutdown();
        ends_properly(&mut client, Then::Closes);
        ends_properly_h2(&mut h2, Then::Closes);
        assert_eq!(h2.goaways(), [(1, 0)], "{h2:?}");
        let report = server.closed(LONG);
        assert!(since.elapsed() < at_most(PROMPT), "{report}");
        assert!(!report.deadline_reached, "{report}");
    });
}

/// What is in flight when draining begins is answered, and ends properly.
#[test]
fn a_handler_at_work_when_draining_begins_is_answered() {
    everywhere(2 * LONG, |server, version| {
        let mut client = client_of(server, version);
        client.send(judge::get("/sleep")).unwrap();
        let mut h2 = h2_of(server, version);
        let stream = h2.get("/sleep").unwrap();
        thread::sleep(Duration::from_millis(300));
        server.tls.shutdown();
        assert!(
            is_hello(&client.read_response().unwrap(), "hello\n"),
            "{client:?}"
        );
        ends_properly(&mut client, Then::Closes);
        assert!(h2.wait_stream(stream, LONG).is_complete(), "{h2:?}");
        ends_properly_h2(&mut h2, Then::Closes);
        let report = server.closed(LONG);
        assert!(
            !report.deadline_reached && report.truncated == 0,
            "{report}"
        );
    });
}
