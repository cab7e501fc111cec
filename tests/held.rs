//! Connections that are held at a shutdown until their clients have been told, as far as that is
//! wanted: idle ones of HTTP/1 until one more answer, those of HTTP/2 until their last stream.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use judge::{
    PROMPT, Then, alone, connect, ends_properly, ends_properly_h2, everywhere, get, is_hello,
    old_get, start_h2,
};
use testbed::Testbed;
use wire::{Client, H2, Version};

const LONG: Duration = Duration::from_secs(15);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client whose first request was answered, and did not say that it was the last.
fn kept_alive(bed: &Testbed, version: Version) -> Client {
    let mut client = connect(bed, version);
    let answer = client.get("/").unwrap();
    assert!(is_hello(&answer, "hello\n"), "{client:?}");
    assert_eq!(answer.header("connection"), None, "{client:?}");
    client
}

fn kept_alive_h2(bed: &Testbed, version: Version) -> H2 {
    let mut h2 = start_h2(bed, version);
    assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
    h2
}

/// It asks once more, and is told by the answer.
fn is_told(client: &mut Client) {
    let answer = client.get("/").unwrap();
    assert!(is_hello(&answer, "hello\n"), "{client:?}");
    assert_eq!(answer.header("connection"), Some("close"), "{client:?}");
    ends_properly(client, Then::Closes);
}

fn is_open_for(client: &mut Client, time: Duration) {
    assert_eq!(client.wait_close_notify(time), None, "{client:?}");
}

/// So long after `since`, with what a busy machine adds.
fn is_after(since: Instant, least: Duration) {
    let took = since.elapsed();
    assert!(
        took >= least * 9 / 10 && took <= least + PROMPT,
        "{took:?} and not {least:?}"
    );
}

#[test]
fn idle_http1_connections_are_held_for_the_grace() {
    let options = [
        "--no-ping",
        "--idle-grace-ms",
        "3000",
        "--lame-duck-ms",
        "0",
    ];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut asks = kept_alive(&bed, version);
        let mut silent = kept_alive(&bed, version);
        let mut h2 = kept_alive_h2(&bed, version);
        let since = Instant::now();
        bed.terminate();
        // HTTP/2 has a GOAWAY, and need not be held.
        ends_properly_h2(&mut h2, Then::Closes);
        is_after(since, ms(0));
        is_open_for(&mut asks, ms(1500));
        is_told(&mut asks);
        ends_properly(&mut silent, Then::Closes);
        is_after(since, ms(3000));
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 3, "{exit:?}");
        assert!(!exit.report().contains("deadline"), "{exit:?}");
    });
}

/// When the last of them has been told, the shutdown does not wait for the rest of the grace.
#[test]
fn a_shutdown_ends_with_the_last_connection() {
    let options = ["--no-ping", "--idle-grace-ms", "9000"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut client = kept_alive(&bed, version);
        bed.terminate();
        is_open_for(&mut client, ms(700));
        let since = Instant::now();
        is_told(&mut client);
        bed.wait(LONG);
        is_after(since, ms(0));
    });
}

/// The keep-alive time-out goes on, and so does the deadline: held ones end before it, in order.
#[test]
fn nothing_is_held_for_longer_than_its_time_outs() {
    let keep_alive: &[&str] = &["--idle-grace-ms", "9000", "--header-timeout-ms", "2000"];
    let deadline: &[&str] = &["--idle-grace-ms", "9000", "--shutdown-timeout-ms", "4000"];
    for options in [keep_alive, deadline] {
        alone(options, &[("", ())], |bed, version, ()| {
            let mut client = kept_alive(&bed, version);
            let since = Instant::now();
            bed.terminate();
            ends_properly(&mut client, Then::Closes);
            is_after(since, ms(2000));
            let exit = bed.wait(LONG);
            assert_eq!(exit.count("clean"), 1, "{exit:?}");
            assert!(!exit.report().contains("deadline"), "{exit:?}");
        });
    }
}

