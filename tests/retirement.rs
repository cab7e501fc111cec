//! Connections that are retired, because of their age or of how much they were asked: what is in flight
//! is finished, and their clients are told as HTTP has it.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread::{self, sleep},
    time::Duration,
};

use judge::{
    PROMPT, Then, connect, ends_properly, ends_properly_h2, ends_visibly_truncated, everywhere,
    get, is_hello, is_let_go, is_notified_within, is_within, old_get, post, start_h2,
};
use testbed::Testbed;
use wire::{Client, Ending, H2, Version, kind};

const LONG: Duration = Duration::from_secs(10);
/// Of a stream that may yet come, in the GOAWAY that announces the end (RFC 9113 6.8).
const ANY: u32 = (1 << 31) - 1;

const AGE: [&str; 2] = ["--max-age-ms", "1500"];
/// A tenth before it and behind it, and the time that a busy machine needs.
const AGED: (Duration, Duration) = (Duration::from_millis(1300), Duration::from_millis(2500));

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A GET of HTTP/1.0 whose client wants to send another.
fn old_keep(path: &str) -> String {
    old_get(path).replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n")
}

type Request = fn(&str) -> String;

/// The ways to ask in HTTP/1.
const HTTP1: [(&str, Request); 2] = [("HTTP/1.1", get), ("HTTP/1.0", old_keep)];

/// An answer; whether it says that it is the last.
fn asks(client: &mut Client, request: &str, text: &str) -> bool {
    client.send(request).unwrap();
    hears(client, text)
}

fn hears(client: &mut Client, text: &str) -> bool {
    let response = client.read_response_to("GET", LONG).unwrap();
    assert!(is_hello(&response, text), "{client:?}");
    response.says_close()
}

fn answers(h2: &mut H2, path: &str, text: &str) {
    let stream = h2.get(path).unwrap();
    let answer = h2.wait_stream(stream, LONG);
    assert!(answer.is_complete() && answer.text() == text, "{h2:?}");
}

/// The last GOAWAY names this stream, and is no error.
fn is_told(h2: &H2, last: u32) {
    assert_eq!(h2.goaways().last(), Some(&(last, 0)), "{h2:?}");
}

#[test]
fn an_idle_connection_ends_at_its_age() {
    everywhere(&AGE, &HTTP1, |bed, version, request| {
        for asked in [true, false] {
            let mut client = connect(bed, version);
            let since = client.now();
            if asked {
                assert!(!asks(&mut client, &request("/"), "hello\n"), "{client:?}");
            }
            let ending = ends_properly(&mut client, Then::Closes);
            is_notified_within(&ending, since, AGED);
        }
    });
}

#[test]
fn an_idle_http2_connection_is_told_at_its_age() {
    everywhere(&AGE, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        let since = h2.conn.now();
        answers(&mut h2, "/", "hello\n");
        let ending = ends_properly_h2(&mut h2, Then::Closes);
        is_notified_within(&ending, since, AGED);
        assert_eq!(h2.goaways(), [(1, 0)], "{h2:?}");
    });
}

#[test]
fn what_is_in_flight_is_finished() {
    everywhere(&AGE, &HTTP1, |bed, version, request| {
        let mut client = connect(bed, version);
        let since = client.now();
        let last = asks(&mut client, &request("/sleep/3000"), "slept\n");
        assert!(last, "{client:?}");
        let ending = ends_properly(&mut client, Then::Closes);
        is_notified_within(&ending, since, (ms(2900), ms(4000)));
    });
}

/// The answer on its way had said nothing: the next one does.
#[test]
fn whose_last_answer_could_not_tell_is_told_by_the_next() {
    everywhere(&AGE, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        let slow = client.get("/slow/30/100").unwrap();
        assert!(slow.complete && !slow.says_close(), "{client:?}");
        sleep(ms(500));
        assert!(asks(&mut client, &get("/"), "hello\n"), "{client:?}");
        ends_properly(&mut client, Then::Closes);
    });
}

#[test]
fn what_is_in_flight_is_finished_over_http2() {
    everywhere(&AGE, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        let since = h2.conn.now();
        let slow = h2.get("/sleep/3000").unwrap();
        assert_eq!(h2.wait_goaway(LONG), Some((ANY, 0)), "{h2:?}");
        let told = h2.frames().iter().find(|(_, frame)| frame.is(kind::GOAWAY));
        is_within(told.map(|(at, _)| *at), since, AGED, &h2);
        // What crosses the announcement is answered.
        answers(&mut h2, "/", "hello\n");
        let answer = h2.wait_stream(slow, LONG);
        assert!(answer.is_complete() && answer.text() == "slept\n", "{h2:?}");
        let ending = ends_properly_h2(&mut h2, Then::Closes);
        is_notified_within(&ending, since, (ms(2900), ms(4000)));
        is_told(&h2, 3);
    });
}

