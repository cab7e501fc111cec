//! Handshakes that fail or never end: the alert arrives, nobody else is held up, and whoever
//! speaks plain HTTP is answered in it.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{
    thread,
    time::{Duration, Instant},
};

use judge::{PROMPT, Then, alone, connect, everywhere, is_hello, is_let_go, is_within};
use rustls::AlertDescription;
use testbed::Testbed;
use wire::{Client, Connection, Ending, Layer, Options, RawTcp, Version};

const KIB: usize = 1 << 10;
const LONG: Duration = Duration::from_secs(10);
const BOTH: [Then; 2] = [Then::Closes, Then::IsSilent];

/// Something else works as ever.
fn is_serving(bed: &Testbed, version: Version) {
    let begun = Instant::now();
    let mut client = connect(bed, version);
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    assert!(begun.elapsed() < PROMPT, "{client:?}");
}

/// A fatal alert, the FIN, no RST, and nothing else.
fn is_refused<L: Layer>(client: &mut Connection<L>, then: Then) -> AlertDescription {
    let ending = client.finish();
    assert!(
        ending.is_clean_fin() && ending.close_notify.is_none(),
        "{ending:?}"
    );
    is_let_go(client, then);
    ending
        .alert_kind()
        .unwrap_or_else(|| panic!("no alert: {ending:?}"))
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 3, 1], &length[..], body].concat()
}

/// Bytes that are no ClientHello.
fn no_hellos() -> [(&'static str, Vec<u8>); 5] {
    [
        (
            "a message of no known kind",
            record(22, &[&[77, 0, 0, 60], &[0xff; 60][..]].concat()),
        ),
        (
            "a ClientHello of junk",
            record(22, &[&[1, 0, 0, 60], &[0xff; 60][..]].concat()),
        ),
        ("application data", record(23, &[7; 64])),
        ("a record of no known kind", record(99, &[7; 64])),
        ("no record", vec![0x80; 64]),
    ]
}

#[test]
fn what_is_no_client_hello_is_refused_by_an_alert() {
    everywhere(&[], &no_hellos(), |bed, version, bytes| {
        for then in BOTH {
            let mut client = RawTcp::connect(bed.addr).unwrap();
            client.send(bytes).unwrap();
            is_refused(&mut client, then);
        }
        is_serving(bed, version);
    });
}

/// rustls has no alert for a message of 16 MiB; the end is as clean as any.
#[test]
fn a_message_that_is_too_long_ends_cleanly() {
    everywhere(&[], &[("", ())], |bed, _, ()| {
        let mut client = RawTcp::connect(bed.addr).unwrap();
        let much = vec![b'x'; 256 * KIB];
        client
            .send([record(22, &[0xff; 64]), much].concat())
            .unwrap();
        let ending = client.finish();
        assert!(
            ending.is_clean_fin() && ending.close_notify.is_none(),
            "{ending:?}"
        );
        is_let_go(&mut client, Then::Closes);
    });
}

#[test]
fn much_behind_a_bad_client_hello_destroys_no_alert() {
    everywhere(&[], &no_hellos(), |bed, _, bytes| {
        for _ in 0..10 {
            let mut client = RawTcp::connect(bed.addr).unwrap();
            let much = vec![b'x'; 256 * KIB];
            client.send([bytes.clone(), much].concat()).unwrap();
            is_refused(&mut client, Then::Closes);
        }
    });
}

#[test]
fn no_common_protocol_is_refused_by_an_alert() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        for then in BOTH {
            let options = Options::new().version(version).alpn(&["foo"]);
            let mut client = Client::open(bed.addr, &options).unwrap();
            client.handshake().unwrap_err();
            let alert = is_refused(&mut client, then);
            assert_eq!(alert, AlertDescription::NoApplicationProtocol);
        }
    });
}

/// A ClientHello as of TLS 1.1: the server's is the next version up.
fn old_hello(addr: std::net::SocketAddr) -> Vec<u8> {
    let mut hello = Client::open(addr, &Options::new().tls12())
        .unwrap()
        .encrypt_only("");
    // The version of the record, the one of the hello, and those in supported_versions.
    hello[9..11].copy_from_slice(&[3, 2]);
    let versions = [0, 43, 0, 3, 2, 3, 3];
    let at = hello.windows(versions.len()).position(|w| w == versions);
    if let Some(at) = at {
        hello[at + 6] = 2;
    }
    hello
}

