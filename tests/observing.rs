//! What an observer is told, in what order, and how often: of connections that end in every way, over both
//! versions of TLS and of HTTP, under three servers.

#[path = "support/served.rs"]
mod served;
mod support;
#[path = "support/within.rs"]
mod within;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::Duration,
};

use graceful_tls::{
    Admission, Cause, Drain, Ended, GracefulTls, HandshakeFailed, Observer, Outcome, Phase, Stats,
    TlsConnection, proxy_protocol,
};
use served::{PATIENCE, Serve, Served, app, ask, everywhere, until};
use tracing_subscriber::layer::{Context, SubscriberExt};
use wire::{Client, Frame, H2, H2Options, RawTcp, Version};
use within::Within;

const MS: Duration = Duration::from_millis(1);

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    /// Of all that have no connection: accepted, failed, phases.
    server: Vec<String>,
    connections: BTreeMap<u64, Vec<String>>,
    ended: Vec<Ended>,
}

impl Notes {
    fn of<T>(&self, look: impl FnOnce(&Written) -> T) -> T {
        look(&self.0.lock().unwrap())
    }

    fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().server.push(line.into());
    }

    fn write_of(&self, connection: &TlsConnection, line: impl Into<String>) {
        let mut written = self.0.lock().unwrap();
        let lines = written.connections.entry(connection.id()).or_default();
        lines.push(line.into());
    }

    fn server(&self) -> Vec<String> {
        self.of(|written| written.server.clone())
    }

    fn phases(&self) -> Vec<String> {
        let mut lines = self.server();
        lines.retain(|line| line.starts_with("phase"));
        lines
    }

    /// Of each connection one line, in the order in which they were accepted.
    fn connections(&self) -> Vec<String> {
        self.of(|written| {
            written
                .connections
                .values()
                .map(|of| of.join(", "))
                .collect()
        })
    }

    /// Waits until just this has been told of connections.
    fn are(&self, expected: &[&str]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|of| of.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let ends = |lines: &Vec<String>| {
            let ended = |line: &&String| line.contains("ended");
            lines.iter().filter(ended).count() == expected.len()
        };
        until(|| self.connections(), ends);
        assert_eq!(self.connections(), expected);
    }

    /// How the only one ended.
    fn ended(&self) -> Ended {
        until(
            || self.of(|written| written.ended.clone()),
            |of| !of.is_empty(),
        )
        .remove(0)
    }
}

impl Observer for Notes {
    fn accepted(&self, peer: Option<SocketAddr>) {
        assert!(peer.is_some());
        self.write("accepted");
    }

    fn handshake_failed(&self, failed: &HandshakeFailed<'_>) {
        assert!(
            failed.peer.is_some() && failed.took < PATIENCE,
            "{failed:?}"
        );
        self.write(format!("failed {}", failed.error.reason()));
    }

    fn established(&self, connection: &TlsConnection) {
        assert!(connection.handshake_time() > Duration::ZERO);
        self.write_of(connection, "established");
    }

    fn request(&self, connection: &TlsConnection) {
        self.write_of(connection, "request");
    }

    fn request_failed(&self, connection: &TlsConnection) {
        self.write_of(connection, "request failed");
    }

    fn closing(&self, connection: &TlsConnection, cause: Cause) {
        self.write_of(connection, format!("closing {cause}"));
    }

    fn ended(&self, connection: &TlsConnection, ended: &Ended) {
        let Ended {
            cause,
            outcome,
            requests,
            requests_in_flight,
            ..
        } = ended;
        let line = format!("ended {cause} {outcome} {requests} {requests_in_flight}");
        self.write_of(connection, line);
        self.0.lock().unwrap().ended.push(ended.clone());
    }

    fn phase(&self, phase: Phase) {
        self.write(format!("phase {phase:?}"));
    }
}

