//! Connections with nothing in flight: whatever a client does or leaves half done, the keep-alive
//! time-out ends it, and properly.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use judge::{
    HYPER, PROMPT, Then, connect, connect_h2, ends_properly, ends_properly_h2, everywhere, get,
    is_hello, is_let_go, is_notified_within, is_within, on, start_h2,
};
use testbed::Testbed;
use wire::{Client, Frame, H2, H2Options, Options, PREFACE, Version, kind};

/// The time-out that most testbeds here are given, and how soon and how late it may strike: a client
/// on a busy machine reads the answer, from which it counts, late.
const OPTIONS: [&str; 2] = ["--header-timeout-ms", "700"];
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(1500));
/// A PING each second, and a second for the answer.
const PINGED: (Duration, Duration) = (Duration::from_millis(1700), Duration::from_millis(2800));

type Talk = fn(&mut Client);
type TalkH2 = fn(&mut H2);

/// Where an HTTP/1 client may stop.
const STOPS: [(&str, (Talk, bool)); 6] = [
    ("silent", (|_| (), false)),
    ("a letter", (|client| client.send("G").unwrap(), true)),
    ("half a head", (half_a_head, true)),
    (
        "all but the last byte",
        (
            |client| {
                client
                    .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r")
                    .unwrap();
            },
            true,
        ),
    ),
    ("keep-alive", (is_answered, false)),
    (
        "half a head after an answer",
        (
            |client| {
                is_answered(client);
                half_a_head(client);
            },
            true,
        ),
    ),
];

fn half_a_head(client: &mut Client) {
    client.send("GET / HTTP/1.1\r\nHost: loc").unwrap();
}

fn is_answered(client: &mut Client) {
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
}

/// Whoever `began` a request is told that it did not come in.
fn stops(bed: &Testbed, options: &Options, (talk, began): (Talk, bool), then: Then) {
    let mut client = Client::connect_with(bed.addr, options).unwrap();
    talk(&mut client);
    let since = client.now();
    let ending = ends_properly(&mut client, then);
    is_notified_within(&ending, since, TIMEOUT);
    let said = client.unread();
    let refused = said.starts_with(b"HTTP/1.1 408 ");
    assert!(
        refused == began && (refused || said.is_empty()),
        "{client:?}"
    );
}

#[test]
fn a_client_that_stops_is_timed_out() {
    everywhere(&OPTIONS, &STOPS, |bed, version, talk| {
        let options = Options::new().version(version);
        for then in [Then::Closes, Then::IsSilent] {
            stops(bed, &options.clone().http1(), *talk, then);
        }
        // Nobody has agreed on anything: that is HTTP/1.1 too.
        stops(bed, &options, *talk, Then::Closes);
    });
}

/// Sends a byte each 50 ms until close_notify comes; when it did.
fn drip(client: &mut Client, bytes: &mut dyn Iterator<Item = u8>) -> Option<Duration> {
    let pause = Duration::from_millis(50);
    bytes.take(200).find_map(|byte| {
        client.send([byte]).unwrap();
        client.wait_close_notify(pause)
    })
}

#[test]
fn a_dripped_head_is_timed_out() {
    let head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Endless: ";
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        for then in [Then::Closes, Then::Drips] {
            let mut client = connect(bed, version);
            let since = client.now();
            let mut bytes = head.iter().copied().chain(std::iter::repeat(b'x'));
            let notified = drip(&mut client, &mut bytes);
            is_within(notified, since, TIMEOUT, &client);
            ends_properly(&mut client, then);
        }
    });
}

/// Where an HTTP/2 client may stop before there is an HTTP/2 connection.
const STOPS_EARLY_H2: [(&str, TalkH2); 4] = [
    ("silent", |_| ()),
    ("a letter of the preface", |h2| {
        h2.conn.send(&PREFACE[..1]).unwrap();
    }),
    ("half a preface", |h2| h2.conn.send(&PREFACE[..12]).unwrap()),
    ("all but the last byte of the preface", |h2| {
        h2.conn.send(&PREFACE[..23]).unwrap();
    }),
];

