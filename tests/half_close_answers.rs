//! What a half-closed TLS 1.3 peer has asked for is answered, however long the handler takes: the
//! write time-out is for peers that take nothing, not for servers that have nothing to say yet.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{thread, time::Duration};

use judge::{
    PROMPT, Then, at_most, connect, connect_h2, ends_properly, ends_properly_h2, everywhere,
    fields, get, is_hello, is_notified_within, is_whole, is_within, old_get, post,
};
use testbed::Testbed;
use wire::{Client, Frame, H2, H2Options, PREFACE, Response, Version, setting};

const WRITE_TIMEOUT: Duration = Duration::from_millis(1000);
const OPTIONS: [&str; 2] = ["--write-timeout-ms", "1000"];
/// Long enough for a request to reach its handler.
const A_LITTLE: Duration = Duration::from_millis(100);
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// Sends this and close_notify in one write, and leaves TCP open.
fn send_all(client: &mut Client, plaintext: &[u8]) {
    let mut bytes = client.encrypt_only(plaintext);
    bytes.extend(client.close_notify_bytes());
    client.send_raw(bytes).unwrap();
}

/// Sends close_notify when the handler is at work.
fn send_later(client: &mut Client, plaintext: &[u8]) {
    client.send(plaintext).unwrap();
    thread::sleep(A_LITTLE);
    client.send_close_notify().unwrap();
}

type Send = fn(&mut Client, &[u8]);
type Check = fn(&Response) -> bool;

const SLEPT: Check = |response| is_hello(response, "slept\n");

