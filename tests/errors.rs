//! Connections that end because of an error, on either side: whatever answer there is arrives
//! whole, and so does close_notify.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{thread::sleep, time::Duration};

use judge::{
    HYPER, Then, alone, connect, connect_h2, ends_properly, ends_properly_h2, everywhere, get,
    is_hello, is_notified_within, old_get, on, post, start_h2,
};
use testbed::Testbed;
use wire::{
    Client, Connection, Frame, Framing, H2, H2Options, Options, PREFACE, Tls, Version, flag,
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const LONG: Duration = Duration::from_secs(10);
const BOTH: [Then; 2] = [Then::Closes, Then::IsSilent];

type Talk = fn(&mut Client);

/// Requests that are none, and how they are refused.
const MALFORMED: [(&str, (&str, u16)); 8] = [
    ("no HTTP at all", ("\0\u{1}\u{2}\r\n\r\n", 400)),
    ("no version", ("GET /\r\nHost: localhost\r\n\r\n", 400)),
    ("no such version", ("GET / HTTP/3.7\r\n\r\n", 400)),
    ("no such method", ("G{T / HTTP/1.1\r\n\r\n", 400)),
    ("no target", ("GET \u{7f} HTTP/1.1\r\n\r\n", 400)),
    ("no colon", ("GET / HTTP/1.1\r\nHost\r\n\r\n", 400)),
    (
        "two lengths",
        (
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
    ),
    (
        "no such coding",
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
    ),
];

/// Reads a refusal, and the end that follows it.
fn is_refused(client: &mut Client, status: u16, then: Then) {
    let response = client.read_response().unwrap();
    assert_eq!(response.status, status, "{client:?}");
    assert!(response.complete && response.says_close(), "{client:?}");
    ends_properly(client, then);
    assert!(client.unread().is_empty(), "{client:?}");
}

#[test]
fn a_malformed_request_is_refused() {
    everywhere(&[], &MALFORMED, |bed, version, (request, status)| {
        for then in BOTH {
            let mut client = connect(bed, version);
            client.send(request).unwrap();
            is_refused(&mut client, *status, then);
        }
        let mut client = connect(bed, version);
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
        // What follows may be of any length, and must not reset the answer.
        let mut bytes = request.as_bytes().to_vec();
        bytes.resize(bytes.len() + 256 * KIB, b'x');
        client.send(bytes).unwrap();
        is_refused(&mut client, *status, Then::Closes);
    });
}

#[test]
fn an_oversized_head_is_refused_while_it_still_comes() {
    let head = |size: usize| {
        let mut head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: ".to_vec();
        head.resize(size, b'x');
        head
    };
    let cases: [(&str, (Vec<u8>, u16)); 3] = [
        ("1 MiB", (head(MIB), 431)),
        ("4 MiB", (head(4 * MIB), 431)),
        (
            "the target",
            (
                format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)).into(),
                414,
            ),
        ),
    ];
    everywhere(&[], &cases, |bed, version, (head, status)| {
        for then in BOTH {
            let mut client = connect(bed, version);
            client.send(head).unwrap();
            is_refused(&mut client, *status, then);
        }
        let mut client = connect(bed, version);
        client.send_while_reading(head).unwrap();
        is_refused(&mut client, *status, Then::Closes);
    });
}

/// An answer that fails after 4 KiB: its framing shows that it is not whole.
#[test]
fn a_body_that_fails_is_cut_short_and_notified() {
    let cases = [
        ("error, chunked", ("/error-mid-body", Framing::Chunked)),
        (
            "error, length",
            ("/error-mid-body-len", Framing::Length(100_000)),
        ),
        ("panic, chunked", ("/panic-mid-body", Framing::Chunked)),
    ];
    everywhere(&[], &cases, |bed, version, (path, framing)| {
        for then in BOTH {
            let mut client = connect(bed, version);
            let response = client.get(path).unwrap();
            assert_eq!(
                (response.status, response.framing),
                (200, *framing),
                "{client:?}"
            );
            assert_eq!(response.body.len(), 4096, "{client:?}");
            assert!(!response.complete, "{client:?}");
            ends_properly(&mut client, then);
        }
    });
}

