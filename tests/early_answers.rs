//! Uploads that go on after their answer: they are in use for as long as they move.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use judge::{
    Then, alone, at_most, connect, ends_properly, ends_properly_h2, everywhere, is_hello,
    is_notified_within, post, start_h2,
};
use testbed::{Exit, Testbed};
use wire::{Client, H2, Version};

const KEEP_ALIVE: Duration = Duration::from_millis(1000);
const OPTIONS: [&str; 2] = ["--header-timeout-ms", "1000"];
const LONG: Duration = Duration::from_secs(10);
const BEAT: Duration = Duration::from_millis(100);
/// How often the trickle drips: for longer than three keep-alive time-outs.
const DRIPS: usize = 35;

/// How much each drip is.
const SIZES: [(&str, usize); 2] = [("10 bytes", 10), ("4 KiB", 4 << 10)];

/// An upload whose answer has come already.
fn early(bed: &Testbed, version: Version, length: usize) -> Client {
    let mut client = connect(bed, version);
    client.send(post("/early/5", length)).unwrap();
    let answer = client.read_response().unwrap();
    assert!(answer.status == 202 && answer.complete, "{client:?}");
    client
}

/// Uploads the rest, which nothing may end before.
fn trickles(client: &mut Client, size: usize) {
    for _ in 0..DRIPS {
        client.pump_until(BEAT, |client| client.close_notified());
        assert!(client.ending().is_still_open(), "{client:?}");
        assert!(!client.close_notified(), "{client:?}");
        client.send("u".repeat(size)).unwrap();
    }
}

fn early_h2(bed: &Testbed, version: Version) -> (H2, u32) {
    let mut h2 = start_h2(bed, version);
    let stream = h2.post("/early/5").unwrap();
    let answer = h2.wait_status(stream, LONG);
    assert!(answer.status == Some(202), "{h2:?}");
    (h2, stream)
}

fn trickles_h2(h2: &mut H2, stream: u32, size: usize) {
    for n in 1..=DRIPS {
        h2.pump_until(BEAT, |h2| h2.conn.close_notified());
        let living = h2.conn.ending().is_still_open() && !h2.conn.close_notified();
        assert!(living && h2.stream(stream).reset.is_none(), "{h2:?}");
        h2.data(stream, &vec![b'u'; size], n == DRIPS).unwrap();
    }
    let answer = h2.wait_stream(stream, LONG);
    assert!(
        answer.is_complete() && answer.text() == "accepted\n",
        "{h2:?}"
    );
}

#[test]
fn they_outlive_the_keep_alive_time_out() {
    everywhere(&OPTIONS, &SIZES, |bed, version, size| {
        let mut client = early(bed, version, DRIPS * size);
        trickles(&mut client, *size);
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
        let since = client.now();
        let ending = ends_properly(&mut client, Then::Closes);
        is_notified_within(&ending, since, (KEEP_ALIVE / 2, at_most(KEEP_ALIVE)));
    });
}

#[test]
fn so_they_do_over_http2() {
    everywhere(&OPTIONS, &SIZES, |bed, version, size| {
        let (mut h2, stream) = early_h2(bed, version);
        trickles_h2(&mut h2, stream, *size);
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        let since = h2.conn.now();
        let ending = ends_properly_h2(&mut h2, Then::Closes);
        is_notified_within(&ending, since, (KEEP_ALIVE / 2, at_most(KEEP_ALIVE)));
    });
}

/// The shutdown waited for the upload, and for nothing else.
fn waited(exit: &Exit, since: Instant) {
    let took = since.elapsed();
    assert!(took >= BEAT * DRIPS as u32, "{took:?}: {exit:?}");
    assert_eq!(exit.count("clean"), 1, "{exit:?}");
    assert!(!exit.report().contains("(deadline reached)"), "{exit:?}");
}

#[test]
fn they_go_on_when_draining_has_begun() {
    alone(&[], &SIZES, |bed, version, size| {
        let mut client = early(&bed, version, DRIPS * size);
        let since = Instant::now();
        bed.terminate();
        trickles(&mut client, *size);
        ends_properly(&mut client, Then::Closes);
        waited(&bed.wait(LONG), since);
    });
}

#[test]
fn so_they_do_over_http2_when_draining_has_begun() {
    alone(&[], &SIZES, |bed, version, size| {
        let (mut h2, stream) = early_h2(&bed, version);
        let since = Instant::now();
        bed.terminate();
        trickles_h2(&mut h2, stream, *size);
        ends_properly_h2(&mut h2, Then::Closes);
        waited(&bed.wait(LONG), since);
    });
}

/// An upload that stops moving is let go.
#[test]
fn an_upload_that_stops_is_not_in_use() {
    let options = [OPTIONS[0], OPTIONS[1], "--write-timeout-ms", "1000"];
    everywhere(&options, &[("", ())], |bed, version, ()| {
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = early(bed, version, 1000);
                client.send("u").unwrap();
                let since = client.now();
                let ending = ends_properly(&mut client, Then::Closes);
                is_notified_within(&ending, since, (Duration::ZERO, at_most(2 * KEEP_ALIVE)));
            });
            let (mut h2, stream) = early_h2(bed, version);
            h2.data(stream, b"u", false).unwrap();
            let since = h2.conn.now();
            let ending = ends_properly_h2(&mut h2, Then::Closes);
            is_notified_within(&ending, since, (Duration::ZERO, at_most(2 * KEEP_ALIVE)));
        });
    });
}

/// So much more than the server's windows let through at first that it has to open them three times:
/// a part at a time, and longer than the keep-alive time-out after the last.
const BEYOND_THE_WINDOW: usize = (1 << 20) + (3 << 14);

/// Uploads as the server lets it, most of the time to wait.
fn uploads_slowly(h2: &mut H2) {
    let stream = h2.post("/early/1500").unwrap();
    let since = Instant::now();
    let mut left = BEYOND_THE_WINDOW;
    while left > 0 {
        let opens = h2.pump_until(LONG, |h2| h2.send_window(stream) > 0);
        assert!(opens, "{left} left: {h2:?}");
        let part = left.min(h2.send_window(stream) as usize).min(16 << 10);
        left -= part;
        h2.data(stream, &vec![b'u'; part], left == 0).unwrap();
    }
    assert!(since.elapsed() > 2 * KEEP_ALIVE, "no wait: {h2:?}");
    let answer = h2.wait_stream(stream, LONG);
    assert!(
        answer.is_complete() && answer.text() == "accepted\n",
        "{h2:?}"
    );
}

#[test]
fn an_upload_that_waits_for_the_servers_window_is_in_use() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        uploads_slowly(&mut h2);
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        ends_properly_h2(&mut h2, Then::Closes);
    });
}

#[test]
fn so_it_is_when_draining_has_begun() {
    alone(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(&bed, version);
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(KEEP_ALIVE / 2);
                bed.terminate();
            });
            uploads_slowly(&mut h2);
        });
        ends_properly_h2(&mut h2, Then::Closes);
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 1, "{exit:?}");
    });
}