#[test]
fn an_http2_client_that_never_starts_is_timed_out() {
    everywhere(&OPTIONS, &STOPS_EARLY_H2, |bed, version, talk| {
        for then in [Then::Closes, Then::IsSilent] {
            let mut h2 = connect_h2(bed, version);
            // Whatever it said next would be taken for the preface.
            h2.options = H2Options::silent();
            let since = h2.conn.now();
            talk(&mut h2);
            let ending = ends_properly_h2(&mut h2, then);
            // There is nobody yet to be told by GOAWAY, but no harm in trying.
            is_notified_within(&ending, since, TIMEOUT);
        }
    });
}

#[test]
fn a_dripped_preface_is_timed_out() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = connect_h2(bed, version);
        let since = h2.conn.now();
        // Endless: behind the preface there is a frame of 16 KiB.
        let long = Frame::new(0xbe, 0, 0, vec![0; 16_000]).encode();
        let mut bytes = PREFACE.iter().copied().chain(long);
        let notified = drip(&mut h2.conn, &mut bytes);
        is_within(notified, since, TIMEOUT, &h2);
        ends_properly_h2(&mut h2, Then::Closes);
    });
}

/// What an HTTP/2 client may do that is not a request.
const IDLE_H2: [(&str, TalkH2); 5] = [
    ("idle from the start", |_| ()),
    ("after an answer", |h2| {
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
    }),
    ("half a frame", |h2| {
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        // Nothing more may be said in the middle of a frame, or of a header block.
        h2.options = H2Options::silent();
        let request = h2.request(&[(":method", "GET")], true).encode();
        h2.conn.send(&request[..request.len() / 2]).unwrap();
    }),
    ("half a header block", |h2| {
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        h2.options = H2Options::silent();
        let mut request = h2.request(&[(":method", "GET")], true);
        request.flags &= !wire::flag::END_HEADERS;
        h2.send_frame(&request).unwrap();
    }),
    ("after a stream that it cancelled", |h2| {
        let stream = h2.get("/sleep/20000").unwrap();
        h2.send_frame(&Frame::rst_stream(stream, 8)).unwrap();
        assert!(h2.ping([1; 8], PROMPT).unwrap().is_some(), "{h2:?}");
    }),
];

/// GOAWAY(NO_ERROR), close_notify, FIN.
fn is_told(h2: &H2) {
    let told = h2.goaway_received().is_some_and(|(_, code)| code == 0);
    assert!(told, "no GOAWAY, or not NO_ERROR: {h2:?}");
}

#[test]
fn an_idle_http2_connection_is_told_by_goaway() {
    on(&HYPER, &OPTIONS, &IDLE_H2, |bed, version, talk| {
        for then in [Then::Closes, Then::IsSilent] {
            let mut h2 = start_h2(bed, version);
            talk(&mut h2);
            let since = h2.conn.now();
            let goaway = h2.wait_goaway(TIMEOUT.1);
            assert!(goaway.is_some(), "{h2:?}");
            let first = h2.frames().iter().find(|(_, frame)| frame.is(kind::GOAWAY));
            is_within(first.map(|(at, _)| *at), since, TIMEOUT, &h2);
            let ending = ends_properly_h2(&mut h2, then);
            is_notified_within(&ending, since, TIMEOUT);
            is_told(&h2);
        }
    });
}

/// Where nobody can say GOAWAY the connection ends all the same.
#[test]
fn an_idle_http2_connection_ends() {
    everywhere(&OPTIONS, &IDLE_H2, |bed, version, talk| {
        let mut h2 = start_h2(bed, version);
        talk(&mut h2);
        let since = h2.conn.now();
        let ending = ends_properly_h2(&mut h2, Then::Closes);
        is_notified_within(&ending, since, TIMEOUT);
    });
}