/// A server that is observed, with a keep-alive time-out and a deadline that come soon.
fn observed(server: (&'static str, Serve), version: Version) -> (Served, Notes) {
    let notes = Notes::default();
    let observer = notes.clone();
    let served = Served::start(server, version, app(), |of| {
        of.observer(observer).shutdown_timeout(500 * MS)
    });
    (served, notes)
}

#[test]
fn an_http2_client_that_leaves_its_answer_behind_has_abandoned_it() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let mut h2 = served.h2();
        h2.get("/silent").unwrap();
        until(|| served.tls().stats(), |of| of.requests_in_flight == 1);
        h2.conn.send_close_notify().unwrap();
        h2.conn.close().unwrap();
        notes.are(&["established, request, closing abandoned, ended abandoned aborted 1 1"]);
    });
}

#[test]
fn a_kept_alive_connection_is_told_of_once_and_in_order() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let mut client = served.client();
        for _ in 0..3 {
            assert_eq!(client.get("/").unwrap().text(), "hello\n");
        }
        client.close().unwrap();
        served_three(&notes);
    });
}

fn served_three(notes: &Notes) {
    notes.are(&["established, request, request, request, \
                 closing peer_closed, ended peer_closed clean 3 0"]);
    assert_eq!(notes.server(), ["accepted"]);
}

#[test]
fn so_is_each_stream_of_http2() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let mut h2 = served.h2();
        let streams = [0; 3].map(|_| h2.get("/").unwrap());
        for stream in streams {
            assert!(h2.wait_stream(stream, PATIENCE).is_complete(), "{h2:?}");
        }
        h2.conn.send_close_notify().unwrap();
        assert!(h2.finish().is_proper(), "{h2:?}");
        h2.conn.close().unwrap();
        served_three(&notes);
    });
}

#[test]
fn what_an_end_says_is_what_has_been() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let mut client = served.client();
        let body = "u".repeat(100_000);
        let head = "POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n";
        client.send(format!("{head}{body}")).unwrap();
        assert_eq!(client.read_response().unwrap().text(), "100000");
        thread::sleep(100 * MS);
        let before = served.tls().connections()[0].stats();
        served.tls().shutdown();
        assert!(client.finish().is_proper());
        thread::sleep(100 * MS);
        client.close().unwrap();

        let ended = notes.ended();
        assert_eq!(
            (ended.cause, ended.outcome),
            (Cause::Draining, Outcome::Clean)
        );
        assert_eq!((ended.requests, ended.requests_in_flight), (1, 0));
        assert!((100_000..110_000).contains(&ended.received), "{ended:?}");
        assert!((500..10_000).contains(&ended.sent), "{ended:?}");
        assert!(
            ended.received >= before.received && ended.sent > before.sent,
            "{ended:?}"
        );
        assert!((90 * MS..5000 * MS).contains(&ended.drain), "{ended:?}");
        assert!(
            ended.age >= before.age + ended.drain,
            "{ended:?} {before:?}"
        );
    });
}

/// A client that neither closes nor sends has the time that a drain has.
#[test]
fn how_long_a_drain_took_is_told() {
    everywhere(|server, version| {
        let notes = Notes::default();
        let observer = notes.clone();
        let drain = Drain::default().idle_timeout(300 * MS);
        let served = Served::start(server, version, app(), |of| {
            of.observer(observer)
                .drain(drain)
                .keep_alive_timeout(100 * MS)
        });
        let mut silent = served.client();
        silent.get("/").unwrap();
        let silent = notes.ended();
        let how = (silent.cause, silent.outcome);
        assert_eq!(how, (Cause::Idle, Outcome::PeerSilent));
        assert!((300 * MS..3000 * MS).contains(&silent.drain), "{silent:?}");
        assert!(silent.age >= silent.drain + 100 * MS, "{silent:?}");
    });
}

#[test]
fn an_idle_time_out_is_told() {
    everywhere(|server, version| {
        let notes = Notes::default();
        let observer = notes.clone();
        let served = Served::start(server, version, app(), |of| {
            of.observer(observer).keep_alive_timeout(150 * MS)
        });
        let (mut client, mut h2) = (served.client(), served.h2());
        client.get("/").unwrap();
        assert!(h2.h2_get("/").unwrap().is_complete());
        assert!(client.finish().is_proper() && h2.finish().is_proper());
        client.close().unwrap();
        h2.conn.close().unwrap();
        notes.are(&["established, request, closing idle, ended idle clean 1 0"; 2]);
    });
}

