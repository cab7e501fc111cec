//! What it means for a connection to end properly, seen from the client's side of the wire.
//!
//! The tests of endings share it: `#[path = "testbed/judge.rs"] mod judge;`, next to
//! `testbed`.

#![allow(dead_code)]

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use wire::{
    Client, Connection, Ending, H2, H2Options, H2Stream, Layer, Options, Response, Version,
};

use crate::testbed::{self, Testbed};

/// For what takes no time, on a busy machine; well below every time-out that it could be taken for.
pub const PROMPT: Duration = Duration::from_secs(1);
/// What a drain takes when the client is silent: no sooner, and not much later.
pub const SILENT: (Duration, Duration) = (Duration::from_millis(1800), Duration::from_millis(3000));
/// The same when the client goes on sending.
pub const SENDING: (Duration, Duration) =
    (Duration::from_millis(4700), Duration::from_millis(6000));

/// What a client does once the server has ended the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// Ends its own side too.
    Closes,
    /// Has ended its own side before.
    HasClosed,
    /// Never does anything again.
    IsSilent,
    /// Sends a byte now and then.
    Drips,
}

/// The adapter that settles HTTP/1 or 2 by ALPN alone, and says GOAWAY to who is idle.
pub const HYPER: [&str; 1] = ["hyper"];

/// Runs every case against every server, in both versions of TLS.
pub fn everywhere<C: Sync>(
    options: &[&str],
    cases: &[(&str, C)],
    run: impl Fn(&Testbed, Version, &C) + Sync,
) {
    on(&testbed::servers(), options, cases, run);
}

/// Runs every case against these servers, in both versions of TLS: one server after the other, and
/// all its cases at once.
///
/// The thread is named after the case, so that a panic says which one it was.
pub fn on<C: Sync>(
    servers: &[&str],
    options: &[&str],
    cases: &[(&str, C)],
    run: impl Fn(&Testbed, Version, &C) + Sync,
) {
    for server in servers {
        let bed = &Testbed::start(server, options);
        // Adapters that leave the service to the user learn from the first request that it has the
        // layer; until then they take any traffic for use.
        assert!(is_hello(
            &connect(bed, Version::Tls13).get("/").unwrap(),
            "hello\n"
        ));
        thread::scope(|scope| {
            for version in Version::BOTH {
                for (name, case) in cases {
                    let run = &run;
                    thread::Builder::new()
                        .name(format!("{server}, {version:?}, {name}"))
                        .spawn_scoped(scope, move || run(bed, version, case))
                        .unwrap();
                }
            }
        });
    }
}

/// Runs every case against every server, in both versions of TLS, each with a testbed of its own
/// that it may shut down, and all at once.
pub fn alone<C: Sync>(
    options: &[&str],
    cases: &[(&str, C)],
    run: impl Fn(Testbed, Version, &C) + Sync,
) {
    thread::scope(|scope| {
        for server in testbed::servers() {
            for version in Version::BOTH {
                for (name, case) in cases {
                    let run = &run;
                    thread::Builder::new()
                        .name(format!("{server}, {version:?}, {name}"))
                        .spawn_scoped(scope, move || {
                            run(Testbed::start(server, options), version, case)
                        })
                        .unwrap();
                }
            }
        }
    });
}

/// How late what `timeout` bounds may be: it may be noticed a quarter of it late, on a machine that
/// has a second of other things to do.
pub fn at_most(timeout: Duration) -> Duration {
    timeout + timeout / 4 + PROMPT
}

/// A client that speaks HTTP/1.1 and says so.
pub fn connect(bed: &Testbed, version: Version) -> Client {
    let options = Options::new().version(version).http1();
    Client::connect_with(bed.addr, &options).unwrap()
}

/// A client that agreed on HTTP/2, and has not sent the preface.
pub fn connect_h2(bed: &Testbed, version: Version) -> H2 {
    let options = Options::new().version(version).h2();
    let client = Client::connect_with(bed.addr, &options).unwrap();
    H2::over(client, H2Options::default())
}

/// An HTTP/2 client that has sent preface and SETTINGS.
pub fn start_h2(bed: &Testbed, version: Version) -> H2 {
    let options = Options::new().version(version).h2();
    H2::connect_with(bed.addr, &options, H2Options::default()).unwrap()
}

