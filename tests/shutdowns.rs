//! Shutdown, phase by phase: what SIGTERM does to a connection in each state it can be in, what
//! the report says of it, and how long it takes.

mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use testbed::{Exit, Testbed};
use wire::{
    Client, Ending, Frame, H2, H2Options, Options, PREFACE, RawTcp, Response, Version, kind,
};

/// The crate's default.
const LAME_DUCK: Duration = Duration::from_millis(250);
/// A handshake, and a head that has begun, may take this long although the server drains.
const BRIEF: [&str; 2] = ["--handshake-timeout-ms", "1000"];
const HEAD: Duration = Duration::from_secs(1);
/// How long the peer may take no bytes of what is left for it.
const FLUSH: Duration = Duration::from_secs(5);
/// For what takes no time, on a busy machine.
const PROMPT: Duration = Duration::from_millis(500);
const LONG: Duration = Duration::from_secs(10);

/// A testbed that has been sent SIGTERM.
struct Stopping {
    bed: Testbed,
    since: Instant,
}

impl Stopping {
    /// Waits for an exit with status 0, no sooner and no later than this after the signal.
    fn exits_within(self, least: Duration, most: Duration) -> Exit {
        let exit = self.bed.wait(most + LONG);
        let took = self.since.elapsed();
        assert!(exit.status.success(), "{exit:?}");
        assert!(exit.report().starts_with("shutdown took "), "{exit:?}");
        assert!(
            took >= least && took <= most,
            "exit after {took:?}: {exit:?}"
        );
        exit
    }

    /// The same for a shutdown that had nothing to wait for but `phases`.
    fn exits_promptly_after(self, phases: Duration) -> Exit {
        self.exits_within(phases, phases + PROMPT)
    }
}

fn terminate(bed: Testbed) -> Stopping {
    let since = Instant::now();
    bed.terminate();
    Stopping { bed, since }
}

/// Runs `scenario` for every server and version, all at once.
fn everywhere(options: &[&str], scenario: impl Fn(Testbed, Version) + Sync) {
    thread::scope(|scope| {
        for server in testbed::servers() {
            for version in Version::BOTH {
                let scenario = &scenario;
                scope.spawn(move || scenario(Testbed::start(server, options), version));
            }
        }
    });
}

fn connect(bed: &Testbed, version: Version) -> Client {
    let options = Options::new().version(version).http1();
    Client::connect_with(bed.addr, &options).unwrap()
}

/// A connection that has done one exchange and is kept alive.
fn kept_alive(bed: &Testbed, version: Version) -> Client {
    let mut client = connect(bed, version);
    let response = client.get("/").unwrap();
    assert!(response.complete && !response.says_close(), "{client:?}");
    client
}

fn h2(bed: &Testbed, version: Version, options: H2Options) -> H2 {
    let tls = Options::new().version(version).h2();
    H2::connect_with(bed.addr, &tls, options).unwrap()
}

