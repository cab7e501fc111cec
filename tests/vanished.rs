//! Clients whose machine vanishes: of what the server sends nothing is acknowledged from then on, and
//! neither a FIN nor an RST comes.
//!
//! Each test runs once more in a network namespace of its own (`unshare -rn`), where a routing rule
//! swallows what clients send. Where the machine has no such thing it says so, and tests nothing.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    env,
    net::SocketAddr,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use judge::{connect, get, is_hello, post, start_h2};
use testbed::Testbed;
use wire::{Client, H2, Version};

/// Clients are at 127.0.0.1.
const HOST: [&str; 2] = ["--host", "127.0.0.3"];
const INSIDE: &str = "VANISHED_INSIDE";

/// The rule about addresses of this machine is made to come after one that may swallow.
const SETUP: &str = "ip link set lo up; ip rule add pref 10 lookup local; ip rule del pref 0";
const VANISH: &str = "ip rule add pref 5 from 127.0.0.1 to 127.0.0.3 blackhole";

/// Whether this is the run in a network of its own; else it has been done.
fn is_inside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = |command: &str| {
        let mut unshare = Command::new("unshare");
        let script = format!("{SETUP}; {command}");
        unshare.args(["-rn", "sh", "-ec", &script]).env(INSIDE, "1");
        unshare
    };
    let possible = unshare(VANISH).output();
    if !possible
        .as_ref()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("SKIPPED {test}: no network namespace with routing rules here: {possible:?}");
        return false;
    }
    let mut again = unshare("exec \"$0\" \"$@\"");
    again.arg(env::current_exe().unwrap());
    again.args([test, "--exact", "--include-ignored", "--nocapture"]);
    assert!(again.status().unwrap().success());
    false
}

fn clients_vanish() {
    let status = Command::new("sh").args(["-c", VANISH]).status();
    assert!(status.unwrap().success());
}

/// One client and what it is in the middle of.
struct Gone {
    name: String,
    client: Box<dyn Held>,
    released: Option<Duration>,
}

/// Whether the server still has its end, whichever protocol the client speaks.
trait Held {
    fn is_held(&self) -> bool;
    fn address(&self) -> SocketAddr;
}

impl Held for Client {
    fn is_held(&self) -> bool {
        self.server_holds()
    }

    fn address(&self) -> SocketAddr {
        self.local_addr()
    }
}

impl Held for H2 {
    fn is_held(&self) -> bool {
        self.conn.server_holds()
    }

    fn address(&self) -> SocketAddr {
        self.conn.local_addr()
    }
}

const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const ENDLESS: &str = "an answer without an end";

type Act<C> = fn(&mut C);

/// What a client may be in the middle of.
const HTTP1: [(&str, Act<Client>); 5] = [
    ("idle", |client| {
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"))
    }),
    ("a waiting handler", |client| {
        client.send(get("/sleep/900000")).unwrap()
    }),
    ("an upload", |client| {
        client.send(post("/echo-len", 1000) + "half").unwrap()
    }),
    ("a websocket", |client| {
        client.send(WEBSOCKET).unwrap();
        let answer = client.read_some(Duration::from_secs(5));
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{client:?}");
    }),
    (ENDLESS, |client| client.send(get("/sse")).unwrap()),
];

const HTTP2: [(&str, Act<H2>); 4] = [
    ("idle", |h2| {
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n")
    }),
    ("a waiting handler", |h2| {
        assert!(h2.get("/sleep/900000").is_ok())
    }),
    ("an upload", |h2| {
        let stream = h2.post("/echo-len").unwrap();
        h2.data(stream, b"half", false).unwrap();
    }),
    (ENDLESS, |h2| assert!(h2.get("/sse").is_ok())),
];

/// All of them, in the middle of it.
fn everybody(bed: &Testbed) -> Vec<Gone> {
    let mut all = Vec::new();
    for version in Version::BOTH {
        for (name, act) in HTTP1 {
            let mut client = connect(bed, version);
            act(&mut client);
            let name = format!("{version:?}, HTTP/1, {name}");
            all.push(Gone::new(name, client));
        }
        for (name, act) in HTTP2 {
            let mut h2 = start_h2(bed, version);
            act(&mut h2);
            let name = format!("{version:?}, HTTP/2, {name}");
            all.push(Gone::new(name, h2));
        }
    }
    // The requests are on their way.
    sleep(Duration::from_millis(500));
    all
}

impl Gone {
    fn new(name: String, client: impl Held + 'static) -> Self {
        Self {
            name,
            client: Box::new(client),
            released: None,
        }
    }
}

/// Waits until the server has let them all go, or has had long enough for it.
fn wait_released(all: &mut [Gone], most: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < most && all.iter().any(|gone| gone.released.is_none()) {
        for gone in all.iter_mut().filter(|gone| gone.released.is_none()) {
            gone.released = (!gone.client.is_held()).then(|| begun.elapsed());
        }
        sleep(Duration::from_millis(100));
    }
}

/// Everybody is let go within these times, for the reason that is so.
fn are_released(server: &str, options: &[&str], (least, most): (Duration, Duration)) {
    let options = [&HOST[..], &["--no-ping"], options].concat();
    let bed = Testbed::start_talkative(server, &options);
    let mut all = everybody(&bed);
    clients_vanish();
    wait_released(&mut all, most);
    let exit = bed.stop(Duration::from_secs(60));
    for gone in &all {
        let peer = format!("peer={} ", gone.client.address());
        let ended = |line: &&str| line.contains(&peer) && line.contains("connection ended");
        let line = exit.stderr.lines().find(ended);
        let line = line.unwrap_or_else(|| panic!("{}: not in the log", gone.name));
        println!("{server}, {}: {:?}", gone.name, gone.released);
        let released = gone.released;
        let in_time = released.is_some_and(|took| (least..=most).contains(&took));
        assert!(in_time, "{}: {released:?}: {line}", gone.name);
        // TCP asks while nothing waits to be acknowledged, else the write time-out watches.
        let cause = match gone.name.ends_with(ENDLESS) {
            true => "cause=stalled outcome=aborted",
            false => "cause=vanished outcome=aborted",
        };
        let honest = line.contains(cause);
        assert!(honest, "{}: {line}", gone.name);
    }
}

/// Asked after 1 s, and three times: 4 s. What waits to be acknowledged is looked at within 6 s, may
/// do so for 6, for 5 more when the rest is flushed, and for 2 in the drain.
#[test]
fn clients_that_vanish_are_let_go() {
    if !is_inside("clients_that_vanish_are_let_go") {
        return;
    }
    let options = ["--tcp-keepalive-ms", "1000", "--write-timeout-ms", "6000"];
    for server in testbed::servers() {
        let limits = (Duration::from_secs(3), Duration::from_secs(24));
        are_released(server, &options, limits);
        let back = VANISH.replace(" add ", " del ");
        let status = Command::new("sh").args(["-c", &back]).status();
        assert!(status.unwrap().success());
    }
}

/// Takes two minutes.
#[test]
#[ignore = "takes two minutes"]
fn clients_that_vanish_are_let_go_by_the_defaults() {
    if !is_inside("clients_that_vanish_are_let_go_by_the_defaults") {
        return;
    }
    // Or those that are idle would end by that.
    let options = ["--header-timeout-ms", "900000"];
    let limits = (Duration::from_secs(20), Duration::from_secs(150));
    for server in testbed::servers().iter().take(1) {
        are_released(server, &options, limits);
    }
}
