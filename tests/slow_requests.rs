//! Clients that do not bring on what the server waits for: heads and bodies that stop or drip, readers
//! that drip, tunnels that nothing goes through. They are let go, in order, and told; whoever is slow
//! but goes on is not.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{thread, time::Duration};

use judge::{
    Then, connect, connect_h2, ends_properly, ends_properly_h2, everywhere, fields, get, is_hello,
    is_notified_within, is_whole, is_whole_h2, is_within, post, start_h2, start_h2_window,
};
use wire::{Client, H2, H2Options, Options, PREFACE, Version, flag};

const OPTIONS: [&str; 9] = [
    "--no-ping",
    "--header-timeout-ms",
    "1000",
    "--keep-alive-timeout-ms",
    "20000",
    "--body-timeout-ms",
    "1000",
    "--write-timeout-ms",
    "1000",
];
/// How soon and how late the time-outs of a second strike: what drips gains next to nothing by it.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(900), Duration::from_millis(2000));
const LONG: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
/// 1 KB a second, in pauses.
const HONEST: (usize, Duration) = (250, Duration::from_millis(250));

/// 408, close_notify, FIN.
fn is_refused(client: &mut Client, since: Duration) {
    let answer = client.read_response_to("POST", LONG).unwrap();
    assert!(answer.status == 408 && answer.says_close(), "{client:?}");
    let ending = ends_properly(client, Then::Closes);
    is_notified_within(&ending, since, TIMEOUT);
}

/// Sends this again and again until close_notify comes.
fn drips(client: &mut Client, bytes: &[u8]) {
    for _ in 0..100 {
        client.send(bytes).unwrap();
        if client.wait_close_notify(PAUSE).is_some() {
            return;
        }
    }
}

#[test]
fn a_head_that_stops_is_refused() {
    let stops = [
        ("a letter", "P"),
        ("half a head", "GET / HTTP/1.1\r\nHost: loc"),
        (
            "all but the last byte",
            "GET / HTTP/1.1\r\nHost: localhost\r\n\r",
        ),
    ];
    everywhere(&OPTIONS, &stops, |bed, version, half| {
        let mut client = connect(bed, version);
        // It has been idle for a while: that does not count.
        assert!(
            client
                .wait_close_notify(Duration::from_millis(500))
                .is_none()
        );
        let since = client.now();
        client.send(half).unwrap();
        is_refused(&mut client, since);

        let mut client = connect(bed, version);
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
        let since = client.now();
        client.send(half).unwrap();
        is_refused(&mut client, since);
    });
}

#[test]
fn a_head_that_drips_is_refused() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        let since = client.now();
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
            .unwrap();
        drips(&mut client, b"x");
        is_refused(&mut client, since);
    });
}

#[test]
fn a_head_that_is_slow_is_answered() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\n")
            .unwrap();
        for n in 0..10 {
            let line = format!("X-{n}: {}\r\n", "x".repeat(HONEST.0));
            client.send(line).unwrap();
            thread::sleep(HONEST.1);
        }
        client.send("\r\n").unwrap();
        let answer = client.read_response().unwrap();
        assert!(is_hello(&answer, "hello\n"), "{client:?}");
    });
}

#[test]
fn an_http2_preface_or_header_block_that_stops_ends_the_connection() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = connect_h2(bed, version);
        h2.options = H2Options::silent();
        let since = h2.conn.now();
        h2.conn.send(&PREFACE[..12]).unwrap();
        let ending = ends_properly_h2(&mut h2, Then::Closes);
        is_notified_within(&ending, since, TIMEOUT);

        let mut h2 = start_h2(bed, version);
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        let since = h2.conn.now();
        let mut request = h2.request(&fields("GET", "/"), true);
        request.flags &= !flag::END_HEADERS;
        h2.options = H2Options::silent();
        h2.send_frame(&request).unwrap();
        let ending = ends_properly_h2(&mut h2, Then::Closes);
        is_notified_within(&ending, since, TIMEOUT);
        assert_eq!(h2.goaways().last(), Some(&(1, 0)), "{h2:?}");
    });
}

const CHUNKED: &str =
    "POST /echo-len HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_body_that_stops_or_drips_is_refused() {
    let stops: [(&str, (String, &str)); 6] = [
        ("no byte", (post("/echo-len", 1000), "")),
        ("a byte", (post("/echo-len", 1000) + "x", "")),
        ("it drips", (post("/echo-len", 1000), "x")),
        ("a chunk", (format!("{CHUNKED}5\r\nhello\r\n"), "")),
        ("its extension drips", (format!("{CHUNKED}5;x"), "x")),
        (
            "a handler that sleeps then",
            (post("/sleep/20000", 1000), "x"),
        ),
    ];
    everywhere(&OPTIONS, &stops, |bed, version, (head, drip)| {
        let mut client = connect(bed, version);
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
        let since = client.now();
        client.send(head).unwrap();
        if !drip.is_empty() {
            drips(&mut client, drip.as_bytes());
        }
        is_refused(&mut client, since);
    });
}