/// An HTTP/2 connection that has done one exchange.
fn kept_alive_h2(bed: &Testbed, version: Version) -> H2 {
    let mut h2 = h2(bed, version, H2Options::default());
    assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
    h2
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// close_notify, FIN, no RST; then the client closes too.
fn ends_properly(client: &mut Client) -> Ending {
    let ending = client.finish();
    assert!(ending.is_proper(), "{ending:?}");
    assert!(!client.ending().is_reset(), "{client:?}");
    closes(client);
    ending
}

/// As a client does that has read the server's end.
fn closes(client: &mut Client) {
    client.send_close_notify().unwrap();
    client.close().unwrap();
}

/// The whole body, with the announcement that it was the last.
fn is_last_and_whole(response: &Response, body: &str) -> bool {
    response.status == 200 && response.complete && response.says_close() && response.text() == body
}

/// The report: clean, peer silent, drain cut, truncated, aborted.
fn counts(exit: &Exit) -> [u64; 5] {
    ["clean", "peer silent", "drain cut", "truncated", "aborted"].map(|what| exit.count(what))
}

#[test]
fn idle_connections() {
    everywhere(&[], |bed, version| {
        let mut client = kept_alive(&bed, version);
        let stopping = terminate(bed);
        ends_properly(&mut client);
        let exit = stopping.exits_promptly_after(LAME_DUCK);
        assert_eq!(counts(&exit), [1, 0, 0, 0, 0], "{exit:?}");
    });
}

#[test]
fn connections_that_never_spoke() {
    everywhere(&[], |bed, version| {
        let mut client = connect(&bed, version);
        let tls = Options::new().version(version).h2();
        let mut h2 = Client::connect_with(bed.addr, &tls).unwrap();
        let stopping = terminate(bed);
        let ending = ends_properly(&mut client);
        assert_eq!(ending.bytes.len(), 0, "{ending:?}");
        ends_properly(&mut h2);
        let exit = stopping.exits_promptly_after(LAME_DUCK);
        assert_eq!(counts(&exit), [2, 0, 0, 0, 0], "{exit:?}");
    });
}

#[test]
fn half_a_head() {
    everywhere(&BRIEF, |bed, version| {
        let mut client = kept_alive(&bed, version);
        client.send("GET / HTTP/1.1\r\nHost: loc").unwrap();
        let stopping = terminate(bed);
        ends_properly(&mut client);
        let exit = stopping.exits_within(LAME_DUCK, LAME_DUCK + HEAD + PROMPT);
        assert_eq!(exit.count("connections ended"), 1, "{exit:?}");
    });
}

/// The head was on its way when the signal came.
#[test]
fn half_a_head_and_then_the_rest() {
    everywhere(&[], |bed, version| {
        // A connection that has been idle may also be ended with no byte, cleanly.
        let peers = [
            (connect(&bed, version), false),
            (kept_alive(&bed, version), true),
        ];
        let (first, rest) = ("GET / HTTP/1.1\r\nHost: loc", "alhost\r\n\r\n");
        let mut peers = peers.map(|(mut client, may_end)| {
            client.send(first).unwrap();
            (client, may_end)
        });
        let stopping = terminate(bed);
        // Past the lame duck: what is unfinished then has some time left.
        thread::sleep((LAME_DUCK + HEAD / 4).saturating_sub(stopping.since.elapsed()));
        for (client, may_end) in &mut peers {
            client.send(rest).unwrap();
            let answer = client.read_response();
            let ending = ends_properly(client);
            match answer {
                Err(_) if *may_end => assert_eq!(client.unread(), b"", "{ending:?}"),
                answer => {
                    let whole = is_last_and_whole(&answer.unwrap(), "hello\n");
                    assert!(whole, "{ending:?}");
                }
            }
        }
        stopping.exits_within(LAME_DUCK, LAME_DUCK + HEAD + PROMPT);
    });
}

/// What it may become can be refused.
#[test]
fn half_an_http2_preface() {
    everywhere(&[], |bed, version| {
        let tls = Options::new().version(version).h2();
        let mut client = Client::connect_with(bed.addr, &tls).unwrap();
        client.send(&PREFACE[..12]).unwrap();
        let stopping = terminate(bed);
        ends_properly(&mut client);
        stopping.exits_promptly_after(LAME_DUCK);
    });
}

/// It asks for nothing, so that nobody waits for the rest of it.
#[test]
fn half_a_control_frame() {
    everywhere(&[], |bed, version| {
        let ping = Frame::ping([7; 8]).encode();
        let mut peers = [5, 12].map(|length| {
            let mut h2 = kept_alive_h2(&bed, version);
            h2.conn.send(&ping[..length]).unwrap();
            h2
        });
        let stopping = terminate(bed);
        for h2 in &mut peers {
            ends_properly_h2(h2);
            assert_eq!(h2.goaways(), [(1, 0)], "{h2:?}");
        }
        let exit = stopping.exits_promptly_after(LAME_DUCK);
        assert_eq!(counts(&exit), [2, 0, 0, 0, 0], "{exit:?}");
    });
}

/// Stops a server that waits for the rest of a ClientHello and for one that never begins, and sees both let go.
fn terminate_amid_hellos(bed: Testbed) -> Stopping {
    let mut stalled = RawTcp::stalled_handshake(bed.addr).unwrap();
    let mut silent = RawTcp::connect(bed.addr).unwrap();
    assert!(stalled.wait_held(LONG) && silent.wait_held(LONG));
    let stopping = terminate(bed);
    for client in [&mut stalled, &mut silent] {
        let ending = client.finish();
        assert!(ending.is_clean_fin(), "{ending:?}");
        client.close().unwrap();
    }
    stopping
}

#[test]
fn half_a_client_hello() {
    everywhere(&BRIEF, |bed, _| {
        let stopping = terminate_amid_hellos(bed);
        // A handshake has its own time-out, shutdown or not.
        stopping.exits_within(LAME_DUCK, HEAD + 2 * PROMPT);
    });
}

/// Nothing comes of its client that would have it looked at.
#[test]
fn half_a_client_hello_at_the_deadline() {
    everywhere(&["--shutdown-timeout-ms", "700"], |bed, _| {
        let stopping = terminate_amid_hellos(bed);
        let exit = stopping.exits_promptly_after(LAME_DUCK + Duration::from_millis(700));
        let line = "the deadline has passed, ending what is left, 2 in their handshake";
        assert!(exit.stderr.contains(line), "{exit:?}");
    });
}

#[test]
fn a_request_in_flight() {
    everywhere(&[], |bed, version| {
        let mut client = connect(&bed, version);
        client.send(get("/sleep/800")).unwrap();
        let mut h2 = h2(&bed, version, H2Options::default());
        let stream = h2.get("/sleep/800").unwrap();
        assert!(h2.ping([1; 8], LONG).unwrap().is_some(), "{h2:?}");
        let stopping = terminate(bed);
        let response = client.read_response().unwrap();
        assert!(is_last_and_whole(&response, "slept\n"), "{client:?}");
        ends_properly(&mut client);
        let answer = h2.wait_stream(stream, LONG);
        assert!(answer.is_complete() && answer.text() == "slept\n", "{h2:?}");
        assert!(h2.wait_goaway(LONG).is_some(), "{h2:?}");
        ends_properly_h2(&mut h2);
        let most = Duration::from_millis(800) + PROMPT;
        let exit = stopping.exits_within(LAME_DUCK, most);
        assert_eq!(counts(&exit), [2, 0, 0, 0, 0], "{exit:?}");
    });
}

/// GOAWAY with no error, close_notify, FIN, no RST; then the client closes too.
fn ends_properly_h2(h2: &mut H2) -> Ending {
    let ending = h2.finish();
    assert!(ending.is_proper(), "{h2:?}");
    let goaways = h2.goaways();
    assert!(!goaways.is_empty(), "no GOAWAY: {h2:?}");
    assert!(goaways.iter().all(|(_, code)| *code == 0), "{h2:?}");
    closes(&mut h2.conn);
    ending
}

#[test]
fn downloads_in_progress() {
    const SIZE: usize = 8_000_000;
    everywhere(&[], |bed, version| {
        let options = Options::new().version(version).recv_buffer(64 << 10);
        let (one, two) = (options.clone().http1(), options.h2());
        let mut client = Client::connect_with(bed.addr, &one).unwrap();
        client.send(get(&format!("/bytes/{SIZE}"))).unwrap();
        let mut dripped = connect(&bed, version);
        dripped.send(get("/slow/16/50")).unwrap();
        let mut h2 = H2::connect_with(bed.addr, &two, H2Options::default()).unwrap();
        let stream = h2.get(&format!("/chunked/{SIZE}")).unwrap();
        assert!(client.pump_until(LONG, |c| c.unread().len() > 1000));
        assert!(dripped.pump_until(LONG, |c| c.unread().len() > 1000));
        assert!(h2.pump_until(LONG, |h2| h2.stream(stream).body.len() > 1000));
        let stopping = terminate(bed);
        // Draining begins before any of them goes on reading.
        thread::sleep((2 * LAME_DUCK).saturating_sub(stopping.since.elapsed()));
        thread::scope(|scope| {
            scope.spawn(|| downloads(&mut client, SIZE));
            scope.spawn(|| downloads(&mut dripped, 16 << 10));
            // HTTP/2 has PINGs to answer meanwhile.
            let answer = h2.wait_stream(stream, LONG);
            assert!(answer.is_complete() && answer.body.len() == SIZE, "{h2:?}");
            ends_properly_h2(&mut h2);
        });
        let exit = stopping.exits_within(LAME_DUCK, LONG);
        assert_eq!(counts(&exit), [3, 0, 0, 0, 0], "{exit:?}");
    });
}

fn downloads(client: &mut Client, size: usize) {
    let response = client.read_response().unwrap();
    let whole = response.complete && response.body.len() == size;
    assert!(whole, "{client:?}");
    ends_properly(client);
}

/// What is still going on at the deadline, and how its end must look.
#[test]
fn endless_answers_end_at_the_deadline() {
    const TIMEOUT: Duration = Duration::from_millis(600);
    everywhere(&["--shutdown-timeout-ms", "600"], |bed, version| {
        let mut chunked = connect(&bed, version);
        chunked.send(get("/sse")).unwrap();
        let mut unanswered = connect(&bed, version);
        unanswered.send(get("/sleep/60000")).unwrap();
        let mut delimited = connect(&bed, version);
        delimited.send("GET /sse HTTP/1.0\r\n\r\n").unwrap();
        let mut h2 = h2(&bed, version, H2Options::default());
        let stream = h2.get("/sse").unwrap();
        for client in [&mut chunked, &mut delimited] {
            assert!(client.pump_until(LONG, |c| c.unread().ends_with(b"\n\n")
                || c.unread().ends_with(b"\n\n\r\n")));
        }
        assert!(h2.pump_until(LONG, |h2| !h2.stream(stream).body.is_empty()));
        let stopping = terminate(bed);

        let response = chunked.read_response().unwrap();
        assert!(
            !response.body.is_empty() && !response.complete,
            "{chunked:?}"
        );
        ends_properly(&mut chunked);

        // No byte of an answer: nothing can be mistaken for a whole one.
        let ending = ends_properly(&mut unanswered);
        assert_eq!(ending.bytes.len(), 0, "{ending:?}");

        // Only the missing close_notify tells that more was to come (RFC 9112 9.8).
        let response = delimited.read_response().unwrap();
        assert!(
            !response.body.is_empty() && !response.complete,
            "{delimited:?}"
        );
        let ending = delimited.finish();
        assert!(
            ending.is_truncation_visible() && ending.is_clean_fin(),
            "{ending:?}"
        );
        assert_eq!(ending.alert, None, "{ending:?}");
        closes(&mut delimited);

        let ending = h2.finish();
        assert!(ending.is_proper(), "{h2:?}");
        assert!(!h2.stream(stream).is_complete(), "{h2:?}");
        closes(&mut h2.conn);

        let exit = stopping.exits_promptly_after(LAME_DUCK + TIMEOUT);
        assert_eq!(counts(&exit), [0, 0, 0, 4, 0], "{exit:?}");
        assert!(exit.report().contains("(deadline reached)"), "{exit:?}");
    });
}

#[test]
fn polite_streams_end_by_themselves() {
    everywhere(&[], |bed, version| {
        let mut chunked = connect(&bed, version);
        chunked.send(get("/sse-polite")).unwrap();
        let mut delimited = connect(&bed, version);
        delimited.send("GET /sse-polite HTTP/1.0\r\n\r\n").unwrap();
        let mut h2 = h2(&bed, version, H2Options::default());
        let stream = h2.get("/sse-polite").unwrap();
        for client in [&mut chunked, &mut delimited] {
            assert!(
                client.pump_until(LONG, |c| c.unread().len() > 200),
                "{client:?}"
            );
        }
        assert!(h2.pump_until(LONG, |h2| !h2.stream(stream).body.is_empty()));
        let stopping = terminate(bed);
        for client in [&mut chunked, &mut delimited] {
            let response = client.read_response().unwrap();
            assert!(response.complete && !response.body.is_empty(), "{client:?}");
            ends_properly(client);
        }
        assert!(h2.wait_stream(stream, LONG).is_complete(), "{h2:?}");
        ends_properly_h2(&mut h2);
        let exit = stopping.exits_promptly_after(LAME_DUCK);
        assert_eq!(counts(&exit), [3, 0, 0, 0, 0], "{exit:?}");
        assert!(!exit.report().contains("deadline"), "{exit:?}");
    });
}

/// A websocket frame as clients send it, which is masked.
fn websocket_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m);
    let head = [0x80 | opcode, 0x80 | length];
    head.into_iter().chain(MASK).chain(masked).collect()
}