#[test]
fn at_a_handover_everything_is_held() {
    let options = ["--no-ping", "--handover", "--header-timeout-ms", "6000"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut asks = kept_alive(&bed, version);
        let mut silent = kept_alive(&bed, version);
        let mut h2 = kept_alive_h2(&bed, version);
        let since = Instant::now();
        bed.terminate();
        is_open_for(&mut asks, ms(3000));
        is_told(&mut asks);
        assert!(h2.goaways().is_empty(), "{h2:?}");
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        ends_properly_h2(&mut h2, Then::Closes);
        assert_eq!(h2.goaways(), [(3, 0)], "{h2:?}");
        is_after(since, ms(3000));
        ends_properly(&mut silent, Then::Closes);
        is_after(since, ms(6000));
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 3, "{exit:?}");
    });
}

/// A GOAWAY behind an answer would cross a request of a client that does not wait for its answers. One
/// that turns out to wait is told.
#[test]
fn whose_requests_cross_answers_is_held_on() {
    let options = ["--no-ping", "--handover", "--header-timeout-ms", "9000"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = kept_alive_h2(&bed, version);
        bed.terminate();
        sleep(ms(300));
        let [slow, quick] = ["/sleep/200", "/"].map(|path| h2.get(path).unwrap());
        for stream in [quick, slow] {
            assert!(h2.wait_stream(stream, LONG).is_complete(), "{h2:?}");
        }
        let closed = h2.pump_until(ms(1500), |h2| h2.conn.close_notified());
        assert!(!closed && h2.goaways().is_empty(), "{h2:?}");
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        ends_properly_h2(&mut h2, Then::Closes);
        assert_eq!(h2.goaways(), [(7, 0)], "{h2:?}");
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 1, "{exit:?}");
    });
}

/// Idle ones get their GOAWAY while the server still accepts, and newcomers after their first request.
#[test]
fn goaway_in_the_lame_duck() {
    let options = ["--no-ping", "--lame-duck-goaway", "--lame-duck-ms", "3000"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = kept_alive_h2(&bed, version);
        let mut http1 = kept_alive(&bed, version);
        let since = Instant::now();
        bed.terminate();
        ends_properly_h2(&mut h2, Then::Closes);
        is_after(since, ms(0));
        assert_eq!(h2.goaways(), [(1, 0)], "{h2:?}");
        let mut late = start_h2(&bed, version);
        sleep(ms(200));
        assert!(late.h2_get("/").unwrap().is_complete(), "{late:?}");
        ends_properly_h2(&mut late, Then::Closes);
        // Whoever is told at work may be told in two steps.
        assert_eq!(late.goaways().last(), Some(&(1, 0)), "{late:?}");
        is_after(since, ms(200));
        is_told(&mut http1);
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 3, "{exit:?}");
    });
}

#[test]
fn goaway_waits_for_the_last_stream() {
    let options = ["--no-ping", "--patient-goaway", "--lame-duck-ms", "0"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(&bed, version);
        h2.get("/sleep/1500").unwrap();
        sleep(ms(200));
        bed.terminate();
        sleep(ms(600));
        // A new one beside the old one is answered too.
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        assert!(h2.goaways().is_empty(), "{h2:?}");
        assert!(h2.wait_stream(1, LONG).is_complete(), "{h2:?}");
        ends_properly_h2(&mut h2, Then::Closes);
        assert_eq!(h2.goaways(), [(3, 0)], "{h2:?}");
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 1, "{exit:?}");
    });
}

/// Without end it would not be told at all, and be cut by the deadline.
#[test]
fn who_is_never_idle_gets_goaway_at_half_time() {
    let options = [
        "--no-ping",
        "--patient-goaway",
        "--lame-duck-ms",
        "0",
        "--shutdown-timeout-ms",
        "6000",
    ];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(&bed, version);
        h2.get("/sse").unwrap();
        sleep(ms(200));
        let since = Instant::now();
        bed.terminate();
        assert!(h2.pump_until(LONG, |h2| !h2.goaways().is_empty()), "{h2:?}");
        is_after(since, ms(3000));
        drop(h2);
        bed.wait(LONG);
    });
}

