//! Requests that race the shutdown, and many connections at once. Each request is answered whole or
//! refused with no byte of an answer, cleanly; none is destroyed by a RST.

mod testbed;

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use testbed::Testbed;
use wire::{Client, Ending, H2, H2Options, Options, Pumped, Version};

/// The crate's default.
const LAME_DUCK: Duration = Duration::from_millis(250);
const LONG: Duration = Duration::from_secs(10);
const SIZE: usize = 100_000;
const PATH: &str = "/bytes/100000";

/// Runs `scenario` for every server and version, one after the other: these are about load.
fn everywhere(options: &[&str], mut scenario: impl FnMut(Testbed, Version)) {
    for server in testbed::servers() {
        for version in Version::BOTH {
            scenario(Testbed::start(server, options), version);
        }
    }
}

/// A client of either protocol, with the one request it makes.
enum Peer {
    One(Box<Client>),
    Two(Box<H2>, u32),
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Protocol {
    Http1,
    Http2,
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

impl Peer {
    fn connect(bed: &Testbed, version: Version, protocol: Protocol) -> std::io::Result<Self> {
        let options = Options::new().version(version);
        match protocol {
            Protocol::Http1 => {
                let client = Client::connect_with(bed.addr, &options.http1())?;
                Ok(Self::One(Box::new(client)))
            }
            Protocol::Http2 => {
                let h2 = H2::connect_with(bed.addr, &options.h2(), H2Options::default())?;
                Ok(Self::Two(Box::new(h2), 0))
            }
        }
    }

    /// A connection that has done one exchange.
    fn kept_alive(bed: &Testbed, version: Version, protocol: Protocol) -> Self {
        let mut peer = Self::connect(bed, version, protocol).unwrap();
        match &mut peer {
            Self::One(client) => assert!(client.get("/").unwrap().complete, "{client:?}"),
            Self::Two(h2, _) => assert!(h2.h2_get("/").unwrap().is_complete(), "{h2:?}"),
        }
        peer
    }

    fn send_request(&mut self) -> std::io::Result<()> {
        match self {
            Self::One(client) => {
                client.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            }
            Self::Two(h2, stream) => h2.get(PATH).map(|id| *stream = id),
        }
    }

    /// Reads to the end of the connection: whether the answer came whole, whether anything of it
    /// came, and the end.
    fn finish(&mut self) -> (bool, bool, Ending) {
        let (whole, any, ending) = match self {
            Self::One(client) => {
                let response = client.read_response().ok();
                let whole = response
                    .as_ref()
                    .is_some_and(|r| r.complete && r.body.len() == SIZE);
                (whole, response.is_some(), client.finish())
            }
            Self::Two(h2, stream) => {
                let ending = h2.finish();
                let answer = h2.stream(*stream);
                let whole = answer.is_complete() && answer.body.len() == SIZE;
                // A GOAWAY that covers the stream has promised an answer (RFC 9113 6.8).
                let promised = h2.goaway_received().is_none_or(|(last, _)| last >= *stream);
                (whole, answer.status.is_some() || promised, ending)
            }
        };
        self.close();
        (whole, any, ending)
    }

    fn answer_pings(&mut self) {
        if let Self::Two(h2, _) = self {
            while h2.pump(Instant::now()) == Pumped::Progress {}
        }
    }

    /// Reads to the end of an idle connection.
    fn told_to_go(&mut self) -> Ending {
        let ending = match self {
            Self::One(client) => client.finish(),
            Self::Two(h2, _) => h2.finish(),
        };
        self.close();
        ending
    }

    /// As a client does that has read the server's end.
    fn close(&mut self) {
        let client = match self {
            Self::One(client) => &mut **client,
            Self::Two(h2, _) => &mut h2.conn,
        };
        let _ = client.send_close_notify();
        let _ = client.close();
    }
}

/// A process, to be stopped and continued.
struct Process(String);

impl Process {
    /// The only child of this thread.
    fn own_child() -> Self {
        let children = fs::read_to_string("/proc/thread-self/children").unwrap();
        let mut children = children.split_whitespace();
        let child = children.next().unwrap().to_owned();
        assert_eq!(children.next(), None, "more than one child");
        Self(child)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0]).status();
        assert!(sent.unwrap().success());
    }

    fn stop(&self) {
        self.signal("-STOP");
        let stopped = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        };
        while !stopped() {
            thread::yield_now();
        }
    }
}