#[test]
fn a_body_that_fails_resets_its_http2_stream_alone() {
    let cases = ["/error-mid-body", "/error-mid-body-len", "/panic-mid-body"];
    everywhere(
        &[],
        &cases.map(|path| (path, path)),
        |bed, version, path| {
            let mut h2 = start_h2(bed, version);
            let other = h2.get("/slow/10/30").unwrap();
            let failed = h2.h2_get(path).unwrap();
            assert_eq!(
                (failed.status, failed.body.len()),
                (Some(200), 4096),
                "{h2:?}"
            );
            assert!(failed.end_stream.is_none(), "{h2:?}");
            assert!(failed.reset.is_some_and(|(code, _)| code != 0), "{h2:?}");
            lives_on(h2, other, 10 * KIB);
        },
    );
}

#[test]
fn a_handler_that_panics_resets_its_http2_stream_alone() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        let other = h2.get("/slow/10/30").unwrap();
        let failed = h2.h2_get("/panic").unwrap();
        assert!(failed.status.is_none(), "{h2:?}");
        assert!(failed.reset.is_some_and(|(code, _)| code != 0), "{h2:?}");
        lives_on(h2, other, 10 * KIB);
    });
}

/// The other streams are answered, and the end comes when the client wants it.
fn lives_on(mut h2: H2, stream: u32, length: usize) {
    let other = h2.wait_stream(stream, LONG);
    assert!(other.is_complete() && other.body.len() == length, "{h2:?}");
    assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
    assert!(h2.goaways().is_empty(), "{h2:?}");
    h2.options = H2Options::silent();
    h2.conn.send_close_notify().unwrap();
    ends_properly_h2(&mut h2, Then::HasClosed);
}

#[test]
fn a_handler_that_panics_answers_nothing_but_close_notify() {
    let cases: [(&str, Talk); 3] = [
        ("first", |client| client.send(get("/panic")).unwrap()),
        ("second", |client| {
            assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
            client.send(get("/panic")).unwrap();
        }),
        ("with requests behind it", |client| {
            client.send(get("/panic") + &get("/").repeat(50)).unwrap();
        }),
    ];
    everywhere(&[], &cases, |bed, version, talk| {
        for then in BOTH {
            let mut client = connect(bed, version);
            talk(&mut client);
            ends_properly(&mut client, then);
            assert!(client.unread().is_empty(), "{client:?}");
        }
    });
}

/// hyper lets the connection go unnoticed if the upgrade it was asked for never comes.
#[test]
fn an_upgrade_that_is_declined_ends_like_any_request() {
    let upgrade = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: foo\r\nConnection: upgrade";
    let cases = [
        ("close", (format!("{upgrade}, close\r\n\r\n"), (0, 500))),
        ("keep-alive", (format!("{upgrade}\r\n\r\n"), (400, 1500))),
    ];
    let options = ["--header-timeout-ms", "700"];
    everywhere(&options, &cases, |bed, version, (request, limits)| {
        for then in BOTH {
            let mut client = connect(bed, version);
            client.send(request).unwrap();
            assert!(
                is_hello(&client.read_response().unwrap(), "hello\n"),
                "{client:?}"
            );
            let since = client.now();
            let ending = ends_properly(&mut client, then);
            let (least, most) = *limits;
            let limits = (Duration::from_millis(least), Duration::from_millis(most));
            is_notified_within(&ending, since, limits);
        }
    });
}

const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A websocket frame from a client, with a mask of zeros.
fn masked(opcode: u8, text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], text].concat()
}

/// A websocket frames itself, so that its end is no truncation whoever drops it.
#[test]
fn a_websocket_that_is_dropped_is_notified() {
    let cases: [(&str, (Talk, Then)); 4] = [
        (
            "a close frame",
            (
                |client| client.send(masked(8, &[3, 232])).unwrap(),
                Then::Closes,
            ),
        ),
        (
            "no such frame",
            (|client| client.send([0xff; 100]).unwrap(), Then::IsSilent),
        ),
        (
            "close_notify",
            (
                |client| client.send_close_notify().unwrap(),
                Then::HasClosed,
            ),
        ),
        ("FIN", (|client| client.fin().unwrap(), Then::HasClosed)),
    ];
    everywhere(&[], &cases, |bed, version, (end, then)| {
        let mut client = connect(bed, version);
        client.send(WEBSOCKET).unwrap();
        assert_eq!(client.read_response().unwrap().status, 101, "{client:?}");
        client.send(masked(1, b"echo")).unwrap();
        let echo = client.read_exactly(6, LONG);
        assert_eq!(echo, b"\x81\x04echo", "{client:?}");
        end(&mut client);
        let since = client.now();
        let ending = ends_properly(&mut client, *then);
        is_notified_within(&ending, since, (Duration::ZERO, judge::PROMPT));
    });
}