/// A connection that has become a websocket, and has echoed.
fn websocket(bed: &Testbed, version: Version) -> Client {
    let mut client = connect(bed, version);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let request = get("/ws").replace("\r\n\r\n", "\r\n") + upgrade;
    client.send(request).unwrap();
    assert_eq!(client.read_response().unwrap().status, 101, "{client:?}");
    client.send(websocket_frame(1, b"hi")).unwrap();
    assert_eq!(client.read_exactly(4, LONG), b"\x81\x02hi", "{client:?}");
    client
}

/// Waits for the server's close frame: its status code.
fn websocket_close_code(client: &mut Client) -> u16 {
    let head = client.read_exactly(2, LONG);
    assert_eq!(head.first(), Some(&0x88), "{client:?}");
    let payload = client.read_exactly(usize::from(head[1]), LONG);
    u16::from_be_bytes([payload[0], payload[1]])
}

#[test]
fn websockets_are_told_to_go_away() {
    everywhere(&[], |bed, version| {
        let mut client = websocket(&bed, version);
        let stopping = terminate(bed);
        assert_eq!(websocket_close_code(&mut client), 1001, "{client:?}");
        client
            .send(websocket_frame(8, &1001_u16.to_be_bytes()))
            .unwrap();
        ends_properly(&mut client);
        let exit = stopping.exits_promptly_after(LAME_DUCK);
        assert_eq!(counts(&exit), [1, 0, 0, 0, 0], "{exit:?}");
    });
}

