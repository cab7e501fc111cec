//! More clients than there is room for: those that are idle make room, those in use are not touched.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use judge::{PROMPT, connect, get, is_hello, is_whole, is_whole_h2, start_h2};
use testbed::Testbed;
use wire::{Client, H2, RawTcp, Version};

const LONG: Duration = Duration::from_secs(20);
const DESCRIPTORS: usize = 200;

/// How a server comes to be full.
const FULL: [(&str, usize, &[&str]); 3] = [
    ("the default cap", DESCRIPTORS, &[]),
    (
        "no descriptors",
        DESCRIPTORS,
        &["--max-connections", "100000"],
    ),
    ("a cap", 4096, &["--max-connections", "100"]),
];

fn raise_limit() {
    rlimit::increase_nofile_limit(8192).unwrap();
}

/// Runs `scenario` on every server, however full, in both versions of TLS, one after the other.
fn when_full(options: &[&str], scenario: impl Fn(&Testbed, Version)) -> Vec<testbed::Exit> {
    raise_limit();
    let mut exits = Vec::new();
    for server in testbed::servers() {
        for (how, descriptors, full) in FULL {
            for version in Version::BOTH {
                println!("{server}, {how}, {version:?}");
                let options = [full, options].concat();
                let bed = Testbed::start_with_descriptors(server, descriptors, &options);
                scenario(&bed, version);
                exits.push(bed.stop(LONG));
            }
        }
    }
    exits
}

fn is_served(bed: &Testbed, version: Version) {
    let begun = Instant::now();
    let mut client = connect(bed, version);
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    assert!(begun.elapsed() < PROMPT, "{client:?}");
}

/// Every second one has asked nothing yet, and every second one of either kind reads no more.
fn idle(bed: &Testbed, version: Version, n: usize) -> Client {
    let mut client = connect(bed, version);
    if n % 2 == 0 {
        client.send(get("/")).unwrap();
        if n % 4 == 0 {
            assert!(is_hello(&client.read_response().unwrap(), "hello\n"));
        }
    }
    client
}

/// Something that is in use all the while.
fn in_use(bed: &Testbed, version: Version) -> (Client, H2) {
    let mut http1 = connect(bed, version);
    http1.send(get("/slow/80/50")).unwrap();
    let mut http2 = start_h2(bed, version);
    http2.get("/slow/80/50").unwrap();
    (http1, http2)
}

#[test]
fn four_hundred_idle_clients_lock_nobody_out() {
    let exits = when_full(&["--no-ping"], |bed, version| {
        let (mut http1, mut http2) = in_use(bed, version);
        let mut idle: Vec<_> = (0..400).map(|n| idle(bed, version, n)).collect();
        for _ in 0..80 {
            is_served(bed, version);
        }
        let response = http1.read_response().unwrap();
        assert!(is_whole(&response, 80 * 1024), "{http1:?}");
        let answer = http2.wait_stream(1, LONG);
        assert!(is_whole_h2(&answer, 80 * 1024), "{http2:?}");

        // The first has been idle longest. Whoever has given way was told.
        for client in idle.iter_mut().take(100) {
            let ending = client.finish();
            assert!(ending.is_proper(), "{ending:?}");
        }
        let last = idle.last().unwrap();
        assert!(last.server_holds(), "{last:?}");
        let before = bed.cpu_time();
        thread::sleep(Duration::from_secs(1));
        let used = bed.cpu_time() - before;
        assert!(used < Duration::from_millis(100), "{used:?}");
    });
    for exit in exits {
        assert!(exit.status.success(), "{exit:?}");
        let lines = exit.stderr.lines().count();
        assert!(lines < 15, "{lines}: {}", exit.stderr);
        assert_eq!(exit.stderr.matches("idle").count(), 1, "{}", exit.stderr);
    }
}

#[test]
fn idle_http2_clients_make_room_and_are_told() {
    when_full(&["--no-ping"], |bed, version| {
        let mut idle: Vec<_> = (0..300)
            .map(|n| {
                let mut h2 = start_h2(bed, version);
                if n % 2 == 0 {
                    h2.get("/").unwrap();
                    assert!(is_whole_h2(&h2.wait_stream(1, LONG), 6), "{h2:?}");
                }
                h2
            })
            .collect();
        for _ in 0..20 {
            is_served(bed, version);
        }
        for h2 in idle.iter_mut().take(50) {
            let said = h2.wait_goaway(LONG);
            let ending = h2.finish();
            assert!(said.is_some() && ending.is_proper(), "{h2:?}");
        }
    });
}

