//! Half-close: in TLS 1.3 the peer's close_notify ends only its own direction, and the answers it
//! waits for are due (RFC 9846 6.1); in TLS 1.2 it ends the connection, as the same section says.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{thread, time::Duration};

use judge::{
    PROMPT, Then, connect, connect_h2, ends_properly, ends_properly_h2, everywhere, get, is_hello,
    is_notified_within, is_whole, old_get, post,
};
use testbed::Testbed;
use wire::{Client, Frame, H2, H2Options, Options, PREFACE, Response, Version, setting};

/// Long enough for a request to reach its handler.
const A_LITTLE: Duration = Duration::from_millis(100);
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

fn http1_of(version: Version) -> Options {
    Options::new().version(version).http1()
}

/// Sends this and close_notify in one write, and leaves TCP open.
fn send_all(client: &mut Client, plaintext: impl AsRef<[u8]>) {
    let mut bytes = client.encrypt_only(plaintext);
    bytes.extend(client.close_notify_bytes());
    client.send_raw(bytes).unwrap();
}

/// The server ends now, and does not wait for a client that has ended already.
fn ends_now(client: &mut Client) {
    let since = client.now();
    let ending = ends_properly(client, Then::HasClosed);
    is_notified_within(&ending, since, (Duration::ZERO, PROMPT));
    assert!(client.unread().is_empty(), "{client:?}");
}

type Check = fn(&Response) -> bool;

const HELLO: Check = |response| is_hello(response, "hello\n");
const SLEPT: Check = |response| is_hello(response, "slept\n");
const MEGABYTE: Check = |response| is_whole(response, 1_000_000);

/// What a client may send in one write with close_notify, and the answers it waits for.
fn requests() -> [(&'static str, (String, Vec<Check>)); 12] {
    let close = get("/").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let slow: Check = |response| is_whole(response, 5 * 1024);
    [
        ("short", (get("/"), vec![HELLO])),
        ("the last", (close, vec![HELLO])),
        ("slow", (get("/slow/5/50"), vec![slow])),
        ("large", (get("/bytes/1000000"), vec![MEGABYTE])),
        (
            "large and chunked",
            (get("/chunked/1000000"), vec![MEGABYTE]),
        ),
        ("asleep", (get("/sleep/300"), vec![SLEPT])),
        ("HTTP/1.0", (old_get("/"), vec![HELLO])),
        (
            "close-delimited",
            (old_get("/chunked/1000000"), vec![MEGABYTE]),
        ),
        (
            "close-delimited and slow",
            (old_get("/slow/5/50"), vec![slow]),
        ),
        (
            "an upload",
            (post("/echo-len", 5) + "12345", vec![|r| is_hello(r, "5")]),
        ),
        ("two", (get("/").repeat(2), vec![HELLO, HELLO])),
        (
            "three",
            (
                get("/sleep/200") + &get("/bytes/1000000") + &get("/"),
                vec![SLEPT, MEGABYTE, HELLO],
            ),
        ),
    ]
}

fn is_answered(client: &mut Client, answers: &[Check]) {
    for check in answers {
        let response = client.read_response().unwrap();
        assert!(check(&response), "{client:?}");
    }
}

#[test]
fn requests_in_one_write_with_close_notify_are_answered() {
    everywhere(&[], &requests(), |bed, version, (request, answers)| {
        if version == Version::Tls12 {
            return;
        }
        for _ in 0..10 {
            let mut client = connect(bed, version);
            send_all(&mut client, request);
            is_answered(&mut client, answers);
            ends_now(&mut client);
        }
    });
}

#[test]
fn and_so_they_are_on_a_connection_that_was_used_before() {
    everywhere(&[], &requests(), |bed, version, (request, answers)| {
        if version == Version::Tls12 {
            return;
        }
        let mut client = connect(bed, version);
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
        send_all(&mut client, request);
        is_answered(&mut client, answers);
        ends_now(&mut client);
    });
}

/// The ClientHello's answer has not even been looked at: everything comes with the Finished.
#[test]
fn requests_in_one_write_with_the_handshake_are_answered() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        if version == Version::Tls12 {
            return;
        }
        let mut client = Client::open(bed.addr, &http1_of(version)).unwrap();
        let hello = client.encrypt_only("");
        client.send_raw(hello).unwrap();
        thread::sleep(A_LITTLE);
        // Reading the server's flight sends the Finished; what follows is right behind it.
        client.handshake().unwrap();
        send_all(&mut client, get("/sleep/200"));
        is_answered(&mut client, &[SLEPT]);
        ends_now(&mut client);
    });
}

