//! `stats()` and `connections()`: what a client does is what they say, over both versions of TLS and of HTTP,
//! under three servers.

#[path = "support/served.rs"]
mod served;
mod support;
#[path = "support/within.rs"]
mod within;

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request, routing::get};
use graceful_tls::{
    Builder, ConnectionStats, Drain, Ended, GracefulTls, GracefulTlsLayer, Observer, Outcome,
    Protocol, State, Stats, TlsConnection, WaitsFor,
};
use http::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use served::{PATIENCE, SERVERS, Serve, Served, app, ask, everywhere, until};
use tokio::io::{AsyncWriteExt, duplex};
use wire::{Client, H2, H2Options, RawTcp, Version};
use within::Within;

const MS: Duration = Duration::from_millis(1);

fn start(server: (&'static str, Serve), version: Version) -> Served {
    Served::start(server, version, app(), |of| of.track_requests(true))
}

fn all(served: &Served) -> Vec<ConnectionStats> {
    let all = served.tls().connections();
    all.iter().map(TlsConnection::stats).collect()
}

/// Waits until the only connection is seen to do this.
fn is(served: &Served, state: State, waits_for: WaitsFor) -> ConnectionStats {
    let so = |of: &Vec<ConnectionStats>| {
        of.len() == 1 && (of[0].state, of[0].waits_for) == (state, waits_for)
    };
    let seen = until(|| all(served), so).remove(0);
    adds_up(&served.tls().stats());
    seen
}

fn adds_up(stats: &Stats) {
    let sum = stats.handshaking + stats.idle + stats.in_use + stats.half_closed + stats.draining;
    assert_eq!(stats.open, sum, "{stats:?}");
    assert!(stats.http1 + stats.http2 <= stats.open, "{stats:?}");
}

#[test]
fn a_handshake_is_open_and_no_connection_yet() {
    everywhere(|server, version| {
        let served = start(server, version);
        let _silent = RawTcp::stalled_handshake(served.within.addr).unwrap();
        let stats = until(|| served.tls().stats(), |of| of.handshaking == 1);
        assert_eq!((stats.open, stats.accepted), (1, 1), "{stats:?}");
        assert!(all(&served).is_empty());
    });
}

#[test]
fn a_kept_alive_connection_waits_for_requests() {
    everywhere(|server, version| {
        let served = start(server, version);
        let mut client = served.client();
        let seen = is(&served, State::Idle, WaitsFor::Request);
        assert_eq!((seen.protocol, seen.requests), (None, 0));
        client.get("/").unwrap();
        let seen = is(&served, State::Idle, WaitsFor::Request);
        assert_eq!(seen.protocol, Some(Protocol::Http1));
        assert_eq!((seen.requests, seen.requests_in_flight), (1, 0));
        assert_eq!(seen.peer, Some(client.local_addr()));
        let idle = seen.since.unwrap();
        assert!(idle <= seen.age, "{seen:?}");
        let later = until(
            || all(&served).remove(0).since,
            |since| *since > Some(idle + 20 * MS),
        );
        assert!(later < Some(PATIENCE));
        ask(&mut client, "/silent");
        let seen = is(&served, State::InUse, WaitsFor::Handler);
        let counts = (seen.requests, seen.requests_in_flight, seen.since);
        assert_eq!(counts, (2, 1, None));
    });
}

#[test]
fn so_does_one_over_http2() {
    everywhere(|server, version| {
        let served = start(server, version);
        let mut h2 = served.h2();
        assert!(h2.h2_get("/").unwrap().is_complete());
        let seen = is(&served, State::Idle, WaitsFor::Request);
        assert_eq!(seen.protocol, Some(Protocol::Http2));
        assert!(seen.since.unwrap() <= seen.age, "{seen:?}");
        h2.get("/silent").unwrap();
        h2.get("/silent").unwrap();
        let two = |of: &Stats| (of.in_use, of.requests_in_flight, of.http2) == (1, 2, 1);
        until(|| served.tls().stats(), two);
        let seen = is(&served, State::InUse, WaitsFor::Handler);
        assert_eq!((seen.requests, seen.requests_in_flight), (3, 2));
    });
}

#[test]
fn the_rest_of_a_request_is_waited_for() {
    everywhere(|server, version| {
        let served = start(server, version);
        let mut client = served.client();
        client.send("GET / HT").unwrap();
        is(&served, State::InUse, WaitsFor::RestOfRequest);
        client.send("TP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        client.read_response().unwrap();
        is(&served, State::Idle, WaitsFor::Request);
        let head = "POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 8\r\n\r\n";
        client.send(format!("{head}four")).unwrap();
        is(&served, State::InUse, WaitsFor::RestOfRequest);
        client.send("four").unwrap();
        assert_eq!(client.read_response().unwrap().text(), "8");
        is(&served, State::Idle, WaitsFor::Request);
        client.send("GET /sil").unwrap();
        is(&served, State::InUse, WaitsFor::RestOfRequest);
        client
            .send("ent HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .unwrap();
        is(&served, State::InUse, WaitsFor::Handler);
    });
}

#[test]
fn so_it_is_over_http2() {
    everywhere(|server, version| {
        let served = start(server, version);
        let mut h2 = served.h2();
        let stream = h2.post("/upload").unwrap();
        h2.data(stream, b"four", false).unwrap();
        is(&served, State::InUse, WaitsFor::RestOfRequest);
        h2.data(stream, b"four", true).unwrap();
        assert_eq!(h2.wait_stream(stream, PATIENCE).text(), "8");
        is(&served, State::Idle, WaitsFor::Request);
        h2.get("/silent").unwrap();
        is(&served, State::InUse, WaitsFor::Handler);
    });
}

#[test]
fn a_client_that_does_not_read_is_waited_for() {
    everywhere(|server, version| {
        let served = start(server, version);
        let options = served.options().http1().recv_buffer(16 << 10);
        let mut client = Client::connect_with(served.within.addr, &options).unwrap();
        ask(&mut client, "/large");
        let seen = is(&served, State::InUse, WaitsFor::ClientToRead);
        assert_eq!(seen.requests_in_flight, 1);
    });
}

#[test]
fn so_is_one_that_does_not_open_its_windows() {
    everywhere(|server, version| {
        let served = start(server, version);
        let mut h2 = served.h2();
        h2.get("/large").unwrap();
        let seen = is(&served, State::InUse, WaitsFor::ClientToRead);
        assert_eq!(seen.requests_in_flight, 1);
    });
}

#[test]
fn a_tunnel_is_in_use() {
    everywhere(|server, version| {
        let served = start(server, version);
        let mut client = served.client();
        let head = "GET /tunnel HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        client.send(head).unwrap();
        assert_eq!(client.read_response().unwrap().status, 101);
        client.send("echo").unwrap();
        assert_eq!(client.read_exactly(4, PATIENCE), b"echo");
        let seen = is(&served, State::InUse, WaitsFor::Tunnel);
        assert_eq!(seen.since, None);
        // It is what a shutdown waits for, and known by the request that has made it.
        let tracked = served.tls().connections()[0].tracked_requests();
        let names: Vec<_> = tracked.iter().map(|of| &*of.path).collect();
        assert_eq!(names, ["/tunnel"]);
    });
}

fn names(tls: &GracefulTls) -> Vec<String> {
    let all = tls.connections();
    let tracked = all.iter().flat_map(TlsConnection::tracked_requests);
    tracked.map(|of| of.path).collect()
}

/// Writes for as long as it is read, after 101.
async fn flood(request: Request) -> Response<Body> {
    tokio::spawn(async move {
        let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        while io.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
    });
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "flood");
    answer.body(Body::empty()).unwrap()
}

#[test]
fn a_tunnel_whose_client_does_not_read_is_known_still() {
    everywhere(|server, version| {
        let app = app().route("/flood", get(flood));
        let served = Served::start(server, version, app, |of| of.track_requests(true));
        let options = served.options().http1().recv_buffer(16 << 10);
        let mut client = Client::connect_with(served.within.addr, &options).unwrap();
        let head = "GET /flood HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: flood\r\n\r\n";
        client.send(head).unwrap();
        let sent = || all(&served).first().map_or(0, |of| of.sent);
        until(sent, |sent| *sent > 100_000);
        let so = |seen: &WaitsFor| *seen == WaitsFor::ClientToRead;
        until(|| all(&served)[0].waits_for, so);
        assert_eq!(names(served.tls()), ["/flood"]);
        std::thread::sleep(100 * MS);
        assert_eq!(names(served.tls()), ["/flood"]);
    });
}

/// An app with routes that the layer does not see.
fn partly_layered(version: Version) -> Within {
    let app = Router::new()
        .route("/in", get("hello\n"))
        .route("/in-silent", get(pending::<()>))
        .layer(GracefulTlsLayer)
        .route("/outside", get("hello\n"))
        .route("/outside-silent", get(pending::<()>));
    let builder = support::pair(support::VERSIONS[version as usize]).0;
    Within::start(builder.track_requests(true), |tls, tcp| async move {
        let app = app.into_make_service_with_connect_info::<TlsConnection>();
        axum::serve(tls.listener(tcp), app).await.unwrap();
    })
}

fn has_in_flight(within: &Within, requests: u64) {
    until(
        || within.tls.stats(),
        |of| of.requests_in_flight == requests,
    );
    std::thread::sleep(50 * MS);
}

#[test]
fn a_request_is_named_behind_others_that_the_layer_does_not_see() {
    for version in Version::BOTH {
        let within = partly_layered(version);
        let options = wire::Options::new().version(version).http1();
        let mut client = Client::connect_with(within.addr, &options).unwrap();
        for path in ["/outside", "/in", "/outside"] {
            client.get(path).unwrap();
        }
        assert_eq!(names(&within.tls), [""; 0]);
        ask(&mut client, "/in-silent");
        has_in_flight(&within, 1);
        assert_eq!(names(&within.tls), ["/in-silent"]);
    }
}

#[test]
fn one_that_was_answered_is_not_named_for_the_sake_of_another() {
    for version in Version::BOTH {
        let within = partly_layered(version);
        let options = wire::Options::new().version(version).h2();
        let mut h2 = H2::connect_with(within.addr, &options, H2Options::default()).unwrap();
        assert!(h2.h2_get("/in").unwrap().is_complete());
        h2.get("/outside-silent").unwrap();
        has_in_flight(&within, 1);
        assert_eq!(names(&within.tls), [""; 0]);
        h2.get("/in-silent").unwrap();
        has_in_flight(&within, 2);
        assert_eq!(names(&within.tls), ["/in-silent"]);
    }
}

/// In TLS 1.2 both directions end at once (RFC 9846 6.1).
#[test]
fn a_client_that_half_closes_is_answered() {
    for server in SERVERS {
        let served = start(server, Version::Tls13);
        let mut client = served.client();
        ask(&mut client, "/slow");
        client.send_close_notify().unwrap();
        let seen = is(&served, State::HalfClosed, WaitsFor::Handler);
        assert_eq!(seen.requests_in_flight, 1);
        assert_eq!(served.tls().stats().half_closed, 1);
        assert!(client.finish().is_proper(), "{client:?}");
    }
}

#[test]
fn one_that_ends_waits_for_its_client_to_close() {
    everywhere(|server, version| {
        let served = start(server, version);
        let mut client = served.client();
        client.get("/").unwrap();
        served.tls().shutdown();
        let seen = is(&served, State::Draining, WaitsFor::ClientToClose);
        assert_eq!(served.tls().stats().draining, 1);
        let since = seen.since.unwrap();
        assert!(since <= seen.age, "{seen:?}");
        until(|| all(&served)[0].since, |of| *of > Some(since));
        assert!(client.finish().is_proper());
        client.close().unwrap();
        served.within.closed(PATIENCE);
        assert!(all(&served).is_empty());
        assert_eq!(served.tls().stats().open, 0);
    });
}

/// `GracefulTls::serve` goes by ALPN; the others look at the bytes.
#[test]
fn what_is_spoken_counts_and_not_what_was_agreed_on() {
    for server in &SERVERS[1..] {
        for version in Version::BOTH {
            let served = start(*server, version);
            let options = served.options().alpn(&[]);
            let mut h2 =
                H2::connect_with(served.within.addr, &options, H2Options::default()).unwrap();
            assert!(h2.h2_get("/").unwrap().is_complete());
            let seen = is(&served, State::Idle, WaitsFor::Request);
            assert_eq!(seen.protocol, Some(Protocol::Http2), "{}", server.0);
            assert_eq!(served.tls().connections()[0].alpn(), None);
            let stats = served.tls().stats();
            assert_eq!((stats.http1, stats.http2), (0, 1), "{stats:?}");
        }
    }
}

#[test]
fn the_name_that_was_asked_for_is_known() {
    everywhere(|server, version| {
        let served = start(server, version);
        let options = served.options().http1().server_name("other.example");
        let client = Client::connect_with(served.within.addr, &options).unwrap();
        let seen = is(&served, State::Idle, WaitsFor::Request);
        assert_eq!(seen.server_name.as_deref(), Some("other.example"));
        assert_eq!(seen.peer, Some(client.local_addr()));
        assert_eq!(seen.id, served.tls().connections()[0].id());
    });
}

/// Adds up what ends say.
#[derive(Clone, Default)]
struct Sums(Arc<Mutex<(u64, u64, u64, u64)>>);

impl Observer for Sums {
    fn ended(&self, _: &TlsConnection, ended: &Ended) {
        let mut sums = self.0.lock().unwrap();
        sums.0 += 1;
        sums.1 += u64::from(ended.requests);
        sums.2 += ended.received;
        sums.3 += ended.sent;
    }
}

#[test]
fn what_ends_is_counted_with_what_lives() {
    everywhere(|server, version| {
        let sums = Sums::default();
        let observer = sums.clone();
        let served = Served::start(server, version, app(), |of| of.observer(observer));
        let (mut leaves, mut stays, mut h2) = (served.client(), served.client(), served.h2());
        for _ in 0..2 {
            leaves.get("/").unwrap();
            stays.get("/").unwrap();
            h2.h2_get("/").unwrap();
        }
        leaves.close().unwrap();
        h2.get("/silent").unwrap();
        let so = |of: &Stats| (of.open, of.idle, of.in_use, of.requests) == (2, 1, 1, 7);
        let stats = until(|| served.tls().stats(), so);
        adds_up(&stats);
        assert_eq!((stats.http1, stats.http2, stats.accepted), (1, 1, 3));
        assert_eq!(stats.ended_with(Outcome::Clean), 1, "{stats:?}");
        assert!(stats.received > 1000 && stats.sent > 1000, "{stats:?}");
        stays.close().unwrap();
        h2.conn.reset().unwrap();
        let stats = until(|| served.tls().stats(), |of| of.open == 0);
        let ended: u64 = stats.ended.iter().map(|of| of.connections).sum();
        let seen = (ended, stats.requests, stats.received, stats.sent);
        until(|| *sums.0.lock().unwrap(), |of| *of == seen);
        assert_eq!(
            (stats.accepted, stats.ended_with(Outcome::Aborted)),
            (3, 1),
            "{stats:?}"
        );
    });
}

#[test]
fn names_in_json_are_those_of_the_log() {
    let served = start(SERVERS[0], Version::Tls13);
    let mut client = served.client();
    client.get("/").unwrap();
    is(&served, State::Idle, WaitsFor::Request);
    let seen = serde_json::to_value(all(&served)[0].clone()).unwrap();
    assert_eq!(seen["state"], "idle");
    assert_eq!(seen["waits_for"], "request");
    assert_eq!(seen["protocol"], "http/1");
    assert_eq!(seen["server_name"], "localhost");
    assert_eq!(seen["peer"], client.local_addr().to_string());
    has(
        &seen,
        "age id peer protocol received requests requests_failed requests_in_flight sent server_name since state waits_for",
    );
    client.close().unwrap();
    let stats = until(|| served.tls().stats(), |of| !of.ended.is_empty());
    let stats = serde_json::to_value(stats).unwrap();
    has(
        &stats,
        "accepted draining ended half_closed handshaking http1 http2 idle in_use open phase received \
         refused requests requests_failed requests_in_flight sent",
    );
    assert_eq!(stats["phase"], "serving");
    let ended = serde_json::json!([{"cause": "peer_closed", "outcome": "clean", "connections": 1}]);
    assert_eq!(stats["ended"], ended);
}

/// Keeps how the last connection ended, as JSON.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<serde_json::Value>>);

impl Observer for Last {
    fn ended(&self, _: &TlsConnection, ended: &Ended) {
        *self.0.lock().unwrap() = serde_json::to_value(ended).unwrap();
    }
}

#[test]
fn so_are_those_of_ends_and_of_the_report() {
    let last = Last::default();
    let observer = last.clone();
    let served = Served::start(SERVERS[0], Version::Tls13, app(), |of| {
        let of = of.observer(observer).name("public");
        of.track_requests(true).shutdown_timeout(100 * MS)
    });
    let mut client = served.client();
    ask(&mut client, "/never");
    until(|| served.tls().stats(), |of| of.requests_in_flight == 1);
    served.tls().shutdown();
    client.finish();
    client.close().unwrap();
    let report = serde_json::to_value(served.within.closed(PATIENCE)).unwrap();
    let outcomes = "aborted clean drain_cut peer_silent truncated";
    has(
        &report,
        &format!("cut deadline_reached given_up listeners took truncated_before {outcomes}"),
    );
    has(&report["listeners"][0], &format!("address name {outcomes}"));
    assert_eq!(report["listeners"][0]["name"], "public");
    has(
        &report["cut"][0],
        "cause id peer requests requests_deadline requests_failed requests_in_flight",
    );
    assert_eq!(report["cut"][0]["requests"][0]["path"], "/never");
    let ended = last.0.lock().unwrap().clone();
    has(
        &ended,
        "age cause drain outcome received requests requests_body_timeout requests_deadline requests_failed \
         requests_protocol_error requests_in_flight requests_stalled requests_tunnel_timeout sent",
    );
    assert_eq!(ended["cause"], "deadline");
}

fn has(object: &serde_json::Value, names: &str) {
    let keys: std::collections::BTreeSet<_> = object.as_object().unwrap().keys().collect();
    let mut names: Vec<_> = names.split_whitespace().collect();
    names.sort_unstable();
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), names);
}

