//! Idle HTTP/1 connections under `serve`: hyper's part of them goes at a strike of their timer, and nobody who
//! looks at the wire can tell.
//!
//! That it has gone shows by an upgrade that was asked for and declined: whoever waits for it is told so then.

#[path = "support/served.rs"]
mod served;
mod support;
#[path = "support/within.rs"]
mod within;

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::sleep,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    routing::{get, post},
};
use futures_util::StreamExt;
use graceful_tls::{Builder, Cause, State, WaitsFor};
use served::{PATIENCE, SERVERS, Served, app, ask, until};
use wire::{Client, Ending, Version};

/// How often the timers strike.
const STRIKES: Duration = Duration::from_millis(200);

const LONG: Duration = Duration::from_secs(60);

/// A server, and what is told of connections that are parked and of bodies that were read on.
struct Bed {
    served: Served,
    parked: Receiver<()>,
    read: Receiver<Result<usize, String>>,
}

impl Bed {
    fn new(version: Version, change: impl FnOnce(Builder) -> Builder) -> Self {
        let (parks, parked) = channel();
        let (reads, read) = channel();
        let app = app()
            .route(
                "/declined",
                get(async move |request: Request| {
                    let upgrade = hyper::upgrade::on(request);
                    tokio::spawn(async move {
                        assert!(upgrade.await.is_err());
                        let _ = parks.send(());
                    });
                    "hello\n"
                }),
            )
            .route(
                "/early",
                post(async move |request: Request| {
                    tokio::spawn(async move {
                        let read = read_on(request.into_body()).await;
                        let _ = reads.send(read);
                    });
                    "hello\n"
                }),
            );
        let served = Served::start(SERVERS[0], version, Router::new().merge(app), |of| {
            change(of.write_timeout(STRIKES).keep_alive_timeout(LONG))
        });
        Self {
            served,
            parked,
            read,
        }
    }

    /// A connection on which one request was answered, and which is parked.
    fn parked(&self) -> Client {
        let mut client = self.served.client();
        self.park(&mut client);
        client
    }

    fn park(&self, client: &mut Client) {
        declined(client);
        self.parked.recv_timeout(PATIENCE).unwrap();
    }

    fn is_not_parked_for(&self, time: Duration) {
        let parked = self.parked.recv_timeout(time);
        assert_eq!(parked, Err(RecvTimeoutError::Timeout));
    }
}

/// Reads a body chunk by chunk, with pauses, to its end.
async fn read_on(body: Body) -> Result<usize, String> {
    let (mut chunks, mut len) = (body.into_data_stream(), 0);
    loop {
        tokio::time::sleep(STRIKES / 2).await;
        match chunks.next().await {
            Some(Ok(chunk)) => len += chunk.len(),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Ok(len),
        }
    }
}

/// A request that asks for an upgrade and gets an answer.
fn declined(client: &mut Client) {
    let head = "GET /declined HTTP/1.1\r\nhost: s\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    client.send(head).unwrap();
    is_hello(client);
}

fn is_hello(client: &mut Client) {
    let answer = client.read_response().unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"hello\n"[..]));
    assert!(answer.complete && answer.interim.is_empty(), "{client:?}");
}

fn is_proper(ending: &Ending, client: &Client) {
    assert!(ending.is_proper(), "{client:?}");
}

fn everywhere(run: impl Fn(Version)) {
    for version in Version::BOTH {
        eprintln!("{version:?}");
        run(version);
    }
}

#[test]
fn requests_go_on() {
    everywhere(|version| {
        let bed = Bed::new(version, |of| of);
        let mut client = bed.parked();
        for _ in 0..3 {
            ask(&mut client, "/");
            is_hello(&mut client);
            bed.park(&mut client);
        }
        // Two in one write, and two byte by byte.
        let two = "GET / HTTP/1.1\r\nhost: s\r\n\r\n".repeat(2);
        client.send(&two).unwrap();
        (0..2).for_each(|_| is_hello(&mut client));
        bed.park(&mut client);
        for byte in two.bytes() {
            client.send([byte]).unwrap();
        }
        (0..2).for_each(|_| is_hello(&mut client));
        // Empty lines may come before a request (RFC 9112, 2.2), whenever.
        declined(&mut client);
        client.send("\r\n\r").unwrap();
        bed.parked.recv_timeout(PATIENCE).unwrap();
        sleep(3 * STRIKES);
        client.send("\nGET / HTTP/1.1\r\nhost: s\r\n\r\n").unwrap();
        is_hello(&mut client);
    });
}

#[test]
fn half_a_head_is_not_lost() {
    everywhere(|version| {
        let bed = Bed::new(version, |of| of.header_timeout(LONG));
        let mut client = bed.served.client();
        declined(&mut client);
        client.send("G").unwrap();
        bed.is_not_parked_for(3 * STRIKES);
        client.send("ET / HTTP/1.1\r\nho").unwrap();
        bed.is_not_parked_for(3 * STRIKES);
        client.send("st: s\r\n\r\n").unwrap();
        is_hello(&mut client);
        bed.parked.recv_timeout(PATIENCE).unwrap();
    });
}

#[test]
fn the_head_has_its_time() {
    let bed = Bed::new(Version::Tls13, |of| of.header_timeout(5 * STRIKES));
    let mut client = bed.parked();
    client.send("GET / HT").unwrap();
    let answer = client.read_response().unwrap();
    assert_eq!(answer.status, 408, "{client:?}");
    is_proper(&client.finish(), &client);
}

