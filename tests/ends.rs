//! Orderly ends: whoever wants the connection to end, and however, each side learns of it in the
//! way TLS provides for (RFC 9846 6.1, RFC 9112 9.6 and 9.8).

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::thread;

use judge::{
    PROMPT, Then, connect, connect_h2, ends_properly, ends_properly_h2, everywhere, fields, get,
    is_hello, is_let_go, is_whole, old_get, post, start_h2,
};
use testbed::Testbed;
use wire::{Client, Frame, Framing, H2, H2Options, PREFACE, Version};

type Talk = fn(&mut Client);
type TalkH2 = fn(&mut H2);

/// Sends a request and expects a short answer that announces the end.
fn last_answer(client: &mut Client, request: &str, text: &str) {
    client.send(request).unwrap();
    let response = client.read_response().unwrap();
    assert!(is_hello(&response, text), "{client:?}");
    assert!(response.says_close(), "{client:?}");
}

/// Sends a request of HTTP/1.0 and expects an answer that only the end of the connection ends.
fn close_delimited(client: &mut Client, path: &str, length: usize) {
    client.send(old_get(path)).unwrap();
    let response = client.read_response().unwrap();
    assert_eq!(response.framing, Framing::UntilEnd, "{client:?}");
    assert!(is_whole(&response, length), "{client:?}");
}

const CLOSE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Up to where it is the server's turn to end the connection.
const LAST_ANSWERS: [(&str, Talk); 10] = [
    ("the client says close", |client| {
        last_answer(client, CLOSE, "hello\n");
    }),
    ("the server says close", |client| {
        last_answer(client, &get("/close"), "bye\n");
    }),
    ("the client says close in its second request", |client| {
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"));
        last_answer(client, CLOSE, "hello\n");
    }),
    ("close behind a pipelined request", |client| {
        client.send(get("/bytes/100000") + CLOSE).unwrap();
        assert!(is_whole(&client.read_response().unwrap(), 100_000));
        assert!(is_hello(&client.read_response().unwrap(), "hello\n"));
    }),
    ("close with an upload", |client| {
        let request = post("/echo-len", 5).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        last_answer(client, &(request + "12345"), "5");
    }),
    ("HTTP/1.0", |client| {
        client.send(old_get("/")).unwrap();
        assert!(is_hello(&client.read_response().unwrap(), "hello\n"));
    }),
    ("HTTP/1.0 after keep-alive", |client| {
        let first = old_get("/").replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n");
        client.send(first).unwrap();
        assert!(is_hello(&client.read_response().unwrap(), "hello\n"));
        client.send(old_get("/")).unwrap();
        assert!(is_hello(&client.read_response().unwrap(), "hello\n"));
    }),
    ("HTTP/1.0, close-delimited", |client| {
        close_delimited(client, "/chunked/100000", 100_000);
    }),
    ("HTTP/1.0, close-delimited and large", |client| {
        close_delimited(client, "/chunked/2000000", 2_000_000);
    }),
    ("HTTP/1.0, close-delimited and slow", |client| {
        close_delimited(client, "/slow/5/30", 5 * 1024);
    }),
];

#[test]
fn the_last_answer_is_followed_by_close_notify() {
    everywhere(&[], &LAST_ANSWERS, |bed, version, talk| {
        for then in [Then::Closes, Then::IsSilent] {
            let mut client = connect(bed, version);
            talk(&mut client);
            ends_properly(&mut client, then);
            assert!(client.unread().is_empty(), "{client:?}");
        }
    });
}

#[test]
fn a_client_that_drips_on_is_cut_off() {
    let cases = [LAST_ANSWERS[0], LAST_ANSWERS[7]];
    everywhere(&[], &cases, |bed, version, talk| {
        let mut client = connect(bed, version);
        talk(&mut client);
        ends_properly(&mut client, Then::Drips);
    });
}

/// How a client ends its side, reading on.
const WAYS: [(&str, Talk); 3] = [
    ("close_notify", |client| {
        client.send_close_notify().unwrap();
    }),
    ("FIN", |client| client.fin().unwrap()),
    ("close_notify and FIN", |client| {
        client.send_close_notify().unwrap();
        client.fin().unwrap();
    }),
];

