//! What no router does: services that fail, connection futures that are dropped, a server dropped
//! while it serves.

mod support;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use graceful_tls::{GracefulTls, GracefulTlsLayer};
use http::{Request, Response};
use http_body_util::{Full, StreamBody};
use hyper::{
    body::Frame,
    server::conn::{http1, http2},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use support::{VERSIONS, pair};
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify};
use tower::{Layer, service_fn};
use wire::{Client, Ending, Options, Version};

const SECOND: Duration = Duration::from_secs(1);

fn client(addr: SocketAddr, version: Version) -> Client {
    Client::connect_with(addr, &Options::new().version(version).http1()).unwrap()
}

/// A server on a free port, for both versions of TLS, and what one client sees of it.
fn seen<F, Fut>(request: &str, serve: F) -> [Ending; 2]
where
    F: Fn(GracefulTls, TcpListener) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let versions = [Version::Tls12, Version::Tls13];
    std::array::from_fn(|i| {
        let runtime = Runtime::new().unwrap();
        let (builder, _) = pair(VERSIONS[i]);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(serve(builder.build().unwrap(), listener));
        let mut client = client(addr, versions[i]);
        client.send(request).unwrap();
        let ending = client.read_until_end(5 * SECOND);
        let _ = client.close();
        runtime.shutdown_timeout(SECOND);
        ending
    })
}

#[test]
fn a_service_that_fails_answers_nothing_but_close_notify() {
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let endings = seen(request, |tls, listener| async move {
        let fails = |_| async { Err::<Response<Full<Bytes>>, _>(io::Error::other("on purpose")) };
        tls.serve(listener, service_fn(fails)).await.unwrap();
    });
    for ending in endings {
        assert!(ending.is_proper(), "{ending:?}");
        assert_eq!(ending.bytes, b"", "{ending:?}");
    }
}

type Chunk = Result<Frame<Bytes>, Infallible>;

/// One chunk, and then nothing for ever.
async fn endless(
    _: Request<hyper::body::Incoming>,
) -> Result<Response<StreamBody<impl futures_util::Stream<Item = Chunk>>>, Infallible> {
    use futures_util::stream::{StreamExt, iter, pending};
    let chunk = iter([Ok(Frame::data(Bytes::from("half an answer")))]);
    Ok(Response::new(StreamBody::new(chunk.chain(pending()))))
}

/// Serves one connection with an accept loop of its own, and drops hyper's future when the client
/// has read what there is.
async fn drop_it(tls: GracefulTls, listener: TcpListener) {
    let (tcp, _) = listener.accept().await.unwrap();
    let stream = tls.acceptor().accept(tcp).await.unwrap();
    let connection = stream.connection().clone();
    let service = service_fn(move |mut request: Request<_>| {
        request.extensions_mut().insert(connection.clone());
        tower::ServiceExt::oneshot(GracefulTlsLayer.layer(service_fn(endless)), request)
    });
    let served = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let _ = tokio::time::timeout(SECOND / 4, served).await;
    std::future::pending::<()>().await;
}

#[test]
fn a_dropped_future_with_a_framed_answer_is_notified() {
    for ending in seen("GET / HTTP/1.1\r\nhost: a\r\n\r\n", drop_it) {
        assert!(ending.is_proper(), "{ending:?}");
        assert!(ending.bytes.ends_with(b"half an answer\r\n"), "{ending:?}");
    }
}

#[test]
fn a_dropped_future_with_a_close_delimited_answer_is_not() {
    for ending in seen("GET / HTTP/1.0\r\n\r\n", drop_it) {
        assert!(ending.is_truncation_visible(), "{ending:?}");
        assert!(ending.bytes.ends_with(b"half an answer"), "{ending:?}");
    }
}

