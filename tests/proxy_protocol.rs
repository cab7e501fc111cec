//! The PROXY protocol: headers of both versions, on the wire and in every way that they can be wrong.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;

use std::{
    convert::Infallible,
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use graceful_tls::{
    Admission, InMemoryConnector, TlsConnection, in_memory, proxy_protocol::ProxyProtocol,
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use judge::{PROMPT, alone, is_hello, is_within};
use serde_json::{Value, json};
use support::{VERSIONS, pair};
use tempfile::NamedTempFile;
use testbed::Testbed;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tower::service_fn;
use wire::{Client, Options, RawTcp, Version};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const BEHIND: &str = "--proxy-protocol";
const LONG: Duration = Duration::from_secs(10);

/// A header of version 2.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, block].concat()
}

fn block4(client: [u8; 4], port: u16) -> Vec<u8> {
    let ports = [port.to_be_bytes(), 443u16.to_be_bytes()].concat();
    [&client[..], &[192, 0, 2, 200], &ports].concat()
}

fn block6(client: &str, port: u16) -> Vec<u8> {
    let client: Ipv6Addr = client.parse().unwrap();
    let server = Ipv6Addr::LOCALHOST.octets();
    let ports = [port.to_be_bytes(), 443u16.to_be_bytes()].concat();
    [&client.octets()[..], &server, &ports].concat()
}

/// A client behind the balancer, in version 2.
fn from(client: [u8; 4]) -> Vec<u8> {
    v2(0x21, 0x11, &block4(client, 50000))
}

/// Headers, and the client that they tell of; `None` is the connection itself.
fn headers() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let (four, six) = (Some("192.0.2.1:50000"), Some("[2001:db8::1]:50000"));
    let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let unknown = longest.replace("TCP6", "UNKNOWN");
    assert_eq!((longest.len(), unknown.len()), (104, 107));
    let tlv = |block: Vec<u8>, length: u16| {
        let head = [&[0xe0][..], &length.to_be_bytes()].concat();
        [block, head, vec![0x16; length.into()]].concat()
    };
    let block = || block4([192, 0, 2, 1], 50000);
    vec![
        (
            "v1 TCP4",
            b"PROXY TCP4 192.0.2.1 192.0.2.200 50000 443\r\n".to_vec(),
            four,
        ),
        (
            "v1 TCP6",
            b"PROXY TCP6 2001:db8::1 ::1 50000 443\r\n".to_vec(),
            six,
        ),
        (
            "v1 the longest",
            longest.into(),
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"),
        ),
        ("v1 UNKNOWN", b"PROXY UNKNOWN\r\n".to_vec(), None),
        ("v1 UNKNOWN, long", unknown.into(), None),
        (
            "v1 UNKNOWN, anything",
            b"PROXY UNKNOWN a b c d e f\r\n".to_vec(),
            None,
        ),
        ("v2 TCP4", from([192, 0, 2, 1]), four),
        (
            "v2 TCP6",
            v2(0x21, 0x21, &block6("2001:db8::1", 50000)),
            six,
        ),
        ("v2 with a field", v2(0x21, 0x11, &tlv(block(), 300)), four),
        (
            "v2 the longest",
            v2(0x21, 0x11, &tlv(block(), u16::MAX - 15)),
            four,
        ),
        ("v2 LOCAL", v2(0x20, 0, &[]), None),
        ("v2 LOCAL with addresses", v2(0x20, 0x11, &block()), None),
        ("v2 LOCAL of any family", v2(0x20, 0x7f, &[7; 5]), None),
        ("v2 unspecified", v2(0x21, 0, &[]), None),
        ("v2 Unix", v2(0x21, 0x31, &[0; 216]), None),
    ]
}

/// How the header comes.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Alone,
    ByteByByte,
    WithTheClientHello,
}

fn open(bed: &Testbed, version: Version) -> Client {
    Client::open(bed.addr, &Options::new().version(version).http1()).unwrap()
}

