//! Readers that stop, and readers that are only slow: the write time-out must tell them apart,
//! over TCP and behind HTTP/2's flow control alike.

mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use testbed::Testbed;
use wire::{Client, Frame, H2, H2Options, Options, Version, setting};

/// The time-out that every testbed here is given.
const WRITE_TIMEOUT: Duration = Duration::from_millis(1500);
const OPTIONS: [&str; 2] = ["--write-timeout-ms", "1500"];
/// How soon, and how late, a stuck reader may be let go.
const LET_GO: (Duration, Duration) = (Duration::from_millis(1400), Duration::from_millis(2500));

/// More than all buffers on the way hold.
const MUCH: &str = "/bytes/60000000";
const LONG: Duration = Duration::from_secs(10);
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// Runs `scenario` for every server and version, all at once.
fn everywhere(scenario: impl Fn(&Testbed, Version) + Sync) {
    thread::scope(|scope| {
        for server in testbed::servers() {
            for version in Version::BOTH {
                let scenario = &scenario;
                scope.spawn(move || scenario(&Testbed::start(server, &OPTIONS), version));
            }
        }
    });
}

/// A client whose own buffers hold little.
fn small(version: Version) -> Options {
    Options::new().version(version).recv_buffer(32 << 10)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// A client with all of flow control wide open.
fn wide_open(bed: &Testbed, version: Version) -> H2 {
    let options = H2Options {
        settings: vec![(setting::INITIAL_WINDOW_SIZE, LARGEST_WINDOW)],
        ..H2Options::default()
    };
    let mut h2 = H2::connect_with(bed.addr, &small(version).h2(), options).unwrap();
    let more = LARGEST_WINDOW - 65_535;
    h2.send_frame(&Frame::window_update(0, more)).unwrap();
    h2
}

/// A client that answers everything, but opens no window until told to.
fn closed_window(bed: &Testbed, version: Version) -> H2 {
    let options = H2Options {
        auto_window_update: false,
        ..H2Options::default()
    };
    H2::connect_with(bed.addr, &small(version).h2(), options).unwrap()
}

fn assert_let_go(client: &Client, since: Instant) {
    let held = client.held_for(LET_GO.1.saturating_sub(since.elapsed()));
    assert!(
        held.is_some(),
        "not let go within {:?}: {client:?}",
        LET_GO.1
    );
    let took = since.elapsed();
    assert!(took >= LET_GO.0, "let go after {took:?}: {client:?}");
}

/// What the kernels had taken still arrives, and it can't be mistaken for all of it.
fn assert_cut_short(client: &mut Client) {
    let ending = client.finish();
    assert!(
        ending.is_clean_fin() && ending.alert.is_none(),
        "{ending:?}"
    );
    assert!(
        !ending.bytes.is_empty() && ending.bytes.len() < 60_000_000,
        "{ending:?}"
    );
}

#[test]
fn a_reader_that_stops_is_let_go() {
    everywhere(|bed, version| {
        let mut client = Client::connect_with(bed.addr, &small(version).http1()).unwrap();
        client.send(get(MUCH)).unwrap();
        assert_let_go(&client, Instant::now());
        assert_cut_short(&mut client);
    });
}

#[test]
fn a_reader_that_stops_half_way_is_let_go() {
    everywhere(|bed, version| {
        let mut client = Client::connect_with(bed.addr, &small(version).http1()).unwrap();
        client.send(get(MUCH)).unwrap();
        let taken = client.read_exactly(20_000_000, LONG).len();
        assert_eq!(taken, 20_000_000, "{client:?}");
        assert_let_go(&client, Instant::now());
        assert_cut_short(&mut client);
    });
}

#[test]
fn an_http2_reader_that_stops_is_let_go() {
    everywhere(|bed, version| {
        let mut h2 = wide_open(bed, version);
        h2.get(MUCH).unwrap();
        assert_let_go(&h2.conn, Instant::now());
        assert_cut_short(&mut h2.conn);
    });
}

/// It answers PINGs and SETTINGS, so that neither TCP nor keep-alive sees anything wrong with it.
#[test]
fn an_http2_reader_with_a_closed_window_is_let_go() {
    everywhere(|bed, version| {
        let mut h2 = closed_window(bed, version);
        let stream = h2.get(MUCH).unwrap();
        let since = Instant::now();
        let ending = h2.read_until_end(LET_GO.1);
        assert!(
            !ending.is_still_open(),
            "not ended within {:?}: {h2:?}",
            LET_GO.1
        );
        assert!(since.elapsed() >= LET_GO.0, "{:?}: {h2:?}", since.elapsed());
        let answer = h2.stream(stream);
        assert_eq!(
            (answer.status, answer.body.len()),
            (Some(200), 65_535),
            "{h2:?}"
        );
        assert!(!answer.is_complete(), "{h2:?}");
        // It does read, so that there is no excuse for any other end.
        assert!(ending.is_proper(), "{h2:?}");
        h2.conn.send_close_notify().unwrap();
        assert!(
            h2.conn.held_for(Duration::from_millis(500)).is_some(),
            "{h2:?}"
        );
    });
}

/// What a slow reader takes at a time.
const STEP: usize = 40_000;
/// How long it pauses: in a write time-out it takes far less than the kernel wants to see taken
/// before it calls a full socket writable again.
const PAUSE: Duration = Duration::from_millis(300);
/// The same over HTTP/2, where a PING has to come through within its time-out, too.
const H2_PAUSE: Duration = Duration::from_millis(100);
/// More than the buffers on the way hold, so that the server is blocked all the time.
const SIZE: usize = 16 << 20;

/// Calls `step` with the bytes to have been read by then, for longer than any time-out.
fn slowly(pause: Duration, mut step: impl FnMut(usize)) {
    let begun = Instant::now();
    let mut goal = 0;
    while begun.elapsed() < 4 * WRITE_TIMEOUT {
        goal += STEP;
        step(goal);
        thread::sleep(pause);
    }
}

#[test]
fn a_slow_reader_survives_and_gets_everything() {
    everywhere(|bed, version| {
        let mut client = Client::connect_with(bed.addr, &small(version).http1()).unwrap();
        client.send(get(&format!("/bytes/{SIZE}"))).unwrap();
        slowly(PAUSE, |goal| {
            let living = client.pump_until(LONG, |c| c.unread().len() >= goal);
            assert!(living, "{client:?}");
        });
        let response = client.read_response().unwrap();
        assert!(
            response.complete && response.body.len() == SIZE,
            "{client:?}"
        );
        assert_eq!(client.get("/").unwrap().text(), "hello\n", "{client:?}");
    });
}

#[test]
fn a_slow_http2_reader_survives_and_gets_everything() {
    everywhere(|bed, version| {
        let mut h2 = wide_open(bed, version);
        let stream = h2.get(&format!("/bytes/{SIZE}")).unwrap();
        slowly(H2_PAUSE, |goal| {
            let living = h2.pump_until(LONG, |h2| h2.stream(stream).body.len() >= goal);
            assert!(living, "{h2:?}");
        });
        let answer = h2.wait_stream(stream, LONG);
        assert!(answer.is_complete() && answer.body.len() == SIZE, "{h2:?}");
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
    });
}

/// What is sent to it takes seconds to arrive, and the PINGs behind it, which are to be answered within
/// one, do too.
#[test]
fn the_slowest_http2_reader_is_not_taken_for_dead() {
    const BEAT: Duration = Duration::from_millis(100);
    const BEATS: usize = 80;
    everywhere(|bed, version| {
        let mut h2 = wide_open(bed, version);
        let stream = h2.get(&format!("/bytes/{SIZE}")).unwrap();
        for n in 1..=BEATS {
            let living = h2.pump_until(LONG, |h2| h2.stream(stream).body.len() >= n * 10_000);
            assert!(living, "{h2:?}");
            thread::sleep(BEAT);
        }
        let answer = h2.wait_stream(stream, LONG);
        assert!(answer.is_complete() && answer.body.len() == SIZE, "{h2:?}");
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
    });
}

#[test]
fn a_slowly_opened_window_is_no_closed_one() {
    everywhere(|bed, version| {
        let mut h2 = closed_window(bed, version);
        let stream = h2.get(&format!("/bytes/{SIZE}")).unwrap();
        let open = |h2: &mut H2, by| {
            let both = [
                Frame::window_update(0, by),
                Frame::window_update(stream, by),
            ];
            h2.send_frames(&both).unwrap();
        };
        let opened = u32::try_from(STEP).unwrap();
        slowly(PAUSE, |goal| {
            let living = h2.pump_until(LONG, |h2| h2.stream(stream).body.len() >= goal);
            assert!(living, "{h2:?}");
            open(&mut h2, opened);
        });
        open(&mut h2, LARGEST_WINDOW / 2);
        let answer = h2.wait_stream(stream, LONG);
        assert!(answer.is_complete() && answer.body.len() == SIZE, "{h2:?}");
    });
}

/// A server that is slow is not a reader that is stuck.
#[test]
fn a_slow_handler_is_not_the_readers_fault() {
    everywhere(|bed, version| {
        let options = Options::new().version(version);
        thread::scope(|scope| {
            scope.spawn(|| {
                let options = options.clone().http1();
                let mut client = Client::connect_with(bed.addr, &options).unwrap();
                let response = client.get("/sleep/4000").unwrap();
                assert!(
                    response.complete && response.text() == "slept\n",
                    "{client:?}"
                );
                let response = client.get("/slow/2/2000").unwrap();
                assert!(
                    response.complete && response.body.len() == 2048,
                    "{client:?}"
                );
            });
            let options = options.clone().h2();
            let mut h2 = H2::connect_with(bed.addr, &options, H2Options::default()).unwrap();
            let slept = h2.h2_get("/sleep/4000").unwrap();
            assert!(slept.is_complete() && slept.text() == "slept\n", "{h2:?}");
            let slow = h2.h2_get("/slow/2/2000").unwrap();
            assert!(slow.is_complete() && slow.body.len() == 2048, "{h2:?}");
        });
    });
}
