//! The drain: what a client still sends when the last answer is on its way must not destroy that
//! answer, and must not hold the descriptor for longer than the bounds say (RFC 9112 9.6).

mod testbed;

use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

use testbed::Testbed;
use wire::{Client, H2, H2Options, H2Stream, Options, Response, Version};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What a drain takes at most when the client is silent, and how much sooner it may not be.
const SILENT: (Duration, Duration) = (Duration::from_millis(1800), Duration::from_millis(2500));
/// The same when the client goes on sending.
const SENDING: (Duration, Duration) = (Duration::from_millis(4700), Duration::from_millis(5500));
/// The byte bound.
const MOST: usize = 64 * MIB;

const LONG: Duration = Duration::from_secs(10);
/// For what takes no time, on a busy machine.
const PROMPT: Duration = Duration::from_millis(500);

/// How a client sends what the server never reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    /// It reads the answer while it sends, as browsers do.
    WhileReading,
    /// It reads only when everything is sent, as simple clients do.
    First,
}

#[derive(Clone, Copy, Debug)]
struct Upload {
    path: &'static str,
    answer: usize,
    size: usize,
    manner: Manner,
}

const fn upload(path: &'static str, answer: usize, size: usize, manner: Manner) -> Upload {
    Upload {
        path,
        answer,
        size,
        manner,
    }
}

/// The one combination left out can't work with any server: a client that does not read a 4 MiB
/// answer before it has sent 8 MiB, to a server that does not read those.
const UPLOADS: [Upload; 7] = [
    upload("/ignore-body", 8, 100 * KIB, Manner::WhileReading),
    upload("/ignore-body", 8, 8 * MIB, Manner::WhileReading),
    upload("/unread/4194304", 4 * MIB, 100 * KIB, Manner::WhileReading),
    upload("/unread/4194304", 4 * MIB, 8 * MIB, Manner::WhileReading),
    upload("/ignore-body", 8, 100 * KIB, Manner::First),
    upload("/ignore-body", 8, 8 * MIB, Manner::First),
    upload("/unread/4194304", 4 * MIB, 100 * KIB, Manner::First),
];

/// Runs `scenario` for every server and version, all at once.
fn everywhere(options: &[&str], scenario: impl Fn(&Testbed, Version) + Sync) {
    thread::scope(|scope| {
        for server in testbed::servers() {
            for version in Version::BOTH {
                let scenario = &scenario;
                scope.spawn(move || scenario(&Testbed::start(server, options), version));
            }
        }
    });
}

/// Runs `scenario` again and again, for every server and version: megabytes each time, so that the
/// servers take turns, and all but the first, which share its stream, do it less often.
fn repeatedly(scenario: impl Fn(&Testbed, Version, usize) + Sync) {
    for (server, rounds) in testbed::servers().into_iter().zip([20, 4, 4]) {
        thread::scope(|scope| {
            for version in Version::BOTH {
                let scenario = &scenario;
                scope.spawn(move || scenario(&Testbed::start(server, &[]), version, rounds));
            }
        });
    }
}

fn connect(bed: &Testbed, version: Version) -> Client {
    let options = Options::new().version(version).http1();
    Client::connect_with(bed.addr, &options).unwrap()
}

fn post(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
}