/// Where an HTTP/1 connection may stand with nothing in flight.
const IDLE: [(&str, Talk); 5] = [
    ("nothing sent", |_| ()),
    ("half a head", |client| client.send("GET / HTT").unwrap()),
    ("after an answer", |client| {
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"));
    }),
    ("after two answers", |client| {
        assert!(is_whole(&client.get("/chunked/40000").unwrap(), 40_000));
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"));
    }),
    ("half a head after an answer", |client| {
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"));
        client.send("GET / HTT").unwrap();
    }),
];

#[test]
fn an_idle_client_that_ends_is_answered_in_kind() {
    everywhere(&[], &IDLE, |bed, version, talk| {
        for (way, end) in WAYS {
            let mut client = connect(bed, version);
            talk(&mut client);
            client.note(way);
            end(&mut client);
            let since = client.now();
            let ending = ends_properly(&mut client, Then::HasClosed);
            let took = ending.ended_at().unwrap() - since;
            assert!(took < PROMPT, "{took:?}: {ending:?}");
        }
    });
}

/// Where an HTTP/1 connection may stand with an exchange in flight.
const BUSY: [(&str, Talk); 4] = [
    ("an upload without a body", |client| {
        client.send(post("/echo-len", 100)).unwrap();
    }),
    ("half an upload", |client| {
        client.send(post("/echo-len", 100) + "12345").unwrap();
    }),
    ("a handler at work", |client| {
        client.send(get("/sleep/20000")).unwrap();
    }),
    ("half an answer", |client| {
        client.send(get("/slow/1000/20")).unwrap();
        let taken = client.read_exactly(2000, PROMPT).len();
        assert_eq!(taken, 2000, "{client:?}");
    }),
];

/// As users of hyper expect: whoever has closed TCP is gone. Chunks show the truncation.
#[test]
fn a_fin_cancels_what_is_in_flight() {
    everywhere(&[], &BUSY, |bed, version, talk| {
        for (way, end) in &WAYS[1..] {
            let mut client = connect(bed, version);
            talk(&mut client);
            client.note(way);
            end(&mut client);
            let since = client.now();
            let ending = ends_properly(&mut client, Then::HasClosed);
            let took = ending.ended_at().unwrap() - since;
            assert!(took < PROMPT, "{took:?}: {ending:?}");
        }
    });
}

/// Where an HTTP/2 connection may stand with nothing in flight.
const IDLE_H2: [(&str, TalkH2); 6] = [
    ("nothing sent", |_| ()),
    ("half a preface", |h2| h2.conn.send(&PREFACE[..10]).unwrap()),
    ("a preface without SETTINGS", |h2| {
        h2.conn.send(PREFACE).unwrap();
    }),
    ("preface and SETTINGS", |h2| preface(h2)),
    ("after an answer", |h2| {
        preface(h2);
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
    }),
    ("half a frame", |h2| {
        preface(h2);
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        h2.conn.send(&Frame::ping([7; 8]).encode()[..12]).unwrap();
    }),
];

/// Where an HTTP/2 connection may stand with an exchange in flight.
const BUSY_H2: [(&str, TalkH2); 3] = [
    ("half an upload", |h2| {
        preface(h2);
        let stream = h2.post("/echo-len").unwrap();
        h2.data(stream, b"12345", false).unwrap();
    }),
    ("a handler at work", |h2| {
        preface(h2);
        h2.get("/sleep/20000").unwrap();
    }),
    ("half an answer", |h2| {
        preface(h2);
        let stream = h2.get("/slow/1000/20").unwrap();
        let some = h2.pump_until(PROMPT, |h2| h2.stream(stream).body.len() >= 2000);
        assert!(some, "{h2:?}");
    }),
];

fn preface(h2: &mut H2) {
    let settings = Frame::settings(&h2.options.settings).encode();
    h2.conn.send([PREFACE, &settings].concat()).unwrap();
}

fn ends_in_kind_h2(mut h2: H2, talk: TalkH2, (way, end): (&str, Talk)) {
    talk(&mut h2);
    // Nothing can be said after close_notify.
    h2.options = H2Options::silent();
    h2.conn.note(way);
    end(&mut h2.conn);
    let since = h2.conn.now();
    let ending = ends_properly_h2(&mut h2, Then::HasClosed);
    let took = ending.ended_at().unwrap() - since;
    assert!(took < PROMPT, "{took:?}: {ending:?}");
}

#[test]
fn an_idle_http2_client_that_ends_is_answered_in_kind() {
    everywhere(&[], &IDLE_H2, |bed, version, talk| {
        for way in WAYS {
            ends_in_kind_h2(connect_h2(bed, version), *talk, way);
        }
    });
}

