//! Where connections come from: listeners that fail, that break, that are no TCP.

mod support;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::pending,
    io,
    net::SocketAddr,
    pin::pin,
    thread::{self, ThreadId},
    time::Duration,
};

use bytes::Bytes;
use graceful_tls::{Accept, GracefulTls, GracefulTlsLayer, TlsConnection};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use support::{VERSIONS, pair};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    runtime::Runtime,
    time::Instant,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tower::service_fn;

/// A listener that gives what it was told to, in turn, and then nothing.
struct Script(VecDeque<io::Result<DuplexStream>>);

impl Accept for Script {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.0.pop_front() {
            Some(next) => next.map(|io| (io, None)),
            None => pending().await,
        }
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from("hello"))))
}

/// One request on a connection of its own, read to its end: fails without close_notify.
async fn ask<IO: AsyncRead + AsyncWrite + Unpin>(connector: &TlsConnector, io: IO) -> String {
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = connector.connect(name, io).await.unwrap();
    tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    tls.read_to_string(&mut answer).await.unwrap();
    let _ = tls.shutdown().await;
    answer
}

/// EMFILE: too many open files.
fn out_of_descriptors() -> io::Error {
    io::Error::from_raw_os_error(24)
}

#[tokio::test(start_paused = true)]
async fn running_out_of_descriptors_is_survived() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (server, client) = tokio::io::duplex(64 * 1024);
    let script = VecDeque::from([
        Err(out_of_descriptors()),
        Err(io::ErrorKind::ConnectionAborted.into()),
        Err(out_of_descriptors()),
        Err(out_of_descriptors()),
        Ok(server),
    ]);
    let begun = Instant::now();
    let serving = tls.clone();
    tokio::spawn(async move { serving.serve(Script(script), service_fn(hello)).await });
    let answer = ask(&connector, client).await;
    assert!(answer.ends_with("hello"), "{answer}");
    // 10, 20 and 40 ms of back-off; a client that is gone costs none.
    assert_eq!(begun.elapsed().as_millis() / 10, 7);
}

#[tokio::test]
async fn a_broken_listener_ends_the_server_and_says_so() {
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    // EBADF.
    let script = VecDeque::from([Err(io::Error::from_raw_os_error(9))]);
    let error = tls
        .serve(Script(script), service_fn(hello))
        .await
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(9));
}

/// A listener with a bug.
struct Panics;

impl Accept for Panics {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        panic!("a bug in a listener");
    }
}

#[tokio::test]
async fn the_panic_of_a_listener_reaches_whoever_serves() {
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let served = tokio::spawn(async move { tls.serve(Panics, service_fn(hello)).await });
    let panic = served.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"a bug in a listener"));
}

/// A listener that says on which thread it is asked.
struct Tells(tokio::sync::mpsc::UnboundedSender<ThreadId>);

impl Accept for Tells {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        self.0.send(thread::current().id()).unwrap();
        pending().await
    }
}

/// The thread of `main`'s future has to be woken for each connection, and then to wake a worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connections_are_accepted_on_a_worker() {
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (tells, mut told) = tokio::sync::mpsc::unbounded_channel();
    tokio::select! {
        _ = tls.serve(Tells(tells), service_fn(hello)) => unreachable!(),
        thread = told.recv() => assert_ne!(thread, Some(thread::current().id())),
    }
}

fn runtimes() -> [Runtime; 2] {
    use tokio::runtime::Builder;
    [Builder::new_current_thread(), Builder::new_multi_thread()]
        .map(|mut builder| builder.enable_all().build().unwrap())
}

/// Also where nobody drives the runtime at that moment. Whom it has accepted it goes on serving.
#[test]
fn a_dropped_server_has_closed_its_listener() {
    for runtime in runtimes() {
        let (builder, connector) = pair(VERSIONS[1]);
        let tls = builder.build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut serving = Box::pin(tls.serve(listener, service_fn(hello)));
        let connect = async {
            let name = ServerName::try_from("localhost").unwrap();
            let tcp = TcpStream::connect(addr).await.unwrap();
            connector.connect(name, tcp).await.unwrap()
        };
        let mut client = runtime.block_on(async {
            tokio::select! {
                _ = &mut serving => unreachable!(),
                client = connect => client,
            }
        });
        drop(serving);
        std::net::TcpListener::bind(addr).unwrap();
        runtime.block_on(async {
            let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            client.write_all(request).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("hello"), "{answer}");
        });
    }
}

#[test]
fn a_server_whose_runtime_is_gone_says_so() {
    let [own, other] = runtimes();
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let mut serving = pin!(tls.serve(Script(VecDeque::new()), service_fn(hello)));
    let begun = own.block_on(async { futures_util::poll!(&mut serving) });
    assert!(begun.is_pending());
    drop(own);
    let error = other.block_on(serving).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Other, "{error}");
}