/// The close frame is never answered: the deadline ends it, and websocket frames tell that it was
/// not TCP's whim, so that close_notify is sent (they are not close-delimited).
#[test]
fn websockets_that_stay_end_at_the_deadline() {
    everywhere(&["--shutdown-timeout-ms", "600"], |bed, version| {
        let mut client = websocket(&bed, version);
        let stopping = terminate(bed);
        assert_eq!(websocket_close_code(&mut client), 1001, "{client:?}");
        ends_properly(&mut client);
        stopping.exits_promptly_after(LAME_DUCK + Duration::from_millis(600));
    });
}

#[test]
fn idle_http2_connections_get_goaway() {
    everywhere(&[], |bed, version| {
        let mut h2 = kept_alive_h2(&bed, version);
        let stopping = terminate(bed);
        let ending = ends_properly_h2(&mut h2);
        let at = h2.frames().iter().find(|(_, frame)| frame.is(kind::GOAWAY));
        assert!(
            at.is_some_and(|(at, _)| Some(*at) <= ending.close_notify),
            "{h2:?}"
        );
        // The last one names the last stream that was processed.
        assert_eq!(h2.goaway_received(), Some((1, 0)), "{h2:?}");
        let exit = stopping.exits_promptly_after(LAME_DUCK);
        assert_eq!(counts(&exit), [1, 0, 0, 0, 0], "{exit:?}");
    });
}

