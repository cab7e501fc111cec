//! Slow readers over HTTP/1: they live as long as their kernel goes on acknowledging bytes, and what
//! the server's kernel still holds for them is not destroyed by the server's end.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::time::Duration;

use judge::{
    Then, alone, at_most, ends_properly, everywhere, get, is_hello, is_let_go, is_notified_within,
    is_whole, old_get,
};
use testbed::Testbed;
use wire::{Client, Options, Version};

const LONG: Duration = Duration::from_secs(30);
/// How often a paced reader reads.
const BEAT: Duration = Duration::from_millis(100);

/// A client that reads so many bytes a second, at most, and whose kernel holds little more than
/// `buffer`.
///
/// Its kernel acknowledges nothing while that is full: about every `buffer / rate` it has emptied,
/// and the server learns that somebody reads.
fn paced(bed: &Testbed, version: Version, rate: usize, buffer: usize) -> Client {
    let options = Options::new().version(version).http1().timeout(LONG);
    let options = options.recv_buffer(buffer).read_chunk(rate / 10);
    Client::connect_with(bed.addr, &options).unwrap()
}

/// Reads slowly until `done`, or until the end.
fn reads(client: &mut Client, done: impl Fn(&Client) -> bool) {
    let came = client.read_paced(BEAT, LONG, |client| done(client));
    assert!(came, "{client:?}");
}

/// Bytes a second, and the client's receive buffer: the pauses between acknowledgements come to
/// 0.2 s to 1.6 s.
const READERS: [(&str, (usize, usize)); 6] = [
    ("2 KB/s, 2 KiB", (2_000, 2 << 10)),
    ("5 KB/s, 2 KiB", (5_000, 2 << 10)),
    ("5 KB/s, 4 KiB", (5_000, 4 << 10)),
    ("20 KB/s, 8 KiB", (20_000, 8 << 10)),
    ("50 KB/s, 16 KiB", (50_000, 16 << 10)),
    ("100 KB/s, 32 KiB", (100_000, 32 << 10)),
];

/// The answer takes many write time-outs, and none passes without an acknowledgement.
#[test]
fn a_reader_that_takes_something_is_not_cut() {
    live(
        &["--write-timeout-ms", "2500"],
        &READERS,
        Duration::from_secs(9),
    );
}

/// 500 bytes a second need a longer time-out, because the kernel tells of them every five seconds.
#[test]
fn nor_is_the_slowest() {
    let readers = [("0.5 KB/s, 2 KiB", (500, 2 << 10))];
    live(
        &["--write-timeout-ms", "7500"],
        &readers,
        Duration::from_secs(17),
    );
}

/// Reads so slowly for `watched`, and then the rest at once.
fn live(options: &[&str], readers: &[(&str, (usize, usize))], watched: Duration) {
    alone(options, readers, |bed, version, (rate, buffer)| {
        let mut client = paced(&bed, version, *rate, *buffer);
        client.send(get("/bytes/2000000")).unwrap();
        let until = client.now() + watched;
        reads(&mut client, |client| client.now() >= until);
        assert!(client.ending().is_still_open(), "{client:?}");
        assert!(
            is_whole(&client.read_response().unwrap(), 2_000_000),
            "{client:?}"
        );
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    });
}

/// The same clients, when they stop: nothing is acknowledged any more.
#[test]
fn a_reader_that_stops_taking_is_let_go() {
    let timeout = Duration::from_millis(1000);
    everywhere(
        &["--write-timeout-ms", "1000"],
        &READERS,
        |bed, version, (_, buffer)| {
            let mut client = paced(bed, version, 100_000, *buffer);
            client.send(get("/bytes/2000000")).unwrap();
            reads(&mut client, |client| client.unread().len() > 50_000);
            let held = client.held_for(at_most(timeout));
            assert!(
                held.is_some_and(|held| held >= timeout / 4),
                "{held:?}: {client:?}"
            );
        },
    );
}