fn send(client: &mut Client, header: &[u8], sent: Sent) {
    match sent {
        Sent::Alone => client.send_raw(header).unwrap(),
        Sent::ByteByByte => {
            for byte in header {
                client.send_raw([*byte]).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        }
        Sent::WithTheClientHello => {
            let hello = client.encrypt_only("");
            client.send_raw([header, &hello[..]].concat()).unwrap();
        }
    }
}

/// A client that has sent its header, and shaken hands.
fn connect(bed: &Testbed, version: Version, header: &[u8]) -> Client {
    let mut client = open(bed, version);
    send(&mut client, header, Sent::Alone);
    client.handshake().unwrap();
    client
}

fn is_served(bed: &Testbed, version: Version) {
    let begun = Instant::now();
    let mut client = connect(bed, version, &from([192, 0, 2, 1]));
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    assert!(begun.elapsed() < PROMPT, "{client:?}");
}

#[test]
fn a_header_is_read_and_not_a_byte_more() {
    use Sent::{Alone, ByteByByte, WithTheClientHello};
    alone(&[BEHIND], &[("", ())], |bed, version, ()| {
        for (name, header, told) in headers() {
            for sent in [Alone, ByteByByte, WithTheClientHello] {
                if matches!(sent, ByteByByte) && header.len() > 110 {
                    continue;
                }
                let mut client = open(&bed, version);
                send(&mut client, &header, sent);
                client.handshake().unwrap();
                let answer = client.get("/tls").unwrap();
                let seen: Value = serde_json::from_str(&answer.text()).unwrap();
                let own = client.local_addr().to_string();
                assert_eq!(
                    seen["client"],
                    told.unwrap_or(&own),
                    "{name}, {sent:?}: {client:?}"
                );
                let balancer = told.map_or(Value::Null, |_| json!(own));
                assert_eq!(seen["balancer"], balancer, "{name}, {sent:?}");
            }
        }
    });
}

/// What is no header.
fn wrong() -> Vec<(&'static str, Vec<u8>)> {
    let block = || block4([192, 0, 2, 1], 50000);
    let line = |line: &str| line.as_bytes().to_vec();
    vec![
        ("a TLS record", [&[22, 3, 1, 2, 0][..], &[1; 512]].concat()),
        ("a byte", vec![0]),
        (
            "plain HTTP",
            line("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ),
        (
            "plain POST",
            line("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ),
        ("empty lines", line("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n")),
        (
            "v1 too long",
            [line("PROXY UNKNOWN "), vec![b'a'; 512]].concat(),
        ),
        (
            "v1 by one too long",
            [line("PROXY UNKNOWN "), vec![b'a'; 92], line("\r\n")].concat(),
        ),
        (
            "v1 with a bare LF",
            [
                line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"),
                vec![b'a'; 100],
            ]
            .concat(),
        ),
        (
            "v1 with a bare CR",
            line("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r \r\n"),
        ),
        (
            "v1 of no address",
            line("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"),
        ),
        (
            "v1 of no port",
            line("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"),
        ),
        ("v1 of the other family", line("PROXY TCP4 ::1 ::1 1 2\r\n")),
        ("v1 UDP", line("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n")),
        (
            "v1 without a blank",
            line("PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        ),
        ("v2 as version 3", v2(0x31, 0x11, &block())),
        ("v2 of no command", v2(0x22, 0x11, &block())),
        ("v2 of no family", v2(0x21, 0x41, &block())),
        ("v2 of no protocol", v2(0x21, 0x13, &block())),
        ("v2 with half an address", v2(0x21, 0x11, &block()[..11])),
        (
            "v2 with a wrong signature",
            [&SIGNATURE[..11], &from([192, 0, 2, 1])[..]].concat(),
        ),
    ]
}

#[test]
fn without_a_header_nobody_comes_in() {
    alone(&[BEHIND], &[("", ())], |bed, version, ()| {
        for (name, bytes) in wrong() {
            let mut client = RawTcp::connect(bed.addr).unwrap();
            client.send(bytes).unwrap();
            let ending = client.read_until_end(PROMPT);
            assert!(ending.is_clean_fin(), "{name}: {ending:?}");
            assert!(client.unread().is_empty(), "{name}: {client:?}");
        }
        // Nor does anybody who would speak TLS.
        let mut client = open(&bed, version);
        client.handshake().unwrap_err();
        let ending = client.read_until_end(PROMPT);
        assert!(
            ending.is_clean_fin() && ending.alert.is_none(),
            "{ending:?}"
        );
        is_served(&bed, version);
        let exit = bed.stop(LONG);
        let said = exit.stderr.matches("a connection was refused").count();
        assert_eq!(said, 1, "{exit:?}");
        assert!(exit.stderr.contains("send-proxy-v2"), "{exit:?}");
    });
}

/// Where a header may stop.
fn stops() -> [(&'static str, Vec<u8>); 5] {
    [
        ("nothing", Vec::new()),
        ("a letter", b"P".to_vec()),
        ("half a line", b"PROXY TCP4 192.0.2.1 192.0".to_vec()),
        ("half a line's end", b"PROXY UNKNOWN\r".to_vec()),
        ("no block", from([192, 0, 2, 1])[..16].to_vec()),
    ]
}

#[test]
fn a_header_that_does_not_end_is_timed_out_and_holds_up_nobody() {
    let limits = (Duration::from_millis(600), Duration::from_millis(1500));
    let options = [BEHIND, "--handshake-timeout-ms", "700"];
    alone(&options, &stops(), |bed, version, begun| {
        let mut client = RawTcp::connect(bed.addr).unwrap();
        client.send(begun).unwrap();
        is_served(&bed, version);
        let ending = client.finish();
        assert!(ending.is_clean_fin(), "{ending:?}");
        is_within(ending.ended_at(), Duration::ZERO, limits, &ending);
    });
}

#[test]
fn a_shutdown_waits_for_the_rest_of_a_header() {
    let options = [BEHIND, "--lame-duck-ms", "0"];
    alone(&options, &stops(), |bed, version, begun| {
        let (mut client, mut never) = (open(&bed, version), open(&bed, version));
        let header = match begun.first() {
            Some(b'P') => b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n".to_vec(),
            _ => from([192, 0, 2, 1]),
        };
        let header = match begun.ends_with(b"\r") {
            true => b"PROXY UNKNOWN\r\n".to_vec(),
            false => header,
        };
        for client in [&mut client, &mut never] {
            client.send_raw(begun).unwrap();
        }
        thread::sleep(Duration::from_millis(100));
        bed.terminate();
        // Long after the listener has been closed.
        thread::sleep(Duration::from_millis(700));
        client.send_raw(&header[begun.len()..]).unwrap();
        client.handshake().unwrap();
        let answer = client.get("/").unwrap();
        assert!(
            is_hello(&answer, "hello\n") && answer.says_close(),
            "{answer:?}"
        );
        // Of the other nothing comes any more.
        never.close().unwrap();
        client.close().unwrap();
        let exit = bed.wait(Duration::from_secs(5));
        assert!(exit.status.success() && exit.took < LONG / 2, "{exit:?}");
        assert!(!exit.report().contains("deadline"), "{exit:?}");
    });
}

#[test]
fn what_waits_in_the_queue_when_a_shutdown_begins_is_not_lost() {
    let header = from([192, 0, 2, 1]);
    let sent = [0, 1, 16, header.len()].map(|sent| ("", sent));
    let options = [BEHIND, "--lame-duck-ms", "0"];
    alone(&options, &sent, |bed, version, sent| {
        is_served(&bed, version);
        bed.pause();
        let mut client = open(&bed, version);
        client.send_raw(&header[..*sent]).unwrap();
        bed.terminate();
        bed.resume();
        thread::sleep(Duration::from_millis(300));
        client.send_raw(&header[*sent..]).unwrap();
        client.handshake().unwrap();
        let answer = client.get("/").unwrap();
        assert!(
            is_hello(&answer, "hello\n") && answer.says_close(),
            "{answer:?}"
        );
        assert!(client.finish().is_proper(), "{client:?}");
        client.close().unwrap();
        let exit = bed.wait(LONG);
        assert!(exit.status.success(), "{exit:?}");
    });
}

/// Which of the two bounds comes first ends it.
#[test]
fn a_shutdown_waits_no_longer_than_a_handshake_may_take() {
    let cases = [
        ("handshake", ["700", "10000"]),
        ("deadline", ["10000", "700"]),
    ];
    thread::scope(|scope| {
        for (name, [handshake, deadline]) in cases {
            scope.spawn(move || {
                let options = [
                    [BEHIND, "--lame-duck-ms", "0"],
                    ["--handshake-timeout-ms", handshake, "--shutdown-timeout-ms"],
                ]
                .concat();
                let options = [options, vec![deadline]].concat();
                alone(&options, &stops(), |bed, _, begun| {
                    let mut client = RawTcp::connect(bed.addr).unwrap();
                    client.send(begun).unwrap();
                    thread::sleep(Duration::from_millis(100));
                    let since = Instant::now();
                    bed.terminate();
                    let ending = client.finish();
                    assert!(ending.is_clean_fin(), "{name}: {ending:?}");
                    client.close().unwrap();
                    let exit = bed.wait(LONG);
                    let took = since.elapsed();
                    assert!(
                        took < Duration::from_millis(2500),
                        "{name}: {took:?}, {exit:?}"
                    );
                    assert!(exit.status.success(), "{name}: {exit:?}");
                });
            });
        }
    });
}

#[test]
fn a_flood_without_headers_locks_nobody_out() {
    let options = [BEHIND, "--max-handshakes", "8"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let flood: Vec<_> = (0..40).map(|_| RawTcp::connect(bed.addr)).collect();
        is_served(&bed, version);
        drop(flood);
    });
}

#[test]
fn the_clients_are_counted_and_not_the_balancer() {
    let options = [BEHIND, "--max-connections-per-client", "2"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let (one, other) = (from([192, 0, 2, 1]), from([192, 0, 2, 2]));
        let two: Vec<_> = (0..2).map(|_| connect(&bed, version, &one)).collect();
        let mut third = open(&bed, version);
        send(&mut third, &one, Sent::Alone);
        third.handshake().unwrap_err();
        assert!(!third.read_until_end(PROMPT).is_still_open(), "{third:?}");
        let others: Vec<_> = (0..2).map(|_| connect(&bed, version, &other)).collect();
        // Its own are counted as of any other.
        let local = v2(0x20, 0, &[]);
        let checks: Vec<_> = (0..2).map(|_| connect(&bed, version, &local)).collect();
        let mut one_more = open(&bed, version);
        send(&mut one_more, &local, Sent::Alone);
        one_more.handshake().unwrap_err();
        for mut client in [two, others, checks].into_iter().flatten() {
            assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
            client.close().unwrap();
            assert!(client.held_for(PROMPT).is_some());
        }
        is_served(&bed, version);
    });
}

/// A balancer that looks every second whether the server is there fills no log.
#[test]
fn health_checks_are_nothing_to_speak_of() {
    alone(&[BEHIND], &[("", ())], |bed, version, ()| {
        for check in [v2(0x20, 0, &[]), b"PROXY UNKNOWN\r\n".to_vec(), Vec::new()] {
            for ends in [RawTcp::close, RawTcp::reset, RawTcp::fin] {
                let mut client = RawTcp::connect(bed.addr).unwrap();
                client.send(&check).unwrap();
                ends(&mut client).unwrap();
            }
        }
        is_served(&bed, version);
        let exit = bed.stop(LONG);
        assert!(exit.status.success(), "{exit:?}");
        let lines: Vec<_> = exit.stderr.lines().collect();
        assert!(
            lines
                .iter()
                .all(|line| line.contains("shut") || line.contains("draining")),
            "{lines:#?}"
        );
    });
}

/// What HAProxy sends, checks and fields included, is understood.
#[test]
fn behind_haproxy_each_client_is_known() {
    if Command::new("haproxy").arg("-v").output().is_err() {
        eprintln!("not tested: haproxy is not installed");
        return;
    }
    let fields = "send-proxy-v2-ssl-cn proxy-v2-options crc32c,unique-id,authority";
    let cases = ["send-proxy", "send-proxy-v2", fields].map(|option| (option, option));
    alone(&[BEHIND], &cases, |bed, version, option| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = listener.local_addr().unwrap();
        let haproxy = HaProxy::start(&bed, listener, option);
        let options = Options::new().version(version).http1();
        let mut client = Client::connect_with(front, &options).unwrap();
        let answer = client.get("/tls").unwrap();
        let seen: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(seen["client"], client.local_addr().to_string());
        assert!(seen["balancer"].is_string() && seen["balancer"] != seen["client"]);
        // Some checks.
        thread::sleep(Duration::from_millis(300));
        assert!(is_hello(&client.get("/").unwrap(), "hello\n"));
        drop(haproxy);
        let exit = bed.stop(LONG);
        assert!(!exit.stderr.contains("WARN"), "{exit:?}");
    });
}

/// HAProxy in front of a testbed, told to look at it every 50 ms; killed when dropped.
struct HaProxy {
    child: Child,
    _config: NamedTempFile,
}

impl HaProxy {
    fn start(bed: &Testbed, front: TcpListener, option: &str) -> Self {
        let mut config = NamedTempFile::new().unwrap();
        writeln!(
            config,
            "defaults\n mode tcp\n timeout connect 1s\n timeout client 10s\n timeout server 10s\n\
             listen all\n bind fd@0\n server a {} {option} check inter 50",
            bed.addr
        )
        .unwrap();
        let mut command = Command::new("haproxy");
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let quiet = quiet.args(["-db", "-f"]).arg(config.path());
        // It listens from now on, on a port that nobody else can take meanwhile.
        let child = quiet.stdin(OwnedFd::from(front)).spawn().unwrap();
        Self {
            child,
            _config: config,
        }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn who(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let connection = request.extensions().get::<TlsConnection>().unwrap();
    let who = format!(
        "{:?} by {:?}",
        connection.remote_addr().map(|client| client.ip()),
        connection.balancer_addr().map(|balancer| balancer.ip())
    );
    Ok(Response::new(Full::new(who.into())))
}

/// What a client that comes over `balancer` and sends `header` is told; an error if it is refused.
async fn ask(
    listener: &InMemoryConnector,
    tls: &TlsConnector,
    balancer: &str,
    header: &[u8],
) -> io::Result<String> {
    let balancer = balancer.parse().unwrap();
    let mut io = listener.connect(Some(balancer)).await?;
    io.write_all(header).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls: TlsStream<DuplexStream> = tls.connect(name, io).await?;
    tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer).await?;
    let (_, body) = answer.rsplit_once("\r\n\r\n").unwrap();
    Ok(body.to_owned())
}

#[tokio::test]
async fn the_filter_is_asked_of_clients_and_the_balancer_is_trusted() {
    for version in VERSIONS {
        let (builder, client) = pair(version);
        let blocked = Ipv4Addr::new(192, 0, 2, 66);
        let filter = move |client: SocketAddr| match client.ip() == blocked {
            true => Admission::Refuse,
            false => Admission::Admit,
        };
        let tls = builder.connection_filter(filter).build().unwrap();
        let (connector, listener) = in_memory(64 * 1024);
        let trusted = |balancer: SocketAddr| balancer.ip().to_string() != "198.51.100.66";
        let listener = ProxyProtocol::new(listener).trusted(trusted);
        let serving = tls.clone();
        tokio::spawn(async move { serving.serve(listener, service_fn(who)).await });

        let (balancer, other) = ("198.51.100.1:1", "198.51.100.66:1");
        let (local, one) = (v2(0x20, 0, &[]), from([192, 0, 2, 1]));
        let bad = from(blocked.octets());
        let ask = |balancer, header| ask(&connector, &client, balancer, header);
        let told = ask(balancer, &one).await.unwrap();
        assert_eq!(told, "Some(192.0.2.1) by Some(198.51.100.1)");
        assert_eq!(
            ask(balancer, &local).await.unwrap(),
            "Some(198.51.100.1) by None"
        );
        ask(balancer, &bad).await.unwrap_err();
        assert_eq!(tls.refused(), 1);
        // The filter lets it in, but nobody believes what it says.
        ask(other, &one).await.unwrap_err();
        ask("192.0.2.66:1", &local).await.unwrap_err();
        assert_eq!(tls.refused(), 2);
        // A listener of both kinds sees IPv4 in IPv6, and says IPv4.
        ask("[::ffff:198.51.100.66]:1", &one).await.unwrap_err();
        ask("[::ffff:198.51.100.1]:1", &one).await.unwrap();
        // What the filter refuses may be the balancer of others.
        let told = ask("192.0.2.66:1", &one).await.unwrap();
        assert_eq!(told, "Some(192.0.2.1) by Some(192.0.2.66)");
    }
}