#[test]
fn http2_peers_that_answer_no_ping() {
    everywhere(&[], |bed, version| {
        let mut h2 = h2(&bed, version, H2Options::silent());
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        let stopping = terminate(bed);
        assert_eq!(
            h2.wait_goaway(LONG).map(|(_, code)| code),
            Some(0),
            "{h2:?}"
        );
        let ending = h2.finish();
        assert!(ending.is_proper(), "{h2:?}");
        closes(&mut h2.conn);
        stopping.exits_promptly_after(LAME_DUCK);
    });
}

/// A request that crosses the GOAWAY is refused by its number, and may be sent again (RFC 9113 6.8).
#[test]
fn http2_requests_that_cross_the_goaway() {
    everywhere(&[], |bed, version| {
        let mut h2 = kept_alive_h2(&bed, version);
        let stopping = terminate(bed);
        let (last, _) = h2.wait_goaway(LONG).unwrap();
        let stream = h2.get("/sleep/200").unwrap();
        assert!(stream > last, "{h2:?}");
        let ending = ends_properly_h2(&mut h2);
        assert!(h2.stream(stream).status.is_none(), "{ending:?}");
        assert_eq!(h2.goaways().len(), 1, "{h2:?}");
        stopping.exits_within(LAME_DUCK, LAME_DUCK + PROMPT);
    });
}

