//! Answers larger than the HTTP/2 window: they are in flight until the last of their frames is on
//! the wire, whatever the server has handed to its HTTP/2 library.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use judge::{
    Then, alone, at_most, ends_properly_h2, everywhere, is_notified_within, is_whole_h2, is_within,
    start_h2_window,
};
use testbed::{Exit, Testbed};
use wire::{Frame, H2, H2Options, Options, Version, kind, setting};

const LONG: Duration = Duration::from_secs(10);
/// Longer than the lame duck and a second of draining.
const PAUSE: Duration = Duration::from_millis(1600);

/// A path, the length of its answer, and the window at first.
type Case = (&'static str, usize, u32);

const CASES: [(&str, Case); 5] = [
    ("one frame, large", ("/full/1000000", 1_000_000, 16 << 10)),
    ("one frame", ("/full/16384", 16 << 10, 1 << 10)),
    ("one byte too many", ("/full/16385", 16_385, 16 << 10)),
    ("chunks", ("/bytes/100000", 100_000, 8 << 10)),
    ("a trailer", ("/trailers/20000", 20_000, 4 << 10)),
];

/// Asks, and reads what the window lets through.
fn asks(bed: &Testbed, version: Version, (path, length, window): Case) -> (H2, u32) {
    let mut h2 = start_h2_window(bed, version, window);
    let stream = h2.get(path).unwrap();
    let first = length.min(window as usize).min(65_535);
    let came = h2.pump_until(LONG, |h2| h2.stream(stream).body.len() == first);
    assert!(came, "{h2:?}");
    (h2, stream)
}

/// Opens the window in three steps, with a pause before each, and reads the answer.
fn reads_on(h2: &mut H2, stream: u32, length: usize) {
    let step = (length - h2.stream(stream).body.len()).div_ceil(3);
    for _ in 0..3 {
        h2.pump_until(PAUSE, |_| false);
        let goal = length.min(h2.stream(stream).body.len() + step);
        h2.open(stream, u32::try_from(step).unwrap()).unwrap();
        let came = h2.pump_until(LONG, |h2| h2.stream(stream).body.len() >= goal);
        assert!(came, "{h2:?}");
    }
    let answer = h2.wait_stream(stream, LONG);
    assert!(is_whole_h2(&answer, length), "{h2:?}");
}

/// Clean, truncated, and all.
fn counts(exit: &Exit) -> [u64; 3] {
    ["clean", "truncated", "connections ended"].map(|what| exit.count(what))
}

#[test]
fn they_arrive_whole_across_a_shutdown() {
    alone(&[], &CASES, |bed, version, case| {
        let (mut h2, stream) = asks(&bed, version, *case);
        bed.terminate();
        reads_on(&mut h2, stream, case.1);
        ends_properly_h2(&mut h2, Then::Closes);
        let exit = bed.wait(LONG);
        assert_eq!(counts(&exit), [1, 0, 1], "{exit:?}");
    });
}

#[test]
fn they_arrive_whole_across_the_keep_alive_time_out() {
    let timeout = Duration::from_millis(1000);
    everywhere(
        &["--header-timeout-ms", "1000"],
        &CASES,
        |bed, version, case| {
            let (mut h2, stream) = asks(bed, version, *case);
            reads_on(&mut h2, stream, case.1);
            let data = h2.frames().iter().filter(|(_, frame)| frame.is(kind::DATA));
            let since = data.map(|(at, _)| *at).max().unwrap();
            let ending = ends_properly_h2(&mut h2, Then::Closes);
            is_notified_within(&ending, since, (timeout / 2, at_most(timeout)));
        },
    );
}

/// Nobody opens the window: the deadline cuts the answer, and the report says so.
#[test]
fn what_the_deadline_cuts_is_reported() {
    alone(
        &["--shutdown-timeout-ms", "1500"],
        &CASES,
        |bed, version, case| {
            let (mut h2, stream) = asks(&bed, version, *case);
            let since = Instant::now();
            bed.terminate();
            ends_properly_h2(&mut h2, Then::Closes);
            let took = since.elapsed();
            assert!(!h2.stream(stream).is_complete(), "{h2:?}");
            assert!(took >= Duration::from_millis(1500), "{took:?}: {h2:?}");
            let exit = bed.wait(LONG);
            assert_eq!(counts(&exit), [0, 1, 1], "{exit:?}");
            assert!(exit.report().contains("(deadline reached)"), "{exit:?}");
        },
    );
}

/// Steps in which a live reader opens its windows, and how much there is to read.
const STEPS: [(&str, (u32, usize)); 4] = [
    ("1 KiB", (1 << 10, 20_000)),
    ("4 KiB", (4 << 10, 80_000)),
    ("16 KiB", (16 << 10, 300_000)),
    ("64 KiB", (64 << 10, 1_200_000)),
];

/// It takes several write time-outs, but something goes through in each of them.
#[test]
fn a_window_opened_little_by_little_is_progress() {
    everywhere(
        &["--write-timeout-ms", "1000"],
        &STEPS,
        |bed, version, (step, length)| {
            thread::scope(|scope| {
                for kind in ["full", "bytes"] {
                    scope.spawn(move || {
                        let mut h2 = start_h2_window(bed, version, 1 << 10);
                        let stream = h2.get(&format!("/{kind}/{length}")).unwrap();
                        let mut goal = 1 << 10;
                        while goal < *length {
                            h2.pump_until(Duration::from_millis(250), |_| false);
                            h2.open(stream, *step).unwrap();
                            goal += *step as usize;
                            let least = goal.min(*length);
                            let came =
                                h2.pump_until(LONG, |h2| h2.stream(stream).body.len() >= least);
                            assert!(came, "{h2:?}");
                        }
                        assert!(
                            is_whole_h2(&h2.wait_stream(stream, LONG), *length),
                            "{h2:?}"
                        );
                        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
                    });
                }
            });
        },
    );
}

/// The same with a window that is never opened, however little of the answer is left.
#[test]
fn a_window_that_stays_closed_is_none() {
    let timeout = Duration::from_millis(1000);
    everywhere(
        &["--write-timeout-ms", "1000"],
        &CASES,
        |bed, version, case| {
            let (mut h2, stream) = asks(bed, version, *case);
            let since = h2.conn.now();
            let stalled = |h2: &H2| h2.stream(stream).reset.is_some() || h2.conn.close_notified();
            h2.pump_until(at_most(timeout), stalled);
            assert!(!h2.stream(stream).is_complete(), "{h2:?}");
            // The stream may be reset or the connection ended: nothing else is going on.
            let reset = h2.stream(stream).reset.map(|(_, at)| at);
            let ended = h2.conn.ending().close_notify;
            is_within(
                reset.or(ended),
                since,
                (timeout * 3 / 4, at_most(timeout)),
                &h2,
            );
        },
    );
}

/// One stream is stalled by its own window; that of the connection is wide open.
#[test]
fn a_stalled_stream_is_reset_and_the_others_go_on() {
    let timeout = Duration::from_millis(1000);
    everywhere(
        &["--write-timeout-ms", "1000"],
        &[("", ())],
        |bed, version, ()| {
            let options = Options::new().version(version).h2();
            let mut h2 = H2::connect_with(bed.addr, &options, H2Options::window(16 << 10)).unwrap();
            h2.send_frame(&Frame::window_update(0, 1 << 30)).unwrap();
            let stalled = ["/bytes/100000", "/full/100000"].map(|path| h2.get(path).unwrap());
            // They are sent for longer than four write time-outs.
            let living = [
                h2.get("/slow/45/100").unwrap(),
                h2.get("/bytes/200000").unwrap(),
            ];
            let came = h2.pump_until(LONG, |h2| {
                stalled
                    .iter()
                    .all(|stream| h2.stream(*stream).body.len() == 16 << 10)
            });
            assert!(came, "{h2:?}");
            let since = h2.conn.now();
            while !living.iter().all(|stream| h2.stream(*stream).is_over()) {
                h2.pump_until(Duration::from_millis(250), |_| false);
                for stream in living {
                    if !h2.stream(stream).is_over() {
                        let open = Frame::window_update(stream, 10 << 10);
                        h2.send_frame(&open).unwrap();
                    }
                }
                assert!(h2.conn.ending().is_still_open(), "{h2:?}");
                assert!(h2.conn.now() - since < LONG, "{h2:?}");
            }
            for stream in stalled {
                let reset = h2.stream(stream).reset.map(|(_, at)| at);
                is_within(reset, since, (timeout * 3 / 4, at_most(timeout)), &h2);
            }
            let lengths = living.map(|stream| h2.stream(stream).body.len());
            assert_eq!(lengths, [45 * 1024, 200_000], "{h2:?}");
            assert!(living.iter().all(|s| h2.stream(*s).is_complete()), "{h2:?}");
            assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        },
    );
}

/// The others come one after the other, so that at moments no other is open.
#[test]
fn so_do_those_that_come_one_by_one() {
    let timeout = Duration::from_millis(1000);
    everywhere(
        &["--write-timeout-ms", "1000"],
        &[("streamed", "/bytes/100000"), ("whole", "/full/100000")],
        |bed, version, path| {
            let options = Options::new().version(version).h2();
            let mut h2 = H2::connect_with(bed.addr, &options, H2Options::window(16 << 10)).unwrap();
            h2.send_frame(&Frame::window_update(0, 1 << 30)).unwrap();
            let stalled = h2.get(path).unwrap();
            let held = |h2: &H2| h2.stream(stalled).body.len() == 16 << 10;
            assert!(h2.pump_until(LONG, held), "{h2:?}");
            let since = h2.conn.now();
            while h2.stream(stalled).reset.is_none() && h2.conn.now() - since < LONG {
                assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
                h2.pump_until(Duration::from_millis(50), |_| false);
            }
            let reset = h2.stream(stalled).reset.map(|(_, at)| at);
            is_within(reset, since, (timeout * 3 / 4, at_most(timeout)), &h2);
            assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        },
    );
}

/// A window may also be opened by SETTINGS, for every stream at once, and be narrowed before.
#[test]
fn settings_open_windows_too() {
    everywhere(
        &["--write-timeout-ms", "1000"],
        &[("one frame", "/full/40000"), ("chunks", "/bytes/40000")],
        |bed, version, path| {
            let mut h2 = start_h2_window(bed, version, 4 << 10);
            let stream = h2.get(path).unwrap();
            let mut window = 4 << 10;
            while h2.stream(stream).body.len() < 40_000 {
                h2.pump_until(Duration::from_millis(500), |_| false);
                let before = h2.stream(stream).body.len();
                window += 8 << 10;
                for size in [0, window] {
                    let settings = Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, size)]);
                    h2.send_frame(&settings).unwrap();
                }
                let more = h2.pump_until(LONG, |h2| h2.stream(stream).body.len() > before);
                assert!(more, "{h2:?}");
            }
            assert!(is_whole_h2(&h2.wait_stream(stream, LONG), 40_000), "{h2:?}");
        },
    );
}