/// Whether the listener has one address or all of them.
#[tokio::test]
async fn a_connection_has_the_address_that_its_client_has_gone_to() {
    for (bound, asked) in [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.2")] {
        let (builder, connector) = pair(VERSIONS[1]);
        let tls = builder.build().unwrap();
        let listener = TcpListener::bind(bound).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let local = |request: Request<Incoming>| async move {
            let local = request
                .extensions()
                .get::<TlsConnection>()
                .unwrap()
                .local_addr();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{local:?}"))))
        };
        let serving = tls.clone();
        tokio::spawn(async move { serving.serve(listener, service_fn(local)).await });
        let client = TcpStream::connect((asked, port)).await.unwrap();
        let answer = ask(&connector, client).await;
        assert!(
            answer.ends_with(&format!("Some({asked}:{port})")),
            "{answer}"
        );
    }
}

/// A Unix socket in a folder of its own.
fn unix() -> (tempfile::TempDir, UnixListener) {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    (folder, listener)
}

async fn report_is_clean(tls: &GracefulTls) {
    tls.shutdown();
    let closed = tokio::time::timeout(Duration::from_secs(10), tls.closed());
    let report = closed.await.unwrap();
    assert_eq!(report.connections(), report.clean, "{report}");
}

#[tokio::test]
async fn unix_sockets_are_served() {
    for version in VERSIONS {
        let (builder, connector) = pair(version);
        let tls = builder.build().unwrap();
        let (folder, listener) = unix();
        let serving = tls.clone();
        let server = tokio::spawn(async move { serving.serve(listener, service_fn(hello)).await });
        let client = UnixStream::connect(folder.path().join("socket"))
            .await
            .unwrap();
        assert!(ask(&connector, client).await.ends_with("hello"));
        report_is_clean(&tls).await;
        server.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn unix_sockets_are_served_by_axum() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (folder, listener) = unix();
    let who = |connection: TlsConnection| async move { format!("{:?}", connection.server_name()) };
    let app = axum::Router::new()
        .route("/", axum::routing::get(who))
        .layer(GracefulTlsLayer)
        .into_make_service_with_connect_info::<TlsConnection>();
    let server = axum::serve(tls.listener(listener), app).with_graceful_shutdown(tls.drained());
    let server = tokio::spawn(server.into_future());
    let client = UnixStream::connect(folder.path().join("socket"))
        .await
        .unwrap();
    assert!(
        ask(&connector, client)
            .await
            .ends_with("Some(\"localhost\")")
    );
    report_is_clean(&tls).await;
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_handler_makes_its_answer_the_last() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (folder, listener) = unix();
    let last = |request: Request<Incoming>| async move {
        request.extensions().get::<TlsConnection>().unwrap().close();
        hello(request).await
    };
    let serving = tls.clone();
    tokio::spawn(async move { serving.serve(listener, service_fn(last)).await });
    let client = UnixStream::connect(folder.path().join("socket"))
        .await
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, client).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

/// Connections that somebody else has accepted, with whose they are; what waits when a shutdown begins
/// is still served.
#[tokio::test]
async fn a_channel_is_a_listener() {
    for version in VERSIONS {
        let (builder, connector) = pair(version);
        let tls = builder.lame_duck(Duration::ZERO).build().unwrap();
        let (sender, listener) = tokio::sync::mpsc::channel(8);
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let (server, client) = tokio::io::duplex(64 * 1024);
                sender.try_send((server, None)).unwrap();
                client
            })
            .collect();
        drop(sender);
        tls.shutdown();
        let serving = tls.clone();
        let server = tokio::spawn(async move { serving.serve(listener, service_fn(hello)).await });
        for client in clients {
            assert!(ask(&connector, client).await.ends_with("hello"));
        }
        let report = server.await.unwrap().unwrap();
        assert_eq!(report.clean, 3, "{report}");
    }
}

#[tokio::test]
async fn a_listener_in_memory_without_a_buffer_does_not_panic() {
    let (connector, mut listener) = graceful_tls::in_memory(0);
    let _near = connector.connect(None).await.unwrap();
    assert!(listener.accept_now().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_server_in_memory_needs_no_port() {
    let (builder, client) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (connector, listener) = graceful_tls::in_memory(64 * 1024);
    let serving = tls.clone();
    let server = tokio::spawn(async move { serving.serve(listener, service_fn(hello)).await });
    for _ in 0..200 {
        let io = connector.connect(None).await.unwrap();
        assert!(ask(&client, io).await.ends_with("hello"));
    }
    tls.shutdown();
    server.await.unwrap().unwrap();
    let refused = connector.connect(None).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}
