//! Heap allocations per request, ours against bare hyper-util + tokio-rustls.
//!
//! Server and client share one thread, and the client's allocations are left out. A number that
//! grows here is paid by every request of every user.

mod client;

use std::task::Poll;

use benches::rig;
use client::Work;
use rig::{Certificate, Kind};
use tokio::net::TcpListener;

fn poll_uncounted(poll: &mut dyn FnMut() -> Poll<()>) -> Poll<()> {
    let mut polled = Poll::Pending;
    allocation_counter::opt_out(|| polled = poll());
    polled
}

/// Allocations of `requests` requests, the start included.
fn count(kind: Kind, work: Work, requests: u64) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let certificate = Certificate::new().unwrap();
    let counted = allocation_counter::measure(|| {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let _serving = certificate.serve(kind, listener).unwrap();
            let done = client::uncounted(work.run(addr, &certificate, requests));
            done.await.unwrap();
        });
    });
    counted.count_total
}

/// Allocations that each request adds between `few` and `many`, ours less bare.
fn added(work: Work, [few, many]: [u64; 2]) -> f64 {
    let each =
        |kind| (count(kind, work, many) - count(kind, work, few)) as f64 / (many - few) as f64;
    let (ours, bare) = (each(Kind::Graceful), each(Kind::Bare));
    println!("{work:?}: {ours} a request, bare {bare}");
    assert!(bare > 1.0, "nothing was counted");
    ours - bare
}

/// hyper's first buffer lasts for some hundred heads.
const STEADY: [u64; 2] = [300, 400];

/// The map of the request's extensions, where handlers find the `TlsConnection`, costs one. Over
/// HTTP/1 it is made up for by hyper's header time-out, which is off.
#[test]
fn a_request_adds_one_at_most() {
    for (alpn, limit) in [("http/1.1", 0.05), ("h2", 1.05)] {
        let added = added(Work::keep_alive(alpn, "/"), STEADY);
        assert!(added <= limit, "{alpn}: {added}");
    }
}

#[test]
fn the_chunks_of_a_body_add_none() {
    for (alpn, limit) in [("http/1.1", 0.05), ("h2", 1.3)] {
        let added = added(Work::keep_alive(alpn, "/bytes/262144"), STEADY);
        assert!(added <= limit, "{alpn}: {added}");
    }
}

/// Beside what bare has: the record of the connection, its timer, which is the handshake's before and the teardown's
/// after, a task for the handshake and one for the service; boxes for the stream, which is moved often before it is
/// served, and for hyper's part, which goes while the connection is idle.
#[test]
fn a_connection_adds_three() {
    for resume in [false, true] {
        let added = added(Work::one_per_connection(resume), [20, 60]);
        assert!(added <= 3.1, "resumed: {resume}: {added}");
    }
}
