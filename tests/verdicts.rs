//! Whose doing it was that something was cut short, as the log and the report say it: what a client brings
//! about itself is no fault of the server's, whatever it does, and what the server cuts always is one.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{net::SocketAddr, thread, time::Duration};

use judge::{PROMPT, connect, fields, get, post, start_h2, start_h2_window};
use serde_json::{Map, Value};
use testbed::{Exit, Testbed};
use wire::{Client, Frame, H2, H2Options, Options, Version, kind};

/// Time-outs that come soon, a log that can be read, and no PINGs but where they are asked for.
const OPTIONS: [&str; 13] = [
    "--log",
    "json",
    "--lame-duck-ms",
    "0",
    "--shutdown-timeout-ms",
    "1500",
    "--write-timeout-ms",
    "1000",
    "--body-timeout-ms",
    "500",
    "--tunnel-timeout-ms",
    "500",
    "--no-ping",
];

const LONG: Duration = Duration::from_secs(10);

/// What came of a connection: the level it was told at, why it ended, and how.
type Verdict = (&'static str, &'static str, &'static str);

/// Something that happens to a connection, and the client's address.
type Happens = fn(&Testbed, Version) -> SocketAddr;

/// The client has had enough.
fn leaves(mut client: Client) -> SocketAddr {
    let address = client.local_addr();
    client.finish();
    client.close().unwrap();
    address
}

/// The client of an HTTP/2 connection says close_notify, and goes when the server has.
fn leaves_h2(mut h2: H2) -> SocketAddr {
    h2.conn.send_close_notify().unwrap();
    h2.finish();
    let address = h2.conn.local_addr();
    h2.conn.close().unwrap();
    address
}

/// It stays until the server ends it.
fn stays_h2(mut h2: H2) -> SocketAddr {
    h2.finish();
    let address = h2.conn.local_addr();
    h2.conn.close().unwrap();
    address
}

/// A chunk that is none, or something else, in what the handler gives back as it comes.
fn breaks_an_upload(breach: &str, bed: &Testbed, version: Version) -> SocketAddr {
    let mut client = connect(bed, version);
    let head = post("/echo", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    client.send(head + "5\r\nhello\r\n").unwrap();
    assert!(!client.read_exactly(1, LONG).is_empty(), "{client:?}");
    client.send(breach).unwrap();
    leaves(client)
}

/// A request that a handler fails at, and behind it what no server has come to yet.
fn breaks_what_comes_behind(bed: &Testbed, version: Version) -> SocketAddr {
    let mut client = connect(bed, version);
    let head = post("/echo", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    client
        .send(get("/error-mid-body-len") + &head + "no chunk\r\n")
        .unwrap();
    leaves(client)
}

/// A length with more space before it than anybody needs, and then a handler that fails.
fn says_it_oddly(bed: &Testbed, version: Version) -> SocketAddr {
    let mut client = connect(bed, version);
    let space = " ".repeat(90);
    let head = post("/echo-len", 4).replace("Content-Length: ", &format!("Content-Length:{space}"));
    client.send(head + "four").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "4");
    client.send(get("/panic")).unwrap();
    leaves(client)
}

/// SETTINGS with a window that is none, when this has been asked for.
fn breaks_http2(bed: &Testbed, version: Version, path: &str) -> SocketAddr {
    let mut h2 = start_h2(bed, version);
    let asked = h2.get(path).unwrap();
    match path {
        "/" => assert!(h2.wait_stream(asked, LONG).is_complete()),
        _ => assert_eq!(h2.wait_status(asked, LONG).status, Some(200)),
    }
    h2.send_frame(&Frame::settings(&[(4, u32::MAX)])).unwrap();
    stays_h2(h2)
}

/// More of a body than was said (RFC 9113 8.1.1), on one of two streams.
fn breaks_a_stream(bed: &Testbed, version: Version) -> SocketAddr {
    let mut h2 = start_h2(bed, version);
    let mut head = fields("POST", "/echo-len").to_vec();
    head.push(("content-length", "2"));
    let stream = h2.send_request(&head, false).unwrap();
    h2.data(stream, b"more than two", false).unwrap();
    assert!(h2.wait_stream(stream, LONG).reset.is_some(), "{h2:?}");
    assert!(h2.h2_get("/").unwrap().is_complete());
    leaves_h2(h2)
}

fn stops_its_upload(bed: &Testbed, version: Version) -> SocketAddr {
    let mut client = connect(bed, version);
    client.send(post("/echo-len", 10) + "five").unwrap();
    assert_eq!(client.read_response().unwrap().status, 408, "{client:?}");
    leaves(client)
}

fn stops_its_upload_over_http2(bed: &Testbed, version: Version) -> SocketAddr {
    let mut h2 = start_h2(bed, version);
    let stream = h2.post("/echo-len").unwrap();
    h2.data(stream, b"five", false).unwrap();
    assert!(h2.wait_stream(stream, LONG).reset.is_some(), "{h2:?}");
    leaves_h2(h2)
}

/// Two, so that the connection goes on.
fn takes_nothing(bed: &Testbed, version: Version) -> SocketAddr {
    let mut h2 = start_h2_window(bed, version, 100);
    let stream = h2.get("/bytes/1000").unwrap();
    thread::sleep(Duration::from_millis(200));
    h2.get("/status/204").unwrap();
    assert!(h2.wait_stream(stream, LONG).reset.is_some(), "{h2:?}");
    leaves_h2(h2)
}

fn opens(client: &mut Client) {
    let connect = "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n";
    client.send(connect).unwrap();
    let response = client.read_response_to("CONNECT", LONG).unwrap();
    assert_eq!(response.status, 200, "{client:?}");
}

fn leaves_a_tunnel_silent(bed: &Testbed, version: Version) -> SocketAddr {
    let mut client = connect(bed, version);
    opens(&mut client);
    leaves(client)
}

fn leaves_a_tunnel_silent_over_http2(bed: &Testbed, version: Version) -> SocketAddr {
    let mut h2 = start_h2(bed, version);
    let stream = h2.connect_tunnel("localhost:1").unwrap();
    assert!(h2.wait_stream(stream, LONG).reset.is_some(), "{h2:?}");
    leaves_h2(h2)
}

/// A FIN without close_notify, which is no end of a tunnel (RFC 9846 6.1).
fn breaks_a_tunnel_off(bed: &Testbed, version: Version) -> SocketAddr {
    let mut client = connect(bed, version);
    opens(&mut client);
    client.fin().unwrap();
    leaves(client)
}

fn asks_for(path: &str, bed: &Testbed, version: Version) -> SocketAddr {
    let mut client = connect(bed, version);
    client.send(get(path)).unwrap();
    leaves(client)
}

const CASES: [(&str, Happens, Verdict); 18] = [
    (
        "a chunk",
        |bed, version| breaks_an_upload("no chunk\r\n", bed, version),
        ("DEBUG", "protocol_error", "aborted"),
    ),
    (
        "a trailer",
        |bed, version| breaks_an_upload("0\r\nno trailer\r\n\r\n", bed, version),
        ("DEBUG", "protocol_error", "aborted"),
    ),
    (
        "an extension",
        |bed, version| breaks_an_upload(&format!("1;{}", "a".repeat(20_000)), bed, version),
        ("DEBUG", "protocol_error", "aborted"),
    ),
    (
        "SETTINGS after an answer",
        |bed, version| breaks_http2(bed, version, "/"),
        ("DEBUG", "protocol_error", "clean"),
    ),
    (
        "SETTINGS amid an answer",
        |bed, version| breaks_http2(bed, version, "/sse"),
        ("DEBUG", "protocol_error", "aborted"),
    ),
    (
        "a stream",
        breaks_a_stream,
        ("DEBUG", "peer_closed", "aborted"),
    ),
    (
        "an upload",
        stops_its_upload,
        ("DEBUG", "body_timeout", "aborted"),
    ),
    (
        "an upload over HTTP/2",
        stops_its_upload_over_http2,
        ("DEBUG", "peer_closed", "aborted"),
    ),
    (
        "a reader over HTTP/2",
        takes_nothing,
        ("DEBUG", "peer_closed", "aborted"),
    ),
    (
        "a tunnel",
        leaves_a_tunnel_silent,
        ("DEBUG", "tunnel_timeout", "clean"),
    ),
    (
        "a tunnel over HTTP/2",
        leaves_a_tunnel_silent_over_http2,
        ("DEBUG", "peer_closed", "clean"),
    ),
    (
        "a tunnel broken off",
        breaks_a_tunnel_off,
        ("DEBUG", "peer_closed", "aborted"),
    ),
    // The server's own.
    (
        "a body that fails",
        |bed, version| asks_for("/error-mid-body", bed, version),
        ("WARN", "dropped", "truncated"),
    ),
    (
        "a body of known length that fails",
        |bed, version| asks_for("/error-mid-body-len", bed, version),
        ("WARN", "dropped", "truncated"),
    ),
    (
        "a body that fails before a breach",
        breaks_what_comes_behind,
        ("WARN", "dropped", "truncated"),
    ),
    (
        "a handler behind an odd head",
        says_it_oddly,
        ("WARN", "panicked", "truncated"),
    ),
    (
        "a handler that panics",
        |bed, version| asks_for("/panic", bed, version),
        ("WARN", "panicked", "truncated"),
    ),
    (
        "an answer for ever",
        |bed, version| asks_for("/sse", bed, version),
        ("WARN", "deadline", "truncated"),
    ),
];

/// What the log says of the connections of these clients.
fn verdicts(exit: &Exit) -> Vec<Map<String, Value>> {
    let lines = exit.stderr.lines().map(serde_json::from_str::<Map<_, _>>);
    let lines = lines.map(|line| line.unwrap_or_else(|error| panic!("{error}: {}", exit.stderr)));
    lines.filter(|line| line.contains_key("outcome")).collect()
}

fn of(lines: &[Map<String, Value>], peer: SocketAddr) -> &Map<String, Value> {
    let peer = Value::from(peer.to_string());
    let line = lines.iter().find(|line| line.get("peer") == Some(&peer));
    line.unwrap_or_else(|| panic!("nothing of {peer}: {lines:?}"))
}

fn is_judged(lines: &[Map<String, Value>], peer: SocketAddr, (level, cause, outcome): Verdict) {
    let line = of(lines, peer);
    assert_eq!(verdict(line), [level, cause, outcome], "{line:?}");
}

fn verdict(line: &Map<String, Value>) -> [&str; 3] {
    ["level", "cause", "outcome"].map(|name| line[name].as_str().unwrap())
}

/// All but the last end by themselves, and that is ended by the deadline of a shutdown.
fn all_at_once(bed: &Testbed, name: &str, version: Version) -> Vec<SocketAddr> {
    thread::scope(|scope| {
        let all = CASES.map(|(case, happens, _)| {
            let thread = thread::Builder::new().name(format!("{name}, {case}"));
            let run = move || happens(bed, version);
            thread.spawn_scoped(scope, run).unwrap()
        });
        let mut all = Vec::from(all);
        let last = all.pop().unwrap();
        let mut peers: Vec<_> = all.into_iter().map(|of| of.join().unwrap()).collect();
        bed.terminate();
        peers.push(last.join().unwrap());
        peers
    })
}

#[test]
fn who_has_cut_what() {
    for server in testbed::servers() {
        for version in Version::BOTH {
            let bed = Testbed::start_talkative(server, &OPTIONS);
            let peers = all_at_once(&bed, &format!("{server}, {version:?}"), version);
            let exit = bed.wait(LONG);
            let lines = verdicts(&exit);
            for ((name, _, verdict), peer) in CASES.iter().zip(peers) {
                eprintln!("{server}, {version:?}, {name}");
                is_judged(&lines, peer, *verdict);
            }
            assert_eq!(exit.count("truncated"), 1, "{}", exit.report());
        }
    }
}

/// hyper gives it up in order, whatever is in flight.
#[test]
fn a_client_that_answers_no_ping() {
    for server in testbed::servers().into_iter().filter(|of| *of != "axum") {
        for version in Version::BOTH {
            let bed = Testbed::start_talkative(server, &["--log", "json", "--lame-duck-ms", "0"]);
            let tls = Options::new().version(version).h2();
            let start = || H2::connect_with(bed.addr, &tls, H2Options::silent()).unwrap();
            let (mut waits, mut uploads) = (start(), start());
            waits.get("/sleep/60000").unwrap();
            // Answered at once, and not all in.
            let stream = uploads.post("/early/60000").unwrap();
            uploads.data(stream, b"some", false).unwrap();
            let peers = [stays_h2(waits), stays_h2(uploads)];
            let exit = bed.stop(LONG);
            for peer in peers {
                is_judged(&verdicts(&exit), peer, ("DEBUG", "vanished", "aborted"));
            }
            assert_eq!(exit.count("truncated"), 0, "{}", exit.report());
        }
    }
}

/// How a client is judged that has answered a PING while the server was stopped.
fn hears_too_late(server: &str, version: Version) -> [String; 3] {
    let bed = Testbed::start_talkative(server, &["--log", "json", "--lame-duck-ms", "0"]);
    let mut h2 = start_h2(&bed, version);
    h2.options.auto_ping_ack = false;
    h2.get("/sleep/60000").unwrap();
    let is_ping = |frame: &Frame| frame.is(kind::PING) && !frame.is_ack();
    let ping = h2.wait_frame(is_ping, LONG).expect("it asks each second");
    bed.pause();
    h2.send_frame(&Frame::ping_ack(ping.payload)).unwrap();
    thread::sleep(2 * PROMPT);
    bed.resume();
    let peer = stays_h2(h2);
    let exit = bed.stop(LONG);
    let lines = verdicts(&exit);
    verdict(of(&lines, peer)).map(str::to_owned)
}

/// The server had no time to read: that its peer is dead it only believes.
#[test]
fn a_server_that_does_not_hear_the_answer_to_its_ping() {
    for server in testbed::servers().into_iter().filter(|of| *of != "axum") {
        for version in Version::BOTH {
            // Where it reads before it looks at its clock it has heard, and asks again: then none answers.
            let believed = (0..8).any(|_| {
                let judged = hears_too_late(server, version);
                let heard = judged == ["DEBUG", "vanished", "aborted"];
                assert!(
                    heard || judged == ["WARN", "orderly", "truncated"],
                    "{judged:?}"
                );
                !heard
            });
            assert!(believed, "{server}");
        }
    }
}

/// The head of a frame that can't be, and nothing behind it, so that no server says anything to it.
#[test]
fn what_was_answered_before_a_breach_is_whole() {
    for server in testbed::servers() {
        for version in Version::BOTH {
            for notifies in [false, true] {
                let bed = Testbed::start_talkative(server, &OPTIONS);
                let mut h2 = start_h2(&bed, version);
                assert!(h2.h2_get("/").unwrap().is_complete());
                h2.conn.send([0, 0, 7, kind::PING, 0, 0, 0, 0, 0]).unwrap();
                let asked = h2.conn.now();
                h2.conn
                    .pump_until(PROMPT / 5, |conn| conn.now() > asked + PROMPT);
                if notifies {
                    h2.conn.send_close_notify().unwrap();
                }
                bed.terminate();
                let peer = stays_h2(h2);
                let exit = bed.wait(LONG);
                let lines = verdicts(&exit);
                let line = of(&lines, peer);
                assert_eq!(
                    (&line["level"], &line["outcome"]),
                    (&"DEBUG".into(), &"clean".into())
                );
            }
        }
    }
}

/// An HTTP/2 connection outlives an answer that its handler breaks off, and may end in a shutdown of much later.
#[test]
fn what_was_lost_before_a_shutdown_is_not_its_fault() {
    const BEFORE: &str = "(1 of the truncated before the shutdown)";
    for server in testbed::servers() {
        for version in Version::BOTH {
            for before in [true, false] {
                let bed =
                    Testbed::start_talkative(server, &["--log", "json", "--lame-duck-ms", "1500"]);
                let mut h2 = start_h2(&bed, version);
                assert!(h2.h2_get("/").unwrap().is_complete());
                if !before {
                    bed.terminate();
                    thread::sleep(PROMPT / 5);
                }
                assert!(
                    h2.h2_get("/panic-mid-body").unwrap().reset.is_some(),
                    "{h2:?}"
                );
                if before {
                    bed.terminate();
                }
                let peer = stays_h2(h2);
                let exit = bed.wait(LONG);
                is_judged(&verdicts(&exit), peer, ("DEBUG", "draining", "truncated"));
                assert_eq!(exit.count("truncated"), 1, "{}", exit.report());
                assert_eq!(exit.report().contains(BEFORE), before, "{}", exit.report());
            }
        }
    }
}

/// Nor that of one behind a shutdown that was called off.
#[test]
fn what_was_lost_in_a_shutdown_that_was_called_off_is_of_before() {
    for server in testbed::servers() {
        let options = ["--log", "json", "--lame-duck-ms", "1500"];
        let bed = Testbed::start_talkative(server, &options);
        let mut h2 = start_h2(&bed, Version::Tls13);
        assert!(h2.h2_get("/").unwrap().is_complete());
        bed.terminate();
        thread::sleep(PROMPT / 5);
        assert!(h2.h2_get("/panic-mid-body").unwrap().reset.is_some());
        bed.call_off();
        thread::sleep(PROMPT / 5);
        bed.terminate();
        stays_h2(h2);
        let report = bed.wait(LONG).report().to_owned();
        assert!(
            report.ends_with("(1 of the truncated before the shutdown)"),
            "{report}"
        );
    }
}
