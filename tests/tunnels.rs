//! Tunnels: CONNECT over HTTP/1 and 2, and websockets over HTTP/2. They are in use while they are
//! open, each side ends its own direction, and what was cut by force does not look like an end.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;
#[path = "support/within.rs"]
mod within;

use std::{
    convert::Infallible,
    io,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use graceful_tls::GracefulTls;
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use judge::{
    Then, alone, connect, ends_properly, ends_visibly_truncated, everywhere, is_let_go, start_h2,
};
use support::{VERSIONS, pair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower::service_fn;
use wire::{Client, H2, Options, Version};
use within::Within;

const KEEP_ALIVE: Duration = Duration::from_millis(1000);
const OPTIONS: [&str; 2] = ["--header-timeout-ms", "1000"];
const LONG: Duration = Duration::from_secs(10);

/// Asks for a tunnel, and gets it.
fn opens(client: &mut Client) {
    client
        .send("CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
        .unwrap();
    let response = client.read_response_to("CONNECT", LONG).unwrap();
    assert_eq!(response.status, 200, "{client:?}");
}

fn opens_h2(h2: &mut H2) -> u32 {
    let stream = h2.connect_tunnel("localhost:1").unwrap();
    assert_eq!(h2.wait_status(stream, LONG).status, Some(200), "{h2:?}");
    stream
}

fn echoes(client: &mut Client, text: &str) {
    client.send(text).unwrap();
    assert_eq!(
        client.read_exactly(text.len(), LONG),
        text.as_bytes(),
        "{client:?}"
    );
}

/// Sends this on a stream and gets it back, or `answer` if that is another.
fn echoes_h2(h2: &mut H2, stream: u32, sent: &[u8], answer: &[u8]) {
    let before = h2.stream(stream).body.len();
    h2.data(stream, sent, false).unwrap();
    h2.pump_until(LONG, |h2| {
        h2.stream(stream).body.len() >= before + answer.len()
    });
    assert_eq!(&h2.stream(stream).body[before..], answer, "{h2:?}");
}

#[test]
fn a_silent_tunnel_outlives_the_keep_alive_time_out() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut client = connect(bed, version);
        opens(&mut client);
        echoes(&mut client, "before");
        assert!(
            client.wait_close_notify(3 * KEEP_ALIVE).is_none(),
            "{client:?}"
        );
        echoes(&mut client, "after");
    });
}

#[test]
fn so_it_does_over_http2() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        let stream = opens_h2(&mut h2);
        echoes_h2(&mut h2, stream, b"before", b"before");
        h2.pump_until(3 * KEEP_ALIVE, |h2| h2.conn.close_notified());
        echoes_h2(&mut h2, stream, b"after", b"after");
        // Each side ends its own direction.
        h2.data(stream, b"last", true).unwrap();
        let answer = h2.wait_stream(stream, LONG);
        assert!(
            answer.is_complete() && answer.text() == "beforeafterlast",
            "{h2:?}"
        );
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
    });
}

/// A text message of a client, whose mask is zero, and the server's, which has none.
fn message(text: &str) -> (Vec<u8>, Vec<u8>) {
    let length = text.len() as u8;
    let sent = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat();
    (sent, [&[0x81, length], text.as_bytes()].concat())
}

#[test]
fn a_silent_websocket_over_http2_outlives_the_keep_alive_time_out() {
    everywhere(&OPTIONS, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        // The server has to say first that it knows extended CONNECT (RFC 8441 3).
        h2.h2_get("/").unwrap();
        let fields = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/ws"),
            ("sec-websocket-version", "13"),
        ];
        let stream = h2.send_request(&fields, false).unwrap();
        assert_eq!(h2.wait_status(stream, LONG).status, Some(200), "{h2:?}");
        for text in ["before", "after"] {
            let (sent, answer) = message(text);
            echoes_h2(&mut h2, stream, &sent, &answer);
            h2.pump_until(3 * KEEP_ALIVE, |h2| h2.conn.close_notified());
            assert!(h2.conn.ending().is_still_open(), "{h2:?}");
        }
    });
}

/// Everything that the client sent before its close_notify comes back, then the server's own.
#[test]
fn a_client_that_half_closes_gets_everything() {
    let sizes = [("little", 10), ("much", 3_000_000)];
    everywhere(&[], &sizes, |bed, version, size| {
        if version == Version::Tls12 {
            return;
        }
        let mut client = connect(bed, version);
        opens(&mut client);
        client.send_while_reading("t".repeat(*size)).unwrap();
        client.send_close_notify().unwrap();
        let ending = ends_properly(&mut client, Then::HasClosed);
        assert_eq!(client.unread().len(), *size, "{ending:?}");
    });
}