/// Twenty connections over two seconds: not all in the same quarter of them.
#[test]
fn ends_are_spread_over_time() {
    let options = [
        "--no-ping",
        "--close-spread-ms",
        "2000",
        "--lame-duck-ms",
        "0",
    ];
    alone(
        &options,
        &[("HTTP/1.1", false), ("HTTP/2", true)],
        |bed, version, http2| {
            let mut http1s: Vec<_> = (0..20 * usize::from(!http2))
                .map(|_| kept_alive(&bed, version))
                .collect();
            let mut h2s: Vec<_> = (0..20 * usize::from(*http2))
                .map(|_| kept_alive_h2(&bed, version))
                .collect();
            bed.terminate();
            let since = Instant::now();
            let mut quarters = [0; 4];
            while since.elapsed() < ms(2000) {
                let quarter = since.elapsed().as_millis() as usize / 500;
                let before = http1s.len() + h2s.len();
                http1s.retain_mut(|client| client.wait_close_notify(ms(1)).is_none());
                h2s.retain_mut(|h2| !h2.pump_until(ms(1), |h2| h2.conn.close_notified()));
                quarters[quarter.min(3)] += before - http1s.len() - h2s.len();
            }
            assert!(quarters.iter().all(|count| *count >= 2), "{quarters:?}");
            let exit = bed.wait(LONG);
            assert_eq!(exit.count("clean"), 20, "{exit:?}");
        },
    );
}

/// Held to the end, they go one after the other before it: within 1.5 s until two before the deadline,
/// when a silent client could still be let go in time.
#[test]
fn ends_are_spread_over_the_last_of_a_handover() {
    let options = [
        "--no-ping",
        "--handover",
        "--close-spread-ms",
        "1500",
        "--lame-duck-ms",
        "0",
        "--shutdown-timeout-ms",
        "6000",
    ];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut http1s: Vec<_> = (0..10).map(|_| kept_alive(&bed, version)).collect();
        let mut h2s: Vec<_> = (0..10).map(|_| kept_alive_h2(&bed, version)).collect();
        let since = Instant::now();
        bed.terminate();
        let mut thirds = [0; 3];
        while !(http1s.is_empty() && h2s.is_empty()) {
            let before = http1s.len() + h2s.len();
            http1s.retain_mut(|client| client.wait_close_notify(ms(1)).is_none());
            h2s.retain_mut(|h2| !h2.pump_until(ms(1), |h2| h2.conn.close_notified()));
            let ended = before - http1s.len() - h2s.len();
            let took = since.elapsed();
            assert!(ended == 0 || took > ms(2400), "{ended} after {took:?}");
            assert!(took < ms(4000) + PROMPT, "{before} after {took:?}");
            let third = took.saturating_sub(ms(2500)).as_millis() as usize / 500;
            thirds[third.min(2)] += ended;
        }
        assert!(thirds.iter().all(|count| *count >= 3), "{thirds:?}");
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 20, "{exit:?}");
        assert!(!exit.report().contains("deadline"), "{exit:?}");
    });
}

#[test]
fn the_keep_alive_time_is_announced() {
    let options = ["--keep-alive-header-ms", "60000", "--lame-duck-ms", "2000"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut client = connect(&bed, version);
        let answer = client.get("/").unwrap();
        assert_eq!(
            answer.header("keep-alive"),
            Some("timeout=60"),
            "{client:?}"
        );
        assert_eq!(
            answer.header("connection"),
            Some("keep-alive"),
            "{client:?}"
        );
        // What closes anyway does not promise anything.
        let mut old = connect(&bed, version);
        old.send(old_get("/")).unwrap();
        let answer = old.read_response().unwrap();
        assert_eq!(answer.header("keep-alive"), None, "{old:?}");
        let mut closes = connect(&bed, version);
        let answer = closes.get("/close").unwrap();
        assert_eq!(answer.header("keep-alive"), None, "{closes:?}");
        bed.terminate();
        sleep(ms(300));
        let answer = client.get("/").unwrap();
        assert_eq!(answer.header("keep-alive"), None, "{client:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{client:?}");
    });
}

