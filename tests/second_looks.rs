//! What is so when a time-out strikes may not be what was so when it was set: the kernel is asked, the
//! socket looked at, the machine asked again.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use judge::{
    PROMPT, Then, alone, at_most, connect, connect_h2, ends_properly, ends_properly_h2, everywhere,
    is_notified_within, is_whole_h2, post, start_h2, start_h2_window,
};
use wire::{Client, Frame, H2Options, PREFACE, Version};

const LONG: Duration = Duration::from_secs(15);
const WRITE_TIMEOUT: Duration = Duration::from_millis(1000);
const SHORT_WRITES: [&str; 2] = ["--write-timeout-ms", "1000"];

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A request whose body never comes, and close_notify, in one write. The handler ignores the body,
/// and nothing is read any more: what is waited for is over at the write time-out, and no timer is
/// set for the past.
#[test]
fn a_half_close_that_nobody_reads_behind_costs_no_time() {
    alone(&SHORT_WRITES, &[("", ())], |bed, version, ()| {
        let mut client = connect(&bed, version);
        let request = "GET /sleep/60000 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n";
        let request = client.encrypt_only(request);
        let notify = client.close_notify_bytes();
        client.send_raw([request, notify].concat()).unwrap();
        sleep(2 * WRITE_TIMEOUT);
        let before = bed.cpu_time();
        sleep(ms(1500));
        let took = bed.cpu_time() - before;
        assert!(took < ms(150), "{took:?}: {client:?}");
    });
}

/// A client that uploads without end and does not read: when the drain has discarded its share, the
/// answer is still in the kernel, and the reset destroys it.
#[test]
fn an_answer_that_the_end_of_the_drain_destroys_was_not_sent() {
    alone(
        &["--lame-duck-ms", "1500"],
        &[("", ())],
        |bed, version, ()| {
            let options = wire::Options::new()
                .version(version)
                .http1()
                .recv_buffer(4096);
            let mut client = Client::connect_with(bed.addr, &options).unwrap();
            let head = "POST /unread/100000 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                    content-length: 1099511627776\r\n\r\n";
            bed.terminate();
            client.send(head).unwrap();
            let part = vec![b'u'; 1 << 20];
            while client.send_for(&part, LONG).is_ok() {}
            let exit = bed.wait(LONG);
            let sent = exit.count("clean") + exit.count("peer silent") + exit.count("drain cut");
            assert_eq!((sent, exit.count("aborted")), (0, 1), "{exit:?}");
        },
    );
}

/// The client resets behind its close_notify, with its answer still in the kernel.
#[test]
fn a_reset_behind_close_notify_ends_the_drain() {
    alone(
        &["--write-timeout-ms", "9000"],
        &[("", ())],
        |bed, version, ()| {
            let before = bed.descriptors();
            let options = wire::Options::new()
                .version(version)
                .http1()
                .recv_buffer(4096);
            let mut client = Client::connect_with(bed.addr, &options).unwrap();
            client
                .send("GET /bytes/100000 HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .unwrap();
            sleep(ms(300));
            client.send_close_notify().unwrap();
            sleep(ms(500));
            client.reset().unwrap();
            let since = Instant::now();
            while bed.descriptors() > before {
                // The kernel is asked again after twice as long each time, at most the drain's silence.
                assert!(since.elapsed() < ms(2000) + PROMPT, "{client:?}");
                sleep(ms(20));
            }
        },
    );
}

/// A client whose machine is gone had acknowledged its answer: nobody waits for it to acknowledge the
/// goodbye, in which HTTP/2 has a GOAWAY.
#[test]
fn a_goodbye_to_nobody_is_not_waited_for() {
    alone(&["--no-ping"], &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(&bed, version);
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        sleep(ms(300));
        h2.conn.vanish().unwrap();
        bed.terminate();
        let since = Instant::now();
        let exit = bed.wait(LONG);
        assert!(since.elapsed() < ms(2250) + 2 * PROMPT, "{exit:?}");
        assert_eq!(exit.count("peer silent"), 1, "{exit:?}");
    });
}