/// Without waking or stopping any of them.
#[tokio::test]
async fn many_take_milliseconds() {
    let many = if cfg!(debug_assertions) {
        2_000
    } else {
        10_000
    };
    let (builder, connector) = support::pair(support::VERSIONS[1]);
    let tls = builder.build().unwrap();
    let mut open = Vec::new();
    for _ in 0..many {
        let (server_io, client_io) = duplex(16 << 10);
        open.push(support::connect(&tls, &connector, server_io, client_io).await);
    }
    let quickest = |what: &dyn Fn() -> usize| {
        let took = |_| {
            let since = Instant::now();
            assert_eq!(what(), many);
            since.elapsed()
        };
        (0..5).map(took).min().unwrap()
    };
    let stats = quickest(&|| tls.stats().in_use as usize);
    let connections = quickest(&|| tls.connections().iter().map(TlsConnection::stats).count());
    println!("{many}: stats {stats:?}, connections {connections:?}");
    assert!(stats < 20 * MS && connections < 100 * MS);
}

/// Nobody has to serve it: what holds a record holds no connection.
#[test]
fn a_record_that_is_kept_keeps_nothing_else() {
    everywhere(|server, version| {
        let drain = Drain::default().idle_timeout(100 * MS);
        let served = Served::start(server, version, app(), |of: Builder| of.drain(drain));
        let mut client = served.client();
        client.get("/").unwrap();
        let kept = served.tls().connections();
        served.tls().shutdown();
        let report = served.within.closed(PATIENCE);
        assert_eq!((report.peer_silent, report.given_up), (1, 0), "{report}");
        assert_eq!(kept[0].state(), State::Draining);
        assert_eq!(kept[0].stats().requests, 1);
    });
}
