//! The wire-level client, put to the test by servers which misbehave on purpose.
//!
//! Every other test believes what the client says about close_notify, FIN and RST; this is where it
//! earns that.

mod misbehave;

use std::io::{ErrorKind, Write};
use std::sync::{Arc, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use misbehave::{Peer, Server, serve_tls, server_config};
use rustls::AlertDescription;
use wire::{Client, End, Ending, Options, Version};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(5);
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn serve(behave: impl Fn(&mut Peer) + Send + 'static) -> Server {
    serve_tls(Arc::new(server_config(&[])), 1, behave)
}

/// One request to a server which behaves like this, in both versions; then `check` what came.
fn each_version(behave: impl Fn(&mut Peer) + Clone + Send + 'static, check: fn(&Ending)) {
    for version in Version::BOTH {
        let server = serve(behave.clone());
        let options = Options::new().version(version);
        let mut client = Client::connect_with(server.addr, &options).unwrap();
        client.send(REQUEST).unwrap();
        let ending = client.finish();
        check(&ending);
        server.join();
    }
}

#[test]
fn proper_end() {
    let behave = |peer: &mut Peer| {
        peer.hear_request();
        peer.say(RESPONSE);
        peer.notify();
        sleep(SHORT);
        peer.fin();
    };
    each_version(behave, |ending| {
        assert!(ending.is_proper(), "{ending:?}");
        assert!(!ending.is_truncation_visible(), "{ending:?}");
        assert_eq!(ending.bytes, RESPONSE.as_bytes(), "{ending:?}");
        let between = ending.ended_at().unwrap() - ending.close_notify.unwrap();
        assert!(between > SHORT / 2, "{ending:?}");
    });
}

#[test]
fn bare_fin() {
    let behave = |peer: &mut Peer| {
        peer.hear_request();
        peer.say(RESPONSE);
    };
    each_version(behave, |ending| {
        assert!(ending.is_truncation_visible(), "{ending:?}");
        assert!(!ending.is_proper() && !ending.is_reset(), "{ending:?}");
        assert_eq!(ending.bytes, RESPONSE.as_bytes(), "{ending:?}");
    });
}

#[test]
fn reset_behind_data() {
    let behave = |peer: &mut Peer| {
        peer.hear_request();
        peer.say(RESPONSE);
        peer.make_reset();
    };
    each_version(behave, |ending| {
        assert!(matches!(ending.end, End::Reset(_)), "{ending:?}");
        assert!(
            !ending.is_proper() && !ending.is_truncation_visible(),
            "{ending:?}"
        );
        assert_eq!(ending.bytes, RESPONSE.as_bytes(), "{ending:?}");
    });
}

#[test]
fn reset_behind_close_notify() {
    let behave = |peer: &mut Peer| {
        peer.hear_request();
        peer.notify();
        sleep(SHORT);
        peer.make_reset();
    };
    each_version(behave, |ending| {
        assert!(ending.close_notify.is_some(), "{ending:?}");
        assert!(matches!(ending.end, End::Reset(_)), "{ending:?}");
        assert!(!ending.is_proper(), "{ending:?}");
    });
}

#[test]
fn cut_record_and_bytes_behind_the_end() {
    let cut = |peer: &mut Peer| {
        peer.hear_request();
        let sealed = peer.seal(RESPONSE.as_bytes());
        peer.tcp.write_all(&sealed[..sealed.len() - 3]).unwrap();
    };
    each_version(cut, |ending| {
        assert!(ending.is_truncation_visible(), "{ending:?}");
        assert!(
            ending.partial_record > 20 && ending.bytes.is_empty(),
            "{ending:?}"
        );
    });
    let behind = |peer: &mut Peer| {
        peer.hear_request();
        peer.notify();
        peer.tcp.write_all(&[23, 3, 3, 0, 2, 7, 7]).unwrap();
    };
    each_version(behind, |ending| {
        assert!(
            ending.close_notify.is_some() && ending.is_clean_fin(),
            "{ending:?}"
        );
        assert_eq!(ending.ignored, 7, "{ending:?}");
        assert!(!ending.is_proper(), "{ending:?}");
    });
}

#[test]
fn junk_from_the_server() {
    let behave = |peer: &mut Peer| {
        peer.hear_request();
        peer.tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    };
    each_version(behave, |ending| {
        assert!(
            ending.tls_error.is_some() && ending.alert.is_none(),
            "{ending:?}"
        );
        assert!(!ending.is_proper(), "{ending:?}");
    });
}

#[test]
fn fatal_alert_for_a_corrupt_record() {
    for version in Version::BOTH {
        let server = serve(|peer| assert!(peer.hear().is_empty()));
        let options = Options::new().version(version);
        let mut client = Client::connect_with(server.addr, &options).unwrap();
        client.send_corrupt_record().unwrap();
        let ending = client.finish();
        assert_eq!(
            ending.alert_kind(),
            Some(AlertDescription::BadRecordMac),
            "{ending:?}"
        );
        assert!(ending.is_clean_fin() && !ending.is_proper(), "{ending:?}");
        server.join();
    }
}

#[test]
fn fatal_alert_in_the_handshake() {
    for version in Version::BOTH {
        let server = serve_tls(Arc::new(server_config(&["http/1.1"])), 1, |_| {});
        let mut client = Client::open(server.addr, &Options::new().version(version).h2()).unwrap();
        let error = client.handshake().unwrap_err();
        assert!(
            error.to_string().contains("NoApplicationProtocol"),
            "{error}"
        );
        let ending = client.finish();
        let kind = Some(AlertDescription::NoApplicationProtocol);
        assert_eq!(ending.alert_kind(), kind, "{ending:?}");
        assert!(!ending.is_still_open(), "{ending:?}");
        server.join();
    }
}

#[test]
fn server_which_never_lets_go() {
    for version in Version::BOTH {
        let (release, released) = mpsc::channel::<()>();
        let server = serve(move |peer| {
            peer.hear_request();
            peer.notify();
            let _ = released.recv();
        });
        let options = Options::new().version(version);
        let mut client = Client::connect_with(server.addr, &options).unwrap();
        client.send(REQUEST).unwrap();
        let start = Instant::now();
        let ending = client.read_until_end(SHORT);
        assert!(start.elapsed() < LONG, "{ending:?}");
        assert!(
            ending.is_still_open() && ending.close_notify.is_some(),
            "{ending:?}"
        );
        assert!(!ending.is_proper(), "{ending:?}");
        assert!(client.server_holds(), "{client:?}");
        assert_eq!(client.held_for(SHORT), None, "{client:?}");
        drop(release);
        assert!(client.held_for(LONG).is_some(), "{client:?}");
        let ending = client.finish();
        assert!(ending.is_proper(), "{ending:?}");
        server.join();
    }
}

#[test]
fn descriptor_held_past_the_fin() {
    let server = serve(|peer| {
        peer.notify();
        peer.fin();
        sleep(3 * SHORT);
    });
    let mut client = Client::connect(server.addr).unwrap();
    let ending = client.finish();
    assert!(ending.is_proper(), "{ending:?}");
    assert!(client.server_holds(), "{client:?}");
    let held = client.held_for(LONG).expect("let go");
    assert!(held > SHORT, "{held:?} {client:?}");
    server.join();
}

#[test]
fn late_reset_behind_a_fin() {
    for version in Version::BOTH {
        let server = serve(|peer| {
            peer.hear_request();
            peer.notify();
            peer.fin();
            // Closed with something unread, the socket ends with a RST.
            while peer.tcp.peek(&mut [0]).unwrap() == 0 {}
        });
        let options = Options::new().version(version);
        let mut client = Client::connect_with(server.addr, &options).unwrap();
        client.send(REQUEST).unwrap();
        let ending = client.finish();
        assert!(ending.is_proper(), "{ending:?}");
        assert_eq!(client.linger_for_reset(SHORT), None, "{client:?}");
        client.send("nobody reads this").unwrap();
        assert!(client.linger_for_reset(LONG).is_some(), "{client:?}");
        let ending = client.ending();
        assert!(
            ending.is_fin() && ending.is_reset() && !ending.is_proper(),
            "{ending:?}"
        );
        server.join();
    }
}

#[test]
fn late_reset_noticed_by_writing() {
    let server = serve(|peer| peer.notify());
    let mut client = Client::connect(server.addr).unwrap();
    assert!(client.finish().is_proper(), "{client:?}");
    assert!(client.held_for(LONG).is_some(), "{client:?}");
    let start = Instant::now();
    while client.send("anybody there?").is_ok() {
        assert!(start.elapsed() < LONG, "{client:?}");
        sleep(Duration::from_millis(5));
    }
    let ending = client.ending();
    assert_eq!(
        ending.write_failed.map(|(kind, _)| kind),
        Some(ErrorKind::BrokenPipe)
    );
    assert!(ending.late_reset.is_some() && ending.is_fin(), "{ending:?}");
    server.join();
}

#[test]
fn reset_noticed_by_writing_is_no_fin() {
    for probe in [false, true] {
        let server = serve(|peer| {
            peer.say(RESPONSE);
            peer.make_reset();
        });
        let mut client = Client::connect(server.addr).unwrap();
        assert!(client.held_for(LONG).is_some(), "{client:?}");
        if probe {
            assert!(client.linger_for_reset(LONG).is_some(), "{client:?}");
        } else {
            while client.send("more").is_ok() {}
        }
        let ending = client.finish();
        assert!(matches!(ending.end, End::Reset(_)), "{ending:?}");
        assert_eq!(ending.bytes, RESPONSE.as_bytes(), "{ending:?}");
        server.join();
    }
}