#[test]
fn a_blocked_writer_ends_after_the_deadline() {
    const TIMEOUT: Duration = Duration::from_millis(800);
    everywhere(&["--shutdown-timeout-ms", "800"], |bed, version| {
        let options = Options::new().version(version).recv_buffer(32 << 10);
        let mut client = Client::connect_with(bed.addr, &options.http1()).unwrap();
        client.send(get("/bytes/60000000")).unwrap();
        assert!(client.pump_until(LONG, |c| !c.unread().is_empty()));
        let stopping = terminate(bed);
        let exit = stopping.exits_within(LAME_DUCK + TIMEOUT, LAME_DUCK + TIMEOUT + FLUSH + PROMPT);
        // Whether it would have read on nobody knows: it was the deadline that cut its answer.
        assert_eq!(counts(&exit), [0, 0, 0, 1, 0], "{exit:?}");
        let ending = client.finish();
        assert!(
            ending.is_clean_fin() && ending.close_notify.is_none(),
            "{ending:?}"
        );
        assert!(!client.read_response().unwrap().complete, "{client:?}");
    });
}

/// The same, but it goes on reading in time: then it gets what was underway, and close_notify.
#[test]
fn a_writer_unblocked_after_the_deadline() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    everywhere(&["--shutdown-timeout-ms", "400"], |bed, version| {
        let options = Options::new().version(version).recv_buffer(32 << 10);
        let mut client = Client::connect_with(bed.addr, &options.http1()).unwrap();
        client.send(get("/bytes/60000000")).unwrap();
        assert!(client.pump_until(LONG, |c| !c.unread().is_empty()));
        let stopping = terminate(bed);
        let deadline = LAME_DUCK + TIMEOUT;
        thread::sleep((deadline + PROMPT).saturating_sub(stopping.since.elapsed()));
        assert!(client.server_holds(), "{client:?}");
        let response = client.read_response().unwrap();
        assert!(
            !response.body.is_empty() && !response.complete,
            "{client:?}"
        );
        ends_properly(&mut client);
        let exit = stopping.exits_within(deadline, deadline + 3 * PROMPT);
        assert_eq!(counts(&exit), [0, 0, 0, 1, 0], "{exit:?}");
    });
}

#[test]
fn idle_only_takes_the_lame_duck_and_little_more() {
    const LITTLE: Duration = Duration::from_millis(100);
    for server in testbed::servers() {
        for version in Version::BOTH {
            // The machine is shared: one good try of three shows what the server can do.
            let tries: Vec<_> = (0..3).map(|_| idle_only(server, version)).collect();
            let best = tries.iter().min().unwrap();
            assert!(
                *best <= LAME_DUCK + LITTLE,
                "{server} {version:?}: {tries:?}"
            );
        }
    }
}

/// How long a shutdown takes with idle clients that close when they are told to.
fn idle_only(server: &str, version: Version) -> Duration {
    let bed = Testbed::start(server, &[]);
    let mut one: Vec<_> = (0..5).map(|_| kept_alive(&bed, version)).collect();
    let mut two: Vec<_> = (0..5).map(|_| kept_alive_h2(&bed, version)).collect();
    let stopping = terminate(bed);
    let since = stopping.since;
    thread::scope(|scope| {
        for client in &mut one {
            scope.spawn(|| ends_properly(client));
        }
        for h2 in &mut two {
            scope.spawn(|| ends_properly_h2(h2));
        }
        let exit = stopping.bed.wait(LONG);
        let took = since.elapsed();
        assert_eq!(counts(&exit), [10, 0, 0, 0, 0], "{exit:?}");
        assert!(took >= LAME_DUCK, "{took:?}: {exit:?}");
        took
    })
}