const GRACE: [&str; 4] = ["--max-age-ms", "1000", "--max-age-grace-ms", "1000"];
const FORCED: (Duration, Duration) = (ms(1850), ms(3500));

type Act = fn(&mut Client);
type Check = fn(&mut Client, Then) -> Ending;

fn opens_tunnel(client: &mut Client) {
    client
        .send("CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
        .unwrap();
    let response = client.read_response_to("CONNECT", LONG).unwrap();
    assert_eq!(response.status, 200, "{client:?}");
    echoes(client, "before");
}

fn echoes(client: &mut Client, text: &str) {
    client.send(text).unwrap();
    let echo = client.read_exactly(text.len(), LONG);
    assert_eq!(echo, text.as_bytes(), "{client:?}");
}

/// What may be in use when the grace is over, and how its end is seen: what nothing frames shows that it
/// is not whole.
const IN_USE: [(&str, (Act, Check)); 6] = [
    (
        "a handler at work",
        (
            |client| client.send(get("/sleep/20000")).unwrap(),
            ends_properly,
        ),
    ),
    (
        "an upload",
        (
            |client| client.send(post("/echo-len", 100) + "half").unwrap(),
            ends_properly,
        ),
    ),
    (
        "an upload that nobody reads, and a handler at work",
        (
            |client| {
                let body = "x".repeat(100_000);
                client.send(post("/sleep/20000", 1 << 20) + &body).unwrap();
            },
            ends_properly,
        ),
    ),
    (
        "an endless answer",
        (|client| client.send(get("/sse")).unwrap(), ends_properly),
    ),
    (
        "an endless answer of HTTP/1.0",
        (
            |client| client.send(old_get("/sse")).unwrap(),
            ends_visibly_truncated,
        ),
    ),
    ("a tunnel", (opens_tunnel, ends_visibly_truncated)),
];

#[test]
fn the_grace_ends_what_is_in_use() {
    everywhere(&GRACE, &IN_USE, |bed, version, (act, ends)| {
        let mut client = connect(bed, version);
        let since = client.now();
        act(&mut client);
        let ending = ends(&mut client, Then::Closes);
        is_within(ending.ended_at(), since, FORCED, &client);
    });
}

#[test]
fn the_grace_ends_what_is_in_use_over_http2() {
    let paths = [("a handler", "/sleep/20000"), ("an answer", "/sse")];
    everywhere(&GRACE, &paths, |bed, version, path| {
        let mut h2 = start_h2(bed, version);
        let since = h2.conn.now();
        let stream = h2.get(path).unwrap();
        let ending = ends_properly_h2(&mut h2, Then::Closes);
        is_notified_within(&ending, since, FORCED);
        assert!(!h2.stream(stream).is_complete(), "{h2:?}");
        assert_eq!(h2.goaways().first(), Some(&(ANY, 0)), "{h2:?}");
        is_told(&h2, stream);
    });
}

#[test]
fn a_tunnel_without_a_grace_goes_on() {
    everywhere(&AGE, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        opens_tunnel(&mut client);
        assert!(client.wait_close_notify(ms(3000)).is_none(), "{client:?}");
        echoes(&mut client, "after");
    });
}

const THREE: [&str; 2] = ["--max-requests", "3"];

#[test]
fn the_last_of_so_many_answers_says_so() {
    everywhere(&THREE, &HTTP1, |bed, version, request| {
        let mut client = connect(bed, version);
        for last in [false, false, true] {
            let says_close = asks(&mut client, &request("/"), "hello\n");
            assert_eq!(says_close, last, "{client:?}");
        }
        let since = client.now();
        let ending = ends_properly(&mut client, Then::Closes);
        is_notified_within(&ending, since, (Duration::ZERO, PROMPT));
    });
}

/// All in one write, and none behind the last is answered.
#[test]
fn the_last_of_a_pipeline_says_so() {
    let paths = [
        ("short", ("/", "hello\n")),
        ("slow", ("/sleep/100", "slept\n")),
    ];
    everywhere(&THREE, &paths, |bed, version, (path, text)| {
        let mut client = connect(bed, version);
        client.send(get(path).repeat(5)).unwrap();
        for last in [false, false, true] {
            assert_eq!(hears(&mut client, text), last, "{client:?}");
        }
        ends_properly(&mut client, Then::Closes);
        assert!(client.unread().is_empty(), "{client:?}");
    });
}

