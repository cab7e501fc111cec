//! Numbers that tell connections apart, and addresses that a redirect keeps.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;

use std::collections::HashSet;

use support::{VERSIONS, connect, pair};
use testbed::Testbed;
use wire::RawTcp;

/// No other connection of the process has the same, whichever server it belongs to.
#[tokio::test]
async fn connections_of_two_servers_have_numbers_of_their_own() {
    let mut ids = HashSet::new();
    for _ in 0..2 {
        let (builder, connector) = pair(VERSIONS[1]);
        let tls = builder.build().unwrap();
        for _ in 0..3 {
            let (server_io, client_io) = tokio::io::duplex(64 << 10);
            let (stream, _client) = connect(&tls, &connector, server_io, client_io).await;
            ids.insert(stream.connection().id());
        }
    }
    assert_eq!(ids.len(), 6, "{ids:?}");
}

/// Request lines in plain HTTP with a Host of `h`, and where they are sent.
const REDIRECTS: [(&str, &str); 5] = [
    ("/a?b", "https://h/a?b"),
    ("http://h/a?b", "https://h/a?b"),
    ("http://h/", "https://h/"),
    ("http://h/a/b?c=http://d/e", "https://h/a/b?c=http://d/e"),
    // The target counts, and Host is ignored (RFC 9112 3.2.2).
    ("http://other/a?b", "https://other/a?b"),
];

#[test]
fn a_redirect_keeps_the_path_of_an_absolute_target() {
    for server in testbed::servers() {
        let bed = Testbed::start(server, &["--plain-http", "redirect"]);
        for (target, location) in REDIRECTS {
            let mut client = RawTcp::connect(bed.addr).unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            client.send(request).unwrap();
            let response = client.read_response().unwrap();
            assert_eq!(response.status, 308, "{client:?}");
            let told = response.header("location");
            assert_eq!(told, Some(location), "{server}, {target}: {client:?}");
        }
    }
}