/// The server is stopped while requests and the signal arrive, so that it finds all of them when
/// it goes on: requests in its sockets, and a shutdown that begins.
#[test]
fn requests_in_the_sockets_are_answered() {
    for lame_duck in ["250", "0"] {
        for protocol in PROTOCOLS {
            everywhere(&["--lame-duck-ms", lame_duck], |bed, version| {
                let process = Process::own_child();
                let connect = |_| Peer::kept_alive(&bed, version, protocol);
                let mut peers: Vec<_> = (0..20).map(connect).collect();
                process.stop();
                for peer in &mut peers {
                    peer.send_request().unwrap();
                }
                bed.terminate();
                process.signal("-CONT");
                let name = format!("{protocol:?}, {version:?}, lame duck {lame_duck} ms");
                let ends = each(&mut peers, Peer::finish);
                let whole = ends.iter().filter(|(whole, _, _)| *whole).count();
                let first_bad = ends
                    .iter()
                    .find(|(whole, _, end)| !whole || !end.is_proper());
                assert!(first_bad.is_none(), "{name}: {whole} of 20: {first_bad:?}");
                let exit = bed.wait(LONG);
                assert!(exit.status.success(), "{exit:?}");
                assert_eq!(exit.count("clean"), 20, "{name}: {exit:?}");
            });
        }
    }
}

/// Does the same with each of `items`, on a few threads.
fn each<T: Send, R: Send>(items: &mut [T], act: impl Fn(&mut T) -> R + Sync) -> Vec<R> {
    let part = items.len().div_ceil(THREADS).max(1);
    thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = items
            .chunks_mut(part)
            .map(|part| scope.spawn(move || part.iter_mut().map(act).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    })
}

