//! A flood of handshakes that never end locks nobody out.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use judge::{PROMPT, is_hello};
use testbed::Testbed;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
};
use wire::{Client, Options, Version, half_client_hello};

const HALF_OPEN: usize = 2000;
const ASKED: usize = 60;
/// Descriptors of a server that has enough.
const MANY: usize = 8192;

/// Room for the descriptors of this process and of the servers that it starts.
fn raise_limit() {
    let limit = rlimit::increase_nofile_limit(8192).unwrap();
    assert!(limit >= 4096, "{limit} descriptors are too few");
}

/// Opens one after the other, for ever: as soon as it is closed there is the next.
async fn half_open(addr: SocketAddr, bytes: Vec<u8>) {
    loop {
        let Ok(mut tcp) = TcpStream::connect(addr).await else {
            continue;
        };
        let _ = tcp.write_all(&bytes).await;
        while tcp.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
    }
}

/// How long a good client takes from the first packet to the last byte of an answer.
fn ask(bed: &Testbed, version: Version) -> io::Result<Duration> {
    let begun = Instant::now();
    let options = Options::new().version(version).http1();
    let mut client = Client::connect_with(bed.addr, &options)?;
    assert!(is_hello(&client.get("/")?, "hello\n"), "{client:?}");
    Ok(begun.elapsed())
}

/// The median of those that were answered, and how many were not.
fn median(asked: Vec<io::Result<Duration>>) -> (Duration, usize) {
    let mut took: Vec<_> = asked.into_iter().filter_map(Result::ok).collect();
    took.sort();
    (took[took.len() / 2], ASKED - took.len())
}

/// The median without a flood, at a server beside in turn, so that what else the machine does counts in
/// both; the one in it, and how many failed then.
fn flooded(
    server: &str,
    descriptors: usize,
    options: &[&str],
    version: Version,
    bytes: &[u8],
) -> (Duration, Duration, usize) {
    raise_limit();
    let [quiet, bed] =
        [(); 2].map(|()| Testbed::start_with_descriptors(server, descriptors, options));
    let flood = Runtime::new().unwrap();
    for _ in 0..HALF_OPEN {
        flood.spawn(half_open(bed.addr, bytes.to_vec()));
    }
    thread::sleep(Duration::from_secs(1));
    // The first ones pay for what is lazy.
    drop((ask(&quiet, version), ask(&bed, version)));
    let both = (0..ASKED).map(|_| (ask(&quiet, version), ask(&bed, version)));
    let (without, during) = both.unzip();
    flood.shutdown_background();
    let ((without, _), (during, failed)) = (median(without), median(during));
    let n = bytes.len();
    println!("{server}, {version:?}, {n} bytes: {without:?}, and {during:?}, {failed} failed");
    (without, during, failed)
}

#[test]
fn two_thousand_half_open_handshakes_hold_up_nobody() {
    for server in testbed::servers() {
        for version in Version::BOTH {
            for bytes in [&[][..], &[22], &half_client_hello()] {
                let (without, during, failed) = flooded(server, MANY, &[], version, bytes);
                assert!(during < 3 * without && failed == 0);
            }
        }
    }
}

/// Each that is opened ends another, which opens the next, as fast as this machine can: a client that
/// is on it too may be silent for too long.
#[test]
fn more_than_the_cap_lock_nobody_out() {
    for server in testbed::servers() {
        let options = ["--max-handshakes", "1000"];
        let (_, during, failed) = flooded(server, MANY, &options, Version::Tls13, &[22]);
        assert!(during < PROMPT / 4 && failed <= ASKED / 10);
    }
}

/// The places of a server with few descriptors are all taken, and each newcomer takes one of them.
#[test]
fn where_there_are_few_descriptors_nobody_is_locked_out_either() {
    for server in testbed::servers() {
        let (_, during, failed) = flooded(server, 1000, &[], Version::Tls13, &half_client_hello());
        assert!(during < PROMPT && failed <= ASKED / 10);
    }
}

/// Honest clients come at once, more than there are places: none of them gives way to another.
#[test]
fn a_stampede_is_served_one_after_the_other() {
    const CLIENTS: usize = 300;
    for server in testbed::servers() {
        for options in [
            &["--max-connections", "60"][..],
            &["--max-handshakes", "20"],
        ] {
            let bed = Testbed::start_with_descriptors(server, MANY, options);
            let served = thread::scope(|scope| {
                let one = |n| {
                    let bed = &bed;
                    scope.spawn(move || {
                        let options = Options::new().version(Version::BOTH[n % 2]).http1();
                        let mut client = Client::connect_with(bed.addr, &options)?;
                        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
                        client.read_response()
                    })
                };
                let all: Vec<_> = (0..CLIENTS).map(one).collect();
                let ended = all.into_iter().map(|one| one.join().unwrap());
                ended
                    .filter(|answer| answer.as_ref().is_ok_and(|a| is_hello(a, "hello\n")))
                    .count()
            });
            assert_eq!(served, CLIENTS, "{server}, {options:?}");
        }
    }
}