/// Runs `scenario` on a server that has room for four.
fn with_room_for_four(scenario: impl Fn(&Testbed, Version) + Sync) {
    let options = ["--max-connections", "4", "--no-ping"];
    judge::alone(&options, &[("", ())], |bed, version, ()| {
        scenario(&bed, version);
    });
}

#[test]
fn where_all_are_in_use_clients_wait_for_one_to_become_idle() {
    with_room_for_four(|bed, version| {
        let mut busy: Vec<_> = (0..4).map(|_| connect(bed, version)).collect();
        for (n, client) in busy.iter_mut().enumerate() {
            client
                .send(get(&format!("/sleep/{}", 1000 + 3000 * n.min(1))))
                .unwrap();
        }
        thread::sleep(Duration::from_millis(200));
        let begun = Instant::now();
        let mut newcomer = connect(bed, version);
        assert!(is_hello(&newcomer.get("/").unwrap(), "hello\n"));
        let waited = begun.elapsed();
        let due = Duration::from_millis(500)..Duration::from_millis(2000);
        assert!(due.contains(&waited), "{waited:?}");
        for client in &mut busy {
            assert!(
                is_hello(&client.read_response().unwrap(), "slept\n"),
                "{client:?}"
            );
        }
        assert!(busy[0].finish().is_proper(), "{:?}", busy[0]);
    });
}

#[test]
fn where_all_are_in_use_clients_wait_for_one_to_leave() {
    with_room_for_four(|bed, version| {
        let mut busy: Vec<_> = (0..4).map(|_| connect(bed, version)).collect();
        for client in &mut busy {
            client.send(get("/sleep/5000")).unwrap();
        }
        thread::sleep(Duration::from_millis(200));
        let addr: SocketAddr = bed.addr;
        thread::scope(|scope| {
            let newcomer = scope.spawn(|| {
                let mut newcomer = connect(bed, version);
                assert!(is_hello(&newcomer.get("/").unwrap(), "hello\n"), "{addr}");
                Instant::now()
            });
            thread::sleep(Duration::from_millis(500));
            assert!(!newcomer.is_finished());
            busy[3].reset().unwrap();
            let since = Instant::now();
            let served = newcomer.join().unwrap();
            assert!(served - since < PROMPT);
        });
    });
}

/// Handshakes that never end are neither idle nor in use: who has been silent for a while makes room.
#[test]
fn silent_handshakes_make_room_too() {
    with_room_for_four(|bed, version| {
        let mut busy: Vec<_> = (0..2).map(|_| connect(bed, version)).collect();
        for client in &mut busy {
            client.send(get("/sleep/8000")).unwrap();
        }
        thread::sleep(Duration::from_millis(200));
        // Two places, each free after an eighth of an eighth of the time-out.
        let half_open: Vec<_> = (0..6).map(|_| RawTcp::connect(bed.addr).unwrap()).collect();
        is_served(bed, version);
        drop(half_open);

        busy.push(connect(bed, version));
        busy[2].send(get("/sleep/8000")).unwrap();
        let half_open = RawTcp::connect(bed.addr).unwrap();
        assert!(half_open.wait_held(PROMPT), "{half_open:?}");
        let begun = Instant::now();
        let mut newcomer = connect(bed, version);
        assert!(is_hello(&newcomer.get("/").unwrap(), "hello\n"));
        let eighth = Duration::from_millis(10_000 / 8);
        assert!(begun.elapsed() < eighth + PROMPT, "{newcomer:?}");
        for client in &mut busy {
            assert!(
                is_hello(&client.read_response().unwrap(), "slept\n"),
                "{client:?}"
            );
        }
    });
}

/// A request that is there already when its connection has to make room is answered.
#[test]
fn what_has_arrived_is_answered() {
    with_room_for_four(|bed, version| {
        let mut idle: Vec<_> = (0..4).map(|_| connect(bed, version)).collect();
        for client in &mut idle {
            assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
        }
        bed.pause();
        let newcomer = RawTcp::connect(bed.addr).unwrap();
        idle[0].send(get("/")).unwrap();
        bed.resume();
        let answer = idle[0].read_response().unwrap();
        assert!(is_hello(&answer, "hello\n"), "{:?}", idle[0]);
        assert!(newcomer.wait_held(PROMPT), "{newcomer:?}");
    });
}