/// Servers trim what is too far to the right for us to read.
#[test]
fn a_body_whose_length_is_padded_is_no_exception() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        let since = client.now();
        let padding = format!("Content-Length:{}", " ".repeat(60));
        let head = post("/echo-len", 1000).replace("Content-Length:", &padding);
        client.send(head + "x").unwrap();
        let ending = ends_properly(&mut client, Then::Closes);
        is_notified_within(&ending, since, TIMEOUT);
    });
}

#[test]
fn a_body_that_is_slow_is_answered() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        client.send(post("/echo-len", 12 * HONEST.0)).unwrap();
        for _ in 0..12 {
            client.send(vec![b'x'; HONEST.0]).unwrap();
            thread::sleep(HONEST.1);
        }
        let answer = client.read_response_to("POST", LONG).unwrap();
        assert!(is_hello(&answer, "3000"), "{client:?}");
    });
}

/// Where an answer has begun there is none to send: that it is cut is visible.
#[test]
fn an_answer_that_waits_for_a_body_is_cut() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        let since = client.now();
        client.send(post("/echo", 1000) + "hello").unwrap();
        let answer = client.read_response_to("POST", LONG).unwrap();
        assert!(answer.status == 200 && !answer.complete, "{client:?}");
        let ending = ends_properly(&mut client, Then::Closes);
        is_notified_within(&ending, since, TIMEOUT);
    });
}

/// Where it has ended already, a second one would be taken for the next.
#[test]
fn an_answered_body_that_stops_gets_no_second_answer() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        let since = client.now();
        client.send(post("/early/0", 1000) + "hello").unwrap();
        let early = client.read_response_to("POST", LONG).unwrap();
        assert_eq!(early.status, 202, "{client:?}");
        let ending = ends_properly(&mut client, Then::Closes);
        is_notified_within(&ending, since, TIMEOUT);
        assert!(client.unread().is_empty(), "{client:?}");
    });
}

/// While nobody reads a body its client may do what it likes.
#[test]
fn a_body_that_nobody_waits_for_is_left_alone() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        client.send(post("/early/2500", 100_000)).unwrap();
        let early = client.read_response_to("POST", LONG).unwrap();
        assert_eq!(early.status, 202, "{client:?}");
        client.send(vec![b'x'; 99_999]).unwrap();
        let silent = client.wait_close_notify(Duration::from_millis(2000));
        assert_eq!(silent, None, "{client:?}");
    });
}

fn is_reset(h2: &mut H2, stream: u32, since: Duration) {
    let reset = h2.wait_stream(stream, LONG).reset;
    is_within(reset.map(|(_, at)| at), since, TIMEOUT, h2);
}

#[test]
fn over_http2_the_stream_alone_is_reset() {
    let stops = [("it stops", ""), ("it drips", "x")];
    everywhere(&OPTIONS, &stops, |bed, version, drip| {
        let mut h2 = start_h2(bed, version);
        let beside = h2.get("/sleep/3000").unwrap();
        let since = h2.conn.now();
        let late = h2.post("/echo-len").unwrap();
        h2.data(late, b"hello", false).unwrap();
        for _ in 0..60 {
            if h2.stream(late).is_over() || drip.is_empty() {
                break;
            }
            h2.data(late, drip.as_bytes(), false).unwrap();
            h2.pump_until(PAUSE, |_| false);
        }
        is_reset(&mut h2, late, since);
        let slept = h2.wait_stream(beside, LONG);
        assert!(slept.is_complete() && slept.text() == "slept\n", "{h2:?}");
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
    });
}

#[test]
fn over_http2_a_slow_body_is_answered() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        let slow = h2.post("/echo-len").unwrap();
        for n in 1..=12 {
            h2.data(slow, &vec![b'x'; HONEST.0], n == 12).unwrap();
            h2.pump_until(HONEST.1, |_| false);
        }
        let answer = h2.wait_stream(slow, LONG);
        assert!(answer.is_complete() && answer.text() == "3000", "{h2:?}");
    });
}

/// Its client has used up the window: the handler has to open it.
#[test]
fn over_http2_a_body_that_nobody_reads_is_left_alone() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        let stream = h2.post("/early/2500").unwrap();
        while h2.send_window(stream) > 0 {
            let length = h2.send_window(stream).min(16_384);
            h2.data(stream, &vec![b'x'; length as usize], false)
                .unwrap();
            h2.pump_until(Duration::from_millis(5), |_| false);
        }
        let since = h2.conn.now();
        h2.pump_until(Duration::from_millis(2000), |h2| {
            h2.stream(stream).reset.is_some()
        });
        assert!(h2.stream(stream).reset.is_none(), "after {since:?}: {h2:?}");
    });
}