#[test]
fn a_fin_cancels_what_is_in_flight_over_http2() {
    everywhere(&[], &BUSY_H2, |bed, version, talk| {
        for way in &WAYS[1..] {
            ends_in_kind_h2(connect_h2(bed, version), *talk, *way);
        }
    });
}

/// Nothing can be said to a client that is gone altogether, but it is not waited for either.
#[test]
fn a_client_that_is_gone_is_let_go() {
    let gone: [(&str, Talk); 2] = [
        ("RST", |client| client.reset().unwrap()),
        ("close", |client| client.close().unwrap()),
    ];
    everywhere(&[], &gone, |bed, version, leave| {
        for (name, talk) in IDLE.iter().chain(&BUSY) {
            let mut client = connect(bed, version);
            talk(&mut client);
            leave(&mut client);
            assert!(client.held_for(PROMPT).is_some(), "{name}: {client:?}");
        }
        for (name, talk) in IDLE_H2.iter().chain(&BUSY_H2) {
            let mut h2 = connect_h2(bed, version);
            talk(&mut h2);
            leave(&mut h2.conn);
            assert!(h2.conn.held_for(PROMPT).is_some(), "{name}: {h2:?}");
        }
    });
}

/// Nothing above may end a connection that nobody wants to end.
#[test]
fn a_connection_that_is_used_stays_open() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        let mut h2 = start_h2(bed, version);
        for _ in 0..20 {
            assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
            assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        }
        client.pump_until(PROMPT, |_| false);
        assert!(client.ending().is_still_open(), "{client:?}");
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        assert!(h2.goaways().is_empty(), "{h2:?}");
        client.send(CLOSE).unwrap();
        assert!(is_hello(&client.read_response().unwrap(), "hello\n"));
        client.finish();
        is_let_go(&mut client, Then::Closes);
    });
}

/// What a client sends in one write, and how many requests of it are answered.
const ANSWERED: [(&str, (Sends, u32)); 6] = [
    ("none", (|_| vec![], 0)),
    ("three", (|_| get("/").repeat(3).into(), 3)),
    (
        "one, and one behind the last",
        (|_| (get("/close") + &get("/")).into(), 1),
    ),
    ("HTTP/2, none", (|h2| asks_h2(h2, None, 0), 0)),
    ("HTTP/2, three", (|h2| asks_h2(h2, None, 3), 3)),
    (
        "HTTP/2, two behind an error",
        (|h2| asks_h2(h2, Some(TOO_WIDE), 2), 0),
    ),
];

type Sends = fn(&mut H2) -> Vec<u8>;

/// A window that no connection survives: GOAWAY says that nothing behind it was looked at.
const TOO_WIDE: u32 = (1 << 31) - 1;

fn asks_h2(h2: &mut H2, window: Option<u32>, requests: usize) -> Vec<u8> {
    let mut frames = vec![Frame::settings(&[])];
    frames.extend(window.map(|by| Frame::window_update(0, by)));
    frames.extend((0..requests).map(|_| h2.request(&fields("GET", "/"), true)));
    let frames = frames.iter().flat_map(Frame::encode);
    PREFACE.iter().copied().chain(frames).collect()
}

#[test]
fn the_log_counts_the_requests_that_were_answered() {
    thread::scope(|scope| {
        for server in testbed::servers() {
            for version in Version::BOTH {
                for (name, case) in ANSWERED {
                    scope.spawn(move || are_counted(server, version, name, case));
                }
            }
        }
    });
}

fn are_counted(server: &str, version: Version, name: &str, (sends, requests): (Sends, u32)) {
    let options = ["--no-ping", "--header-timeout-ms", "1000"];
    let bed = Testbed::start_talkative(server, &options);
    let client = match name.starts_with("HTTP/2") {
        true => connect_h2(&bed, version).conn,
        false => connect(&bed, version),
    };
    let mut h2 = H2::over(client, H2Options::silent());
    let bytes = sends(&mut h2);
    h2.conn.send(bytes).unwrap();
    ends_properly(&mut h2.conn, Then::Closes);
    let exit = bed.stop(10 * PROMPT);
    let mut lines = exit.stderr.lines();
    let line = lines.find(|line| line.contains("connection ended"));
    let right = line.is_some_and(|line| line.contains(&format!(" requests={requests} ")));
    assert!(right, "{server}, {version:?}, {name}: {exit:?}, {h2:?}");
}