#[test]
fn a_goaway_names_the_last_of_so_many() {
    everywhere(&THREE, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        for _ in 0..3 {
            answers(&mut h2, "/", "hello\n");
        }
        ends_properly_h2(&mut h2, Then::Closes);
        is_told(&h2, 5);
    });
}

/// Those that were sent behind the last are answered, or above what the GOAWAY names.
#[test]
fn a_goaway_is_true_of_what_came_with_the_last() {
    let paths = [
        ("short", ("/", "hello\n")),
        ("slow", ("/sleep/100", "slept\n")),
    ];
    everywhere(&THREE, &paths, |bed, version, (path, text)| {
        let mut h2 = start_h2(bed, version);
        let streams: Vec<_> = (0..6).map(|_| h2.get(path).unwrap()).collect();
        ends_properly_h2(&mut h2, Then::Closes);
        let (last, code) = *h2.goaways().last().unwrap();
        assert!(code == 0 && last >= streams[2], "{h2:?}");
        for stream in streams {
            let answer = h2.stream(stream);
            match stream <= last {
                true => assert!(answer.is_complete() && answer.text() == *text, "{h2:?}"),
                false => assert_eq!(answer.status, None, "{h2:?}"),
            }
        }
    });
}

/// Each has its own moment.
#[test]
fn those_that_came_together_do_not_go_together() {
    for server in testbed::servers() {
        let bed = Testbed::start(server, &["--max-age-ms", "4000"]);
        let clients = [(); 20].map(|()| {
            let client = connect(&bed, Version::Tls13);
            (client.now(), client)
        });
        let waiting = clients.map(|(since, mut client)| {
            thread::spawn(move || {
                let ending = client.read_until_end(LONG);
                is_let_go(&mut client, Then::Closes);
                ending.close_notify.unwrap() - since
            })
        });
        let mut ages = waiting.map(|client| client.join().unwrap());
        ages.sort_unstable();
        println!("{server}: {ages:?}");
        // A client on a busy machine hears late of both its beginning and its end.
        assert!(ages[0] >= ms(3000), "{ages:?}");
        assert!(ages[19] <= ms(4400) + PROMPT, "{ages:?}");
        assert!(ages[19] - ages[0] >= ms(500), "{ages:?}");
    }
}

/// The log says why, and counts none as cut that was not.
#[test]
fn each_has_a_reason_of_its_own() {
    let requests = [&GRACE[..], &["--max-requests", "2"]].concat();
    for server in testbed::servers() {
        let bed = Testbed::start_talkative(server, &requests);
        let mut idle = connect(&bed, Version::Tls13);
        let mut spent = connect(&bed, Version::Tls13);
        let mut spent_h2 = start_h2(&bed, Version::Tls13);
        let mut busy = connect(&bed, Version::Tls13);
        let mut told = connect(&bed, Version::Tls13);
        asks(&mut idle, &get("/"), "hello\n");
        busy.send(get("/sleep/20000")).unwrap();
        told.send(get("/sleep/1500")).unwrap();
        for _ in 0..2 {
            asks(&mut spent, &get("/"), "hello\n");
            answers(&mut spent_h2, "/", "hello\n");
        }
        ends_properly(&mut spent, Then::Closes);
        ends_properly_h2(&mut spent_h2, Then::Closes);
        ends_properly(&mut idle, Then::Closes);
        assert!(hears(&mut told, "slept\n"), "{told:?}");
        ends_properly(&mut told, Then::Closes);
        ends_properly(&mut busy, Then::Closes);
        sleep(ms(100));
        let log = bed.stop(LONG).stderr;
        for (client, why) in [
            (idle, "cause=max_age outcome=clean"),
            (told, "cause=max_age outcome=clean"),
            (spent, "cause=max_requests outcome=clean"),
            (spent_h2.conn, "cause=max_requests outcome=clean"),
            (busy, "cause=max_age_grace outcome=truncated"),
        ] {
            let peer = format!("peer={} ", client.local_addr());
            let ended = |line: &&str| line.contains(&peer) && line.contains("connection ended");
            let line = log.lines().find(ended).unwrap();
            assert!(line.contains(why), "{server}: {why}: {line}");
        }
    }
}
