//! The HTTP/1 and HTTP/2 sides of the wire-level client, against servers written out by hand.

mod misbehave;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use misbehave::{Peer, Server, serve_tcp, serve_tls, server_config};
use wire::{
    Client, Frame, Framing, H2, H2Options, H2Stream, Options, PREFACE, RawTcp, Response, Version,
    flag, kind, setting,
};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(5);

/// What the client makes of this answer, with or without close_notify behind it.
fn answer(answer: &'static str, notify: bool) -> Response {
    let server = serve_tls(Arc::new(server_config(&[])), 2, move |peer| {
        peer.hear_request();
        peer.say(answer);
        if notify {
            peer.notify();
        }
    });
    let [first, second] = Version::BOTH.map(|version| {
        let options = Options::new().version(version);
        let mut client = Client::connect_with(server.addr, &options).unwrap();
        let response = client.get("/").unwrap();
        let ending = client.finish();
        assert_eq!(ending.is_proper(), notify, "{ending:?}");
        response
    });
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    server.join();
    first
}

#[test]
fn content_length() {
    let whole = answer("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", false);
    assert_eq!(
        (whole.status, whole.text().as_str(), whole.complete),
        (200, "abc", true)
    );
    let cut = answer("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc", true);
    assert_eq!((cut.text().as_str(), cut.complete), ("abc", false));
    assert_eq!(cut.framing, Framing::Length(30));
}

#[test]
fn chunked() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x, Close\r\n\r\n";
    let whole = "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nsum: 5\r\n\r\n";
    let leak = |tail: &str| -> &'static str { format!("{head}{tail}").leak() };
    let response = answer(leak(whole), true);
    assert_eq!(
        (response.text().as_str(), response.complete),
        ("abcde", true)
    );
    assert_eq!(response.trailers, [("sum".to_string(), "5".to_string())]);
    assert!(response.says_close());
    for (cut, body) in [
        ("3\r\nabc\r\n2\r\nd", "abcd"),
        ("3\r\nabc\r\n", "abc"),
        ("0\r\n", ""),
    ] {
        let response = answer(leak(cut), true);
        assert_eq!(
            (response.text().as_str(), response.complete),
            (body, false),
            "{cut:?}"
        );
    }
}

#[test]
fn until_the_end() {
    for notify in [false, true] {
        let response = answer("HTTP/1.0 200 OK\r\n\r\nall of it", notify);
        assert_eq!(response.framing, Framing::UntilEnd);
        assert_eq!(response.text(), "all of it");
        assert_eq!(response.complete, notify);
    }
}

#[test]
fn interim_and_bodiless() {
    let response = answer(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        true,
    );
    assert_eq!(
        (response.status, response.interim.as_slice()),
        (204, &[100][..])
    );
    assert!(response.complete && response.framing == Framing::None);
}

#[test]
fn no_response_at_all() {
    let server = serve_tls(Arc::new(server_config(&[])), 1, |peer| {
        peer.hear_request();
        peer.say("HTTP/1.1 20");
        peer.notify();
    });
    let error = Client::connect(server.addr).unwrap().get("/").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("close_notify"), "{error}");
    server.join();
}

#[test]
fn plain_http() {
    let server = serve_tcp(1, |mut tcp| {
        let _ = tcp.read(&mut [0; 1024]).unwrap();
        tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\nplain").unwrap();
    });
    let mut client = RawTcp::connect(server.addr).unwrap();
    let response = client.get("/").unwrap();
    assert!(
        response.complete && response.text() == "plain",
        "{client:?}"
    );
    assert!(client.finish().is_clean_fin(), "{client:?}");
    server.join();
}

/// A server which reads HTTP/2 frames one by one.
struct H2Peer<'a> {
    peer: &'a mut Peer,
    buffer: Vec<u8>,
}

impl<'a> H2Peer<'a> {
    fn start(peer: &'a mut Peer) -> Self {
        let mut this = Self {
            peer,
            buffer: Vec::new(),
        };
        while this.buffer.len() < PREFACE.len() {
            this.more();
        }
        assert!(this.buffer.starts_with(PREFACE));
        this.buffer.drain(..PREFACE.len());
        assert!(this.frame().is(kind::SETTINGS));
        this
    }

    fn more(&mut self) {
        let bytes = self.peer.hear();
        assert!(!bytes.is_empty(), "the client has gone");
        self.buffer.extend(bytes);
    }

    fn frame(&mut self) -> Frame {
        loop {
            if let Some((frame, length)) = Frame::parse(&self.buffer) {
                self.buffer.drain(..length);
                return frame;
            }
            self.more();
        }
    }

    fn say(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        self.peer.say(bytes);
    }
}