#[test]
fn a_panic_in_a_handler_is_told() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let mut client = served.client();
        ask(&mut client, "/panic");
        client.finish();
        client.close().unwrap();
        let panicked = "established, request, closing panicked, ended panicked truncated 1 1";
        notes.are(&[panicked]);

        // Of an HTTP/2 connection it ends the stream.
        let mut h2 = served.h2();
        assert!(!h2.h2_get("/panic").unwrap().is_complete());
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        h2.conn.send_close_notify().unwrap();
        h2.finish();
        h2.conn.close().unwrap();
        let goes_on = "established, request, request failed, request, \
             closing peer_closed, ended peer_closed truncated 2 0";
        notes.are(&[panicked, goes_on]);
        assert_eq!(notes.of(|written| written.ended[1].requests_failed), 1);
    });
}

#[test]
fn an_answer_that_is_cut_is_told() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let mut client = served.client();
        ask(&mut client, "/cut");
        client.finish();
        client.close().unwrap();
        notes.are(&["established, request, closing dropped, ended dropped truncated 1 1"]);
    });
}

/// As HTTP/2 has it: more of a body than was said. The server finds fault with the client, not with itself.
#[test]
fn a_client_that_breaks_the_protocol_fails_no_handler() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let mut h2 = served.h2();
        let head = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/upload"),
            ("content-length", "2"),
        ];
        let stream = h2.send_request(&head, false).unwrap();
        h2.data(stream, b"more than two", false).unwrap();
        let reset = h2.wait_stream(stream, PATIENCE).reset;
        assert_eq!(reset.map(|(code, _)| code), Some(1));
        h2.conn.send_close_notify().unwrap();
        h2.finish();
        h2.conn.close().unwrap();
        let ended = notes.ended();
        assert_eq!((ended.requests, ended.requests_failed), (1, 0), "{ended:?}");
        let how = (ended.outcome, ended.requests_protocol_error);
        assert_eq!(how, (Outcome::Aborted, 1), "{ended:?}");
    });
}

#[test]
fn a_client_that_resets_is_told_of_as_one_that_abandons() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let (mut client, mut h2) = (served.client(), served.h2());
        ask(&mut client, "/never");
        h2.get("/never").unwrap();
        until(|| served.tls().stats(), |of| of.requests_in_flight == 2);
        client.reset().unwrap();
        h2.conn.reset().unwrap();
        notes.are(&["established, request, closing abandoned, ended abandoned aborted 1 1"; 2]);
    });
}

/// Something that the server has not read lies before the end, so that it learns of that by writing.
#[test]
fn a_client_that_leaves_behind_something_unread_has_abandoned_its_answer() {
    everywhere(|server, version| {
        let large = "GET /large HTTP/1.1\r\nhost: localhost\r\n";
        for (more, behind) in [
            ("", ""),
            ("content-length: 7\r\n", "{\"q\":1}"),
            ("", "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"),
            ("", "GET / HT"),
            ("", "\r\n"),
        ] {
            let (served, notes) = observed(server, version);
            let mut client = served.client();
            client.send(format!("{large}{more}\r\n")).unwrap();
            client.send(behind).unwrap();
            until(|| served.tls().stats(), |of| of.sent > 100_000);
            client.close().unwrap();
            let ended = notes.ended();
            let how = (ended.cause, ended.outcome);
            let left = (Cause::Abandoned, Outcome::Aborted);
            assert_eq!(how, left, "{behind:?}: {ended:?}");
        }
    });
}

/// The server is told of it as of an error of the stream.
#[test]
fn a_client_that_breaks_tls_is_told_of() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let (mut client, mut h2) = (served.client(), served.h2());
        ask(&mut client, "/never");
        h2.get("/never").unwrap();
        until(|| served.tls().stats(), |of| of.requests_in_flight == 2);
        client.send_corrupt_record().unwrap();
        h2.conn.send_corrupt_record().unwrap();
        client.finish();
        h2.finish();
        client.close().unwrap();
        h2.conn.close().unwrap();
        let broken = "established, request, \
                      closing protocol_error, ended protocol_error aborted 1 1";
        notes.are(&[broken; 2]);
    });
}