/// The answer is out, its upload goes on: the deadline cuts that.
#[test]
fn an_upload_that_the_deadline_cuts_is_truncated() {
    alone(
        &["--shutdown-timeout-ms", "1000"],
        &[("", ())],
        |bed, version, ()| {
            let mut client = connect(&bed, version);
            client.send(post("/early/10", 1 << 20)).unwrap();
            assert_eq!(client.read_response().unwrap().status, 202, "{client:?}");
            bed.terminate();
            let since = Instant::now();
            while since.elapsed() < ms(1500) && client.send("uuuu").is_ok() {
                sleep(ms(50));
            }
            ends_properly(&mut client, Then::Closes);
            let exit = bed.wait(LONG);
            assert_eq!(exit.count("truncated"), 1, "{exit:?}");
        },
    );
}

/// The process sleeps for longer than the write time-out, and the window was opened meanwhile.
#[test]
fn a_window_that_was_opened_while_nobody_looked_is_open() {
    let options = ["--no-ping", "--write-timeout-ms", "2000"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2_window(&bed, version, 65_535);
        let stream = h2.get("/full/200000").unwrap();
        let came = h2.pump_until(LONG, |h2| h2.stream(stream).body.len() == 65_535);
        assert!(came, "{h2:?}");
        sleep(ms(500));
        bed.pause();
        h2.open(stream, 200_000).unwrap();
        sleep(ms(2500));
        bed.resume();
        let answer = h2.wait_stream(stream, LONG);
        assert!(is_whole_h2(&answer, 200_000), "{h2:?}");
    });
}

/// The server's PINGs are no answer: a half-closed client whose upload can't be complete any more is
/// let go, whether or not it is asked if it lives.
#[test]
fn half_an_upload_ends_in_time_with_pings_too() {
    let options = ["--write-timeout-ms", "2500"];
    everywhere(&options, &[("", ())], |bed, version, ()| {
        if version == Version::Tls12 {
            return;
        }
        let mut h2 = connect_h2(bed, version);
        h2.options = H2Options::silent();
        let request = h2.request(&judge::fields("POST", "/echo-len"), false);
        let part = Frame::data(request.stream, "12345", false);
        let frames = [Frame::settings(&[]), request, part];
        let frames: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        h2.conn.send([PREFACE, &frames].concat()).unwrap();
        let since = h2.conn.now();
        h2.conn.send_close_notify().unwrap();
        let ending = ends_properly_h2(&mut h2, Then::HasClosed);
        is_notified_within(&ending, since, (ms(0), at_most(ms(2500))));
    });
}

/// A client that agreed on HTTP/2 and never sent its preface is told all the same what was processed.
#[test]
fn goaway_before_the_preface() {
    alone(
        &["--header-timeout-ms", "1000"],
        &[("", ())],
        |bed, version, ()| {
            let mut h2 = connect_h2(&bed, version);
            h2.options = H2Options::silent();
            ends_properly_h2(&mut h2, Then::Closes);
            assert_eq!(h2.goaways(), [(0, 0)], "{h2:?}");
        },
    );
}

/// Only an upload is in flight, behind its answer: its connection is told at draining.
#[test]
fn goaway_while_an_upload_goes_on() {
    alone(&["--no-ping"], &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(&bed, version);
        let stream = h2.post("/early/10").unwrap();
        h2.data(stream, b"uuuu", false).unwrap();
        let answered = h2.pump_until(LONG, |h2| h2.stream(stream).end_stream.is_some());
        assert!(answered, "{h2:?}");
        bed.terminate();
        let since = Instant::now();
        while h2.goaways().is_empty() && since.elapsed() < ms(2500) {
            h2.data(stream, b"uuuu", false).unwrap();
            h2.pump_until(ms(100), |_| false);
        }
        assert!(!h2.goaways().is_empty(), "{h2:?}");
        h2.data(stream, b"uuuu", true).unwrap();
        ends_properly_h2(&mut h2, Then::Closes);
    });
}
