//! The last look at the socket: what the client had sent by the time the connection was to end is
//! answered, and what was accepted may finish its handshake and its first request.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use judge::{
    Then, alone, connect, ends_properly, ends_properly_h2, get, is_hello, is_whole, start_h2,
};
use testbed::Testbed;
use wire::{Client, H2, H2Options, Options, Version};

const KEEP_ALIVE: Duration = Duration::from_millis(1000);
const OPTIONS: [&str; 2] = ["--header-timeout-ms", "1000"];
const LONG: Duration = Duration::from_secs(10);

fn kept_alive(bed: &Testbed, version: Version) -> Client {
    let mut client = connect(bed, version);
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    client
}

fn kept_alive_h2(bed: &Testbed, version: Version) -> H2 {
    let mut h2 = start_h2(bed, version);
    assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}");
    h2
}

/// Connections that are kept alive, of both protocols, all asking the paused process for one thing.
struct Asking {
    clients: Vec<Client>,
    h2s: Vec<H2>,
}

impl Asking {
    fn of(bed: &Testbed, version: Version) -> Self {
        let mut clients: Vec<_> = (0..20).map(|_| kept_alive(bed, version)).collect();
        let mut h2s: Vec<_> = (0..10).map(|_| kept_alive_h2(bed, version)).collect();
        bed.pause();
        for client in &mut clients {
            client.send(get("/")).unwrap();
        }
        for h2 in &mut h2s {
            h2.get("/").unwrap();
        }
        Self { clients, h2s }
    }

    fn are_answered(&mut self) {
        let mut answered = (0, 0);
        for client in &mut self.clients {
            let answer = client.read_response();
            answered.0 += usize::from(answer.is_ok_and(|answer| is_hello(&answer, "hello\n")));
        }
        for h2 in &mut self.h2s {
            answered.1 += usize::from(h2.wait_stream(3, LONG).is_complete());
        }
        assert_eq!(
            answered,
            (20, 10),
            "{:?}, {:?}",
            self.clients[0],
            self.h2s[0]
        );
    }

    fn end_properly(&mut self) {
        for client in &mut self.clients {
            ends_properly(client, Then::Closes);
        }
        for h2 in &mut self.h2s {
            ends_properly_h2(h2, Then::Closes);
        }
    }
}

/// The process sleeps while the requests arrive and the time-out comes due: when it wakes, it finds
/// both.
#[test]
fn a_request_in_the_socket_at_the_keep_alive_time_out_is_answered() {
    let options = ["--no-ping", "--header-timeout-ms", "4000"];
    let keep_alive = Duration::from_millis(4000);
    alone(&options, &[("", ())], |bed, version, ()| {
        let since = Instant::now();
        let mut asking = Asking::of(&bed, version);
        assert!(since.elapsed() < keep_alive, "too slow to tell");
        // Past the time-out of the last of them.
        thread::sleep(keep_alive + keep_alive / 20);
        bed.resume();
        asking.are_answered();
        // There are clients that give up the answer at a GOAWAY before it.
        for h2 in &asking.h2s {
            assert_eq!(h2.goaways(), [], "{h2:?}");
        }
        asking.end_properly();
    });
}

/// The same when draining begins, with no lame duck to wait for what is on its way.
#[test]
fn a_request_in_the_socket_when_draining_begins_is_answered() {
    let options = ["--no-ping", "--lame-duck-ms", "0"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut asking = Asking::of(&bed, version);
        bed.terminate();
        thread::sleep(Duration::from_millis(50));
        bed.resume();
        asking.are_answered();
        asking.end_properly();
        let exit = bed.wait(LONG);
        // One client after the other says goodbye, and on a busy machine the last ones do so late.
        let sent = exit.count("clean") + exit.count("peer silent");
        assert_eq!(sent, 30, "{exit:?}");
    });
}

/// Whether the second request is written with the first one, or once that is being answered.
const PIPELINES: [(&str, bool); 2] = [("one write", true), ("two writes", false)];

/// The head of the first answer is out, and has not said that it is the last.
#[test]
fn a_request_behind_one_being_answered_when_draining_begins_is_answered_too() {
    alone(&["--lame-duck-ms", "0"], &PIPELINES, |bed, version, one| {
        let (first, second) = (get("/slow/20/50"), get("/"));
        let mut client = connect(&bed, version);
        client
            .send(if *one { first + &second } else { first })
            .unwrap();
        let begun = client.pump_until(LONG, |client| client.unread().len() > 1024);
        assert!(begun, "{client:?}");
        if !one {
            client.send(second).unwrap();
        }
        bed.terminate();
        let answer = client.read_response().unwrap();
        let whole = is_whole(&answer, 20 << 10);
        assert!(whole && !answer.says_close(), "{client:?}");
        let answer = client.read_response().unwrap();
        let last = is_hello(&answer, "hello\n") && answer.says_close();
        assert!(last, "{client:?}");
        ends_properly(&mut client, Then::Closes);
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 1, "{exit:?}");
    });
}

/// Nothing of the first answer is out: it says that it is the last, and the other is not answered.
#[test]
fn a_request_behind_one_at_work_when_draining_begins_is_known_not_to_be_answered() {
    alone(&["--lame-duck-ms", "0"], &[("", ())], |bed, version, ()| {
        let mut client = connect(&bed, version);
        client.send(get("/sleep/1000") + &get("/")).unwrap();
        bed.terminate();
        let answer = client.read_response().unwrap();
        let last = is_hello(&answer, "slept\n") && answer.says_close();
        assert!(last, "{client:?}");
        ends_properly(&mut client, Then::Closes);
        assert_eq!(client.unread(), b"", "{client:?}");
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 1, "{exit:?}");
    });
}