/// What is no request has no answer that could be lost.
#[test]
fn a_client_that_asks_for_nothing_has_lost_nothing() {
    everywhere(|server, version| {
        for garbage in ["GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", "garbage"] {
            let notes = Notes::default();
            let observer = notes.clone();
            let served = Served::start(server, version, app(), |of| {
                let of = of.keep_alive_timeout(200 * MS).header_timeout(200 * MS);
                of.observer(observer)
            });
            let options = served.options().h2();
            let mut client = Client::connect_with(served.within.addr, &options).unwrap();
            client.send(garbage).unwrap();
            client.finish();
            client.close().unwrap();
            let ended = notes.ended();
            assert_ne!(ended.outcome, Outcome::Truncated, "{garbage}: {ended:?}");
            assert_eq!(ended.requests_in_flight, 0, "{garbage}: {ended:?}");
        }
    });
}

/// HTTP/2 that no server was asked for by ALPN: where none speaks it nothing is looked at, as its GOAWAY says.
#[test]
fn what_is_dismissed_is_not_in_flight() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let options = served.options().alpn(&[]);
        let mut h2 = H2::connect_with(served.within.addr, &options, H2Options::default()).unwrap();
        let asked = h2.get("/").unwrap();
        h2.wait_stream(asked, PATIENCE);
        h2.conn.close().unwrap();
        let ended = notes.ended();
        assert_ne!(ended.outcome, Outcome::Truncated, "{ended:?}");
        assert_eq!(ended.requests_in_flight, 0, "{ended:?}");
    });
}

/// However rude its client is after that.
#[test]
fn a_stream_that_a_handler_cuts_is_lost_however_its_connection_ends() {
    everywhere(|server, version| {
        for path in ["/cut", "/panic"] {
            for resets in [true, false] {
                let (served, notes) = observed(server, version);
                let mut h2 = served.h2();
                assert!(!h2.h2_get(path).unwrap().is_complete());
                h2.get("/never").unwrap();
                until(|| served.tls().stats(), |of| of.requests_in_flight == 1);
                match resets {
                    true => h2.conn.reset().unwrap(),
                    false => h2.conn.close().unwrap(),
                }
                let ended = notes.ended();
                assert_eq!(
                    (ended.cause, ended.outcome, ended.requests_failed),
                    (Cause::Abandoned, Outcome::Truncated, 1),
                    "{ended:?}"
                );
                served.tls().shutdown();
            }
        }
    });
}

/// What a client may not send over HTTP/2: the server says so by GOAWAY (RFC 9113 5.4.1). With what came of
/// a connection where nothing is in flight: after the last two what it carried can't be followed.
fn breaches() -> [(Frame, &'static str); 4] {
    let garbage = Frame::new(wire::kind::HEADERS, wire::flag::END_HEADERS, 9, vec![0x80]);
    [
        (Frame::window_update(0, 0), "clean 1 0"),
        (garbage, "clean 1 0"),
        (Frame::settings(&[(4, u32::MAX)]), "clean 1 0"),
        (Frame::data(0, vec![1], false), "clean 1 0"),
    ]
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_of() {
    everywhere(|server, version| {
        for (breach, came_of_it) in breaches() {
            for (path, came_of_it) in [("/", came_of_it), ("/never", "aborted 1 1")] {
                let (served, notes) = observed(server, version);
                let mut h2 = served.h2();
                let asked = h2.get(path).unwrap();
                match path {
                    "/" => assert!(h2.wait_stream(asked, PATIENCE).is_complete()),
                    _ => drop(until(
                        || served.tls().stats(),
                        |of| of.requests_in_flight == 1,
                    )),
                }
                h2.send_frame(&breach).unwrap();
                h2.finish();
                h2.conn.close().unwrap();
                let ends = until(|| notes.connections().concat(), |of| of.contains("ended"));
                let end = "closing protocol_error, ended protocol_error";
                assert!(
                    ends.ends_with(&format!("{end} {came_of_it}")),
                    "{breach:?}: {ends}"
                );
            }
        }
    });
}

#[test]
fn a_deadline_is_told_with_all_phases() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let (mut client, mut h2) = (served.client(), served.h2());
        ask(&mut client, "/never");
        h2.get("/never").unwrap();
        until(|| served.tls().stats(), |of| of.requests_in_flight == 2);
        served.tls().shutdown();
        client.finish();
        h2.finish();
        client.close().unwrap();
        h2.conn.close().unwrap();
        let report = served.within.closed(PATIENCE);
        assert_eq!(report.truncated, 2, "{report}");
        notes.are(&["established, request, closing deadline, ended deadline truncated 1 1"; 2]);
        let all = [
            "phase LameDuck",
            "phase Draining",
            "phase Deadline",
            "phase Closed",
        ];
        until(|| notes.phases(), |of| of == &all);
    });
}