#[test]
fn close_notify_while_the_handler_works_is_answered() {
    let requests = [
        ("asleep", (get("/sleep/400"), SLEPT)),
        (
            "half an answer",
            (get("/slow/6/60"), |r: &Response| is_whole(r, 6 * 1024)),
        ),
    ];
    let requests: [(&str, (String, Check)); 2] = requests;
    everywhere(&[], &requests, |bed, version, (request, answer)| {
        if version == Version::Tls12 {
            return;
        }
        let mut client = connect(bed, version);
        client.send(request).unwrap();
        thread::sleep(A_LITTLE);
        client.send_close_notify().unwrap();
        is_answered(&mut client, &[*answer]);
        ends_now(&mut client);
    });
}

/// RFC 9846 6.1: what follows close_notify is ignored. It is not answered, and resets nothing.
#[test]
fn what_follows_close_notify_is_ignored() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        if version == Version::Tls12 {
            return;
        }
        let mut client = connect(bed, version);
        let mut bytes = client.encrypt_only(get("/sleep/300"));
        bytes.extend(client.close_notify_bytes());
        bytes.resize(bytes.len() + 100_000, 23);
        client.send_raw(bytes).unwrap();
        is_answered(&mut client, &[SLEPT]);
        ends_now(&mut client);
    });
}

/// TCP that ends, before or after close_notify, still cancels.
#[test]
fn a_fin_or_rst_after_close_notify_cancels() {
    type End = fn(&mut Client);
    let ends: [(&str, (End, bool)); 2] = [
        ("FIN", (|client| client.fin().unwrap(), true)),
        ("RST", (|client| client.reset().unwrap(), false)),
    ];
    everywhere(&[], &ends, |bed, version, (end, hears)| {
        if version == Version::Tls12 {
            return;
        }
        for path in ["/sleep/20000", "/slow/1000/30"] {
            let mut client = connect(bed, version);
            send_all(&mut client, get(path));
            thread::sleep(A_LITTLE);
            assert!(!client.pump_until(A_LITTLE, |c| c.ending().close_notify.is_some()));
            end(&mut client);
            assert!(client.held_for(PROMPT).is_some(), "{path}: {client:?}");
            if *hears {
                let ending = client.finish();
                assert!(ending.is_proper(), "{path}: {ending:?}");
            }
        }
    });
}

/// An upload that is not finished never will be: the write time-out ends the wait.
#[test]
fn close_notify_inside_an_upload_ends_in_time() {
    const OPTIONS: [&str; 2] = ["--write-timeout-ms", "700"];
    let most = Duration::from_millis(1700);
    let uploads = [
        ("no body yet", post("/echo-len", 100)),
        ("half a body", post("/echo-len", 100) + "12345"),
        ("half a chunk", {
            let head = post("/echo-len", 0);
            head.replace("Content-Length: 0", "Transfer-Encoding: chunked") + "5\r\nhel"
        }),
    ];
    everywhere(&OPTIONS, &uploads, |bed, version, upload| {
        let mut client = connect(bed, version);
        let since = client.now();
        send_all(&mut client, upload);
        let ending = ends_properly(&mut client, Then::HasClosed);
        is_notified_within(&ending, since, (Duration::ZERO, most));
    });
}