#[test]
fn no_common_version_is_refused_by_an_alert() {
    everywhere(&[], &[("", ())], |bed, _, ()| {
        for then in BOTH {
            let mut client = RawTcp::connect(bed.addr).unwrap();
            client.send(old_hello(bed.addr)).unwrap();
            assert_eq!(
                is_refused(&mut client, then),
                AlertDescription::ProtocolVersion
            );
        }
    });
}

/// The last flight of the handshake is garbage: by then the alert may be encrypted.
#[test]
fn a_corrupt_last_flight_is_refused_by_an_alert() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        for then in BOTH {
            let mut client = Client::open(bed.addr, &Options::new().version(version)).unwrap();
            let hello = client.encrypt_only("");
            client.send_raw(hello).unwrap();
            client.send_corrupt_record().unwrap();
            client.send_raw(vec![23; 256 * KIB]).unwrap();
            is_refused(&mut client, then);
        }
    });
}

type Stall = fn(&mut Client);

/// Where a handshake may stall.
const STALLS: [(&str, Stall); 4] = [
    ("nothing sent", |_| ()),
    ("a byte", |client| client.send_raw([22]).unwrap()),
    ("half a ClientHello", |client| {
        client.send_half_client_hello().unwrap()
    }),
    ("no Finished", |client| {
        let hello = client.encrypt_only("");
        client.send_raw(hello).unwrap();
    }),
];

fn stall(bed: &Testbed, version: Version, stall: Stall) -> Client {
    let mut client = Client::open(bed.addr, &Options::new().version(version)).unwrap();
    stall(&mut client);
    client
}

const TIMEOUT: [&str; 2] = ["--handshake-timeout-ms", "700"];
/// How soon and how late that may strike.
const LIMITS: (Duration, Duration) = (Duration::from_millis(600), Duration::from_millis(1500));

fn ends_in_time(ending: &Ending, since: Duration) {
    assert!(ending.is_clean_fin(), "{ending:?}");
    is_within(ending.ended_at(), since, LIMITS, ending);
}

#[test]
fn a_stalled_handshake_is_let_go_and_holds_up_nobody() {
    everywhere(&TIMEOUT, &STALLS, |bed, version, how| {
        for then in BOTH {
            // What the server says is not even listened to.
            let mut client = stall(bed, version, *how).into_raw();
            is_serving(bed, version);
            let ending = client.finish();
            ends_in_time(&ending, Duration::ZERO);
            is_let_go(&mut client, then);
        }
    });
}

#[test]
fn a_dripped_handshake_is_let_go() {
    everywhere(&TIMEOUT, &[("", ())], |bed, version, ()| {
        let mut client = Client::open(bed.addr, &Options::new().version(version)).unwrap();
        let hello = client.encrypt_only("");
        for byte in &hello {
            client.send_raw([*byte]).unwrap();
            if client.pump_until(Duration::from_millis(50), |c| !c.ending().is_still_open()) {
                break;
            }
        }
        ends_in_time(&client.ending(), Duration::ZERO);
        is_let_go(&mut client, Then::Closes);
    });
}

#[test]
fn many_stalled_handshakes_hold_up_nobody() {
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let stalled: Vec<_> = (0..200)
            .map(|n| stall(bed, version, STALLS[n % STALLS.len()].1))
            .collect();
        for _ in 0..10 {
            is_serving(bed, version);
        }
        let last = stalled.last().unwrap();
        assert!(last.server_holds(), "{last:?}");
    });
}

/// Runs `scenario` on a server with two handshakes stalled and no place for a third.
fn at_the_cap(options: &[&str], scenario: impl Fn(Testbed, Version, [Client; 2]) + Sync) {
    let options = [&["--max-handshakes", "2"], options].concat();
    alone(&options, &[("", ())], |bed, version, ()| {
        let stalled = [2, 3].map(|n| {
            let client = stall(&bed, version, STALLS[n].1);
            assert!(client.wait_held(PROMPT), "{client:?}");
            client
        });
        scenario(bed, version, stalled);
    });
}

