//! close_notify is a promise that nothing is missing (RFC 9112 9.8): an answer that ends with the
//! connection and was cut short must end without it, and so must a connection that TLS gave up.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{thread, time::Duration};

use judge::{
    PROMPT, Then, connect, connect_h2, ends_properly, ends_properly_h2, ends_visibly_truncated,
    everywhere, get, is_hello, is_let_go, is_whole, old_get, on, post, start_h2,
};
use rustls::AlertDescription;
use testbed::{Exit, Testbed};
use wire::{Client, Framing, H2, H2Options, Options, Version};

const KIB: usize = 1 << 10;
const LONG: Duration = Duration::from_secs(10);
const BOTH: [Then; 2] = [Then::Closes, Then::IsSilent];

#[test]
fn a_close_delimited_answer_that_fails_is_visibly_truncated() {
    let failures = ["/error-mid-body", "/panic-mid-body"].map(|path| (path, path));
    everywhere(&[], &failures, |bed, version, path| {
        for then in BOTH {
            let mut client = connect(bed, version);
            client.send(old_get(path)).unwrap();
            let response = client.read_response().unwrap();
            assert_eq!(response.framing, Framing::UntilEnd, "{client:?}");
            assert_eq!(
                (response.status, response.body.len()),
                (200, 4096),
                "{client:?}"
            );
            assert!(!response.complete, "{client:?}");
            ends_visibly_truncated(&mut client, then);
        }
    });
}

/// A proper end, for an answer whose own framing shows that it is not whole.
#[test]
fn a_framed_answer_that_fails_is_notified() {
    let cases = [
        ("a length, HTTP/1.0", old_get("/error-mid-body-len")),
        ("a length", get("/error-mid-body-len")),
        ("chunks", get("/error-mid-body")),
        ("chunks and a panic", get("/panic-mid-body")),
    ];
    everywhere(&[], &cases, |bed, version, request| {
        let mut client = connect(bed, version);
        client.send(request).unwrap();
        let response = client.read_response().unwrap();
        assert!(response.framing != Framing::UntilEnd, "{client:?}");
        assert!(
            !response.complete && response.body.len() == 4096,
            "{client:?}"
        );
        ends_properly(&mut client, Then::Closes);
    });
}

#[test]
fn a_whole_close_delimited_answer_is_notified() {
    let cases = [
        ("short", ("/chunked/1", 1)),
        ("long", ("/chunked/2000000", 2_000_000)),
        ("slow", ("/slow/4/50", 4 * KIB)),
        ("empty", ("/chunked/0", 0)),
    ];
    everywhere(&[], &cases, |bed, version, (path, length)| {
        let mut client = connect(bed, version);
        client.send(old_get(path)).unwrap();
        let response = client.read_response().unwrap();
        assert_eq!(response.framing, Framing::UntilEnd, "{client:?}");
        assert!(is_whole(&response, *length), "{client:?}");
        ends_properly(&mut client, Then::Closes);
    });
}

/// A connection whose client has cancelled its close-delimited answer: nobody is to take it for
/// whole, although the client ended first.
#[test]
fn a_cancelled_close_delimited_answer_is_visibly_truncated() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        client.send(old_get("/slow/1000/30")).unwrap();
        let taken = client.read_exactly(2000, LONG).len();
        assert_eq!(taken, 2000, "{client:?}");
        client.fin().unwrap();
        ends_visibly_truncated(&mut client, Then::HasClosed);
    });
}

/// In TLS 1.2 the server has to answer close_notify at once (RFC 9846 6.1), but not with a lie.
#[test]
fn a_close_delimited_answer_discarded_by_tls12_is_visibly_truncated() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        if version == Version::Tls13 {
            return;
        }
        let mut client = connect(bed, version);
        client.send(old_get("/slow/1000/30")).unwrap();
        let taken = client.read_exactly(2000, LONG).len();
        assert_eq!(taken, 2000, "{client:?}");
        client.send_close_notify().unwrap();
        ends_visibly_truncated(&mut client, Then::HasClosed);
    });
}

const AT_THE_DEADLINE: [&str; 4] = ["--lame-duck-ms", "0", "--shutdown-timeout-ms", "300"];

/// Begins an endless answer on a server that is then told to stop, and watches the client's end.
fn cut_by_the_deadline(request: String, watch: impl Fn(&mut Client) + Sync) {
    thread::scope(|scope| {
        for server in testbed::servers() {
            for version in Version::BOTH {
                let (request, watch) = (&request, &watch);
                scope.spawn(move || {
                    let bed = Testbed::start(server, &AT_THE_DEADLINE);
                    let mut client = connect(&bed, version);
                    client.send(request).unwrap();
                    let taken = client.read_exactly(2000, LONG).len();
                    assert_eq!(taken, 2000, "{client:?}");
                    bed.terminate();
                    let since = client.now();
                    watch(&mut client);
                    let took = client.ending().ended_at().unwrap() - since;
                    assert!(took >= Duration::from_millis(250), "{took:?}: {client:?}");
                    was_counted(&bed.wait(LONG));
                });
            }
        }
    });
}

fn was_counted(exit: &Exit) {
    assert!(exit.status.success(), "{exit:?}");
    assert_eq!(exit.count("truncated"), 1, "{exit:?}");
}

#[test]
fn a_close_delimited_answer_cut_by_the_deadline_is_visibly_truncated() {
    cut_by_the_deadline(old_get("/slow/100000/20"), |client| {
        ends_visibly_truncated(client, Then::Closes);
    });
}