#[test]
fn a_chunk_that_is_none_ends_the_upload() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        for then in BOTH {
            let mut client = connect(bed, version);
            let head =
                post("/echo-len", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
            client.send(head + "5\r\nhello\r\nno chunk\r\n").unwrap();
            assert_eq!(client.read_response().unwrap().status, 400, "{client:?}");
            ends_properly(&mut client, then);
        }
    });
}

#[test]
fn an_http2_connect_with_a_length_ends_properly() {
    let fields = [
        (":method", "CONNECT"),
        (":authority", "localhost:1"),
        ("content-length", "5"),
    ];
    everywhere(&[], &[("", ())], |bed, version, ()| {
        for then in BOTH {
            let mut h2 = start_h2(bed, version);
            let stream = h2.send_request(&fields, false).unwrap();
            let ending = ends_properly_h2(&mut h2, then);
            is_notified_within(&ending, Duration::ZERO, (Duration::ZERO, LONG / 5));
            assert!(h2.stream(stream).status.is_none(), "{h2:?}");
        }
    });
}

#[test]
fn a_bad_preface_ends_properly() {
    let cases = [
        ("HTTP/1.1", get("/").into_bytes()),
        (
            "the wrong preface",
            b"PRI * HTTP/2.0\r\n\r\nMS\r\n\r\n".to_vec(),
        ),
        ("no text", vec![0xff; 64]),
        ("much", vec![b'x'; 256 * KIB]),
    ];
    on(&HYPER, &[], &cases, |bed, version, bytes| {
        for then in BOTH {
            let mut h2 = connect_h2(bed, version);
            h2.conn.send(bytes).unwrap();
            let ending = ends_properly_h2(&mut h2, then);
            is_notified_within(&ending, Duration::ZERO, (Duration::ZERO, LONG / 5));
        }
    });
}

/// An HTTP/1 connection that is sent the preface of HTTP/2 has agreed on nothing of the kind.
#[test]
fn a_preface_without_agreement_ends_properly() {
    on(&HYPER, &[], &[("", ())], |bed, version, ()| {
        for then in BOTH {
            let mut client = connect(bed, version);
            client
                .send([PREFACE, &Frame::settings(&[]).encode()].concat())
                .unwrap();
            ends_properly(&mut client, then);
        }
    });
}

/// Frames that no HTTP/2 connection survives, and the code of the GOAWAY (RFC 9113 7).
///
/// h2 says PROTOCOL_ERROR in some cases for which there is a code of their own.
fn fatal_frames() -> [(&'static str, (Frame, &'static [u32])); 8] {
    let overflow = Frame::window_update(0, (1 << 31) - 1);
    [
        ("DATA on stream 0", (Frame::data(0, "x", false), &[1])),
        (
            "DATA on an idle stream",
            (Frame::data(99, "x", false), &[1]),
        ),
        (
            "HEADERS on an even stream",
            (Frame::headers(2, [0x82], true), &[1]),
        ),
        (
            "CONTINUATION of nothing",
            (Frame::new(9, flag::END_HEADERS, 1, [0x82]), &[1]),
        ),
        ("too wide a window", (overflow, &[3])),
        (
            "SETTINGS of 5 bytes",
            (Frame::new(4, 0, 0, [0; 5]), &[6, 1]),
        ),
        (
            "too long a frame",
            (Frame::data(1, vec![0; 16_385], false), &[6, 1]),
        ),
        (
            "no header block",
            (Frame::headers(99, [0xff; 20], true), &[9, 1]),
        ),
    ]
}

fn expect_goaway(h2: &mut H2, codes: &[u32], then: Then) {
    ends_properly_h2(h2, then);
    let (_, code) = h2.goaway_received().expect("a GOAWAY");
    assert!(codes.contains(&code), "{h2:?}");
}

