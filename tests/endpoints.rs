//! The testbed's endpoints answer as their table says, over HTTP/1 and 2: what the other tests make
//! of an answer rests on it.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::time::Duration;

use judge::{connect, everywhere, get, is_hello, is_whole, is_whole_h2, post, start_h2};
use testbed::Testbed;
use wire::{Framing, H2, Response, Version};

const LONG: Duration = Duration::from_secs(10);

/// Paths, the length of their answers, and how HTTP/1 frames it.
const BODIES: [(&str, (&str, usize, Framing)); 6] = [
    (
        "one frame",
        ("/full/100000", 100_000, Framing::Length(100_000)),
    ),
    (
        "chunks",
        ("/bytes/100000", 100_000, Framing::Length(100_000)),
    ),
    ("nothing", ("/full/0", 0, Framing::Length(0))),
    ("a channel", ("/channel/30/1000", 30_000, Framing::Chunked)),
    ("an empty channel", ("/channel/0/1000", 0, Framing::Chunked)),
    ("a trailer", ("/trailers/20000", 20_000, Framing::Chunked)),
];

#[test]
fn bodies_are_as_long_as_was_asked_for() {
    everywhere(&[], &BODIES, |bed, version, (path, length, framing)| {
        let mut client = connect(bed, version);
        let response = client.get(path).unwrap();
        assert!(is_whole(&response, *length), "{client:?}");
        assert_eq!(response.framing, *framing, "{client:?}");
        let answer = start_h2(bed, version).h2_get(path).unwrap();
        assert!(is_whole_h2(&answer, *length), "{answer:?}");
    });
}

#[test]
fn the_trailer_is_the_sum() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let sum = [("x-sum".to_string(), (20_000 * u32::from(b'x')).to_string())];
        let mut client = connect(bed, version);
        let asks = get("/trailers/20000").replace("\r\n\r\n", "\r\nTE: trailers\r\n\r\n");
        client.send(asks).unwrap();
        assert_eq!(client.read_response().unwrap().trailers, sum, "{client:?}");
        let answer = start_h2(bed, version).h2_get("/trailers/20000").unwrap();
        assert_eq!(answer.trailers, sum, "{answer:?}");
    });
}

/// Statuses, what is answered, and whether it has a body.
const STATUSES: [(&str, (u16, u16, bool)); 6] = [
    ("200", (200, 200, true)),
    ("204", (204, 204, false)),
    ("304", (304, 304, false)),
    ("503", (503, 503, true)),
    ("no answer", (103, 400, false)),
    ("none", (1000, 400, false)),
];

#[test]
fn statuses_are_those_that_were_asked_for() {
    everywhere(&[], &STATUSES, |bed, version, (asked, told, has_body)| {
        let path = format!("/status/{asked}");
        let mut client = connect(bed, version);
        let response = client.get(&path).unwrap();
        assert_eq!(
            (response.status, !response.body.is_empty()),
            (*told, *has_body),
            "{client:?}"
        );
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
        let answer = start_h2(bed, version).h2_get(&path).unwrap();
        assert_eq!(
            (answer.status, !answer.body.is_empty()),
            (Some(*told), *has_body),
            "{answer:?}"
        );
    });
}

fn uploads(bed: &Testbed, version: Version, path: &str, body: &[u8]) -> Response {
    let mut client = connect(bed, version);
    client.send(post(path, body.len())).unwrap();
    client.send_while_reading(body).unwrap();
    client.read_response().unwrap()
}

#[test]
fn uploads_are_echoed_and_slept_on() {
    let body = "u".repeat(300_000);
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let response = uploads(bed, version, "/echo", body.as_bytes());
        assert!(
            response.status == 200 && response.text() == body,
            "{response:?}"
        );
        assert!(is_hello(
            &uploads(bed, version, "/echo-len", body.as_bytes()),
            "300000"
        ));
        assert!(is_hello(
            &uploads(bed, version, "/sleep/50", body.as_bytes()),
            "slept\n"
        ));
        let mut h2: H2 = start_h2(bed, version);
        let stream = h2.post("/echo").unwrap();
        let sent = h2.upload(stream, body.as_bytes(), LONG).unwrap();
        assert_eq!(sent, body.len(), "{h2:?}");
        let answer = h2.wait_stream(stream, LONG);
        assert!(answer.is_complete() && answer.text() == body, "{h2:?}");
    });
}

/// An answer that comes before the body is read, and which is whole.
#[test]
fn early_answers_are_early() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        client.send(post("/early/10", 1000)).unwrap();
        let response = client.read_response().unwrap();
        assert!(response.status == 202 && response.complete, "{client:?}");
        client.send("u".repeat(1000)).unwrap();
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    });
}

/// There is a route outside the layer where the layer is the user's.
#[test]
fn the_route_outside_is_there_for_axum() {
    for server in testbed::servers() {
        judge::on(&[server], &[], &[("", ())], |bed, version, ()| {
            let response = connect(bed, version).get("/outside").unwrap();
            match server {
                "axum" => assert!(is_hello(&response, "hello\n"), "{response:?}"),
                _ => assert_eq!(response.status, 404, "{response:?}"),
            }
        });
    }
}
