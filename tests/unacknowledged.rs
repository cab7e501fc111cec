//! What only the kernel knows: how much of what it was given a peer has taken. Real sockets, with
//! small buffers, and a paused clock.

#![cfg(any(target_os = "linux", target_os = "android"))]

mod support;

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use graceful_tls::{
    Builder, Cause, Drain, Ended, GracefulStream, GracefulTls, Observer, Outcome, Report,
    TlsConnection,
};
use http::Response;
use http_body_util::Full;
use support::{VERSIONS, connect, pair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Runtime,
    time::{Instant, sleep},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tower::service_fn;

const BODY: usize = 60_000;

/// How long a client that takes its answer slowly waits between two reads: longer than a drain
/// waits for a silent one, not as long as a flush.
const PAUSE: Duration = Duration::from_secs(3);

struct Bed {
    tls: GracefulTls,
    server: GracefulStream<TcpStream>,
    client: TcpStream,
}

fn settings() -> (Builder, TlsConnector) {
    let (builder, connector) = pair(VERSIONS[1]);
    let builder = builder
        .lame_duck(Duration::ZERO)
        .shutdown_timeout(Duration::from_secs(600))
        .write_timeout(Duration::from_secs(9))
        .drain(Drain::default().flush_timeout(Duration::from_secs(5)));
    (builder, connector)
}

fn made() -> (GracefulTls, TlsConnector) {
    let (builder, connector) = settings();
    (builder.build().unwrap(), connector)
}

/// A server's socket that holds `send_buffer` bytes, and a client's that holds next to nothing.
async fn sockets(send_buffer: usize) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let (client, accepted) = tokio::join!(
        socket.connect(listener.local_addr().unwrap()),
        listener.accept()
    );
    let accepted = accepted.unwrap().0;
    let sized = socket2::SockRef::from(&accepted).set_send_buffer_size(send_buffer);
    sized.unwrap();
    (accepted, client.unwrap())
}

/// Both ends of a connection, and a request.
async fn bed((tls, connector): (GracefulTls, TlsConnector), send_buffer: usize) -> Bed {
    let (accepted, client) = sockets(send_buffer).await;
    let (mut server, mut client) = connect(&tls, &connector, accepted, client).await;
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    server.read_exact(&mut [0; 18]).await.unwrap();
    Bed {
        tls,
        server,
        client: client.into_inner().0,
    }
}

/// The server answers and ends the connection, the client does what it does. How long that took, in
/// seconds, and how it went.
async fn ends<F: Future<Output = ()> + Send + 'static>(
    send_buffer: usize,
    client_does: impl FnOnce(TcpStream) -> F,
) -> (f64, Report) {
    let Bed {
        tls,
        mut server,
        client,
    } = bed(made(), send_buffer).await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
    server.write_all(head.as_bytes()).await.unwrap();
    server.write_all(&[b'x'; BODY]).await.unwrap();
    let begun = Instant::now();
    tls.shutdown();
    let client = tokio::spawn(client_does(client));
    server.shutdown().await.unwrap();
    let took = begun.elapsed().as_secs_f64();
    drop(server);
    let report = tls.closed().await;
    assert_eq!(report.connections(), 1, "{report}");
    client.abort();
    (took, report)
}

/// Reads to the end, a little at a time.
async fn read_slowly(client: &mut TcpStream) {
    while client.read(&mut [0; 4096]).await.unwrap() > 0 {
        sleep(PAUSE).await;
    }
}

/// All of the answer fits into the server's socket, or hardly any does and TLS holds the rest.
const BUFFERS: [usize; 2] = [200_000, 8192];