#[test]
fn uploads_and_tunnels_begin() {
    everywhere(|version| {
        let bed = Bed::new(version, |of| of);
        let mut client = bed.parked();
        client
            .send("POST /upload HTTP/1.1\r\nhost: s\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
            .unwrap();
        let interim = client.read_some(PATIENCE);
        assert!(interim.starts_with(b"HTTP/1.1 100 "), "{client:?}");
        sleep(2 * STRIKES);
        client.send("12345").unwrap();
        let answer = client.read_response().unwrap();
        assert_eq!(answer.body, b"5", "{client:?}");

        bed.park(&mut client);
        client
            .send("GET /tunnel HTTP/1.1\r\nhost: s\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
            .unwrap();
        let answer = client.read_response_to("CONNECT", PATIENCE).unwrap();
        assert_eq!(answer.status, 101, "{client:?}");
        for text in ["one", "two"] {
            client.send(text).unwrap();
            assert_eq!(client.read_exactly(3, PATIENCE), text.as_bytes());
            sleep(2 * STRIKES);
        }
    });
}

/// A body that a task goes on with, of which hyper has some still or its sender.
#[test]
fn a_body_that_is_read_on_is_whole() {
    everywhere(|version| {
        let bed = Bed::new(version, |of| of);
        let mut client = bed.served.client();
        declined(&mut client);
        bed.parked.recv_timeout(PATIENCE).unwrap();
        let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
        let head = "POST /early HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n";
        let body = chunk.repeat(6) + "0\r\n\r\n";
        client.send(format!("{head}{body}")).unwrap();
        is_hello(&mut client);
        let read = bed.read.recv_timeout(PATIENCE);
        assert_eq!(read, Ok(Ok(6000)), "{client:?}");
        bed.park(&mut client);

        // With a length, hyper keeps the sender until the next request: it is not dropped before.
        let head = "POST /early HTTP/1.1\r\nhost: s\r\ncontent-length: 3000\r\n\r\n";
        client.send(format!("{head}{}", "x".repeat(2000))).unwrap();
        is_hello(&mut client);
        sleep(2 * STRIKES);
        client.send("x".repeat(1000)).unwrap();
        let none_yet = bed.read.recv_timeout(6 * STRIKES);
        assert!(!matches!(none_yet, Ok(Err(_))), "{none_yet:?}");
        bed.park(&mut client);
        let read = none_yet.or_else(|_| bed.read.recv_timeout(PATIENCE));
        assert_eq!(read, Ok(Ok(3000)), "{client:?}");
    });
}

#[test]
fn what_clients_end_ends_as_ever() {
    everywhere(|version| {
        let bed = Bed::new(version, |of| of);
        let mut client = bed.parked();
        client.send_close_notify().unwrap();
        is_proper(&client.finish(), &client);
        let mut client = bed.parked();
        client.fin().unwrap();
        let ending = client.finish();
        assert!(ending.is_fin() && !ending.is_reset(), "{client:?}");
        let mut client = bed.parked();
        client.reset().unwrap();
        let stats = until(|| bed.served.tls().stats(), |of| of.open == 0);
        let ends: u64 = stats
            .ended
            .iter()
            .filter(|of| of.cause == Cause::PeerClosed)
            .map(|of| of.connections)
            .sum();
        assert_eq!(ends, 3, "{stats:?}");
    });
}

#[test]
fn it_is_seen_as_ever() {
    let bed = Bed::new(Version::Tls13, |of| of);
    let _client = bed.parked();
    let seen = bed.served.tls().connections()[0].stats();
    assert_eq!(
        (seen.state, seen.waits_for),
        (State::Idle, WaitsFor::Request)
    );
    assert_eq!((seen.requests, seen.requests_in_flight), (1, 0));
    assert!(seen.since.unwrap() > STRIKES / 2, "{seen:?}");
    let stats = bed.served.tls().stats();
    assert_eq!((stats.open, stats.idle, stats.http1), (1, 1, 1));
}

#[test]
fn its_time_is_over_as_ever() {
    everywhere(|version| {
        let bed = Bed::new(version, |of| of.keep_alive_timeout(4 * STRIKES));
        let mut client = bed.parked();
        is_proper(&client.finish(), &client);
        // 0.9 to 1.1 of that.
        let bed = Bed::new(version, |of| of.max_connection_age(5 * STRIKES));
        let mut client = bed.parked();
        is_proper(&client.finish(), &client);
        // It did not say anything at all.
        let bed = Bed::new(version, |of| of.keep_alive_timeout(4 * STRIKES));
        let mut client = bed.served.client();
        is_proper(&client.finish(), &client);
    });
}

#[test]
fn a_shutdown_reaches_it() {
    everywhere(|version| {
        let bed = Bed::new(version, |of| of);
        let mut clients: Vec<_> = (0..20).map(|_| bed.parked()).collect();
        // Those of the first half ask a moment before.
        for client in &mut clients[..10] {
            ask(client, "/");
        }
        bed.served.tls().shutdown();
        for (i, client) in clients.iter_mut().enumerate() {
            if i < 10 {
                is_hello(client);
            }
            is_proper(&client.finish(), client);
            assert!(client.unread().is_empty(), "{client:?}");
        }
        let report = bed.served.within.closed(PATIENCE);
        assert!(report.is_clean(), "{report:?}");
    });
}

#[test]
fn the_deadline_reaches_it() {
    let bed = Bed::new(Version::Tls13, |of| of);
    let mut client = bed.parked();
    bed.served.tls().shutdown_now();
    is_proper(&client.finish(), &client);
    assert!(bed.served.within.closed(PATIENCE).is_clean());
}