#[test]
fn a_shutdown_that_is_called_off_is_told() {
    everywhere(|server, version| {
        let notes = Notes::default();
        let observer = notes.clone();
        let served = Served::start(server, version, app(), |of| {
            of.observer(observer).lame_duck(PATIENCE)
        });
        let mut client = served.client();
        client.get("/").unwrap();
        served.tls().shutdown();
        assert!(served.tls().resume());
        assert_eq!(notes.phases(), ["phase LameDuck", "phase Serving"]);
        client.get("/").unwrap();
        served.tls().shutdown_now();
        client.finish();
        client.close().unwrap();
        served.within.closed(PATIENCE);
        let all = [
            "LameDuck", "Serving", "LameDuck", "Draining", "Deadline", "Closed",
        ];
        let all = all.map(|of| format!("phase {of}"));
        until(|| notes.phases(), |of| *of == all);
    });
}

/// Calls a shutdown off as soon as it hears of it.
#[derive(Default)]
struct Undo {
    tls: Arc<OnceLock<GracefulTls>>,
    phases: Arc<Mutex<Vec<Phase>>>,
}

impl Observer for Undo {
    fn phase(&self, phase: Phase) {
        let seen = self.tls.get().map(GracefulTls::phase);
        if phase == Phase::LameDuck && seen == Some(phase) {
            assert!(self.tls.get().unwrap().resume());
        }
        self.phases.lock().unwrap().push(phase);
    }
}

#[tokio::test]
async fn an_observer_may_call_a_shutdown_off() {
    let undo = Undo::default();
    let (tls_of, phases) = (undo.tls.clone(), undo.phases.clone());
    let builder = support::pair(support::VERSIONS[1]).0;
    let tls = builder.lame_duck(PATIENCE).observer(undo).build().unwrap();
    tls_of.set(tls.clone()).ok().unwrap();
    tls.shutdown();
    assert_eq!(tls.phase(), Phase::Serving);
    let told = [Phase::LameDuck, Phase::Serving];
    assert_eq!(*phases.lock().unwrap(), told);
}

/// Several threads begin shutdowns and call them off: each is told of in its turn.
#[tokio::test(flavor = "multi_thread")]
async fn phases_are_told_in_their_order() {
    let undo = Undo::default();
    let phases = undo.phases.clone();
    let builder = support::pair(support::VERSIONS[1]).0;
    let tls = builder.lame_duck(PATIENCE).observer(undo).build().unwrap();
    let runtime = tokio::runtime::Handle::current();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _entered = runtime.enter();
                for _ in 0..1000 {
                    tls.shutdown();
                    tls.resume();
                }
            });
        }
    });
    let told = phases.lock().unwrap().clone();
    assert!(!told.is_empty());
    for (at, phase) in told.iter().enumerate() {
        let turn = [Phase::LameDuck, Phase::Serving][at % 2];
        assert_eq!(*phase, turn, "number {at}");
    }
}

const PHASES: [&str; 4] = [
    "phase LameDuck",
    "phase Draining",
    "phase Deadline",
    "phase Closed",
];