fn chunked(path: &str, body: &str) -> String {
    let head = post(path, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// Requests, of which the first takes three write time-outs, and the answers.
fn requests() -> [(&'static str, (String, Vec<Check>)); 8] {
    let slow: Check = |response| is_whole(response, 35 * 1024);
    let echoed: Check = |response| is_whole(response, 100_000);
    [
        ("a GET", (get("/sleep/3000"), vec![SLEPT])),
        ("a slow answer", (get("/slow/35/90"), vec![slow])),
        ("HTTP/1.0", (old_get("/slow/35/90"), vec![slow])),
        ("a POST", (post("/sleep/3000", 5) + "12345", vec![SLEPT])),
        (
            "a POST in chunks",
            (chunked("/sleep/3000", "12345"), vec![SLEPT]),
        ),
        (
            "a large POST",
            (
                post("/sleep/3000", 300_000) + &"u".repeat(300_000),
                vec![SLEPT],
            ),
        ),
        (
            "an echo behind a POST",
            (
                post("/sleep/3000", 5) + "12345" + &post("/echo", 100_000) + &"u".repeat(100_000),
                vec![SLEPT, echoed],
            ),
        ),
        (
            "two POSTs",
            (
                (post("/sleep/1500", 5) + "12345").repeat(2),
                vec![SLEPT, SLEPT],
            ),
        ),
    ]
}

#[test]
fn complete_requests_are_answered_however_long_it_takes() {
    everywhere(&OPTIONS, &requests(), |bed, version, (request, answers)| {
        if version == Version::Tls12 {
            return;
        }
        for send in [send_all, send_later] as [Send; 2] {
            let mut client = connect(bed, version);
            send(&mut client, request.as_bytes());
            for check in answers {
                let response = client.read_response().unwrap();
                assert!(check(&response), "{client:?}");
            }
            ends_properly(&mut client, Then::HasClosed);
            assert!(client.unread().is_empty(), "{client:?}");
        }
    });
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

/// Method and path of each request, and the length of the answer. Every POST has a body of 5 bytes.
type Asked = Vec<(&'static str, &'static str, usize)>;

fn requests_h2() -> [(&'static str, Asked); 6] {
    let beside_others = vec![
        ("GET", "/", 6),
        ("POST", "/sleep/3000", 6),
        ("GET", "/full/1000000", 1_000_000),
        ("GET", "/slow/35/90", 35 * 1024),
        ("POST", "/echo-len", 1),
    ];
    [
        ("one", vec![("GET", "/sleep/3000", 6)]),
        ("twenty", vec![("GET", "/sleep/3000", 6); 20]),
        ("slow", vec![("GET", "/slow/35/90", 35 * 1024)]),
        ("a POST", vec![("POST", "/sleep/3000", 6)]),
        ("twenty POSTs", vec![("POST", "/sleep/3000", 6); 20]),
        ("all kinds", beside_others),
    ]
}

#[test]
fn so_are_http2_requests() {
    // A peer that has half-closed can't answer PINGs.
    let options = ["--write-timeout-ms", "1000", "--no-ping"];
    are_answered_h2(&options);
}

/// The server asks whether the client is there. It can't answer, which is no sign of death.
#[test]
fn so_are_http2_requests_of_peers_that_cannot_answer_a_ping() {
    are_answered_h2(&OPTIONS);
}

fn are_answered_h2(options: &[&str]) {
    everywhere(options, &requests_h2(), |bed, version, asked| {
        if version == Version::Tls12 {
            return;
        }
        for send in [send_all, send_later] as [Send; 2] {
            let mut h2 = quiet_h2(bed, version);
            let mut frames = Vec::new();
            let mut streams = Vec::new();
            for (method, path, length) in asked {
                let request = h2.request(&fields(method, path), *method == "GET");
                streams.push((request.stream, *length));
                let body = Frame::data(request.stream, "12345", true);
                frames.push(request);
                frames.extend((*method == "POST").then_some(body));
            }
            send(&mut h2.conn, &start(&frames));
            ends_properly_h2(&mut h2, Then::HasClosed);
            for (stream, length) in streams {
                let answer = h2.stream(stream);
                let whole = answer.is_complete() && answer.body.len() == length;
                assert!(whole, "stream {stream}: {h2:?}");
            }
            assert!(h2.goaways().iter().all(|(_, code)| *code == 0), "{h2:?}");
        }
    });
}

/// The window can't be opened any more: what is beyond it is not waited for, even if the server has
/// handed everything to its HTTP/2 library.
#[test]
fn an_answer_beyond_the_window_ends_in_time() {
    let paths = [("one frame", "/full/100000"), ("chunks", "/bytes/100000")];
    everywhere(&OPTIONS, &paths, |bed, version, path| {
        if version == Version::Tls12 {
            return;
        }
        let mut h2 = quiet_h2(bed, version);
        let request = h2.request(&fields("GET", path), true);
        let frames = [PREFACE, &Frame::settings(&[]).encode(), &request.encode()].concat();
        let since = h2.conn.now();
        send_all(&mut h2.conn, &frames);
        let ending = ends_properly_h2(&mut h2, Then::HasClosed);
        let answer = h2.stream(request.stream);
        assert_eq!(answer.body.len(), 65_535, "{h2:?}");
        assert!(answer.end_stream.is_none(), "{h2:?}");
        is_notified_within(&ending, since, (Duration::ZERO, at_most(WRITE_TIMEOUT)));
    });
}

/// An upload that is not finished never will be, whoever reads it.
#[test]
fn half_an_upload_ends_in_time() {
    let paths = [
        "/echo-len",
        "/echo",
        "/sleep/3000",
        "/early/20",
        "/unread/5",
    ];
    let paths = paths.map(|path| (path, path));
    everywhere(&OPTIONS, &paths, |bed, version, path| {
        if version == Version::Tls12 {
            return;
        }
        let mut client = connect(bed, version);
        let since = client.now();
        send_all(&mut client, (post(path, 100) + "12345").as_bytes());
        let ending = ends_properly(&mut client, Then::HasClosed);
        is_notified_within(&ending, since, (Duration::ZERO, at_most(WRITE_TIMEOUT)));

        let mut h2 = quiet_h2(bed, version);
        let request = h2.request(&fields("POST", path), false);
        let part = Frame::data(request.stream, "12345", false);
        let since = h2.conn.now();
        send_all(&mut h2.conn, &start(&[request, part]));
        let ending = ends_properly_h2(&mut h2, Then::HasClosed);
        is_notified_within(&ending, since, (Duration::ZERO, at_most(WRITE_TIMEOUT)));
    });
}

/// What can't come in any more is not waited for: the server is told at once, and answers.
#[test]
fn an_upload_that_is_broken_off_is_answered_at_once() {
    let uploads = [
        ("read at once", post("/echo-len", 5) + "123"),
        ("read in time", post("/sleep/100", 5) + "1"),
    ];
    for send in [send_all as Send, send_later] {
        everywhere(&[], &uploads, |bed, version, upload| {
            let mut client = connect(bed, version);
            let since = client.now();
            send(&mut client, upload.as_bytes());
            // TLS 1.2 ends with close_notify, and the answer may not come (RFC 9846 6.1).
            if version == Version::Tls13 {
                let response = client.read_response().unwrap();
                assert_eq!(response.status, 400, "{client:?}");
            }
            let ending = client.finish();
            is_within(ending.ended_at(), since, (Duration::ZERO, PROMPT), &client);
        });
    }
}