/// It has given way: its socket is closed at once, without a drain.
fn is_evicted<L: Layer>(client: &Connection<L>) {
    assert!(client.held_for(PROMPT).is_some(), "{client:?}");
}

/// It has kept its place, and goes on where it stopped.
fn goes_on(client: &mut Client) {
    client.handshake().unwrap();
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
}

#[test]
fn one_too_many_takes_the_place_of_the_one_that_is_silent_longest() {
    at_the_cap(&[], |bed, version, [first, mut second]| {
        is_serving(&bed, version);
        is_evicted(&first);
        goes_on(&mut second);
    });
}

#[test]
fn who_has_spoken_since_keeps_its_place() {
    at_the_cap(&[], |bed, version, [mut first, second]| {
        // An eighth of the time-out: who was answered has so long.
        thread::sleep(Duration::from_millis(1300));
        first.send_raw([0]).unwrap();
        is_serving(&bed, version);
        is_evicted(&second);
        assert!(first.server_holds(), "{first:?}");
    });
}

#[test]
fn who_says_nothing_at_all_gives_way_too() {
    alone(
        &["--max-handshakes", "4", "--handshake-timeout-ms", "2000"],
        &[("", ())],
        |bed, version, ()| {
            let silent: Vec<_> = (0..40).map(|_| stall(&bed, version, |_| ())).collect();
            for _ in 0..10 {
                is_serving(&bed, version);
            }
            silent[..20].iter().for_each(is_evicted);
        },
    );
}

/// A head that never ends is no better than a handshake that does not.
#[test]
fn half_a_plain_request_gives_way_too() {
    at_the_cap(&[], |bed, version, stalled| {
        let mut plain = RawTcp::connect(bed.addr).unwrap();
        plain.send("GET / HTTP/1.1\r\n").unwrap();
        assert!(plain.wait_held(PROMPT), "{plain:?}");
        is_evicted(&stalled[0]);
        let newer = stall(&bed, version, |_| ());
        is_evicted(&plain);
        assert!(newer.wait_held(PROMPT), "{newer:?}");
    });
}

#[test]
fn a_place_that_falls_free_is_taken_and_nobody_gives_way() {
    let ends: [Stall; 5] = [
        |client| client.close().unwrap(),
        |client| client.reset().unwrap(),
        |client| client.fin().unwrap(),
        |client| client.send_raw([0xff; 1000]).unwrap(),
        |client| goes_on(client),
    ];
    for end in ends {
        at_the_cap(&[], |bed, version, [mut first, mut second]| {
            // Half a ClientHello can't go on to its end.
            first.close().unwrap();
            is_evicted(&first);
            let mut third = stall(&bed, version, STALLS[3].1);
            assert!(third.wait_held(PROMPT), "{third:?}");
            end(&mut second);
            thread::sleep(Duration::from_millis(100));
            // Those that are established need no place any more.
            is_serving(&bed, version);
            is_serving(&bed, version);
            goes_on(&mut third);
        });
    }
}

#[test]
fn who_has_given_way_holds_up_no_shutdown() {
    at_the_cap(&[], |bed, version, [mut first, mut second]| {
        is_serving(&bed, version);
        is_evicted(&first);
        first.close().unwrap();
        second.close().unwrap();
        let exit = bed.stop(LONG);
        assert!(exit.status.success() && exit.took < PROMPT, "{exit:?}");
    });
}

#[test]
fn the_log_says_who_gave_way() {
    for server in testbed::servers() {
        let bed = Testbed::start_talkative(server, &["--max-handshakes", "1"]);
        let silent = stall(&bed, Version::Tls13, |_| ());
        assert!(silent.wait_held(PROMPT), "{silent:?}");
        is_serving(&bed, Version::Tls13);
        is_evicted(&silent);
        let exit = bed.stop(LONG);
        let said = exit
            .stderr
            .lines()
            .find(|line| line.contains("handshake_evicted"));
        assert!(said.is_some_and(|line| line.contains("DEBUG")), "{exit:?}");
        assert!(exit.stderr.contains("gave way to a newer one"), "{exit:?}");
    }
}