#[test]
fn who_waits_for_the_end_waits_for_the_observer_too() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    for run in 0..300 {
        let notes = Notes::default();
        let builder = support::pair(support::VERSIONS[1]).0;
        let builder = builder.lame_duck(Duration::ZERO).observer(notes.clone());
        let tls = builder.build().unwrap();
        runtime.block_on(async {
            tls.shutdown();
            tls.closed().await;
        });
        assert_eq!(notes.phases(), PHASES, "run {run}");
    }
}

#[test]
fn without_a_runtime_each_phase_is_told_too() {
    let notes = Notes::default();
    let builder = support::pair(support::VERSIONS[1]).0;
    let tls = builder.observer(notes.clone()).build().unwrap();
    tls.shutdown();
    assert_eq!(notes.phases(), PHASES);
}

/// Panics at each phase.
struct PanicsAtPhases(Notes);

impl Observer for PanicsAtPhases {
    fn phase(&self, phase: Phase) {
        self.0.phase(phase);
        panic!("an observer may, at {phase}");
    }
}

/// A subscriber that panics when it is told of that.
struct PanicsToo;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for PanicsToo {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let is_it = event.metadata().target().ends_with("observe");
        assert!(!is_it, "a subscriber may");
    }
}

#[tokio::test]
async fn where_the_log_panics_as_well_the_next_phases_are_told() {
    let notes = Notes::default();
    let observer = PanicsAtPhases(notes.clone());
    let builder = support::pair(support::VERSIONS[1]).0;
    let tls = builder.observer(observer).build().unwrap();
    let subscriber = tracing_subscriber::registry().with(PanicsToo);
    let _subscribed = tracing::subscriber::set_default(subscriber);
    tls.shutdown();
    let closed = tokio::time::timeout(PATIENCE, tls.closed());
    closed.await.expect("closed");
    assert_eq!(notes.phases(), PHASES);
}

/// A process that makes a new server for each of its configurations keeps the first, and not what the
/// others were observed by.
#[tokio::test]
async fn an_observer_goes_with_its_server() {
    let builder = || support::pair(support::VERSIONS[1]).0;
    let (kept, gone) = (Notes::default(), Notes::default());
    let first = builder().observer(kept.clone()).build().unwrap();
    for _ in 0..3 {
        let next = builder().observer(gone.clone()).shutdown_with(&first);
        drop(next.build().unwrap());
    }
    assert_eq!(Arc::strong_count(&gone.0), 1);
    // Of what has begun they hear the end.
    first.shutdown();
    let closed = first.closed();
    drop(first);
    closed.await;
    assert_eq!((kept.phases().len(), gone.phases().len()), (4, 0));
}

/// What is served of a client that speaks plain HTTP ends with its handshake; it may take its time to ask.
#[test]
fn a_failed_handshake_ends_from_the_moment_that_it_has_failed() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let mut plain = RawTcp::connect(served.within.addr).unwrap();
        plain.send("GET / HTTP/1.1\r\nhost: a\r\n").unwrap();
        thread::sleep(300 * MS);
        plain.send("\r\n").unwrap();
        plain.finish();
        plain.close().unwrap();
        let ended = notes.ended();
        // By when the server has read its first line nobody knows: well before the last.
        assert!(ended.drain >= 150 * MS, "{ended:?}");
    });
}

