//! Answers that use up the task's coop budget, as those from a channel do: the time-outs of their
//! connections must come due all the same.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use judge::{Then, at_most, ends_properly, everywhere, get, is_notified_within, is_whole, old_get};
use testbed::Testbed;
use wire::{Client, Frame, H2, H2Options, Options, Owned, Version, setting};

const TIMEOUT: Duration = Duration::from_millis(1000);
/// In each case, of which there are six at once.
const CLIENTS: usize = 10;
const WRITE: [&str; 2] = ["--write-timeout-ms", "1000"];
const LONG: Duration = Duration::from_secs(10);
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// A client whose kernel takes much at once: the server's task is not held up before its budget is
/// used up.
fn roomy(version: Version) -> Options {
    Options::new().version(version).recv_buffer(1 << 20)
}

/// Sends its first request in one write with the end of the handshake, so that the server's task has
/// never waited for it before.
fn hurried(bed: &Testbed, options: &Options, request: &str) -> Client {
    let mut client = Client::open(bed.addr, options).unwrap();
    let hello = client.encrypt_only(request);
    client.send_raw(hello).unwrap();
    client.handshake().unwrap();
    client
}

/// They have all stopped reading: everybody is let go in time.
fn are_let_go(bed: &Testbed, clients: &[&Client]) {
    // By then the kernels have taken all they can.
    thread::sleep(TIMEOUT / 2);
    let since = Instant::now();
    let held = || {
        let owned = Owned::look();
        let held = clients
            .iter()
            .filter(|c| owned.has(bed.addr, c.local_addr()));
        held.copied().collect::<Vec<_>>()
    };
    while !held().is_empty() && since.elapsed() < at_most(TIMEOUT) {
        thread::sleep(Duration::from_millis(50));
    }
    let left = held();
    assert!(
        left.is_empty(),
        "{} of {CLIENTS} still held after {:?}: {:?}",
        left.len(),
        since.elapsed(),
        left[0]
    );
}

/// Streams, and what of them is read before the client stops.
const STREAMS: [(&str, (&str, usize)); 3] = [
    ("large chunks", ("/channel/500/16384", 0)),
    ("large chunks, some read", ("/channel/500/16384", 1_500_000)),
    ("small chunks", ("/channel/8000/1024", 0)),
];

#[test]
fn readers_that_stop_are_let_go() {
    everywhere(&WRITE, &STREAMS, |bed, version, (path, read)| {
        let begin = |n: usize| {
            let request = [get(path), old_get(path)][n % 2].clone();
            let mut client = hurried(bed, &roomy(version).http1(), &request);
            client.read_exactly(*read, LONG);
            client
        };
        let clients: Vec<_> = (0..CLIENTS).map(begin).collect();
        are_let_go(bed, &clients.iter().collect::<Vec<_>>());
    });
}

#[test]
fn http2_readers_that_stop_are_let_go() {
    everywhere(&WRITE, &STREAMS, |bed, version, (path, read)| {
        let options = H2Options {
            settings: vec![(setting::INITIAL_WINDOW_SIZE, LARGEST_WINDOW)],
            ..H2Options::default()
        };
        let more = Frame::window_update(0, LARGEST_WINDOW - 65_535);
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|_| H2::connect_with(bed.addr, &roomy(version).h2(), options.clone()).unwrap())
            .collect();
        for h2 in &mut clients {
            h2.send_frame(&more).unwrap();
            let stream = h2.get(path).unwrap();
            h2.pump_until(LONG, |h2| h2.stream(stream).body.len() >= *read);
        }
        are_let_go(bed, &clients.iter().map(|h2| &h2.conn).collect::<Vec<_>>());
    });
}

/// The answer has been read, and nothing more is asked for. Where in the budget the connection falls
/// idle depends on the number of chunks.
#[test]
fn idle_clients_are_ended_at_keep_alive() {
    // The longer of the two is the one that a timer set for the other must not swallow.
    let [write, ms] = WRITE;
    let options = [write, ms, "--header-timeout-ms", "1500"];
    let keep_alive = TIMEOUT * 3 / 2;
    everywhere(&options, &[("", ())], |bed, version, ()| {
        thread::scope(|scope| {
            for chunks in (100..=400).step_by(10) {
                scope.spawn(move || {
                    let request = get(&format!("/channel/{chunks}/1024"));
                    let options = Options::new().version(version).http1();
                    let mut client = hurried(bed, &options, &request);
                    let answer = client.read_response().unwrap();
                    assert!(is_whole(&answer, chunks * 1024), "{client:?}");
                    let since = client.now();
                    let ending = ends_properly(&mut client, Then::Closes);
                    is_notified_within(&ending, since, (keep_alive * 9 / 10, at_most(keep_alive)));
                });
            }
        });
    });
}