#[test]
fn close_notify_inside_an_http2_upload_ends_in_time() {
    const OPTIONS: [&str; 2] = ["--write-timeout-ms", "700"];
    let most = Duration::from_millis(1700);
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = quiet_h2(bed, version);
        let request = h2.request(&fields("POST", "/echo-len"), false);
        let part = Frame::data(request.stream, "12345", false);
        let since = h2.conn.now();
        send_all(&mut h2.conn, start(&[request, part]));
        let ending = ends_properly_h2(&mut h2, Then::HasClosed);
        is_notified_within(&ending, since, (Duration::ZERO, most));
    });
}

/// In TLS 1.2 close_notify must be answered at once; what is in flight is discarded.
#[test]
fn tls12_is_answered_with_close_notify_at_once() {
    let requests = [
        ("asleep", get("/sleep/5000")),
        ("slow", get("/slow/1000/30")),
        ("half an upload", post("/echo-len", 100) + "12345"),
    ];
    everywhere(&[], &requests, |bed, version, request| {
        if version == Version::Tls13 {
            return;
        }
        for pause in [Duration::ZERO, A_LITTLE] {
            let mut client = connect(bed, version);
            client.send(request).unwrap();
            thread::sleep(pause);
            client.send_close_notify().unwrap();
            let since = client.now();
            let ending = ends_properly(&mut client, Then::HasClosed);
            is_notified_within(&ending, since, (Duration::ZERO, PROMPT));
        }
    });
}

/// Nobody has asked for anything, so that there is nothing to wait for.
#[test]
fn close_notify_with_nothing_asked_ends_at_once() {
    type Beginning = (&'static [&'static str], &'static [u8]);
    let beginnings: [(&str, Beginning); 8] = [
        ("HTTP/1.1", (&["http/1.1"], b"")),
        ("HTTP/1.1, half a head", (&["http/1.1"], b"GET / HTT")),
        ("no ALPN", (&[], b"")),
        ("no ALPN, half a head", (&[], b"GET / HTT")),
        ("either", (&["h2", "http/1.1"], b"")),
        ("HTTP/2", (&["h2"], b"")),
        ("HTTP/2, half a preface", (&["h2"], &PREFACE[..12])),
        ("HTTP/2, a preface", (&["h2"], PREFACE)),
    ];
    everywhere(&[], &beginnings, |bed, version, (alpn, sent)| {
        for pause in [Duration::ZERO, A_LITTLE] {
            let options = Options::new().version(version).alpn(alpn);
            let mut client = Client::connect_with(bed.addr, &options).unwrap();
            thread::sleep(pause);
            send_all(&mut client, sent);
            let since = client.now();
            let ending = ends_properly(&mut client, Then::HasClosed);
            is_notified_within(&ending, since, (Duration::ZERO, PROMPT));
        }
    });
}

fn fields<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ]
}

/// A client that says nothing by itself: after close_notify it can't.
fn quiet_h2(bed: &Testbed, version: Version) -> H2 {
    let mut h2 = connect_h2(bed, version);
    h2.options = H2Options::silent();
    h2
}

/// Preface, SETTINGS that open every window, and these frames.
fn start(frames: &[Frame]) -> Vec<u8> {
    let settings = Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, LARGEST_WINDOW)]);
    let window = Frame::window_update(0, LARGEST_WINDOW - 65_535);
    let frames = [settings, window].into_iter().chain(frames.iter().cloned());
    let frames: Vec<u8> = frames.flat_map(|frame| frame.encode()).collect();
    [PREFACE, &frames].concat()
}

/// Paths, and the length of the answers.
const REQUESTS_H2: [(&str, &[(&str, usize)]); 6] = [
    ("short", &[("/", 6)]),
    ("large", &[("/bytes/1000000", 1_000_000)]),
    ("large and chunked", &[("/chunked/1000000", 1_000_000)]),
    ("slow", &[("/slow/5/50", 5 * 1024)]),
    ("asleep", &[("/sleep/300", 6)]),
    (
        "many",
        &[
            ("/sleep/200", 6),
            ("/", 6),
            ("/bytes/500000", 500_000),
            ("/slow/3/100", 3 * 1024),
        ],
    ),
];