#[test]
fn a_reader_that_drips_is_let_go() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let options = Options::new().version(version).http1();
        let options = options.recv_buffer(4096).read_chunk(8);
        let mut client = Client::connect_with(bed.addr, &options).unwrap();
        let since = client.now();
        client.send(get("/bytes/30000000")).unwrap();
        client.read_paced(PAUSE, LONG, |client| !client.server_holds());
        let took = client.now() - since;
        assert!(took < Duration::from_secs(9), "{client:?}");
    });
}

#[test]
fn a_window_that_drips_is_let_go() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2_window(bed, version, 100);
        let stream = h2.get("/bytes/30000").unwrap();
        assert!(h2.pump_until(LONG, |h2| h2.stream(stream).body.len() == 100));
        let since = h2.conn.now();
        for _ in 0..100 {
            h2.open(stream, 1).unwrap();
            if h2.pump_until(PAUSE, |h2| {
                h2.stream(stream).is_over() || h2.conn.close_notified()
            }) {
                break;
            }
        }
        let over = h2.conn.now();
        is_within(Some(over), since, TIMEOUT, &h2);
    });
}

#[test]
fn a_window_that_is_slow_is_waited_for() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2_window(bed, version, 100);
        let stream = h2.get("/bytes/3100").unwrap();
        for n in 0..12 {
            let came = h2.pump_until(LONG, |h2| {
                h2.stream(stream).body.len() == 100 + n * HONEST.0
            });
            assert!(came, "{h2:?}");
            thread::sleep(HONEST.1);
            h2.open(stream, 250).unwrap();
        }
        let answer = h2.wait_stream(stream, LONG);
        assert!(is_whole_h2(&answer, 3100), "{h2:?}");
    });
}

/// The same without a minimum rate: a byte is enough.
#[test]
fn without_a_rate_a_byte_in_time_is_enough() {
    let options = [&OPTIONS[..], &["--min-rate", "0"]].concat();
    everywhere(&options, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        client.send(post("/echo-len", 8)).unwrap();
        for _ in 0..8 {
            thread::sleep(Duration::from_millis(400));
            client.send("x").unwrap();
        }
        let answer = client.read_response_to("POST", LONG).unwrap();
        assert!(is_hello(&answer, "8"), "{client:?}");
        assert!(is_whole(&client.get("/bytes/9").unwrap(), 9), "{client:?}");
    });
}

const TUNNELS: [&str; 3] = ["--no-ping", "--tunnel-timeout-ms", "1000"];

type Opens = fn(&mut Client);

#[test]
fn a_tunnel_that_nothing_goes_through_is_ended() {
    let opens: [(&str, Opens); 2] = [
        ("CONNECT", |client| {
            client
                .send("CONNECT there:1 HTTP/1.1\r\nHost: there:1\r\n\r\n")
                .unwrap();
            let answer = client.read_response_to("CONNECT", LONG).unwrap();
            assert_eq!(answer.status, 200, "{client:?}");
        }),
        ("a websocket", |client| {
            let upgrade = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            client.send(upgrade).unwrap();
            let answer = client.read_response_to("CONNECT", LONG).unwrap();
            assert_eq!(answer.status, 101, "{client:?}");
        }),
    ];
    everywhere(&TUNNELS, &opens, |bed, version, open| {
        let mut client = connect(bed, version);
        open(&mut client);
        let since = client.now();
        let ending = client.read_until_end(LONG);
        is_within(ending.ended_at(), since, TIMEOUT, &client);
    });
}

#[test]
fn a_tunnel_over_http2_is_reset() {
    everywhere(&TUNNELS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        let stream = h2.connect_tunnel("there:1").unwrap();
        assert_eq!(h2.wait_status(stream, LONG).status, Some(200), "{h2:?}");
        for _ in 0..6 {
            h2.data(stream, b"x", false).unwrap();
            h2.pump_until(Duration::from_millis(400), |_| false);
        }
        assert!(!h2.stream(stream).is_over(), "{h2:?}");
        let since = h2.conn.now();
        is_reset(
            &mut h2,
            stream,
            since.saturating_sub(Duration::from_millis(400)),
        );
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
    });
}

/// Bodies have nothing to do with it, and idle ones are not limited unless that is wanted.
#[test]
fn a_silent_tunnel_is_kept_otherwise() {
    everywhere(&OPTIONS, &[("", ())], |bed, version: Version, ()| {
        let mut h2 = start_h2(bed, version);
        let stream = h2.connect_tunnel("there:1").unwrap();
        assert_eq!(h2.wait_status(stream, LONG).status, Some(200), "{h2:?}");
        h2.pump_until(Duration::from_millis(2500), |h2| {
            h2.stream(stream).is_over()
        });
        h2.data(stream, b"hello", false).unwrap();
        let echoed = h2.pump_until(LONG, |h2| h2.stream(stream).text() == "hello");
        assert!(echoed, "{h2:?}");
    });
}