/// The same in the accept queue: connections that the kernel has made and nobody has accepted.
#[test]
fn connections_in_the_accept_queue_are_answered() {
    for protocol in PROTOCOLS {
        everywhere(&[], |bed, version| {
            let process = Process::own_child();
            process.stop();
            let name = format!("{protocol:?}, {version:?}");
            thread::scope(|scope| {
                let ask = || {
                    let mut peer = Peer::connect(&bed, version, protocol).unwrap();
                    peer.send_request().unwrap();
                    peer.finish()
                };
                let threads: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
                // The handshakes can't go on until the server does.
                thread::sleep(Duration::from_millis(100));
                bed.terminate();
                process.signal("-CONT");
                for thread in threads {
                    let (whole, _, ending) = thread.join().unwrap();
                    assert!(whole && ending.is_proper(), "{name}: {ending:?}");
                }
            });
            let exit = bed.wait(LONG);
            assert_eq!(exit.count("clean"), 20, "{name}: {exit:?}");
        });
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Fate {
    /// Answered whole, and ended properly.
    Whole,
    /// Ended properly with no byte of an answer.
    Closed,
    /// Nobody listened.
    NoListener,
    /// Reset in the listener's queue, before anybody could accept it.
    ///
    /// A kernel resets what comes between the last look at the queue and the close, and there is no call that
    /// does both: so that may befall a few. None of them was accepted.
    InQueue,
}

/// How many of fifty may come in the very moment of the close. A busy machine makes it a long one.
const MOST_IN_QUEUE: usize = 5;

/// When the requests are made: all over the shutdown, and thick and fast where draining begins.
fn moments() -> impl Iterator<Item = Duration> {
    let broad = (0..25).map(|n| Duration::from_millis(20 * n));
    let dense =
        (0..25).map(|n| EARLY + LAME_DUCK + Duration::from_millis(n) - Duration::from_millis(5));
    broad.chain(dense)
}

/// How long before the signal the first request is made.
const EARLY: Duration = Duration::from_millis(60);

#[test]
fn fifty_requests_racing_the_signal() {
    let mut bad = Vec::new();
    for protocol in PROTOCOLS {
        for kept_alive in [true, false] {
            for server in testbed::servers() {
                for version in Version::BOTH {
                    // The log tells who was accepted.
                    let bed = Testbed::start_talkative(server, &[]);
                    bad.extend(race(bed, version, protocol, kept_alive));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Runs the race and says what went wrong.
fn race(bed: Testbed, version: Version, protocol: Protocol, kept_alive: bool) -> Vec<String> {
    let name = format!("{protocol:?}, {version:?}, kept alive: {kept_alive}");
    let mut racers: Vec<_> = moments().map(|moment| (moment, None)).collect();
    if kept_alive {
        // All at once, so that no HTTP/2 connection waits for its PINGs to be answered.
        thread::scope(|scope| {
            for (_, early) in &mut racers {
                scope.spawn(|| *early = Some(Peer::kept_alive(&bed, version, protocol)));
            }
        });
    }
    let begun = Instant::now();
    let until = |moment: Duration| thread::sleep(moment.saturating_sub(begun.elapsed()));
    let run = |(moment, early): (Duration, Option<Peer>)| {
        until(moment);
        let fate = fate(|| early.map_or_else(|| Peer::connect(&bed, version, protocol), Ok));
        (moment, fate)
    };
    let fates: Vec<_> = thread::scope(|scope| {
        let run = &run;
        let start = |racer| scope.spawn(move || run(racer));
        let threads: Vec<_> = racers.into_iter().map(start).collect();
        until(EARLY);
        bed.terminate();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    println!("{name}: {:?}", tally(&fates));
    let exit = bed.wait(LONG);
    let cut = exit.count("truncated") + exit.count("aborted");
    let first = &fates[0].1;
    assert_eq!(*first, Ok(Fate::Whole), "{name}: long before the signal");
    assert!(exit.status.success() && cut == 0, "{name}: {exit:?}");
    let befell = |which: Fate| fates.iter().filter(|of| of.1 == Ok(which)).count();
    let (alone, in_queue) = (befell(Fate::NoListener), befell(Fate::InQueue));
    let accepted = exit.stderr.matches("connection ended").count();
    assert_eq!(accepted, fates.len() - alone - in_queue, "{name}: {exit:?}");
    assert!(in_queue <= MOST_IN_QUEUE, "{name}: {in_queue} were reset");
    let bad = |(moment, fate): (Duration, Result<Fate, Bad>)| {
        let Bad(what) = fate.err()?;
        Some(format!("{name}, at {moment:?}: {what}"))
    };
    fates.into_iter().filter_map(bad).collect()
}

/// How often each fate befell, and when, in milliseconds.
fn tally(fates: &[(Duration, Result<Fate, Bad>)]) -> BTreeMap<String, Vec<u128>> {
    let mut tally = BTreeMap::<_, Vec<_>>::new();
    for (moment, fate) in fates {
        let fate = fate
            .as_ref()
            .map_or_else(|_| "bad".into(), |fate| format!("{fate:?}"));
        tally.entry(fate).or_default().push(moment.as_millis());
    }
    tally
}

/// An end that no request may come to.
#[derive(Debug, Eq, PartialEq)]
struct Bad(String);

/// Whether it came to an end, whichever way that shows in a handshake.
fn is_end(error: &std::io::Error) -> bool {
    let kinds = [
        ErrorKind::ConnectionReset,
        ErrorKind::BrokenPipe,
        ErrorKind::UnexpectedEof,
    ];
    kinds.contains(&error.kind())
}

/// Makes one request.
fn fate(connect: impl FnOnce() -> std::io::Result<Peer>) -> Result<Fate, Bad> {
    let mut peer = match connect() {
        Ok(peer) => peer,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Ok(Fate::NoListener),
        // If it was accepted, the server knows of one more.
        Err(error) if is_end(&error) => return Ok(Fate::InQueue),
        Err(error) => return Err(Bad(format!("connecting: {error}"))),
    };
    // A failure to send shows in the end, too.
    let _ = peer.send_request();
    let (whole, any, ending) = peer.finish();
    match (whole, any) {
        _ if !ending.is_proper() => Err(Bad(format!("{ending:?}"))),
        (true, _) => Ok(Fate::Whole),
        (false, false) => Ok(Fate::Closed),
        (false, true) => Err(Bad(format!("cut short or promised: {ending:?}"))),
    }
}

/// How many threads share the work of many clients.
const THREADS: usize = 10;

/// Opens connections, half of each protocol, and answers PINGs until all threads have done so; then
/// gives the end of each.
fn idle_until_told(
    bed: &Testbed,
    version: Version,
    count: usize,
    ready: &AtomicUsize,
) -> Vec<Ending> {
    let mut peers = Vec::new();
    for n in 0..count {
        peers.push(Peer::kept_alive(bed, version, PROTOCOLS[n % 2]));
        peers.iter_mut().for_each(Peer::answer_pings);
    }
    ready.fetch_add(1, Ordering::AcqRel);
    while ready.load(Ordering::Acquire) < THREADS {
        peers.iter_mut().for_each(Peer::answer_pings);
        thread::sleep(Duration::from_millis(5));
    }
    peers.iter_mut().map(Peer::told_to_go).collect()
}

#[test]
fn five_hundred_idle_connections_are_all_told() {
    everywhere(&[], |bed, version| {
        let ready = AtomicUsize::new(0);
        let idle = || idle_until_told(&bed, version, 500 / THREADS, &ready);
        let (begun, ends) = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(idle)).collect();
            while ready.load(Ordering::Acquire) < THREADS
                && !threads.iter().any(|t| t.is_finished())
            {
                thread::sleep(Duration::from_millis(1));
            }
            let begun = Instant::now();
            bed.terminate();
            let ends = threads.into_iter().flat_map(|t| t.join().unwrap());
            (begun, ends.collect::<Vec<_>>())
        });
        let exit = bed.wait(LONG);
        let took = begun.elapsed();
        let bad: Vec<_> = ends.iter().filter(|end| !end.is_proper()).collect();
        assert!(bad.is_empty(), "{} of 500: {:?}", bad.len(), bad[0]);
        assert!(
            took < Duration::from_secs(2),
            "exit after {took:?}: {exit:?}"
        );
        assert_eq!(exit.count("clean"), 500, "{exit:?}");
    });
}
