//! The GOAWAY that an idle HTTP/2 connection ends with: there is one, it names the last request, and
//! so the client knows exactly which of its requests may be sent again (RFC 9113 6.8).

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use judge::{
    Then, alone, at_most, connect_h2, ends_properly_h2, everywhere, fields, is_notified_within,
    start_h2,
};
use testbed::Testbed;
use wire::{Frame, H2, H2Options, Version, kind};

const TIMEOUT: Duration = Duration::from_millis(1000);
const LONG: Duration = Duration::from_secs(10);
const LAME_DUCK: Duration = Duration::from_millis(250);

/// How many requests were answered before, and the number of the last one's stream.
const BEFORE: [(&str, (u32, u32)); 3] = [("none", (0, 0)), ("one", (1, 1)), ("five", (5, 9))];

fn answered(bed: &Testbed, version: Version, requests: u32) -> H2 {
    let mut h2 = start_h2(bed, version);
    for _ in 0..requests {
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
    }
    h2
}

/// One GOAWAY, exact and without an error, and nothing behind it but close_notify.
fn says_goodbye_once(h2: &H2, last: u32) {
    assert_eq!(h2.goaways(), [(last, 0)], "{h2:?}");
    let frame = h2.frames().last().map(|(_, frame)| frame.clone());
    assert_eq!(
        frame.and_then(|frame| frame.goaway_fields()),
        Some((last, 0)),
        "{h2:?}"
    );
}

#[test]
fn one_at_the_keep_alive_time_out() {
    everywhere(
        &["--header-timeout-ms", "1000"],
        &BEFORE,
        |bed, version, (requests, last)| {
            let mut h2 = answered(bed, version, *requests);
            let since = h2.conn.now();
            let ending = ends_properly_h2(&mut h2, Then::Closes);
            is_notified_within(&ending, since, (TIMEOUT * 9 / 10, at_most(TIMEOUT)));
            says_goodbye_once(&h2, *last);
        },
    );
}

#[test]
fn one_when_draining_begins() {
    alone(&[], &BEFORE, |bed, version, (requests, last)| {
        let mut h2 = answered(&bed, version, *requests);
        let since = Instant::now();
        bed.terminate();
        ends_properly_h2(&mut h2, Then::Closes);
        let took = since.elapsed();
        assert!(
            took >= LAME_DUCK * 9 / 10 && took <= at_most(LAME_DUCK),
            "{took:?}: {h2:?}"
        );
        says_goodbye_once(&h2, *last);
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 1, "{exit:?}");
    });
}

/// A client that agreed on HTTP/2 and sent nothing: SETTINGS come first, whoever says them (RFC 9113 3.4).
#[test]
fn one_behind_settings_to_who_never_spoke() {
    alone(&[], &[("", ())], |bed, version, ()| {
        let mut h2 = connect_h2(&bed, version);
        h2.options = H2Options::silent();
        bed.terminate();
        ends_properly_h2(&mut h2, Then::Closes);
        says_goodbye_once(&h2, 0);
        let first = h2.frames().first().map(|(_, frame)| frame.clone());
        let greets = first.is_some_and(|frame| frame.is(kind::SETTINGS) && !frame.is_ack());
        assert!(greets, "{h2:?}");
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 1, "{exit:?}");
    });
}

/// Clients that answer nothing, not even a PING, are told no later.
#[test]
fn nobody_has_to_answer_for_it() {
    alone(&["--no-ping"], &[("", ())], |bed, version, ()| {
        let mut h2 = answered(&bed, version, 2);
        h2.options.auto_ping_ack = false;
        let since = Instant::now();
        bed.terminate();
        ends_properly_h2(&mut h2, Then::Closes);
        let took = since.elapsed();
        assert!(
            took <= LAME_DUCK + Duration::from_millis(900),
            "{took:?}: {h2:?}"
        );
        says_goodbye_once(&h2, 3);
        bed.wait(LONG);
    });
}

/// Every request is answered whole, or known to have been ignored: its number is higher than that of
/// the last GOAWAY.
fn is_settled(h2: &H2, stream: u32) {
    let answer = h2.stream(stream);
    let last = h2.goaways().last().map(|(last, _)| *last);
    let ignored = last.is_some_and(|last| stream > last);
    let nothing = answer.status.is_none() && answer.body.is_empty();
    let whole = answer.is_complete() && answer.text() == "hello\n";
    assert!(
        whole && !ignored || ignored && nothing,
        "stream {stream}: {h2:?}"
    );
    assert!(h2.goaways().iter().all(|(_, code)| *code == 0), "{h2:?}");
}

/// Sends POSTs as well: that they were ignored is what lets a client send them again.
fn crosses(h2: &mut H2) -> [u32; 2] {
    let get = h2.request(&fields("GET", "/"), true);
    let post = h2.request(&fields("POST", "/echo"), false);
    let body = Frame::data(post.stream, "hello\n", true);
    let streams = [get.stream, post.stream];
    // Whether they still get through is what this is about.
    let _ = h2.send_frames(&[get, post, body]);
    streams
}

#[test]
fn requests_that_cross_it_are_answered_or_known_to_be_ignored() {
    let offsets: Vec<_> = (-6..=6).map(|n| ("", n * 2)).collect();
    everywhere(
        &["--header-timeout-ms", "1000"],
        &offsets,
        |bed, version, offset| {
            for _ in 0..2 {
                let mut h2 = answered(bed, version, 1);
                let at = Duration::from_millis((1000 + offset) as u64);
                thread::sleep(at);
                let streams = crosses(&mut h2);
                let ending = h2.finish();
                assert!(ending.is_proper(), "{h2:?}");
                for stream in streams {
                    is_settled(&h2, stream);
                }
            }
        },
    );
}

#[test]
fn so_are_those_that_cross_it_when_draining_begins() {
    alone(&[], &[("", ())], |bed, version, ()| {
        let mut clients: Vec<_> = (0..26).map(|_| answered(&bed, version, 1)).collect();
        let since = Instant::now();
        bed.terminate();
        for (n, h2) in clients.iter_mut().enumerate() {
            let at = LAME_DUCK - Duration::from_millis(26) + Duration::from_millis(2) * n as u32;
            thread::sleep(at.saturating_sub(since.elapsed()));
            let streams = crosses(h2);
            assert_eq!(streams, [3, 5]);
        }
        for mut h2 in clients {
            let ending = h2.finish();
            assert!(ending.is_proper(), "{h2:?}");
            is_settled(&h2, 3);
            is_settled(&h2, 5);
        }
        bed.wait(LONG);
    });
}