/// How long the server may need to see a request that has reached its socket, on a busy machine.
const UNSEEN: Duration = Duration::from_millis(50);
/// As `/proc/net/tcp` has it.
const ESTABLISHED: u8 = 1;

/// What became of a request that was sent about when the time-out was due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Answered,
    /// The connection had ended, or was ending, when it was sent.
    Crossed,
    /// It was there in time, and is lost.
    Lost,
}

fn races(bed: &Testbed, version: Version, at: Duration) -> Fate {
    let mut client = kept_alive(bed, version);
    thread::sleep(at);
    let _ = client.send(get("/"));
    thread::sleep(UNSEEN);
    // The kernel knows whether the server had ended its side by now, whenever this client looks.
    let open = client
        .server_row()
        .is_some_and(|row| row.state == ESTABLISHED);
    let answer = client.read_response();
    let ending = client.finish();
    assert!(ending.is_proper(), "{ending:?}");
    match answer {
        Ok(answer) => {
            assert!(is_hello(&answer, "hello\n"), "{ending:?}");
            Fate::Answered
        }
        Err(_) if open => Fate::Lost,
        Err(_) => {
            assert!(ending.bytes.ends_with(b"hello\n"), "{ending:?}");
            Fate::Crossed
        }
    }
}

/// 200 requests in either version, twenty at a time, each sent some milliseconds before or after the
/// time-out.
#[test]
fn a_request_at_the_end_of_keep_alive_is_answered_or_the_end_came_first() {
    alone(&OPTIONS, &[("", ())], |bed, version, ()| {
        thread::scope(|scope| {
            let racers: Vec<_> = (0..20)
                .map(|racer| {
                    let bed = &bed;
                    scope.spawn(move || {
                        let at =
                            |n| KEEP_ALIVE + Duration::from_millis(n) - Duration::from_millis(10);
                        let fates = (0..10).map(|n| races(bed, version, at((2 * n + racer) % 20)));
                        fates.collect::<Vec<_>>()
                    })
                })
                .collect();
            let fates: Vec<_> = racers.into_iter().flat_map(|r| r.join().unwrap()).collect();
            let count = |fate| fates.iter().filter(|f| **f == fate).count();
            let counts = [Fate::Answered, Fate::Crossed, Fate::Lost].map(count);
            // Between its last look and its FIN a busy machine may have let the server wait so long.
            assert!(counts[2] <= 2, "answered, crossed, lost: {counts:?}");
        });
    });
}

/// A protocol, and how long after the signal the rest of the handshake comes.
type Late = (&'static str, Duration);

const LATE: [(&str, Late); 4] = [
    ("HTTP/1.1", ("http/1.1", Duration::from_millis(300))),
    ("HTTP/1.1, later", ("http/1.1", Duration::from_millis(1500))),
    ("HTTP/2", ("h2", Duration::from_millis(300))),
    ("HTTP/2, later", ("h2", Duration::from_millis(1500))),
];

/// Clients that had sent their ClientHello when the signal came, and send the rest when draining has
/// begun: only the handshake's own time-out would be too late.
#[test]
fn handshakes_under_way_when_the_signal_comes_are_finished_and_answered() {
    alone(&[], &LATE, |bed, version, (protocol, late)| {
        let options = Options::new().version(version).alpn(&[*protocol]);
        let begun = (0..10).map(|_| begins(&bed, &options));
        let clients: Vec<_> = begun.collect();
        bed.terminate();
        thread::sleep(*late);
        let clients: Vec<_> = clients.into_iter().map(|c| asks(c, protocol)).collect();
        // At once: the server lets go of whom it does not hear for two seconds.
        thread::scope(|scope| {
            for mut client in clients {
                scope.spawn(move || client.is_answered());
            }
        });
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 10, "{exit:?}");
        assert!(!exit.report().contains("(deadline reached)"), "{exit:?}");
    });
}

/// A handshake that the server has begun, and the client has not ended.
fn begins(bed: &Testbed, options: &Options) -> Client {
    let mut client = Client::open(bed.addr, options).unwrap();
    let hello = client.encrypt_only("");
    client.send_raw(hello).unwrap();
    assert!(client.wait_held(LONG), "{client:?}");
    client
}

/// A client that has sent its first request.
enum Asked {
    One(Box<Client>),
    Two(Box<H2>),
}

/// Ends the handshake, and sends the first request with it.
fn asks(mut client: Client, protocol: &str) -> Asked {
    client.handshake().unwrap();
    if protocol == "h2" {
        let mut h2 = H2::start(client, H2Options::default()).unwrap();
        h2.get("/").unwrap();
        return Asked::Two(h2.into());
    }
    client.send(get("/")).unwrap();
    Asked::One(client.into())
}

impl Asked {
    fn is_answered(&mut self) {
        match self {
            Self::One(client) => {
                let answer = client.read_response().unwrap();
                let last = is_hello(&answer, "hello\n") && answer.says_close();
                assert!(last, "{client:?}");
                ends_properly(client, Then::Closes);
            }
            Self::Two(h2) => {
                assert!(h2.wait_stream(1, LONG).is_complete(), "{h2:?}");
                ends_properly_h2(h2, Then::Closes);
            }
        }
    }
}
