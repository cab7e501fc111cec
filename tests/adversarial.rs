//! The stream and its teardown over transports that misbehave, with paused time.

mod support;

use std::time::Duration;

use graceful_tls::{Drain, GracefulStream, GracefulTls};
use support::{
    VERSIONS, connect,
    doubles::{Double, Handle, Vice, double},
    pair,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::client::TlsStream;

const CAPACITY: usize = 64 * 1024;

fn seconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 10.0).round() / 10.0
}

/// A connection whose peer may take nothing for nine seconds.
async fn patient_for_nine_seconds() -> (GracefulStream<Double>, TlsStream<DuplexStream>, Handle) {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder
        .write_timeout(Duration::from_secs(9))
        .build()
        .unwrap();
    let (io, client, handle) = double(CAPACITY);
    let (server, client) = connect(&tls, &connector, io, client).await;
    (server, client, handle)
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_notifies_and_half_closes() {
    for version in VERSIONS {
        let (builder, connector) = pair(version);
        let tls = builder.build().unwrap();
        let (io, client, handle) = double(CAPACITY);
        let (server, mut client) = connect(&tls, &connector, io, client).await;
        drop(server);

        // rustls says UnexpectedEof where close_notify is missing.
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).await.unwrap(), 0);
        assert!(handle.half_closed());
        assert_eq!(handle.dropped(), None, "it drains until the client closes");
        client.shutdown().await.unwrap();
        let begun = Instant::now();
        assert_eq!(seconds(handle.wait_dropped().await - begun), 0.0);
    }
}