/// An HTTP/2 client that has sent preface and SETTINGS, and opens no window by itself.
pub fn start_h2_window(bed: &Testbed, version: Version, initial: u32) -> H2 {
    let options = Options::new().version(version).h2();
    H2::connect_with(bed.addr, &options, H2Options::window(initial)).unwrap()
}

/// The fields of a request over HTTP/2.
pub fn fields<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ]
}

/// A complete 200 with so many bytes, over HTTP/2.
pub fn is_whole_h2(answer: &H2Stream, length: usize) -> bool {
    answer.status == Some(200) && answer.is_complete() && answer.body.len() == length
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A GET as of HTTP/1.0: an answer without a length lasts until the connection ends.
pub fn old_get(path: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")
}

/// The head of an upload.
pub fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}

/// A complete 200 with this body.
pub fn is_hello(response: &Response, text: &str) -> bool {
    response.status == 200 && response.complete && response.text() == text
}

/// A complete 200 with so many bytes.
pub fn is_whole(response: &Response, length: usize) -> bool {
    response.status == 200 && response.complete && response.body.len() == length
}

/// close_notify and a FIN come, no RST, and the server lets the descriptor go in time.
pub fn ends_properly(client: &mut Client, then: Then) -> Ending {
    let ending = client.finish();
    assert!(ending.is_proper(), "{ending:?}");
    is_let_go(client, then);
    ending
}

/// The same of an HTTP/2 connection, which is owed answers to its PINGs until then.
pub fn ends_properly_h2(h2: &mut H2, then: Then) -> Ending {
    let ending = h2.finish();
    assert!(ending.is_proper(), "{h2:?}");
    is_let_go(&mut h2.conn, then);
    ending
}

/// The FIN came with no close_notify before it, and without a RST.
pub fn ends_visibly_truncated(client: &mut Client, then: Then) -> Ending {
    let ending = client.finish();
    assert!(ending.is_truncation_visible(), "{ending:?}");
    assert!(
        ending.alert.is_none() && ending.partial_record == 0,
        "{ending:?}"
    );
    is_let_go(client, then);
    ending
}

/// The connection, of which the FIN has just been read, is let go in time and not reset.
pub fn is_let_go<L: Layer>(client: &mut Connection<L>, then: Then) {
    let since = Instant::now();
    let reset = client.linger_for_reset(Duration::from_millis(20));
    assert_eq!(reset, None, "{client:?}");
    match then {
        Then::HasClosed => {}
        Then::Closes => client.fin().unwrap(),
        Then::IsSilent => {
            thread::sleep(SILENT.0.saturating_sub(since.elapsed()));
            return is_held_until(client, since, SILENT);
        }
        Then::Drips => {
            while client.server_holds() && since.elapsed() < SENDING.1 {
                // Once the server is gone, this fails as it should.
                let _ = client.send("u");
                thread::sleep(Duration::from_millis(100));
            }
            return is_held_until(client, since, SENDING);
        }
    }
    assert!(client.held_for(PROMPT).is_some(), "{then:?}: {client:?}");
}

fn is_held_until<L: Layer>(
    client: &Connection<L>,
    since: Instant,
    (least, most): (Duration, Duration),
) {
    // Many wait at once: none of them may look so often that it slows the server down.
    while client.server_holds() && since.elapsed() < most {
        thread::sleep(Duration::from_millis(50));
    }
    let took = since.elapsed();
    assert!(took >= least, "let go after {took:?}: {client:?}");
    assert!(!client.server_holds(), "held for {took:?}: {client:?}");
}

/// close_notify came this long after `since`.
pub fn is_notified_within(ending: &Ending, since: Duration, limits: (Duration, Duration)) {
    is_within(ending.close_notify, since, limits, ending);
}

/// `what` happened this long after `since`.
pub fn is_within(
    what: Option<Duration>,
    since: Duration,
    (least, most): (Duration, Duration),
    story: &dyn Debug,
) {
    let took = what.map(|at| at.saturating_sub(since));
    let in_time = took.is_some_and(|took| (least..=most).contains(&took));
    assert!(
        in_time,
        "took {took:?}, not {least:?} to {most:?}: {story:?}"
    );
}