fn serve_h2(behave: impl Fn(&mut H2Peer<'_>) + Send + 'static) -> Server {
    serve_tls(Arc::new(server_config(&["h2"])), 1, move |peer| {
        let mut h2 = H2Peer::start(peer);
        behave(&mut h2);
        peer.notify();
    })
}

/// RFC 7541, C.6.1 and C.6.2: Huffman strings, and what they leave in the dynamic table.
const HUFFMAN_302: &str = "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff\
    6e919d29ad171863c78f0b97c8e9ae82ae43d3";
const HUFFMAN_307: &str = "4883640effc1c0bf";

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn h2_response_and_goaway() {
    let server = serve_h2(|h2| {
        h2.say(&[
            Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 100_000)]),
            Frame::ping([7; 8]),
        ]);
        let stream = h2.frame().stream;
        assert!(h2.frame().is_ack() && h2.frame().is_ack());
        let (first, rest) = (vec![0x88], unhex("5c0135"));
        h2.say(&[
            Frame::new(kind::HEADERS, 0, stream, first),
            Frame::new(kind::CONTINUATION, flag::END_HEADERS, stream, rest),
            Frame::new(kind::DATA, flag::PADDED, stream, b"\x02abc\0\0".to_vec()),
        ]);
        let updates = [h2.frame(), h2.frame()];
        assert_eq!(
            updates,
            [Frame::window_update(0, 6), Frame::window_update(stream, 6)]
        );
        h2.say(&[Frame::data(stream, *b"de", true), Frame::goaway(stream, 0)]);
        assert_eq!(h2.frame(), Frame::window_update(0, 2));
    });
    let mut h2 = H2::connect(server.addr).unwrap();
    let response = h2.h2_get("/").unwrap();
    assert!(
        response.is_complete() && response.status == Some(200),
        "{h2:?}"
    );
    assert_eq!(response.text(), "abcde", "{h2:?}");
    assert_eq!(response.header("content-length"), Some("5"), "{h2:?}");
    assert_eq!(h2.wait_goaway(LONG), Some((1, 0)), "{h2:?}");
    assert_eq!(h2.goaway_received(), Some((1, 0)));
    assert_eq!(h2.send_window(3), 65_535);
    let ending = h2.finish();
    assert!(ending.is_proper(), "{ending:?}");
    server.join();
}

#[test]
fn h2_huffman_and_trailers() {
    let server = serve_h2(|h2| {
        h2.say(&[Frame::settings(&[])]);
        let streams = [h2.frame().stream, h2.frame().stream];
        h2.say(&[
            Frame::headers(streams[0], unhex(HUFFMAN_302), false),
            Frame::headers(streams[1], unhex(HUFFMAN_307), true),
            Frame::headers(streams[0], unhex("000161023432"), true),
        ]);
    });
    let conn = Client::connect_with(server.addr, &Options::new().h2()).unwrap();
    let mut h2 = H2::start(conn, H2Options::silent()).unwrap();
    let requests = [
        h2.request(&[(":path", "/a")], true),
        h2.request(&[(":path", "/b")], true),
    ];
    h2.send_frames(&requests).unwrap();
    let second = h2.wait_stream(3, LONG);
    let first = h2.wait_stream(1, LONG);
    assert_eq!(
        (first.status, second.status),
        (Some(302), Some(307)),
        "{h2:?}"
    );
    for response in [&first, &second] {
        assert_eq!(
            response.header("location"),
            Some("https://www.example.com"),
            "{h2:?}"
        );
        assert_eq!(
            response.header("date"),
            Some("Mon, 21 Oct 2013 20:13:21 GMT"),
            "{h2:?}"
        );
    }
    assert_eq!(
        first.trailers,
        [("a".to_string(), "42".to_string())],
        "{h2:?}"
    );
    server.join();
}

#[test]
fn h2_streams_cut_short() {
    let server = serve_h2(|h2| {
        let streams = [h2.frame().stream, h2.frame().stream];
        h2.say(&[
            Frame::settings(&[]),
            Frame::headers(streams[0], [0x88], false),
            Frame::rst_stream(streams[0], 8),
            Frame::headers(streams[1], [0x8d], false),
        ]);
    });
    let mut h2 = H2::connect(server.addr).unwrap();
    let (first, second) = (h2.get("/").unwrap(), h2.post("/").unwrap());
    let ended = |stream: &H2Stream| (stream.is_complete(), stream.is_over());
    let one = h2.wait_stream(first, LONG);
    assert_eq!(one.reset.map(|(code, _)| code), Some(8), "{h2:?}");
    assert_eq!(ended(&one), (false, true), "{h2:?}");
    let two = h2.wait_stream(second, LONG);
    assert_eq!(
        (two.status, ended(&two)),
        (Some(404), (false, false)),
        "{h2:?}"
    );
    assert_eq!(h2.goaway_received(), None);
    server.join();
}

#[test]
fn h2_silence_and_upload() {
    const BODY: usize = 100_000;
    let server = serve_h2(|h2| {
        h2.say(&[Frame::settings(&[]), Frame::ping([1; 8])]);
        let (mut received, mut ended) = (0, false);
        while !ended {
            let frame = h2.frame();
            assert!(!frame.is_ack(), "{frame:?}");
            received += if frame.is(kind::DATA) {
                frame.payload.len()
            } else {
                0
            };
            ended = frame.ends_stream();
            if received == 65_535 {
                h2.say(&[
                    Frame::window_update(0, 50_000),
                    Frame::window_update(1, 50_000),
                ]);
            }
        }
        assert_eq!(received, BODY);
        h2.say(&[Frame::headers(1, [0x88], true)]);
        assert_eq!(h2.frame(), Frame::ping([9; 8]));
    });
    let options = Options::new().h2();
    let mut h2 = H2::connect_with(server.addr, &options, H2Options::silent()).unwrap();
    let stream = h2.post("/").unwrap();
    assert_eq!(
        h2.upload(stream, &[b'x'; BODY], LONG).unwrap(),
        BODY,
        "{h2:?}"
    );
    assert!(h2.wait_stream(stream, LONG).is_complete(), "{h2:?}");
    assert!(
        h2.wait_frame(|frame| *frame == Frame::ping([1; 8]), LONG)
            .is_some(),
        "{h2:?}"
    );
    assert_eq!(h2.ping([9; 8], SHORT).unwrap(), None, "{h2:?}");
    server.join();
}