fn are_answered_h2(h2: &mut H2, streams: &[(u32, usize)]) {
    let since = h2.conn.now();
    let ending = ends_properly_h2(h2, Then::HasClosed);
    for (stream, length) in streams {
        let answer = h2.stream(*stream);
        assert!(
            answer.is_complete() && answer.body.len() == *length,
            "{h2:?}"
        );
    }
    // Well before the PING that this client does not answer.
    is_notified_within(
        &ending,
        since,
        (Duration::ZERO, Duration::from_millis(1500)),
    );
    assert!(h2.goaways().iter().all(|(_, code)| *code == 0), "{h2:?}");
}

#[test]
fn http2_requests_in_one_write_with_close_notify_are_answered() {
    everywhere(&[], &REQUESTS_H2, |bed, version, requests| {
        if version == Version::Tls12 {
            return;
        }
        for _ in 0..5 {
            let mut h2 = quiet_h2(bed, version);
            let frames: Vec<_> = requests
                .iter()
                .map(|(path, _)| h2.request(&fields("GET", path), true))
                .collect();
            send_all(&mut h2.conn, start(&frames));
            let streams = frames.iter().zip(*requests);
            let streams: Vec<_> = streams.map(|(f, (_, n))| (f.stream, *n)).collect();
            are_answered_h2(&mut h2, &streams);
        }
    });
}

#[test]
fn close_notify_while_http2_handlers_work_is_answered() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        if version == Version::Tls12 {
            return;
        }
        let mut h2 = quiet_h2(bed, version);
        let asleep = h2.request(&fields("GET", "/sleep/400"), true);
        let slow = h2.request(&fields("GET", "/slow/6/60"), true);
        let streams = [(asleep.stream, 6), (slow.stream, 6 * 1024)];
        h2.conn.send(start(&[asleep, slow])).unwrap();
        thread::sleep(A_LITTLE);
        h2.conn.send_close_notify().unwrap();
        are_answered_h2(&mut h2, &streams);
    });
}

/// Windows can't be opened after close_notify: a larger answer never arrives, and is not waited for.
#[test]
fn an_http2_answer_beyond_the_window_ends_in_time() {
    let options = ["--write-timeout-ms", "700"];
    everywhere(&options, &[("", ())], |bed, version, ()| {
        if version == Version::Tls12 {
            return;
        }
        let mut h2 = quiet_h2(bed, version);
        let request = h2.request(&fields("GET", "/bytes/1000000"), true);
        let frames = [PREFACE, &Frame::settings(&[]).encode(), &request.encode()].concat();
        let since = h2.conn.now();
        send_all(&mut h2.conn, frames);
        let ending = ends_properly_h2(&mut h2, Then::HasClosed);
        let answer = h2.stream(request.stream);
        assert_eq!(
            (answer.status, answer.body.len()),
            (Some(200), 65_535),
            "{h2:?}"
        );
        assert!(answer.end_stream.is_none(), "{h2:?}");
        is_notified_within(
            &ending,
            since,
            (Duration::from_millis(600), Duration::from_millis(1700)),
        );
    });
}

#[test]
fn tls12_is_answered_with_close_notify_at_once_over_http2() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        if version == Version::Tls13 {
            return;
        }
        for pause in [Duration::ZERO, A_LITTLE] {
            let mut h2 = quiet_h2(bed, version);
            let request = h2.request(&fields("GET", "/sleep/5000"), true);
            h2.conn.send(start(&[request])).unwrap();
            thread::sleep(pause);
            h2.conn.send_close_notify().unwrap();
            let since = h2.conn.now();
            let ending = ends_properly_h2(&mut h2, Then::HasClosed);
            is_notified_within(&ending, since, (Duration::ZERO, PROMPT));
        }
    });
}
