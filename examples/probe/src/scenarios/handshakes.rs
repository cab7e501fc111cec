//! Handshakes that can't succeed, and what is no handshake at all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{Http, Scenario, Tls, ask, http1_came};
use crate::judge::Expect;
use crate::seen::Seen;
use crate::stage::Stage;
use crate::trust::TrustNobody;
use crate::watch::{Manners, watch};
use wire::{Client, Connection, Layer, RawTcp};

pub const TABLE: &[Scenario] = &[
    Scenario {
        id: "plain-http",
        title: "Plain HTTP to the TLS port",
        http: Http::V1_1,
        tls: Tls::None,
        expect: Expect::PlainHttp,
        rule: "RFC 9846 6.2",
        play: plain_http,
    },
    Scenario {
        id: "garbage",
        title: "Garbage instead of a ClientHello",
        http: Http::None,
        tls: Tls::None,
        expect: Expect::Alert,
        rule: "RFC 9846 6.2",
        play: garbage,
    },
    Scenario {
        id: "old-version",
        title: "A ClientHello of TLS 1.0",
        http: Http::None,
        tls: Tls::None,
        expect: Expect::Alert,
        rule: "RFC 9846 E.2",
        play: old_version,
    },
    Scenario {
        id: "no-common-protocol",
        title: "No application protocol in common",
        http: Http::None,
        tls: Tls::Both,
        expect: Expect::Alert,
        rule: "RFC 7301 3.2",
        play: no_common_protocol,
    },
    Scenario {
        id: "certificate-refused",
        title: "The client refuses the certificate",
        http: Http::None,
        tls: Tls::Both,
        expect: Expect::Silence,
        rule: "RFC 9846 6.2",
        play: certificate_refused,
    },
];

/// How long a server may take to react, where nothing needs time.
const AT_ONCE: Duration = Duration::from_secs(2);

fn plain_http(stage: &Stage) -> io::Result<Seen> {
    let mut client = RawTcp::connect_with(stage.addr, &stage.options())?;
    let line = format!("GET {} HTTP/1.1", stage.path);
    let request = stage.request(&line, "Connection: close\r\n");
    ask(&mut client, &line, request);
    let is_http = starts_with(&mut client, b"HTTP/", stage);
    let came = is_http.then(|| http1_came(&mut client, "GET", stage));
    let seen = watch(&mut client, stage, Manners::Leaves(AT_ONCE));
    Ok(seen.with(came.unwrap_or_default()))
}

/// Whether what comes, if anything does, starts like this.
fn starts_with<L: Layer>(client: &mut Connection<L>, start: &[u8], stage: &Stage) -> bool {
    client.pump_until(stage.left(), |c| c.unread().len() >= start.len());
    client.unread().starts_with(start)
}

fn garbage(stage: &Stage) -> io::Result<Seen> {
    let mut client = RawTcp::connect_with(stage.addr, &stage.options())?;
    client.note("client sends garbage");
    let _ = client.send([0x80; 300]);
    Ok(watch(&mut client, stage, Manners::Waits))
}

fn old_version(stage: &Stage) -> io::Result<Seen> {
    let mut client = RawTcp::connect_with(stage.addr, &stage.options())?;
    client.note("client sends a ClientHello of TLS 1.0");
    let _ = client.send(client_hello_of_tls_1_0());
    let seen = watch(&mut client, stage, Manners::Leaves(AT_ONCE));
    // A ServerHello is no answer, and no alert either.
    Ok(match client.unread() {
        [22, 3, 1, ..] => seen.remarking("The server speaks TLS 1.0, which RFC 8996 forbids."),
        _ => seen,
    })
}

/// A record with a ClientHello that offers TLS 1.0 and two of its cipher suites.
fn client_hello_of_tls_1_0() -> Vec<u8> {
    let mut body = vec![3, 1];
    body.extend((0..32u8).map(|n| n.wrapping_mul(53) ^ 0xa5));
    body.push(0); // no session
    body.extend([0, 4, 0x00, 0x2f, 0xc0, 0x13]);
    body.extend([1, 0]); // no compression
    let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    hello
}

fn no_common_protocol(stage: &Stage) -> io::Result<Seen> {
    let options = stage.options().alpn(&["probe/0"]);
    let mut client = Client::open(stage.addr, &options)?;
    client.note("client offers no protocol but probe/0");
    let shaken = client.handshake();
    let seen = watch(&mut client, stage, Manners::Leaves(Duration::ZERO));
    Ok(match shaken {
        Ok(()) => seen.remarking("The handshake went on without a protocol."),
        Err(_) => seen,
    })
}

fn certificate_refused(stage: &Stage) -> io::Result<Seen> {
    let options = stage.options().verifier(Arc::new(TrustNobody));
    let mut client = Client::open(stage.addr, &options)?;
    if client.handshake().is_ok() {
        return Err(io::Error::other(
            "the client took a certificate it should refuse",
        ));
    }
    client.note("client refuses the certificate with an alert");
    let alert = client.encrypt_only("");
    let _ = client.send_raw(alert);
    Ok(watch(&mut client, stage, Manners::Waits))
}