#[test]
fn a_protocol_error_of_http2_is_answered_by_goaway() {
    everywhere(&[], &fatal_frames(), |bed, version, (frame, codes)| {
        for then in BOTH {
            let mut h2 = start_h2(bed, version);
            assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
            h2.send_frame(frame).unwrap();
            expect_goaway(&mut h2, codes, then);
        }
    });
}

/// With requests in flight before it, and much behind it that nobody reads.
#[test]
fn much_behind_a_protocol_error_destroys_no_goaway() {
    let ahead = ["/sleep/20000", "/slow/1000/20"];
    everywhere(&[], &fatal_frames(), |bed, version, (frame, codes)| {
        let mut h2 = start_h2(bed, version);
        for path in ahead {
            h2.get(path).unwrap();
        }
        let much = Frame::data(0, vec![b'x'; 16 * KIB], false)
            .encode()
            .repeat(8);
        h2.conn.send([frame.encode(), much].concat()).unwrap();
        expect_goaway(&mut h2, codes, Then::Closes);
    });
}

/// An answer that was on its way arrives in front of the error.
#[test]
fn an_error_does_not_overtake_the_answer_before_it() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let mut client: Connection<Tls> = connect(bed, version);
        client
            .send(get("/bytes/1000000") + "nonsense\r\n\r\n")
            .unwrap();
        let response = client.read_response().unwrap();
        assert!(judge::is_whole(&response, 1_000_000), "{client:?}");
        is_refused(&mut client, 400, Then::Closes);
    });
}

/// An upload that breaks behind so many chunks, in one write.
fn breaks(path: &str, chunks: usize) -> String {
    let head = post(path, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    head + &"5\r\nhello\r\n".repeat(chunks) + "no chunk\r\n"
}

/// Chunks show by themselves that the last is missing, whatever is wrong with the request.
#[test]
fn a_framed_answer_to_an_upload_that_breaks_is_notified() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        client.send(breaks("/echo", 1)).unwrap();
        let answer = client.read_response().unwrap();
        assert_eq!(answer.text(), "hello", "{client:?}");
        assert!(!answer.complete, "{client:?}");
        ends_properly(&mut client, Then::Closes);
    });
}

/// The handler has not come to where it breaks: the deadline ends the connection, behind its answer.
#[test]
fn so_is_a_whole_one_at_the_deadline() {
    let options = ["--lame-duck-ms", "0", "--shutdown-timeout-ms", "500"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut client = connect(&bed, version);
        client.send(breaks("/early/60000", 5)).unwrap();
        let answer = client.read_response().unwrap();
        assert!(answer.status == 202 && answer.complete, "{client:?}");
        bed.terminate();
        ends_properly(&mut client, Then::Closes);
        let exit = bed.wait(LONG);
        assert!(exit.report().contains("(deadline reached)"), "{exit:?}");
    });
}

/// Behind an RST nothing is waited for, though the kernel still counts what it was to send: also
/// where the server was told of it by a read, and where there is no close_notify to fail.
#[test]
fn who_has_reset_its_connection_is_not_waited_for() {
    let options = [
        "--write-timeout-ms",
        "20000",
        "--shutdown-timeout-ms",
        "15000",
    ];
    for server in testbed::servers() {
        let bed = Testbed::start(server, &options);
        let mut clients = Vec::new();
        for version in Version::BOTH {
            for request in [old_get("/slow/60/100"), get("/slow/60/100")] {
                for _ in 0..4 {
                    let options = Options::new().version(version).http1().recv_buffer(2048);
                    let mut client = Client::connect_with(bed.addr, &options).unwrap();
                    client.send(request.clone()).unwrap();
                    clients.push(client);
                }
            }
        }
        // Until their buffers are full, and the handlers are between two chunks.
        sleep(Duration::from_millis(2500));
        for client in &mut clients {
            client.reset().unwrap();
        }
        sleep(Duration::from_millis(300));
        let exit = bed.stop(LONG * 3);
        assert!(
            exit.took < LONG / 2,
            "{server}: {:?}: {}",
            exit.took,
            exit.report()
        );
        assert!(
            !exit.report().contains("deadline"),
            "{server}: {}",
            exit.report()
        );
    }
}