#[test]
fn a_dropped_server_leaves_its_connections_and_the_shutdown_reaches_them() {
    let runtime = Runtime::new().unwrap();
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    let hello = |_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello")))) };
    let gone = Arc::new(Notify::new());
    let server = tls.clone();
    let told = gone.clone();
    runtime.spawn(async move {
        tokio::select! {
            _ = server.serve(listener, service_fn(hello)) => {}
            () = told.notified() => {}
        }
    });
    let mut client = client(addr, Version::Tls13);
    assert_eq!(client.get("/").unwrap().text(), "hello");
    gone.notify_one();
    assert_eq!(client.get("/").unwrap().text(), "hello", "it lives on");

    let _runtime = runtime.enter();
    tls.shutdown();
    let ending = client.read_until_end(5 * SECOND);
    assert!(ending.is_proper(), "{ending:?}");
    let _ = client.close();
    let report = runtime.block_on(tls.closed());
    assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
}

/// One connection, whose server is told of its end by its own means.
async fn ends_it_itself(tls: GracefulTls, listener: TcpListener, told: Arc<Notify>) {
    let (tcp, _) = listener.accept().await.unwrap();
    let stream = tls.acceptor().accept(tcp).await.unwrap();
    let slow = service_fn(|_: Request<hyper::body::Incoming>| async {
        tokio::time::sleep(SECOND).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("whole"))))
    });
    let service = TowerToHyperService::new(slow);
    let served =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        biased;
        () = told.notified() => served.as_mut().graceful_shutdown(),
        _ = served.as_mut() => return,
    }
    let _ = served.await;
}

/// The last stream that a GOAWAY names may not rise (RFC 9113 6.8): clients give up then.
#[test]
fn a_server_that_has_said_goaway_is_not_contradicted() {
    let runtime = Runtime::new().unwrap();
    let tls = pair(VERSIONS[1]).0.lame_duck(Duration::ZERO);
    let tls = tls.build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    let told = Arc::new(Notify::new());
    runtime.spawn(ends_it_itself(tls.clone(), listener, told.clone()));
    let mut h2 = wire::H2::connect(addr).unwrap();
    let stream = h2.get("/").unwrap();
    // By its answer the request has been seen.
    assert!(h2.ping(*b"arrived?", 5 * SECOND).unwrap().is_some());
    told.notify_one();
    let names_it = |h2: &wire::H2| h2.goaways().contains(&(stream, 0));
    assert!(h2.pump_until(5 * SECOND, names_it), "{h2:?}");

    tls.shutdown();
    assert!(h2.wait_stream(stream, 5 * SECOND).is_complete(), "{h2:?}");
    let ending = h2.read_until_end(5 * SECOND);
    assert!(ending.is_proper(), "{ending:?}");
    assert_eq!(h2.goaways().last(), Some(&(stream, 0)), "{h2:?}");
    let _ = h2.conn.close();
    let report = runtime.block_on(tls.closed());
    assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
}

/// More than the socket buffers of this connection hold.
const LARGE: usize = 2 << 20;

/// A server of one answer in one frame: hyper has all of it long before the client does.
fn one_large_frame(write_timeout: Duration) -> (Runtime, GracefulTls, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder
        .lame_duck(Duration::from_millis(10))
        .keep_alive_timeout(SECOND / 2)
        .write_timeout(write_timeout)
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tls.clone();
    let body = Bytes::from(vec![b'x'; LARGE]);
    let large = move |_| {
        let answer = Response::new(Full::new(body.clone()));
        async { Ok::<_, Infallible>(answer) }
    };
    runtime.spawn(async move { server.serve(listener, service_fn(large)).await });
    (runtime, tls, addr)
}

#[test]
fn an_answer_in_one_frame_is_in_flight_until_it_is_read() {
    for options in [Options::new().tls13().http1(), Options::new().tls13().h2()] {
        let (runtime, tls, addr) = one_large_frame(10 * SECOND);
        let options = options.recv_buffer(64 * 1024);
        let http2 = wire::H2Options {
            // The whole answer fits the window at once.
            settings: vec![(wire::setting::INITIAL_WINDOW_SIZE, 1 << 30)],
            ..Default::default()
        };
        let client = Client::connect_with(addr, &options).unwrap();
        let mut reader = Reader::new(client, http2);
        // Longer than the keep-alive time-out, and than the grace of a drain.
        let _entered = runtime.enter();
        tls.shutdown();
        for _ in 0..5 {
            std::thread::sleep(SECOND / 2);
            reader.read_some(200 * 1024);
        }
        assert!(reader.is_whole(), "{:?}", reader.ending());
        drop(reader);
        let report = runtime.block_on(tls.closed());
        assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
    }
}