#[test]
fn the_lame_duck_still_answers() {
    const LAME: Duration = Duration::from_millis(1000);
    everywhere(&["--lame-duck-ms", "1000"], |bed, version| {
        let mut early = kept_alive(&bed, version);
        let mut early_h2 = kept_alive_h2(&bed, version);
        let ready = connect(&bed, version).get("/ready").unwrap();
        assert_eq!((ready.status, ready.says_close()), (200, false));
        let addr = bed.addr;
        let stopping = terminate(bed);

        // New connections are accepted and answered, and told that this is it.
        let begun = Instant::now();
        loop {
            let mut late = Client::connect_with(addr, &Options::new().version(version)).unwrap();
            let ready = late.get("/ready").unwrap();
            if ready.status == 200 {
                assert!(begun.elapsed() < PROMPT, "still ready: {late:?}");
                continue;
            }
            assert_eq!(ready.status, 503, "{late:?}");
            assert!(ready.complete && ready.says_close(), "{late:?}");
            ends_properly(&mut late);
            break;
        }
        // So are those that are there already.
        let response = early.get("/").unwrap();
        assert!(is_last_and_whole(&response, "hello\n"), "{early:?}");
        ends_properly(&mut early);
        let answer = early_h2.h2_get("/ready").unwrap();
        assert!(
            answer.is_complete() && answer.status == Some(503),
            "{early_h2:?}"
        );
        assert!(stopping.since.elapsed() < LAME, "too slow to tell");
        assert_eq!(early_h2.goaway_received(), None, "{early_h2:?}");
        ends_properly_h2(&mut early_h2);
        let exit = stopping.exits_promptly_after(LAME);
        assert_eq!(counts(&exit)[1..], [0, 0, 0, 0], "{exit:?}");
        assert!(RawTcp::connect(addr).is_err());
    });
}

/// While something is still in flight, nobody new gets in.
#[test]
fn the_drain_accepts_nobody() {
    everywhere(&[], |bed, version| {
        let mut idle = kept_alive(&bed, version);
        let mut busy = connect(&bed, version);
        busy.send(get("/sleep/1500")).unwrap();
        let addr = bed.addr;
        let stopping = terminate(bed);
        // Idle connections end when draining begins, and the listener is closed by then.
        ends_properly(&mut idle);
        let error = RawTcp::connect(addr).err().map(|error| error.kind());
        assert_eq!(error, Some(std::io::ErrorKind::ConnectionRefused));
        let response = busy.read_response().unwrap();
        assert!(is_last_and_whole(&response, "slept\n"), "{busy:?}");
        ends_properly(&mut busy);
        stopping.exits_within(LAME_DUCK, 4 * PROMPT);
    });
}

#[test]
fn a_second_signal_skips_to_the_deadline() {
    everywhere(&["--shutdown-timeout-ms", "60000"], |bed, version| {
        let mut idle = kept_alive(&bed, version);
        let mut endless = connect(&bed, version);
        endless.send(get("/sse")).unwrap();
        assert!(endless.pump_until(LONG, |c| !c.unread().is_empty()));
        bed.terminate();
        ends_properly(&mut idle);
        let stopping = terminate(bed);
        let response = endless.read_response().unwrap();
        assert!(!response.complete, "{endless:?}");
        ends_properly(&mut endless);
        let exit = stopping.exits_within(Duration::ZERO, PROMPT);
        assert_eq!(counts(&exit), [1, 0, 0, 1, 0], "{exit:?}");
        assert!(exit.report().contains("(deadline reached)"), "{exit:?}");
    });
}

#[test]
fn a_second_signal_skips_the_lame_duck_too() {
    let options = ["--lame-duck-ms", "5000", "--shutdown-timeout-ms", "60000"];
    everywhere(&options, |bed, version| {
        let mut idle = kept_alive(&bed, version);
        let mut endless = connect(&bed, version);
        endless.send(get("/sse")).unwrap();
        assert!(endless.pump_until(LONG, |c| !c.unread().is_empty()));
        bed.terminate();
        until_lame(&bed, version);
        let stopping = terminate(bed);
        ends_properly(&mut idle);
        assert!(!endless.read_response().unwrap().complete, "{endless:?}");
        ends_properly(&mut endless);
        let exit = stopping.exits_within(Duration::ZERO, PROMPT);
        assert_eq!(exit.count("truncated"), 1, "{exit:?}");
    });
}