/// Nor is it to a client that says it leaves, or that is given a tunnel.
#[test]
fn the_keep_alive_time_is_not_announced_to_who_does_not_keep() {
    let closes = get("/").replace("\r\n\r\n", "\r\nConnection: x, Close\r\n\r\n");
    let cases = [
        ("Connection: close", ("GET", closes)),
        (
            "CONNECT",
            (
                "CONNECT",
                "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n".into(),
            ),
        ),
    ];
    let options = ["--keep-alive-header-ms", "60000"];
    everywhere(&options, &cases, |bed, version, (method, request)| {
        let mut client = connect(bed, version);
        client.send(request).unwrap();
        let answer = client.read_response_to(method, LONG).unwrap();
        assert_eq!(answer.status, 200, "{client:?}");
        assert_eq!(answer.header("keep-alive"), None, "{client:?}");
        let said = answer.header("connection");
        assert!(said.is_none_or(|said| said == "close"), "{client:?}");
    });
}

#[test]
fn a_shutdown_can_be_called_off_in_its_lame_duck() {
    let options = ["--no-ping", "--lame-duck-ms", "2000"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let ready = |status: u16| {
            let answer = connect(&bed, version).get("/ready").unwrap();
            assert_eq!(answer.status, status, "{answer:?}");
        };
        let mut client = kept_alive(&bed, version);
        let mut h2 = kept_alive_h2(&bed, version);
        for _ in 0..2 {
            bed.terminate();
            sleep(ms(300));
            ready(503);
            bed.call_off();
            sleep(ms(300));
            ready(200);
        }
        // Longer than the lame duck: nothing comes of it any more.
        is_open_for(&mut client, ms(2500));
        let answer = client.get("/").unwrap();
        assert_eq!(answer.header("connection"), None, "{client:?}");
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        let since = Instant::now();
        bed.terminate();
        ends_properly(&mut client, Then::Closes);
        ends_properly_h2(&mut h2, Then::Closes);
        is_after(since, ms(2000));
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 2, "{exit:?}");
    });
}

/// What was told, and asked, while another shutdown was in its lame duck does not count in this one.
#[test]
fn one_that_was_called_off_leaves_no_mark() {
    let options = [
        "--no-ping",
        "--handover",
        "--lame-duck-ms",
        "1000",
        "--shutdown-timeout-ms",
        "5000",
    ];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = kept_alive_h2(&bed, version);
        bed.terminate();
        is_ready(&bed, version, false);
        // The connection sees that it is to end.
        assert!(h2.ping([1; 8], LONG).unwrap().is_some(), "{h2:?}");
        bed.call_off();
        is_ready(&bed, version, true);
        assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
        // The server is done with that answer too: GOAWAY may follow one that it has just sent.
        assert!(h2.ping([2; 8], LONG).unwrap().is_some(), "{h2:?}");
        let since = Instant::now();
        bed.terminate();
        ends_properly_h2(&mut h2, Then::Closes);
        assert_eq!(h2.goaways(), [(3, 0)], "{h2:?}");
        // As long as anyone is held: until a silent client could still be let go in time.
        is_after(since, ms(4000));
        let exit = bed.wait(LONG);
        assert!(!exit.report().contains("deadline"), "{exit:?}");
    });
}

/// Waits until the server says of itself that it is ready, or not.
fn is_ready(bed: &Testbed, version: Version, ready: bool) {
    let since = Instant::now();
    let status = || connect(bed, version).get("/ready").unwrap().status;
    while (status() == 200) != ready {
        assert!(since.elapsed() < PROMPT, "still ready: {}", !ready);
    }
}

/// After the lame duck there is no way back, and nothing happens.
#[test]
fn it_cannot_be_called_off_later() {
    let options = [
        "--no-ping",
        "--lame-duck-ms",
        "0",
        "--idle-grace-ms",
        "2000",
    ];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut client = kept_alive(&bed, version);
        let since = Instant::now();
        bed.terminate();
        sleep(ms(300));
        bed.call_off();
        ends_properly(&mut client, Then::Closes);
        is_after(since, ms(2000));
        bed.wait(LONG);
    });
}