/// A shutdown waits for a tunnel until the deadline. What is cut then is no proper end.
#[test]
fn a_tunnel_at_the_deadline_is_visibly_cut() {
    alone(
        &["--shutdown-timeout-ms", "1500"],
        &[("", ())],
        |bed, version, ()| {
            let mut client = connect(&bed, version);
            opens(&mut client);
            let since = Instant::now();
            bed.terminate();
            thread::sleep(Duration::from_millis(1000).saturating_sub(since.elapsed()));
            echoes(&mut client, "draining");
            ends_visibly_truncated(&mut client, Then::Closes);
            let exit = bed.wait(LONG);
            assert_eq!(exit.count("truncated"), 1, "{exit:?}");
        },
    );
}

/// Serves one kind of tunnel, and says what came of it.
fn serves<F>(
    shutdown_timeout: Duration,
    version: Version,
    tunnel: fn(TokioIo<Upgraded>) -> F,
) -> (Within, mpsc::Receiver<io::Result<usize>>)
where
    F: Future<Output = io::Result<usize>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let (builder, _) = pair(VERSIONS[version as usize]);
    let builder = builder
        .lame_duck(Duration::ZERO)
        .shutdown_timeout(shutdown_timeout);
    let answer = move |mut request: Request<Incoming>| {
        let upgrade = hyper::upgrade::on(&mut request);
        let sender = sender.clone();
        tokio::spawn(async move {
            let came = tunnel(TokioIo::new(upgrade.await.unwrap())).await;
            let _ = sender.send(came);
        });
        async { Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new())) }
    };
    let serve = |tls: GracefulTls, listener: TcpListener| async move {
        tls.serve(listener, service_fn(answer)).await.unwrap();
    };
    (Within::start(builder, serve), receiver)
}

fn client_of(server: &Within, version: Version) -> Client {
    let options = Options::new().version(version).http1();
    let mut client = Client::connect_with(server.addr, &options).unwrap();
    opens(&mut client);
    client
}

/// Takes a little, ends its own direction, and reads on to the end.
async fn ends_first(mut tunnel: TokioIo<Upgraded>) -> io::Result<usize> {
    let mut first = [0; 5];
    tunnel.read_exact(&mut first).await?;
    tunnel.write_all(b"enough").await?;
    tunnel.shutdown().await?;
    let mut rest = Vec::new();
    tunnel.read_to_end(&mut rest).await?;
    Ok(first.len() + rest.len())
}

/// The server's half-close is close_notify and FIN, and nothing that the client sends then is lost.
/// (In TLS 1.2 the client has to end, too: RFC 9846 6.1.)
#[test]
fn a_server_that_half_closes_first_reads_on() {
    let (server, came) = serves(LONG, Version::Tls13, ends_first);
    let mut client = client_of(&server, Version::Tls13);
    client.send("hello").unwrap();
    let ending = client.finish();
    assert!(
        ending.is_proper() && client.unread() == b"enough",
        "{ending:?}"
    );
    // For longer than a drain would go on without a byte.
    for _ in 0..2 {
        client.send("t".repeat(500_000)).unwrap();
        thread::sleep(Duration::from_millis(2500));
    }
    client.send_close_notify().unwrap();
    let came = came.recv_timeout(LONG).expect("the reader sees the end");
    assert_eq!(came.unwrap(), 5 + 1_000_000, "{client:?}");
    is_let_go(&mut client, Then::HasClosed);
}

/// Reads to the end, and then ends its own direction.
async fn reads(mut tunnel: TokioIo<Upgraded>) -> io::Result<usize> {
    let mut all = Vec::new();
    let length = tunnel.read_to_end(&mut all).await?;
    tunnel.shutdown().await?;
    Ok(length)
}

/// A clean EOF would tell the reader that it has everything.
#[test]
fn a_reader_cut_at_the_deadline_gets_an_error() {
    for version in Version::BOTH {
        let (server, came) = serves(Duration::from_millis(300), version, reads);
        let mut client = client_of(&server, version);
        client.send("half of it").unwrap();
        server.tls.shutdown();
        let came = came.recv_timeout(LONG).expect("the reader is ended");
        assert!(came.is_err(), "{came:?}");
        ends_visibly_truncated(&mut client, Then::Closes);
        let report = server.closed(LONG);
        assert_eq!((report.truncated, report.clean), (1, 0), "{report}");
    }
}

/// The same of one who has read everything before: the client's own end is an EOF.
#[test]
fn a_reader_whose_client_ends_gets_an_eof() {
    for version in Version::BOTH {
        let (server, came) = serves(LONG, version, reads);
        let mut client = client_of(&server, version);
        client.send("all of it").unwrap();
        client.send_close_notify().unwrap();
        let came = came.recv_timeout(LONG).expect("the reader sees the end");
        assert_eq!(came.unwrap(), 9, "{client:?}");
        ends_properly(&mut client, Then::HasClosed);
    }
}