const PLAIN: [(&str, &str); 3] = [
    ("GET", "GET /path?q=1 HTTP/1.1\r\nHost: example.org\r\n\r\n"),
    (
        "HTTP/1.0",
        "GET /path?q=1 HTTP/1.0\r\nHost: example.org\r\n\r\n",
    ),
    (
        "POST",
        "POST /path?q=1 HTTP/1.1\r\nHost: example.org\r\nContent-Length: 262144\r\n\r\n",
    ),
];

/// Sends plain HTTP and reads the answer, and the end.
fn plain(bed: &Testbed, request: &[u8], then: Then) -> wire::Response {
    let mut client = RawTcp::connect(bed.addr).unwrap();
    client.send(request).unwrap();
    let response = client.read_response().unwrap();
    assert!(response.complete && response.says_close(), "{client:?}");
    let ending = client.finish();
    assert!(
        ending.is_clean_fin() && client.unread().is_empty(),
        "{ending:?}"
    );
    is_let_go(&mut client, then);
    response
}

fn with_body(request: &str) -> Vec<u8> {
    let mut bytes = request.as_bytes().to_vec();
    if request.starts_with("POST") {
        bytes.resize(bytes.len() + 256 * KIB, b'x');
    }
    bytes
}

#[test]
fn plain_http_is_answered_in_http() {
    everywhere(&[], &PLAIN, |bed, version, request| {
        for then in BOTH {
            let response = plain(bed, &with_body(request), then);
            assert_eq!(
                (response.version.as_str(), response.status),
                ("HTTP/1.1", 400)
            );
            assert!(response.text().contains("https://"), "{response:?}");
            assert_eq!(response.header("location"), None);
        }
        is_serving(bed, version);
    });
}

#[test]
fn plain_http_is_redirected_where_that_is_wanted() {
    everywhere(
        &["--plain-http", "redirect"],
        &PLAIN,
        |bed, version, request| {
            let response = plain(bed, &with_body(request), Then::Closes);
            assert_eq!(response.status, 308, "{response:?}");
            let location = response.header("location");
            assert_eq!(
                location,
                Some("https://example.org/path?q=1"),
                "{response:?}"
            );
            // Without a host there is nowhere to redirect to.
            let response = plain(bed, b"GET / HTTP/1.0\r\n\r\n", Then::Closes);
            assert_eq!((response.status, response.header("location")), (400, None));
            is_serving(bed, version);
        },
    );
}

/// How much of a head there is must not matter, as long as there is no more to come.
#[test]
fn half_a_plain_request_is_answered_at_its_end() {
    let halves = ["G", "GET / HT", "GET / HTTP/1.1\r\nHost: exam"].map(|half| (half, half));
    everywhere(&[], &halves, |bed, _, half| {
        let mut client = RawTcp::connect(bed.addr).unwrap();
        client.send(half).unwrap();
        client.fin().unwrap();
        let response = client.read_response().unwrap();
        assert!(response.complete && response.status == 400, "{client:?}");
        let ending = client.finish();
        assert!(ending.is_clean_fin(), "{ending:?}");
        is_let_go(&mut client, Then::HasClosed);
    });
}

#[test]
fn an_endless_plain_head_is_answered() {
    everywhere(&[], &[("", ())], |bed, _, ()| {
        let mut head = b"GET / HTTP/1.1\r\nX-Large: ".to_vec();
        head.resize(512 * KIB, b'x');
        let response = plain(bed, &head, Then::Closes);
        assert_eq!(response.status, 400, "{response:?}");
    });
}

#[test]
fn half_a_plain_request_is_not_waited_for_for_ever() {
    let most = Duration::from_millis(5500);
    everywhere(&[], &[("", ())], |bed, version, ()| {
        let mut client = RawTcp::connect(bed.addr).unwrap();
        client.send("GET / HTTP/1.1\r\nHost: exam").unwrap();
        is_serving(bed, version);
        let ending = client.read_until_end(LONG);
        assert!(ending.is_clean_fin(), "{ending:?}");
        is_within(
            ending.ended_at(),
            Duration::ZERO,
            (Duration::ZERO, most),
            &ending,
        );
        is_let_go(&mut client, Then::Closes);
    });
}