/// A POST that asks for the end itself, so that the end does not depend on how much was unread.
fn last_post(path: &str, length: usize) -> String {
    post(path, length).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// close_notify and a FIN have come, and no RST; the client closes, and the server lets go.
fn ends_properly(client: &mut Client) {
    let ending = client.finish();
    assert!(ending.is_proper(), "{ending:?}");
    assert_eq!(
        client.linger_for_reset(Duration::from_millis(20)),
        None,
        "{client:?}"
    );
    client.send_close_notify().unwrap();
    client.fin().unwrap();
    assert!(client.held_for(PROMPT).is_some(), "{client:?}");
}

/// The server lets the descriptor go, no sooner and no later.
fn let_go_within(client: &Client, (least, most): (Duration, Duration), since: Instant) {
    let held = client.held_for(most.saturating_sub(since.elapsed()));
    assert!(held.is_some(), "not let go within {most:?}: {client:?}");
    assert!(
        since.elapsed() >= least,
        "let go after {:?}: {client:?}",
        since.elapsed()
    );
}

fn is_whole(response: &Response, length: usize) -> bool {
    response.status == 200 && response.complete && response.body.len() == length
}

/// Sends while reading. The wire client's own way of doing so reads a record in a tick of the
/// kernel's clock, which is too slow for megabytes in both directions.
fn send_while_reading(client: &mut Client, bytes: &[u8]) {
    let begun = Instant::now();
    let mut sent = client.send_for(bytes, Duration::from_millis(1));
    while let Err(error) = sent {
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{client:?}");
        assert!(begun.elapsed() < LONG, "the upload is stuck: {client:?}");
        client.pump_until(Duration::from_millis(10), |_| false);
        sent = client.send_for("", Duration::from_millis(1));
    }
}

/// Sends an upload that is not read, and sees to it that the answer comes whole all the same.
///
/// Whether the server reads what is left of the request or ends the connection is up to it, unless
/// the request `asks` for the end.
fn unread_upload(bed: &Testbed, version: Version, upload: Upload, asks: bool) {
    let mut client = connect(bed, version);
    let head = if asks { last_post } else { post };
    let mut request = head(upload.path, upload.size).into_bytes();
    request.resize(request.len() + upload.size, b'u');
    match upload.manner {
        Manner::WhileReading => send_while_reading(&mut client, &request),
        Manner::First => client.send(&request).unwrap(),
    }
    let response = client.read_response().unwrap();
    assert!(is_whole(&response, upload.answer), "{upload:?}: {client:?}");
    if !asks {
        client.send(get("/close")).unwrap();
    }
    ends_properly(&mut client);
}

#[test]
fn an_unread_upload_destroys_no_answer() {
    repeatedly(|bed, version, rounds| {
        for upload in UPLOADS {
            for round in 0..rounds {
                unread_upload(bed, version, upload, round % 2 == 0);
            }
        }
    });
}

#[test]
fn an_unread_upload_destroys_no_answer_over_http2() {
    repeatedly(|bed, version, rounds| {
        let options = Options::new().version(version).h2();
        for size in [100 * KIB, 8 * MIB] {
            let mut h2 = H2::connect_with(bed.addr, &options, H2Options::default()).unwrap();
            for round in 0..rounds {
                let stream = unread_stream(&mut h2, size);
                let whole = stream.status == Some(200) && stream.end_stream.is_some();
                assert!(whole && stream.body.len() == 4 * MIB, "{round}: {h2:?}");
                // RFC 9113 8.1: a server that needs no more of the request says NO_ERROR.
                let code = stream.reset.map_or(0, |(code, _)| code);
                assert_eq!(code, 0, "{round}: {h2:?}");
            }
            assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        }
    });
}

fn unread_stream(h2: &mut H2, size: usize) -> H2Stream {
    let stream = h2.post("/unread/4194304").unwrap();
    h2.upload(stream, &vec![b'u'; size], LONG).unwrap();
    h2.wait_stream(stream, LONG)
}

/// Sends the start of an endless upload and takes the answer.
fn begin_endless_upload(bed: &Testbed, version: Version) -> (Client, Instant) {
    let mut client = connect(bed, version);
    client.send(post("/ignore-body", 1 << 40)).unwrap();
    let response = client.read_response().unwrap();
    assert!(is_whole(&response, 8), "{client:?}");
    assert!(client.wait_close_notify(PROMPT).is_some(), "{client:?}");
    (client, Instant::now())
}

#[test]
fn an_endless_upload_is_cut_by_bytes_or_time() {
    everywhere(&[], |bed, version| {
        let (mut client, since) = begin_endless_upload(bed, version);
        let part = vec![b'u'; MIB];
        let mut sent = 0;
        let error = loop {
            match client.send_for(&part, LONG) {
                Ok(()) => sent += part.len(),
                Err(error) => break error,
            }
            assert!(since.elapsed() < LONG, "never cut: {client:?}");
        };
        let took = since.elapsed();
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        assert!(kinds.contains(&error.kind()), "{error}: {client:?}");
        // What the two kernels hold was sent, and not yet drained.
        assert!(sent < MOST + 48 * MIB, "sent {sent} bytes: {client:?}");
        assert!(took < SENDING.1, "cut after {took:?}: {client:?}");
        assert!(
            sent >= MOST - MIB || took >= SENDING.0,
            "{sent} bytes in {took:?}: {client:?}"
        );
        assert!(client.held_for(PROMPT).is_some(), "{client:?}");
        // The answer had been read before, and so had the end.
        let ending = client.finish();
        assert!(
            ending.close_notify.is_some() && ending.alert.is_none(),
            "{ending:?}"
        );
    });
}

#[test]
fn a_dripped_upload_is_cut_by_time() {
    everywhere(&[], |bed, version| {
        let (mut client, since) = begin_endless_upload(bed, version);
        while client.server_holds() && since.elapsed() < SENDING.1 {
            // What comes after the end is refused, of course.
            let _ = client.send("u");
            thread::sleep(Duration::from_millis(100));
        }
        let_go_within(&client, SENDING, since);
        let ending = client.ending();
        assert!(ending.close_notify.is_some(), "{ending:?}");
    });
}

#[test]
fn a_peer_that_never_closes_is_let_go() {
    everywhere(&[], |bed, version| {
        let mut client = connect(bed, version);
        let response = client.get("/close").unwrap();
        assert!(
            response.complete && response.text() == "bye\n",
            "{client:?}"
        );
        let ending = client.finish();
        assert!(ending.is_proper(), "{ending:?}");
        let_go_within(&client, SILENT, Instant::now());
        assert_eq!(
            client.linger_for_reset(Duration::from_millis(100)),
            None,
            "{client:?}"
        );
    });
}

/// A client may answer with its own end in any of these ways; none has to wait for a time-out.
#[test]
fn a_peer_that_closes_is_let_go_at_once() {
    type Close = fn(&mut Client) -> std::io::Result<()>;
    let ways: [(&str, Close); 4] = [
        ("close_notify", Client::send_close_notify),
        ("FIN", Client::fin),
        ("close", Client::close),
        ("RST", Client::reset),
    ];
    everywhere(&[], |bed, version| {
        for (name, close) in ways {
            let mut client = connect(bed, version);
            assert_eq!(client.get("/close").unwrap().text(), "bye\n", "{name}");
            let ending = client.finish();
            assert!(ending.is_proper(), "{name}: {ending:?}");
            assert!(client.server_holds(), "{name}: not drained: {client:?}");
            close(&mut client).unwrap();
            assert!(client.held_for(PROMPT).is_some(), "{name}: {client:?}");
        }
    });
}

#[test]
fn requests_behind_the_closing_one_reset_nothing() {
    repeatedly(|bed, version, rounds| {
        let small = (get("/close"), 4);
        let large = (last_post("/unread/4194304", 1) + "u", 4 * MIB);
        for (last, length) in [small, large] {
            for _ in 0..rounds {
                let mut client = connect(bed, version);
                client.send(last.clone() + &get("/").repeat(50)).unwrap();
                let response = client.read_response().unwrap();
                assert!(is_whole(&response, length), "{last}: {client:?}");
                ends_properly(&mut client);
                assert!(client.unread().is_empty(), "another answer: {client:?}");
            }
        }
    });
}

#[test]
fn requests_that_follow_the_end_reset_nothing() {
    everywhere(&[], |bed, version| {
        let mut client = connect(bed, version);
        assert_eq!(client.get("/close").unwrap().text(), "bye\n");
        let ending = client.finish();
        assert!(ending.is_proper(), "{ending:?}");
        for _ in 0..10 {
            client.send(get("/")).unwrap();
        }
        ends_properly(&mut client);
    });
}

#[test]
fn over_the_cap_the_oldest_drain_goes_first() {
    const CAP: usize = 2;
    everywhere(&["--drain-connections", "2"], |bed, version| {
        let mut clients: Vec<_> = (0..4).map(|_| connect(bed, version)).collect();
        let mut begun = Vec::new();
        for n in 0..clients.len() {
            begun.push(Instant::now());
            let client = &mut clients[n];
            assert_eq!(client.get("/close").unwrap().text(), "bye\n", "{client:?}");
            let ending = client.finish();
            assert!(ending.is_proper(), "{ending:?}");
            let oldest = (n + 1).saturating_sub(CAP);
            if let Some(gone) = clients[..oldest].last() {
                assert!(gone.held_for(PROMPT).is_some(), "{n}: {gone:?}");
                // Two more have begun to drain since it did, in less time than a drain takes.
                let drained = begun[oldest - 1].elapsed();
                assert!(drained < SILENT.0, "{n}: too slow to tell: {drained:?}");
            }
            for draining in &clients[oldest..=n] {
                assert!(draining.server_holds(), "{n}: {draining:?}");
            }
        }
        for client in &mut clients {
            let reset = client.linger_for_reset(Duration::from_millis(5));
            assert_eq!(reset, None, "{client:?}");
        }
    });
}
