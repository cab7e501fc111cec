//! A server that is set to take more than a hundred trailers takes them.

#[path = "support/served.rs"]
mod served;
mod support;
#[path = "support/within.rs"]
mod within;

use std::{thread::sleep, time::Duration};

use graceful_tls::State;

use served::{PATIENCE, SERVERS, Served, app, ask};
use wire::Version;

fn after_so_many(trailers: usize) {
    let served = Served::start(SERVERS[0], Version::Tls13, app(), |of| {
        let of = of.http1(|http1| {
            http1.max_headers(500);
        });
        of.shutdown_timeout(Duration::from_secs(4))
    });
    let mut client = served.client();
    let head = "POST /upload HTTP/1.1\r\nhost: s\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = "5\r\n12345\r\n0\r\n".to_owned() + &"a: b\r\n".repeat(trailers) + "\r\n";
    client.send(head.to_owned() + &body).unwrap();
    let answer = client.read_response().unwrap();
    assert_eq!(
        (answer.status, &*answer.body),
        (200, &b"5"[..]),
        "{client:?}"
    );
    ask(&mut client, "/");
    let answer = client.read_response().unwrap();
    assert_eq!(answer.body, b"hello\n", "{client:?}");
    sleep(Duration::from_millis(100));
    let seen = served.tls().connections()[0].stats();
    served.tls().shutdown();
    assert!(client.finish().is_proper(), "{client:?}");
    client.close().unwrap();
    let report = served.within.closed(PATIENCE);
    let told = (seen.requests, seen.requests_in_flight, seen.state);
    assert_eq!(told, (2, 0, State::Idle), "{report:?}");
    assert!(report.took < Duration::from_secs(2), "{report:?}");
}

#[test]
fn after_eighty() {
    after_so_many(80);
}

#[test]
fn after_a_hundred_and_fifty() {
    after_so_many(150);
}
