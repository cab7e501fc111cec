//! Frames that ask for nothing: however many an idle HTTP/2 client sends of them, it stays idle.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use judge::{Then, alone, at_most, ends_properly_h2, everywhere, is_notified_within, start_h2};
use wire::{Frame, H2, kind, setting};

const TIMEOUT: Duration = Duration::from_millis(1000);
const LAME_DUCK: Duration = Duration::from_millis(250);
const LONG: Duration = Duration::from_secs(10);

/// One frame, and how many of them each write has.
type Flood = (fn() -> Frame, usize);

const FLOODS: [(&str, Flood); 13] = [
    ("a PING", (ping, 1)),
    ("8 PINGs", (ping, 8)),
    ("1,000 PINGs", (ping, 1000)),
    ("a PING's answer", (|| Frame::ping_ack([7; 8]), 1)),
    ("SETTINGS", (settings, 1)),
    ("20 SETTINGS", (settings, 20)),
    ("1,000 SETTINGS", (settings, 1000)),
    ("a WINDOW_UPDATE", (window_update, 1)),
    ("1,000 WINDOW_UPDATEs", (window_update, 1000)),
    ("a PRIORITY", (priority, 1)),
    ("1,000 PRIORITYs", (priority, 1000)),
    ("an unknown frame", (unknown, 1)),
    ("1,000 unknown frames", (unknown, 1000)),
];

fn ping() -> Frame {
    Frame::ping(*b"anybody?")
}

fn settings() -> Frame {
    Frame::settings(&[(setting::MAX_CONCURRENT_STREAMS, 100)])
}

fn window_update() -> Frame {
    Frame::window_update(0, 1)
}

/// It may name any stream, in any state (RFC 9113 5.3.2).
fn priority() -> Frame {
    Frame::new(kind::PRIORITY, 0, 101, [0, 0, 0, 0, 15])
}

/// A type that is not known is ignored, whatever it has inside (RFC 9113 4.1).
fn unknown() -> Frame {
    Frame::new(0xfa, 0, 0, [0; 64])
}

/// Sends the flood each 400 ms until the server has ended the connection, or for too long.
fn floods(h2: &mut H2, (frame, count): Flood, limit: Duration) {
    let frames = frame().encode().repeat(count);
    let begun = Instant::now();
    while !h2.conn.close_notified() && begun.elapsed() < limit {
        // Once the server has ended, it need not take them.
        if h2.conn.send(&frames).is_err() {
            break;
        }
        h2.pump_until(Duration::from_millis(400), |h2| h2.conn.close_notified());
    }
}

#[test]
fn they_keep_no_idle_connection_alive() {
    everywhere(
        &["--header-timeout-ms", "1000"],
        &FLOODS,
        |bed, version, flood| {
            let mut h2 = start_h2(bed, version);
            // It is idle when the answer is sent, which this process may be late to read.
            let since = h2.conn.now();
            assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
            floods(&mut h2, *flood, 3 * TIMEOUT);
            let ending = ends_properly_h2(&mut h2, Then::Closes);
            is_notified_within(&ending, since, (TIMEOUT * 9 / 10, at_most(TIMEOUT)));
            assert!(h2.goaways().iter().all(|(_, code)| *code == 0), "{h2:?}");
        },
    );
}

#[test]
fn nor_one_that_has_never_asked() {
    everywhere(
        &["--header-timeout-ms", "1000"],
        &FLOODS,
        |bed, version, flood| {
            let mut h2 = start_h2(bed, version);
            let since = h2.conn.now();
            floods(&mut h2, *flood, 3 * TIMEOUT);
            let ending = ends_properly_h2(&mut h2, Then::Closes);
            is_notified_within(&ending, since, (TIMEOUT * 9 / 10, at_most(TIMEOUT)));
            assert!(h2.goaways().iter().all(|(_, code)| *code == 0), "{h2:?}");
        },
    );
}

/// Whether the clients have asked for something, and whether they answer the server's PINGs: who
/// waits for an answer may wait for ever.
const CLIENTS: [(&str, (bool, bool)); 4] = [
    ("idle", (true, true)),
    ("idle, no answers", (true, false)),
    ("never asked", (false, true)),
    ("never asked, no answers", (false, false)),
];

#[test]
fn they_hold_up_no_shutdown() {
    let options = ["--no-ping", "--shutdown-timeout-ms", "8000"];
    alone(&options, &CLIENTS, |bed, version, (asked, answers)| {
        let mut clients = FLOODS.map(|(_, flood)| {
            let mut h2 = start_h2(&bed, version);
            h2.options.auto_ping_ack = *answers;
            if *asked {
                assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
            }
            (h2, flood)
        });
        thread::scope(|scope| {
            for (h2, flood) in &mut clients {
                scope.spawn(|| {
                    floods(h2, *flood, LONG);
                    ends_properly_h2(h2, Then::Closes);
                });
            }
            thread::sleep(Duration::from_millis(500));
            let exit = bed.stop(2 * LONG);
            assert!(!exit.report().contains("(deadline reached)"), "{exit:?}");
            assert!(exit.took <= LAME_DUCK + at_most(TIMEOUT), "{exit:?}");
            assert_eq!(exit.count("clean"), FLOODS.len() as u64, "{exit:?}");
        });
    });
}

/// Sends PINGs without a pause, so that there is always one more in the server's socket, until the
/// server has ended its side, or for too long. How long that took.
fn floods_without_a_pause(h2: &mut H2, limit: Duration) -> Duration {
    let pings = ping().encode().repeat(20_000);
    let begun = Instant::now();
    // The client has much to read before it would see that.
    let is_open = |h2: &H2| {
        h2.conn
            .server_row()
            .is_some_and(|row| row.state == ESTABLISHED)
    };
    while is_open(h2) && begun.elapsed() < limit {
        let _ = h2.conn.send_while_reading(&pings);
    }
    begun.elapsed()
}

/// As `/proc/net/tcp` has it.
const ESTABLISHED: u8 = 1;

/// So many would end the connection sooner: see `floods`.
const ANY_NUMBER: [&str; 3] = ["--no-ping", "--max-control-frames", "4294967295"];

/// What had arrived by the end is read, and no more: there is always more.
#[test]
fn nor_does_a_flood_without_a_pause() {
    let options = [&ANY_NUMBER[..], &["--header-timeout-ms", "1000"]].concat();
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(&bed, version);
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        let took = floods_without_a_pause(&mut h2, 2 * LONG);
        let in_time = took >= TIMEOUT * 9 / 10 && took <= TIMEOUT + LONG / 2;
        assert!(in_time, "{took:?}: {:?}", h2.conn.ending());
        assert!(h2.finish().is_proper(), "{h2:?}");
        assert_eq!(h2.goaways(), [(1, 0)], "{h2:?}");
    });
}

#[test]
fn nor_does_it_hold_up_a_shutdown() {
    let options = [&ANY_NUMBER[..], &["--shutdown-timeout-ms", "20000"]].concat();
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(&bed, version);
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(TIMEOUT / 2);
                bed.terminate();
            });
            let took = floods_without_a_pause(&mut h2, 2 * LONG);
            assert!(took <= LONG / 2, "{took:?}: {:?}", h2.conn.ending());
        });
        ends_properly_h2(&mut h2, Then::Closes);
        assert_eq!(h2.goaways(), [(1, 0)], "{h2:?}");
        let exit = bed.wait(LONG);
        assert!(!exit.report().contains("(deadline reached)"), "{exit:?}");
    });
}