/// Reads an answer of 300,000 bytes at 20 KB/s: it takes 15 s, of which the server needs the
/// fewest to hand the rest to its kernel. `middle` comes once so much has been read.
fn tail(bed: &Testbed, version: Version, request: &str, middle: usize, then: impl Fn()) -> Client {
    let mut client = paced(bed, version, 20_000, 4 << 10);
    client.send(request).unwrap();
    reads(&mut client, |client| client.unread().len() >= middle);
    then();
    reads(&mut client, |client| client.unread().len() >= 300_000);
    assert!(
        is_whole(&client.read_response().unwrap(), 300_000),
        "{client:?}"
    );
    client
}

/// The request, and how much has been read when the signal comes. Less than 128 KiB is left at last,
/// which the kernel takes.
fn middles() -> [(&'static str, (String, usize)); 4] {
    let sized = get("/bytes/300000");
    [
        ("early", (sized.clone(), 20_000)),
        ("half-way", (sized.clone(), 150_000)),
        ("late", (sized, 190_000)),
        ("until the end", (old_get("/chunked/300000"), 150_000)),
    ]
}

#[test]
fn a_tail_in_the_kernel_survives_a_shutdown() {
    alone(
        &["--shutdown-timeout-ms", "30000"],
        &middles(),
        |bed, version, (request, middle)| {
            let mut client = tail(&bed, version, request, *middle, || bed.terminate());
            ends_properly(&mut client, Then::Closes);
            let exit = bed.wait(LONG);
            assert_eq!(exit.count("clean"), 1, "{exit:?}");
            assert!(!exit.report().contains("(deadline reached)"), "{exit:?}");
        },
    );
}

#[test]
fn and_the_keep_alive_time_out() {
    let timeout = Duration::from_millis(1000);
    alone(
        &["--header-timeout-ms", "1000"],
        &[("", ())],
        |bed, version, ()| {
            let mut client = tail(&bed, version, &get("/bytes/300000"), 0, || {});
            let since = client.now();
            let ending = ends_properly(&mut client, Then::Closes);
            // The time-out may have begun while the last bytes were on their way.
            is_notified_within(&ending, since, (Duration::ZERO, at_most(timeout)));
        },
    );
}

/// The server half-closes while most of the answer is in the kernel, and the client still sends.
#[test]
fn and_an_end_after_the_last_answer() {
    alone(&[], &[("", ())], |bed, version, ()| {
        let last = get("/bytes/300000").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let mut client = paced(&bed, version, 20_000, 4 << 10);
        client.send(last).unwrap();
        let mut sent = 0;
        while client.unread().len() < 300_000 {
            sent += 20_000;
            let goal = sent.min(300_000);
            reads(&mut client, |client| client.unread().len() >= goal);
            // Pipelined behind the last answer, which nobody reads: it must not become a RST.
            let _ = client.send(get("/"));
        }
        assert!(
            is_whole(&client.read_response().unwrap(), 300_000),
            "{client:?}"
        );
        let ending = client.finish();
        assert!(ending.is_proper(), "{ending:?}");
        is_let_go(&mut client, Then::Closes);
    });
}

/// A reader that stops for good while the kernel holds the rest is let go, too, and not called
/// clean.
#[test]
fn a_tail_that_nobody_takes_is_bounded() {
    let options = [
        "--write-timeout-ms",
        "1000",
        "--shutdown-timeout-ms",
        "20000",
    ];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut client = paced(&bed, version, 100_000, 4 << 10);
        client.send(get("/bytes/100000")).unwrap();
        reads(&mut client, |client| client.unread().len() >= 20_000);
        bed.terminate();
        // The write time-out, the bound of the flush, and a drain with a silent peer.
        let exit = bed.wait(Duration::from_millis(250 + 1000 + 5000 + 2000 + 2000));
        assert_eq!(exit.count("clean"), 0, "{exit:?}");
        assert_eq!(exit.count("connections ended"), 1, "{exit:?}");
    });
}