#[tokio::test(start_paused = true)]
async fn one_byte_a_write_loses_nothing() {
    for version in VERSIONS {
        let (builder, connector) = pair(version);
        let tls = builder.build().unwrap();
        let (io, client, handle) = double(CAPACITY);
        let (mut server, mut client) = connect(&tls, &connector, io, client).await;
        handle.set(Vice::OneByte);
        server.write_all(&[b'x'; 5000]).await.unwrap();
        server.shutdown().await.unwrap();

        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.len(), 5000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_while_it_shuts_down_changes_nothing() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (io, client, handle) = double(CAPACITY);
    let (mut server, mut client) = connect(&tls, &connector, io, client).await;
    let begun = Instant::now();
    let waits = tokio::time::timeout(Duration::from_millis(100), server.shutdown());
    waits.await.unwrap_err();
    server.flush().await.unwrap();
    client.shutdown().await.unwrap();
    server.shutdown().await.unwrap();
    drop(server);
    assert_eq!(seconds(handle.wait_dropped().await - begun), 0.1);
}

#[tokio::test(start_paused = true)]
async fn without_a_layer_a_cut_answer_does_not_look_whole() {
    for version in VERSIONS {
        let (builder, connector) = pair(version);
        let tls = builder.build().unwrap();
        let (io, client, _handle) = double(CAPACITY);
        let (mut server, mut client) = connect(&tls, &connector, io, client).await;
        server
            .write_all(b"HTTP/1.0 200 OK\r\n\r\nhalf")
            .await
            .unwrap();
        server.flush().await.unwrap();
        drop(server);

        let mut answer = Vec::new();
        let error = client.read_to_end(&mut answer).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(answer.ends_with(b"half"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_let_go() {
    for vice in [Vice::Deaf, Vice::StuckFlush] {
        let (builder, connector) = pair(VERSIONS[1]);
        let tls = builder.build().unwrap();
        let (io, client, handle) = double(CAPACITY);
        let (server, _client) = connect(&tls, &connector, io, client).await;
        handle.set(vice);
        let begun = Instant::now();
        drop(server);
        let held = handle.wait_dropped().await - begun;
        assert_eq!(seconds(held), 5.0, "{vice:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_transport_is_let_go_at_once() {
    for vice in [Vice::Reset, Vice::StuckShutdown] {
        let (builder, connector) = pair(VERSIONS[1]);
        let tls = builder.build().unwrap();
        let (io, client, handle) = double(CAPACITY);
        let (server, _client) = connect(&tls, &connector, io, client).await;
        handle.set(vice);
        drop(server);
        assert!(handle.dropped().is_some(), "{vice:?}");
    }
}

/// Drops a server's stream and lets the client do as it likes; gives how long it was held.
async fn held_while<F, Fut>(drain: Drain, client_does: F) -> Duration
where
    F: FnOnce(tokio_rustls::client::TlsStream<tokio::io::DuplexStream>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.drain(drain).build().unwrap();
    let (io, client, handle) = double(CAPACITY);
    let (server, client) = connect(&tls, &connector, io, client).await;
    let begun = Instant::now();
    drop(server);
    let client = tokio::spawn(client_does(client));
    let held = handle.wait_dropped().await - begun;
    client.abort();
    held
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_let_go_after_two_seconds() {
    let held = held_while(Drain::default(), |client| async move {
        sleep(Duration::from_secs(60)).await;
        drop(client);
    });
    assert_eq!(seconds(held.await), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_dripping_peer_is_cut_after_five_seconds() {
    let held = held_while(Drain::default(), |mut client| async move {
        while client.write_all(b"x").await.is_ok() {
            client.flush().await.ok();
            sleep(Duration::from_secs(1)).await;
        }
    });
    assert_eq!(seconds(held.await), 5.0);
}

#[tokio::test(start_paused = true)]
async fn a_flooding_peer_is_cut_by_bytes() {
    let held = held_while(
        Drain::default().max_bytes(1 << 20),
        |mut client| async move { while client.write_all(&[0; 16 * 1024]).await.is_ok() {} },
    );
    assert_eq!(seconds(held.await), 0.0);
}

/// Its close_notify says so, and the transport need not.
#[tokio::test(start_paused = true)]
async fn a_peer_that_says_close_notify_is_let_go_at_once() {
    let held = held_while(Drain::default(), |mut client| async move {
        client.get_mut().1.send_close_notify();
        client.flush().await.unwrap();
        sleep(Duration::from_secs(60)).await;
        drop(client);
    });
    assert_eq!(seconds(held.await), 0.0);
}

/// However much that is which nobody reads: rustls takes nothing in while it holds too much of it.
#[tokio::test(start_paused = true)]
async fn an_upload_is_discarded_to_its_end() {
    let held = held_while(Drain::default(), |mut client| async move {
        for _ in 0..100 {
            client.write_all(&[0; 16 * 1024]).await.unwrap();
            client.flush().await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
        client.shutdown().await.unwrap();
        std::future::pending().await
    });
    assert_eq!(seconds(held.await), 1.0);
}

/// Whether or not another task has waited for the end before.
#[tokio::test(start_paused = true)]
async fn over_the_cap_the_oldest_goes_first() {
    for waited_for in [false, true] {
        let (builder, connector) = pair(VERSIONS[1]);
        let tls = builder
            .drain(Drain::default().max_connections(2))
            .build()
            .unwrap();
        let mut handles = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..4 {
            let (io, client, handle) = double(CAPACITY);
            let (mut server, client) = connect(&tls, &connector, io, client).await;
            let ends = tokio::spawn(async move {
                if waited_for {
                    let waits = Duration::from_millis(1);
                    timeout(waits, server.shutdown()).await.unwrap_err();
                }
                drop(server);
            });
            ends.await.unwrap();
            // Let the teardown take its place before the next one does.
            sleep(Duration::from_millis(10)).await;
            handles.push(handle);
            clients.push(client);
        }
        let gone: Vec<bool> = handles.iter().map(|h| h.dropped().is_some()).collect();
        assert_eq!(gone, [true, true, false, false], "waited for: {waited_for}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_streams_end_at_the_keep_alive_time_out() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder
        .keep_alive_timeout(Duration::from_secs(7))
        .build()
        .unwrap();
    let (io, client, _handle) = double(CAPACITY);
    let (mut server, _client) = connect(&tls, &connector, io, client).await;
    let begun = Instant::now();
    let mut buf = [0; 16];
    assert_eq!(server.read(&mut buf).await.unwrap(), 0, "an EOF");
    assert_eq!(seconds(begun.elapsed()), 7.0);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_write_fails_at_the_write_time_out() {
    let (mut server, _client, handle) = patient_for_nine_seconds().await;
    let begun = Instant::now();
    let error = server.write_all(&vec![0; 1 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(seconds(begun.elapsed()), 9.0);
    drop(server);
    let held = handle.wait_dropped().await - begun;
    assert_eq!(seconds(held), 9.0, "it has had its time");
}

#[tokio::test(start_paused = true)]
async fn a_slow_but_living_reader_survives() {
    let (mut server, mut client, _handle) = patient_for_nine_seconds().await;
    let reader = tokio::spawn(async move {
        let mut buf = [0; 1000];
        let mut read = 0;
        while read < 300_000 {
            read += client.read(&mut buf).await.unwrap();
            sleep(Duration::from_millis(500)).await;
        }
    });
    server.write_all(&vec![0; 300_000]).await.unwrap();
    server.flush().await.unwrap();
    reader.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_is_let_go_at_its_time_out() {
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder
        .handshake_timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    let (io, _client, handle) = double(CAPACITY);
    let begun = Instant::now();
    let error = tls.acceptor().accept(io).await.unwrap_err();
    assert!(matches!(error, graceful_tls::HandshakeError::TimedOut));
    assert_eq!(seconds(begun.elapsed()), 3.0);
    // Half-closed, then the two seconds of silence.
    assert_eq!(seconds(handle.wait_dropped().await - begun), 5.0);
}

#[tokio::test(start_paused = true)]
async fn the_cap_on_handshakes_holds() {
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder
        .handshake_timeout(Duration::from_secs(3))
        .max_handshakes(1)
        .build()
        .unwrap();
    let acceptor = tls.acceptor();
    let (first, _first_client, first_handle) = double(CAPACITY);
    let (second, _second_client, second_handle) = double(CAPACITY);
    let stalled = tokio::spawn({
        let acceptor = acceptor.clone();
        async move { acceptor.accept(first).await.map(drop) }
    });
    // An eighth of an eighth of the time-out, and a little: its hello is overdue.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    let second = tokio::spawn(async move { acceptor.accept(second).await.map(drop) });
    // It gives way, and its socket is closed at once.
    let evicted = stalled.await.unwrap().unwrap_err();
    assert!(matches!(evicted, graceful_tls::HandshakeError::Evicted));
    assert_eq!(seconds(first_handle.wait_dropped().await - begun), 0.0);
    // The other ends like any: half-closed, then two seconds of silence.
    let timed_out = second.await.unwrap().unwrap_err();
    assert!(matches!(timed_out, graceful_tls::HandshakeError::TimedOut));
    assert_eq!(seconds(second_handle.wait_dropped().await - begun), 5.0);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_what_is_left() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls: GracefulTls = builder
        .lame_duck(Duration::ZERO)
        .shutdown_timeout(Duration::from_secs(4))
        .build()
        .unwrap();
    let (io, client, _handle) = double(CAPACITY);
    let (mut server, mut client) = connect(&tls, &connector, io, client).await;
    let begun = Instant::now();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    tls.shutdown();
    // The server does not cooperate: it only reads.
    let mut request = Vec::new();
    server.read_to_end(&mut request).await.unwrap();
    assert!(request.ends_with(b"\r\n\r\n"), "the stream ends the reads");
    assert_eq!(seconds(begun.elapsed()), 4.0);
    drop(server);
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0, "close_notify");
    drop(client);
    let report = tls.closed().await;
    assert!(report.deadline_reached);
    assert_eq!((report.truncated, report.connections()), (1, 1), "{report}");
}

#[tokio::test(start_paused = true)]
async fn draining_ends_what_is_idle_under_a_server_that_only_reads() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls: GracefulTls = builder.lame_duck(Duration::ZERO).build().unwrap();
    let (io, client, _handle) = double(CAPACITY);
    let (mut server, mut client) = connect(&tls, &connector, io, client).await;
    let begun = Instant::now();
    tls.shutdown();
    assert_eq!(server.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(seconds(begun.elapsed()), 0.0);
    drop(server);
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0, "close_notify");
    drop(client);
    let report = tls.closed().await;
    assert!(!report.deadline_reached);
    assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
}

/// A tunnel whose own direction is closed, after that had to wait: what the peer sends is still read,
/// however late it comes.
#[tokio::test(start_paused = true)]
async fn a_half_close_that_had_to_wait_stalls_nothing_behind_it() {
    let (mut server, mut client, handle) = patient_for_nine_seconds().await;
    client
        .write_all(b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut buf = [0; 100];
    assert!(server.read(&mut buf).await.unwrap() > 0);
    server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    server.flush().await.unwrap();

    handle.set(Vice::Deaf);
    let waits = timeout(Duration::from_secs(1), server.shutdown()).await;
    assert!(waits.is_err(), "{waits:?}");
    handle.set(Vice::None);
    server.shutdown().await.unwrap();
    let late = tokio::spawn(async move {
        sleep(Duration::from_secs(60)).await;
        client.write_all(b"late").await.unwrap();
        client
    });
    assert_eq!(server.read(&mut buf).await.unwrap(), 4);
    drop(late.await.unwrap());
}