/// Waits until the first signal has been heard.
fn until_lame(bed: &Testbed, version: Version) {
    let begun = Instant::now();
    loop {
        let mut client = connect(bed, version);
        let status = client.get("/ready").unwrap().status;
        closes(&mut client);
        if status == 503 {
            return;
        }
        assert!(begun.elapsed() < PROMPT, "still ready: {client:?}");
    }
}

#[test]
fn a_shutdown_with_nobody_there() {
    everywhere(&[], |bed, _| {
        let exit = terminate(bed).exits_promptly_after(LAME_DUCK);
        assert_eq!(counts(&exit), [0; 5], "{exit:?}");
    });
}

/// One connection for each of the ways to end.
#[test]
fn the_report_counts_each_end() {
    everywhere(&["--shutdown-timeout-ms", "1000"], |bed, version| {
        // What ended before the signal is not counted.
        let mut earlier = connect(&bed, version);
        assert_eq!(earlier.get("/close").unwrap().text(), "bye\n");
        ends_properly(&mut earlier);

        let mut clean: Vec<_> = (0..3).map(|_| kept_alive(&bed, version)).collect();
        let mut silent: Vec<_> = (0..2).map(|_| kept_alive(&bed, version)).collect();
        let mut dripping = kept_alive(&bed, version);
        let mut truncated = connect(&bed, version);
        truncated.send(get("/sse")).unwrap();
        let mut aborted = connect(&bed, version);
        aborted.send(get("/sse")).unwrap();
        for client in [&mut truncated, &mut aborted] {
            assert!(client.pump_until(LONG, |c| !c.unread().is_empty()));
        }
        assert!(earlier.held_for(LONG).is_some(), "{earlier:?}");
        let stopping = terminate(bed);
        for client in &mut clean {
            ends_properly(client);
        }
        for client in silent.iter_mut().chain([&mut dripping]) {
            assert!(client.finish().is_proper(), "{client:?}");
        }
        aborted.reset().unwrap();
        assert!(
            !truncated.read_response().unwrap().complete,
            "{truncated:?}"
        );
        ends_properly(&mut truncated);
        while dripping.server_holds() {
            let _ = dripping.send("x");
            thread::sleep(Duration::from_millis(100));
        }
        for client in &mut silent {
            assert!(client.finish().is_proper(), "{client:?}");
        }
        let exit = stopping.exits_within(LAME_DUCK, LAME_DUCK + FLUSH + 2 * PROMPT);
        assert_eq!(counts(&exit), [3, 2, 1, 1, 1], "{exit:?}");
        assert!(
            exit.report().contains(": 8 connections ended: "),
            "{exit:?}"
        );
        assert_eq!(exit.report(), exit.stdout.trim_end(), "one line: {exit:?}");
    });
}

#[test]
fn progress_is_logged_each_second() {
    everywhere(&["--shutdown-timeout-ms", "3500"], |bed, version| {
        let mut endless = connect(&bed, version);
        endless.send(get("/sse")).unwrap();
        let mut h2 = h2(&bed, version, H2Options::default());
        h2.get("/sse").unwrap();
        h2.get("/sse").unwrap();
        assert!(endless.pump_until(LONG, |c| !c.unread().is_empty()));
        assert!(h2.pump_until(LONG, |h2| !h2.stream(3).body.is_empty()));
        let stopping = terminate(bed);
        thread::scope(|scope| {
            scope.spawn(|| ends_properly(&mut endless));
            // It has to answer PINGs meanwhile.
            assert!(h2.finish().is_proper(), "{h2:?}");
            closes(&mut h2.conn);
        });
        let exit = stopping.exits_within(LAME_DUCK, 10 * PROMPT);
        let lines = exit
            .stderr
            .lines()
            .filter(|line| line.contains("draining: "));
        let told: Vec<_> = lines.collect();
        assert_eq!(told.len(), 3, "{exit:?}");
        for line in &told {
            assert!(
                line.contains("2 connections, 3 requests in flight, "),
                "{exit:?}"
            );
        }
        assert!(exit.stdout.lines().count() == 1, "{exit:?}");
    });
}