#[test]
fn handshakes_that_fail_are_told_once_with_the_reason() {
    everywhere(|server, version| {
        let fails = |reason: &str, fail: &dyn Fn(&Served)| {
            let notes = Notes::default();
            let observer = notes.clone();
            let served = Served::start(server, version, app(), |of| {
                of.observer(observer).handshake_timeout(200 * MS)
            });
            fail(&served);
            let ended = |of: &Vec<String>| of.iter().any(|of| of.contains("ended"));
            let of = until(|| notes.connections(), ended);
            assert_eq!(of.len(), 1, "{of:?}");
            assert!(
                of[0].starts_with("closing handshake, ended handshake "),
                "{reason}: {of:?}"
            );
            assert_eq!(
                notes.server(),
                ["accepted".to_owned(), format!("failed {reason}")]
            );
        };
        let raw = |served: &Served, bytes: &str| {
            let mut raw = RawTcp::connect(served.within.addr).unwrap();
            raw.send(bytes).unwrap();
            raw.finish();
            raw.close().unwrap();
        };
        fails("tls", &|served| raw(served, "\x16\x03\x01\x00\x08nonsense"));
        fails("plain_http", &|served| {
            raw(served, "GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        });
        fails("tls", &|served| {
            let foreign = served.options().alpn(&["foo"]);
            Client::connect_with(served.within.addr, &foreign).unwrap_err();
        });
        fails("timed_out", &|served| raw(served, ""));
        fails("io", &|served| {
            RawTcp::stalled_handshake(served.within.addr)
                .unwrap()
                .close()
                .unwrap();
        });
    });
}

/// Everything that was accepted is open or has ended.
fn adds_up(stats: &Stats) -> bool {
    let ended: u64 = stats.ended.iter().map(|of| of.connections).sum();
    stats.accepted == stats.open + ended
}

/// Its owner has given it up: by a time-out of its own, or with the runtime that it was on.
#[test]
fn a_handshake_that_is_dropped_is_told_of_as_failed() {
    for (version, with_runtime) in [
        (Version::Tls12, false),
        (Version::Tls13, false),
        (Version::Tls12, true),
        (Version::Tls13, true),
    ] {
        let notes = Notes::default();
        let builder = support::pair(support::VERSIONS[version as usize]).0;
        let within = Within::start(
            builder.observer(notes.clone()),
            move |tls, tcp| async move {
                let (io, _) = tcp.accept().await.unwrap();
                let acceptor = tls.acceptor();
                let handshake = async move { acceptor.accept(io).await.map(drop) };
                match with_runtime {
                    false => drop(tokio::time::timeout(200 * MS, handshake).await.unwrap_err()),
                    true => on_a_runtime_for(200 * MS, handshake),
                }
            },
        );
        let _silent = RawTcp::stalled_handshake(within.addr).unwrap();
        let seen = |of: &Stats| adds_up(of).then_some((of.open, of.handshaking, of.accepted));
        until(|| within.tls.stats(), |of| seen(of) == Some((1, 1, 1)));
        until(|| within.tls.stats(), |of| seen(of) == Some((0, 0, 1)));
        assert_eq!(notes.server(), ["accepted", "failed dropped"]);
        notes.are(&["closing handshake, ended handshake aborted 0 0"]);
    }
}

/// What is not over by then is dropped with its runtime.
fn on_a_runtime_for(time: Duration, future: impl Future<Output: Send> + Send + 'static) {
    let of_its_own = thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.spawn(future);
        thread::sleep(time);
    });
    of_its_own.join().unwrap();
}

/// Who is behind a balancer is known only when that has told.
#[test]
fn a_client_that_is_refused_behind_a_balancer_is_told_of_as_failed() {
    let notes = Notes::default();
    let builder = support::pair(support::VERSIONS[1])
        .0
        .observer(notes.clone());
    let builder = builder.connection_filter(|client| match client.ip().is_loopback() {
        true => Admission::Admit,
        false => Admission::Refuse,
    });
    let within = Within::start(builder, |tls, tcp| async move {
        tls.serve(proxy_protocol::ProxyProtocol::new(tcp), app())
            .await
            .unwrap();
    });
    let mut client = RawTcp::connect(within.addr).unwrap();
    client
        .send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        .unwrap();
    client.finish();
    notes.are(&["closing handshake, ended handshake drain_cut 0 0"]);
    assert_eq!(notes.server(), ["accepted", "failed refused"]);
    let stats = within.tls.stats();
    assert_eq!((stats.refused, stats.accepted, stats.open), (1, 1, 0));
    assert!(adds_up(&stats), "{stats:?}");
}

#[test]
fn servers_that_share_a_shutdown_have_each_their_own() {
    for version in Version::BOTH {
        let builder = || {
            support::pair(support::VERSIONS[version as usize])
                .0
                .lame_duck(Duration::ZERO)
        };
        let (first, second) = (Notes::default(), Notes::default());
        let one = Within::start(builder().observer(first.clone()), |tls, tcp| async move {
            tls.serve(tcp, app()).await.unwrap();
        });
        let other = builder().observer(second.clone()).shutdown_with(&one.tls);
        let other = Within::start(other, |tls, tcp| async move {
            tls.serve(tcp, app()).await.unwrap();
        });
        let client = |of: &Within, requests| {
            let options = wire::Options::new().version(version).http1();
            let mut client = Client::connect_with(of.addr, &options).unwrap();
            for _ in 0..requests {
                client.get("/").unwrap();
            }
            client
        };
        let (mut a, mut b) = (client(&one, 1), client(&other, 2));
        // Of both.
        assert_eq!((one.tls.stats().open, other.tls.stats().requests), (2, 3));
        other.tls.shutdown();
        assert!(a.finish().is_proper() && b.finish().is_proper());
        a.close().unwrap();
        b.close().unwrap();
        one.closed(PATIENCE);
        first.are(&["established, request, closing draining, ended draining clean 1 0"]);
        second.are(&["established, request, request, closing draining, ended draining clean 2 0"]);
        let all = ["LameDuck", "Draining", "Deadline", "Closed"].map(|of| format!("phase {of}"));
        for notes in [first, second] {
            until(|| notes.phases(), |of| *of == all);
            assert_eq!(notes.server()[0], "accepted");
        }
    }
}

/// Panics at everything that it is told, and counts.
#[derive(Clone, Default)]
struct Panics(Arc<Mutex<BTreeMap<&'static str, u32>>>);

impl Panics {
    fn at(&self, event: &'static str) {
        let mut told = self.0.lock().unwrap();
        *told.entry(event).or_default() += 1;
        drop(told);
        panic!("an observer may, at {event}");
    }
}

impl Observer for Panics {
    fn accepted(&self, _: Option<SocketAddr>) {
        self.at("accepted");
    }
    fn handshake_failed(&self, _: &HandshakeFailed<'_>) {
        self.at("failed");
    }
    fn established(&self, _: &TlsConnection) {
        self.at("established");
    }
    fn request(&self, _: &TlsConnection) {
        self.at("request");
    }
    fn request_failed(&self, _: &TlsConnection) {
        self.at("request failed");
    }
    fn closing(&self, _: &TlsConnection, _: Cause) {
        self.at("closing");
    }
    fn ended(&self, _: &TlsConnection, _: &Ended) {
        self.at("ended");
    }
    fn phase(&self, _: Phase) {
        self.at("phase");
    }
}

#[test]
fn an_observer_that_panics_harms_no_connection() {
    everywhere(|server, version| {
        let observer = Panics::default();
        let told = observer.0.clone();
        let served = Served::start(server, version, app(), |of| of.observer(observer));
        RawTcp::connect(served.within.addr)
            .unwrap()
            .close()
            .unwrap();
        let (mut client, mut h2) = (served.client(), served.h2());
        // It panics while the handler's panic unwinds.
        let mut panicking = served.client();
        ask(&mut panicking, "/panic");
        panicking.finish();
        panicking.close().unwrap();
        for _ in 0..2 {
            assert_eq!(client.get("/").unwrap().text(), "hello\n");
            assert!(h2.h2_get("/").unwrap().is_complete());
        }
        served.tls().shutdown();
        assert!(client.finish().is_proper(), "{client:?}");
        assert!(h2.finish().is_proper(), "{h2:?}");
        client.close().unwrap();
        h2.conn.close().unwrap();
        let report = served.within.closed(PATIENCE);
        assert_eq!(
            (report.clean, report.truncated, report.given_up),
            (2, 0, 0),
            "{report}"
        );
        let all = [
            ("accepted", 4),
            ("closing", 4),
            ("ended", 4),
            ("established", 3),
            ("failed", 1),
            ("phase", 4),
            ("request", 5),
        ];
        until(
            || told.lock().unwrap().clone(),
            |of| *of == BTreeMap::from(all),
        );
    });
}