#[test]
fn a_chunked_answer_cut_by_the_deadline_is_notified() {
    cut_by_the_deadline(get("/slow/100000/20"), |client| {
        let ending = ends_properly(client, Then::Closes);
        assert!(!ending.bytes.ends_with(b"0\r\n\r\n"), "{ending:?}");
    });
}

type Talk = fn(&mut Client);

/// Where a connection may stand when a record comes that nothing can decrypt.
const POSITIONS: [(&str, Talk); 6] = [
    ("nothing sent", |_| ()),
    ("half a head", |client| client.send("GET / HTT").unwrap()),
    ("after an answer", |client| {
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    }),
    ("half an upload", |client| {
        client.send(post("/echo-len", 100) + "12345").unwrap();
    }),
    ("a handler at work", |client| {
        client.send(get("/sleep/20000")).unwrap();
    }),
    ("half an answer", |client| {
        client.send(get("/slow/1000/20")).unwrap();
        assert_eq!(client.read_exactly(2000, LONG).len(), 2000, "{client:?}");
    }),
];

/// The alert that says why, the FIN, and no close_notify (RFC 9846 6.2).
fn gets_the_alert(client: &mut Client, then: Then) {
    let ending = client.finish();
    assert_eq!(
        ending.alert_kind(),
        Some(AlertDescription::BadRecordMac),
        "{ending:?}"
    );
    assert!(
        ending.is_clean_fin() && ending.close_notify.is_none(),
        "{ending:?}"
    );
    assert_eq!(ending.ignored, 0, "{ending:?}");
    is_let_go(client, then);
}

#[test]
fn a_corrupt_record_is_answered_by_a_fatal_alert() {
    everywhere(&[], &POSITIONS, |bed, version, talk| {
        for then in BOTH {
            let mut client = connect(bed, version);
            talk(&mut client);
            client.send_corrupt_record().unwrap();
            gets_the_alert(&mut client, then);
        }
    });
}

#[test]
fn garbage_behind_a_corrupt_record_destroys_no_alert() {
    let garbage: Vec<u8> = (0..256 * KIB).map(|n| (n * 7 % 251) as u8).collect();
    everywhere(&[], &POSITIONS, |bed, version, talk| {
        for _ in 0..5 {
            let mut client = connect(bed, version);
            talk(&mut client);
            client.send_corrupt_record().unwrap();
            client.send_raw(&garbage).unwrap();
            // Whoever reads late must find the alert too.
            thread::sleep(Duration::from_millis(20));
            gets_the_alert(&mut client, Then::Closes);
        }
    });
}

#[test]
fn a_corrupt_record_on_http2_is_answered_by_a_fatal_alert() {
    everywhere(
        &[],
        &[("idle", "/"), ("busy", "/sleep/20000")],
        |bed, version, path| {
            let mut h2 = start_h2(bed, version);
            h2.get(path).unwrap();
            assert!(h2.ping([1; 8], PROMPT).unwrap().is_some(), "{h2:?}");
            h2.conn.send_corrupt_record().unwrap();
            h2.conn.send_raw(vec![23; 256 * KIB]).unwrap();
            gets_the_alert(&mut h2.conn, Then::Closes);
        },
    );
}

/// A client that gives up says why in an alert of its own: that is the end, and nothing is owed.
#[test]
fn a_fatal_alert_from_the_client_is_the_end() {
    const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let mut client = Client::open(bed.addr, &Options::new().version(version)).unwrap();
        let hello = client.encrypt_only("");
        client.send_raw(hello).unwrap();
        // The server's flight has come; it does not please the client.
        let seen = client.server_row().is_some() && {
            thread::sleep(Duration::from_millis(100));
            client.server_holds()
        };
        assert!(seen, "{client:?}");
        client.send_raw(HANDSHAKE_FAILURE).unwrap();
        let ending = client.into_raw().finish();
        assert!(
            ending.is_clean_fin() && ending.close_notify.is_none(),
            "{ending:?}"
        );
        let took = ending.ended_at().unwrap();
        assert!(took < 2 * PROMPT, "{took:?}: {ending:?}");
    });
}

/// What the bytes say counts, and not what TLS agreed on: these adapters serve what they are sent.
const SERVE_WHAT_COMES: [&str; 2] = ["axum", "axum-server"];

#[test]
fn a_cut_answer_to_http10_is_visibly_truncated_although_http2_was_agreed_on() {
    let failures = ["/error-mid-body", "/panic-mid-body"].map(|path| (path, path));
    on(&SERVE_WHAT_COMES, &[], &failures, |bed, version, path| {
        let mut client = connect_h2(bed, version).conn;
        client.send(old_get(path)).unwrap();
        let response = client.read_response().unwrap();
        assert_eq!(response.framing, Framing::UntilEnd, "{client:?}");
        assert_eq!(response.body.len(), 4096, "{client:?}");
        ends_visibly_truncated(&mut client, Then::Closes);
    });
}

#[test]
fn http2_is_followed_although_http1_was_agreed_on() {
    let options = ["--header-timeout-ms", "1000"];
    on(
        &SERVE_WHAT_COMES,
        &options,
        &[("", ())],
        |bed, version, ()| {
            let mut h2 = H2::start(connect(bed, version), H2Options::default()).unwrap();
            assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
            let stream = h2.get("/error-mid-body").unwrap();
            assert!(h2.wait_stream(stream, LONG).reset.is_some(), "{h2:?}");
            ends_properly_h2(&mut h2, Then::Closes);
            assert_eq!(h2.goaways(), [(stream, 0)], "{h2:?}");
        },
    );
}