#[test]
fn an_http2_client_that_answers_nothing_is_not_waited_for() {
    on(&HYPER, &OPTIONS, &[("", ())], |bed, version, ()| {
        let options = Options::new().version(version).h2();
        let mut h2 = H2::connect_with(bed.addr, &options, H2Options::silent()).unwrap();
        let since = h2.conn.now();
        let ending = ends_properly_h2(&mut h2, Then::IsSilent);
        is_notified_within(&ending, since, TIMEOUT);
        is_told(&h2);
    });
}

/// PINGs are no requests: who sends nothing else is idle.
#[test]
fn pings_keep_no_connection_alive() {
    on(&HYPER, &OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        let since = h2.conn.now();
        let told = (0..40).any(|n| {
            h2.ping([n; 8], PROMPT).unwrap();
            h2.wait_goaway(Duration::from_millis(50)).is_some()
        });
        assert!(told, "{h2:?}");
        is_within(Some(h2.conn.now()), since, TIMEOUT, &h2);
        ends_properly_h2(&mut h2, Then::Closes);
    });
}

#[test]
fn an_unanswered_ping_ends_an_http2_connection() {
    let cases: [(&str, TalkH2); 3] = [
        ("idle", |_| ()),
        ("a handler at work", |h2| {
            h2.get("/sleep/20000").unwrap();
        }),
        ("an endless answer", |h2| {
            h2.get("/sse").unwrap();
        }),
    ];
    on(&HYPER, &[], &cases, |bed, version, talk| {
        for then in [Then::Closes, Then::IsSilent] {
            let options = Options::new().version(version).h2();
            let mut h2 = H2::connect_with(bed.addr, &options, H2Options::silent()).unwrap();
            let since = h2.conn.now();
            talk(&mut h2);
            let ending = ends_properly_h2(&mut h2, then);
            is_notified_within(&ending, since, PINGED);
            is_told(&h2);
        }
    });
}

#[test]
fn an_answered_ping_ends_nothing() {
    on(&HYPER, &[], &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        let slept = h2.h2_get("/sleep/3500").unwrap();
        assert!(slept.is_complete() && slept.text() == "slept\n", "{h2:?}");
        let pings = h2.frames().iter().filter(|(_, f)| f.is(kind::PING));
        assert!(pings.count() >= 2, "{h2:?}");
    });
}

/// What is in flight is not idle, and each request starts the time anew.
#[test]
fn a_connection_in_use_is_not_timed_out() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        let mut h2 = start_h2(bed, version);
        for _ in 0..6 {
            assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
            assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
            thread::sleep(Duration::from_millis(250));
        }
        client.send(get("/sleep/1500")).unwrap();
        let stream = h2.get("/sleep/1500").unwrap();
        assert!(
            is_hello(&client.read_response().unwrap(), "slept\n"),
            "{client:?}"
        );
        assert_eq!(
            h2.wait_stream(stream, PROMPT * 4).text(),
            "slept\n",
            "{h2:?}"
        );

        let begun = Instant::now();
        let slow = client.get("/slow/20/100").unwrap();
        assert!(slow.complete && slow.body.len() == 20 * 1024, "{client:?}");
        assert!(begun.elapsed() > TIMEOUT.1, "too fast to tell");
        let since = client.now();
        let ending = client.finish();
        assert!(ending.is_proper(), "{ending:?}");
        is_notified_within(&ending, since, TIMEOUT);
        is_let_go(&mut client, Then::Closes);
    });
}

/// The handshake has a time-out of its own: a client that took long over it has all of this one.
#[test]
fn the_time_begins_after_the_handshake() {
    everywhere(&OPTIONS, &[("", ())], |bed, version: Version, ()| {
        let mut client = Client::open(bed.addr, &Options::new().version(version)).unwrap();
        thread::sleep(Duration::from_millis(1200));
        client.handshake().unwrap();
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    });
}