#[tokio::test(start_paused = true)]
async fn who_takes_all_of_it_slowly_gets_it() {
    for buffer in BUFFERS {
        let (took, report) = ends(buffer, |mut client| async move {
            read_slowly(&mut client).await;
        })
        .await;
        assert_eq!(report.clean, 1, "{buffer}: {report}");
        assert!(took > 20.0, "{buffer}: {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn so_does_who_has_closed_its_own_direction() {
    for buffer in BUFFERS {
        let (took, report) = ends(buffer, |mut client| async move {
            client.shutdown().await.unwrap();
            read_slowly(&mut client).await;
            std::future::pending().await
        })
        .await;
        assert_eq!(report.clean, 1, "{buffer}: {report}");
        assert!(took > 20.0, "{buffer}: {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_it_is_let_go() {
    for buffer in BUFFERS {
        let (took, report) = ends(buffer, |client| async move {
            let _client = client;
            std::future::pending().await
        })
        .await;
        assert_eq!(report.aborted, 1, "{buffer}: {report}");
        assert!((9.0..12.0).contains(&took), "{buffer}: {took} s");
    }
}

#[tokio::test(start_paused = true)]
async fn who_resets_has_not_got_it() {
    for buffer in BUFFERS {
        let (took, report) = ends(buffer, |client| async move {
            sleep(Duration::from_secs(1)).await;
            // With bytes in it that were not read.
            drop(client);
        })
        .await;
        assert_eq!(report.aborted, 1, "{buffer}: {report}");
        assert!(took < 4.0, "{buffer}: {took} s");
    }
}

/// GET / and that nothing more will come: the last request of its connection.
const LAST_REQUESTS: [(&str, &[u8]); 2] = [
    (
        "h2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
        \0\0\0\x04\0\0\0\0\0\
        \0\0\x0e\x01\x05\0\0\0\x01\x82\x87\x84\x41\x09localhost\
        \0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ),
    ("http/1.1", b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"),
];

/// The raw socket of a client that has sent its last request to a server of the crate's own.
async fn asks_last(
    (builder, connector): (Builder, TlsConnector),
    (alpn, request): (&str, &[u8]),
) -> (GracefulTls, TcpStream) {
    let tls = builder.build().unwrap();
    let mut config = (**connector.config()).clone();
    config.alpn_protocols = vec![alpn.into()];
    let (accepted, client) = sockets(BUFFERS[1]).await;
    let answer =
        |_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; BODY])))) };
    tokio::spawn(tls.serve_connection(accepted, None, service_fn(answer)));
    let connector = TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, client).await.unwrap();
    client.write_all(request).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    (tls, client.into_inner().0)
}

/// The server has given all of it away and shuts the connection down: that makes a client no less patient a reader.
/// Each pause is longer than [`Drain::flush_timeout`], and shorter than the write time-out.
#[tokio::test(start_paused = true)]
async fn who_takes_a_last_answer_slowly_gets_it() {
    for last in LAST_REQUESTS {
        let (tls, mut client) = asks_last(settings(), last).await;
        tls.shutdown();
        let (begun, mut bytes) = (Instant::now(), 0);
        loop {
            sleep(Duration::from_secs(7)).await;
            match client.read(&mut [0; 16 << 10]).await.unwrap() {
                0 => break,
                n => bytes += n,
            }
        }
        drop(client);
        let report = tls.closed().await;
        let took = begun.elapsed().as_secs_f64();
        assert!(bytes > BODY && took > 20.0, "{last:?}: {bytes}, {report}");
        assert!(report.is_clean(), "{last:?}: {report}");
    }
}

#[derive(Clone, Default)]
struct Ends(Arc<Mutex<Vec<(Cause, Outcome)>>>);

impl Observer for Ends {
    fn ended(&self, _: &TlsConnection, ended: &Ended) {
        self.0.lock().unwrap().push((ended.cause, ended.outcome));
    }
}

/// And one that takes nothing of it is let go for that.
#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_a_last_answer_has_stalled() {
    for last in LAST_REQUESTS {
        let ends = Ends::default();
        let (builder, connector) = settings();
        let builder = builder.observer(ends.clone());
        let (tls, _client) = asks_last((builder, connector), last).await;
        let begun = Instant::now();
        while !tls.connections().is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
        let took = begun.elapsed().as_secs_f64();
        assert!((7.0..12.0).contains(&took), "{last:?}: {took} s");
        let ends = ends.0.lock().unwrap();
        assert_eq!(*ends, [(Cause::Stalled, Outcome::Aborted)], "{last:?}");
    }
}

/// The last moment of a connection whose runtime goes: was the answer taken?
#[test]
fn a_runtime_that_goes_while_it_drains() {
    for (reads, expected) in [(true, [1, 0]), (false, [0, 1])] {
        let [ours, theirs] = [(); 2].map(|()| Runtime::new().unwrap());
        let (tls, connector) = made();
        // It is the one that lasts.
        theirs.block_on(async { tls.shutdown_on(std::future::pending::<()>()) });
        let Bed {
            tls,
            mut server,
            mut client,
        } = ours.block_on(bed((tls, connector), BUFFERS[0]));
        tls.shutdown();
        let ends = ours.spawn(async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n");
            server.write_all(head.as_bytes()).await.unwrap();
            server.write_all(&[b'x'; BODY]).await.unwrap();
            server.shutdown().await
        });
        ours.block_on(async {
            client.readable().await.unwrap();
            while reads && client.read(&mut [0; 4096]).await.unwrap() > 0 {}
            // The kernel may acknowledge the last bytes a little later.
            sleep(Duration::from_millis(100)).await;
        });
        assert!(!ends.is_finished());
        drop(ours);
        let report = theirs.block_on(tls.closed());
        let seen = [report.peer_silent, report.aborted];
        assert_eq!(seen, expected, "reads: {reads}, {report}");
    }
}