#[test]
fn a_reader_that_stops_in_the_middle_of_it_is_let_go() {
    for options in [Options::new().tls13().http1(), Options::new().tls13().h2()] {
        let (runtime, tls, addr) = one_large_frame(2 * SECOND);
        let options = options.recv_buffer(64 * 1024);
        let http2 = wire::H2Options {
            settings: vec![(wire::setting::INITIAL_WINDOW_SIZE, 1 << 30)],
            ..Default::default()
        };
        let client = Client::connect_with(addr, &options).unwrap();
        let reader = Reader::new(client, http2);
        std::thread::sleep(SECOND);
        let _entered = runtime.enter();
        tls.shutdown();
        let closed = async { tokio::time::timeout(8 * SECOND, tls.closed()).await };
        let report = runtime.block_on(closed).expect("it is let go");
        assert_eq!((report.clean, report.connections()), (0, 1), "{report}");
        drop(reader);
    }
}

#[expect(clippy::large_enum_variant, reason = "one of it at a time")]
/// A client of either protocol that reads at its own pace.
enum Reader {
    Http1(Client),
    Http2(wire::H2),
}

impl Reader {
    fn new(mut client: Client, options: wire::H2Options) -> Self {
        if client.alpn().as_deref() == Some("h2") {
            let mut h2 = wire::H2::start(client, options).unwrap();
            h2.conn
                .send(wire::Frame::window_update(0, 1 << 30).encode())
                .unwrap();
            h2.get("/").unwrap();
            return Self::Http2(h2);
        }
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        Self::Http1(client)
    }

    fn conn(&mut self) -> &mut Client {
        match self {
            Self::Http1(client) => client,
            Self::Http2(h2) => &mut h2.conn,
        }
    }

    fn read_some(&mut self, n: usize) {
        let before = self.conn().ending().bytes.len();
        let limit = std::time::Instant::now() + SECOND / 10;
        while self.conn().ending().bytes.len() < before + n && std::time::Instant::now() < limit {
            let _ = self.conn().read_some(SECOND / 50);
        }
    }

    fn is_whole(&mut self) -> bool {
        let ending = self.conn().read_until_end(10 * SECOND);
        ending.is_proper() && ending.bytes.len() > LARGE
    }

    fn ending(&mut self) -> Ending {
        self.conn().ending()
    }
}

/// Answers 101 and sends one line through the tunnel, which it then ends or lets go.
async fn tunnel(tls: GracefulTls, listener: TcpListener, orderly: bool) {
    let upgrade = move |request: Request<hyper::body::Incoming>| async move {
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let mut io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
            io.write_all(b"through the tunnel").await.unwrap();
            io.flush().await.unwrap();
            if orderly {
                io.shutdown().await.unwrap();
            }
        });
        let answer = Response::builder().status(101).header("upgrade", "line");
        answer
            .header("connection", "upgrade")
            .body(Full::<Bytes>::default())
    };
    tls.serve(listener, service_fn(upgrade)).await.unwrap();
}

#[test]
fn a_raw_tunnel_that_is_ended_is_notified_and_one_that_is_dropped_is_not() {
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: line\r\n\r\n";
    for orderly in [true, false] {
        let endings = seen(request, move |tls, tcp| tunnel(tls, tcp, orderly));
        for ending in endings {
            assert_eq!(ending.is_proper(), orderly, "{ending:?}");
            assert_eq!(ending.is_truncation_visible(), !orderly, "{ending:?}");
            assert!(ending.bytes.ends_with(b"through the tunnel"), "{ending:?}");
        }
    }
}
