//! What a peer goes on sending behind its close_notify is discarded, but not for ever: it counts as
//! what a drain reads.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;
#[path = "support/within.rs"]
mod within;

use std::{
    convert::Infallible,
    io::ErrorKind,
    time::{Duration, Instant},
};

use graceful_tls::{Drain, GracefulTls};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use judge::{fields, get};
use support::{VERSIONS, pair};
use tokio::{net::TcpListener, time::sleep};
use tower::service_fn;
use wire::{Client, Frame, H2, H2Options, Options, PREFACE};
use within::Within;

const MIB: usize = 1 << 20;
/// What the server may read, and not much more.
const DRAIN: usize = MIB;
/// What the kernels hold beside that: the client's send buffer grows to 4 MiB.
const KERNELS: usize = 6 * MIB;
/// How long the answer takes.
const DUE: Duration = Duration::from_millis(3000);

async fn answer(_: Request<Incoming>) -> Result<Response<Full<&'static [u8]>>, Infallible> {
    sleep(DUE).await;
    Ok(Response::new(Full::new(b"hello\n")))
}

/// Its sockets receive little at a time, so that what is sent is what the server has read.
fn server() -> Within {
    let (builder, _) = pair(VERSIONS[1]);
    let builder = builder.drain(Drain::default().max_bytes(DRAIN as u64));
    Within::receiving(
        Some(128 << 10),
        builder,
        |tls: GracefulTls, listener: TcpListener| async move {
            tls.serve(listener, service_fn(answer)).await.unwrap();
        },
    )
}

fn client_of(server: &Within, protocol: &str) -> Client {
    let options = Options::new().alpn(&[protocol]);
    Client::connect_with(server.addr, &options).unwrap()
}

/// Sends for as long as the answer is due; how much of it was taken.
fn floods(client: &mut Client, plaintext: &[u8]) -> usize {
    let mut bytes = client.encrypt_only(plaintext);
    bytes.extend(client.close_notify_bytes());
    client.send_raw(bytes).unwrap();
    let until = Instant::now() + DUE;
    let chunk = vec![23; MIB];
    let mut sent = 0;
    while sent < 64 * MIB && Instant::now() < until {
        match client.send_raw_for(&chunk, Duration::from_millis(300)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => break,
            // It is over, which is a bound as well.
            Err(_) => return sent,
        }
        sent += MIB;
    }
    sent
}

#[test]
fn a_flood_behind_close_notify_is_bounded() {
    let server = server();
    let mut client = client_of(&server, "http/1.1");
    let sent = floods(&mut client, get("/").as_bytes());
    assert!(sent <= 4 * DRAIN + KERNELS, "took {sent} bytes: {client:?}");
}

#[test]
fn so_it_is_over_http2() {
    let server = server();
    let mut h2 = H2::over(client_of(&server, "h2"), H2Options::silent());
    let request = h2.request(&fields("GET", "/"), true);
    let frames = [PREFACE, &Frame::settings(&[]).encode(), &request.encode()].concat();
    let sent = floods(&mut h2.conn, &frames);
    assert!(sent <= 4 * DRAIN + KERNELS, "took {sent} bytes: {h2:?}");
}
