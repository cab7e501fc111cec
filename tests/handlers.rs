//! What a handler finds of its connection, whoever serves it: a handler that was written for another
//! TLS server finds what it found there.

mod support;

use std::{
    convert::Infallible,
    future::ready,
    io,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Extension},
    routing::get,
};
use futures_util::{StreamExt, stream};
use graceful_tls::{
    Drain, GracefulTls, GracefulTlsLayer, HandshakeError, Phase, TlsConnection,
    serve::{axum::MissingConnection, axum_server::TlsAddress},
};
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use support::{VERSIONS, pair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, ProtocolVersion,
        pki_types::{CertificateDer, ServerName},
    },
};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Layer, Service, ServiceExt, service_fn};

const SOON: Duration = Duration::from_secs(10);

/// What is there, for an axum app.
fn app() -> Router {
    let who = |tls: TlsConnection,
               Extension(extension): Extension<TlsConnection>,
               ConnectInfo(client): ConnectInfo<SocketAddr>| async move {
        assert_eq!(tls.id(), extension.id());
        assert_eq!(tls.remote_addr(), Some(client));
        format!("{client}\n")
    };
    Router::new().route("/", get(who))
}

type Serve = fn(GracefulTls, TcpListener) -> JoinHandle<()>;

const SERVERS: [(&str, Serve); 8] = [
    ("serve", |tls, tcp| {
        tokio::spawn(async move { tls.serve(tcp, app()).await.map(|_| ()).unwrap() })
    }),
    ("serve_connection", |tls, tcp| {
        tokio::spawn(async move {
            loop {
                let (io, client) = tcp.accept().await.unwrap();
                tokio::spawn(tls.serve_connection(io, client, app()));
            }
        })
    }),
    ("axum::serve", |tls, tcp| {
        let server = axum::serve(tls.listener(tcp), tls.service(app()));
        let server = server.with_graceful_shutdown(tls.drained());
        tokio::spawn(async move { server.await.unwrap() })
    }),
    ("axum::serve in two steps", |tls, tcp| {
        let app = app().layer(GracefulTlsLayer);
        let app = app.into_make_service_with_connect_info::<TlsConnection>();
        let server = axum::serve(tls.listener(tcp), app).with_graceful_shutdown(tls.drained());
        tokio::spawn(async move { server.await.unwrap() })
    }),
    ("axum::serve, both ways", |tls, tcp| {
        let app = tls.service(app().layer(GracefulTlsLayer));
        let server = axum::serve(tls.listener(tcp), app).with_graceful_shutdown(tls.drained());
        tokio::spawn(async move { server.await.unwrap() })
    }),
    ("axum-server", |tls, tcp| {
        let server = tls.axum_server(tcp, axum_server::Handle::new());
        let server = server.serve(app().into_make_service());
        tokio::spawn(async move { server.await.unwrap() })
    }),
    ("axum-server, as it was", |tls, tcp| {
        let server = tls.axum_server(tcp, axum_server::Handle::new());
        let server = server.serve(app().into_make_service_with_connect_info::<SocketAddr>());
        tokio::spawn(async move { server.await.unwrap() })
    }),
    ("a loop of one's own", |tls, tcp| {
        tokio::spawn(async move {
            let mut incoming = tls.incoming(tcp);
            while let Some(stream) = incoming.next().await.unwrap() {
                let connection = stream.connection().clone();
                let app = GracefulTlsLayer.layer(app());
                let app = app.map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(connection.clone());
                    request
                });
                tokio::spawn(async move {
                    let http = auto::Builder::new(TokioExecutor::new());
                    let app = TowerToHyperService::new(app);
                    let io = TokioIo::new(stream);
                    http.serve_connection_with_upgrades(io, app).await.unwrap();
                });
            }
        })
    }),
];

async fn client(
    connector: &TlsConnector,
    server: SocketAddr,
) -> (TlsStream<TcpStream>, SocketAddr) {
    let tcp = TcpStream::connect(server).await.unwrap();
    let addr = tcp.local_addr().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    (connector.connect(name, tcp).await.unwrap(), addr)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = tcp.local_addr().unwrap();
    (tcp, addr)
}

/// The answer to one request, to its end: fails without close_notify.
async fn ask(tls: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = timeout(SOON, tls.read_to_string(&mut answer));
    read.await.expect(path).unwrap();
    let _ = tls.shutdown().await;
    answer
}

#[tokio::test]
async fn axums_handlers_find_the_client_and_the_connection() {
    for (name, serve) in SERVERS {
        for version in VERSIONS {
            let (builder, connector) = pair(version);
            let tls = builder.build().unwrap();
            let (tcp, server) = listen().await;
            let serving = serve(tls.clone(), tcp);
            let (mut client, addr) = client(&connector, server).await;
            let answer = ask(&mut client, "/").await;
            assert!(answer.ends_with(&format!("{addr}\n")), "{name}: {answer}");
            tls.shutdown();
            let report = timeout(SOON, tls.closed()).await.expect(name);
            assert_eq!((report.clean, report.connections()), (1, 1), "{name}");
            serving.abort();
        }
    }
}

/// Whoever serves it, the last answer says so, and an idle client is told at once.
#[tokio::test]
async fn every_client_is_told_of_a_shutdown() {
    for (name, serve) in SERVERS {
        let (builder, connector) = pair(VERSIONS[1]);
        let tls = builder
            .lame_duck(Duration::from_millis(300))
            .build()
            .unwrap();
        let (tcp, server) = listen().await;
        let serving = serve(tls.clone(), tcp);
        let (mut idle, _) = client(&connector, server).await;
        let (mut last, _) = client(&connector, server).await;
        tls.shutdown();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        last.write_all(request).await.unwrap();
        let mut answer = String::new();
        let read = timeout(SOON, last.read_to_string(&mut answer));
        read.await.expect(name).expect("close_notify");
        let told = answer.to_ascii_lowercase().contains("connection: close");
        assert!(told, "{name}: {answer}");
        let mut nothing = Vec::new();
        let read = timeout(SOON, idle.read_to_end(&mut nothing));
        assert_eq!(read.await.expect(name).expect("close_notify"), 0, "{name}");
        drop((idle, last));
        assert!(timeout(SOON, tls.closed()).await.expect(name).is_clean());
        serving.abort();
    }
}

/// A gRPC request finds what tonic's own TLS puts there; any other does not pay for it.
#[tokio::test]
async fn tonics_handlers_find_the_client_and_its_certificates() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (tcp, server) = listen().await;
    let seen = service_fn(|request: Request<Incoming>| async move {
        let extensions = request.extensions();
        let tcp = extensions.get::<TcpConnectInfo>().cloned();
        let of_tls = extensions.get::<TlsConnectInfo<TcpConnectInfo>>().cloned();
        let both = tcp.zip(of_tls).map(|(tcp, of_tls)| {
            assert_eq!(of_tls.get_ref().remote_addr(), tcp.remote_addr());
            let grpc = tonic::Request::from_http(request);
            assert_eq!(grpc.remote_addr(), tcp.remote_addr());
            assert_eq!(grpc.peer_certs(), of_tls.peer_certs());
            (tcp.remote_addr(), tcp.local_addr())
        });
        Ok::<_, Infallible>(Response::new(format!("{both:?}")))
    });
    let serving = tls.clone();
    tokio::spawn(async move { serving.serve(tcp, seen).await });
    let client = TcpStream::connect(server).await.unwrap();
    let addr = client.local_addr().unwrap();
    let mut sender = h2(&connector, client).await;
    for (method, content_type, found) in [
        (
            "POST",
            "application/grpc",
            format!("{:?}", Some((Some(addr), Some(server)))),
        ),
        (
            "POST",
            "application/grpc+proto",
            format!("{:?}", Some((Some(addr), Some(server)))),
        ),
        ("POST", "application/json", "None".into()),
        ("POST", "text/plain", "None".into()),
    ] {
        let request = Request::builder()
            .method(method)
            .uri("https://localhost/")
            .header("content-type", content_type)
            .body(String::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(answer, found, "{method} {content_type}");
    }
}

async fn h2(connector: &TlsConnector, tcp: TcpStream) -> SendRequest<String> {
    let mut config = ClientConfig::clone(connector.config());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let io = TokioIo::new(tls.await.unwrap());
    let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// What somebody has put there stays.
#[tokio::test]
async fn an_address_that_is_there_is_left() {
    let other: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let mut app = GracefulTlsLayer.layer(service_fn(|request: Request<Body>| async move {
        let ConnectInfo(addr) = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .unwrap();
        Ok::<_, Infallible>(Response::new(addr.to_string()))
    }));
    let mut request = Request::new(Body::empty());
    let fake = TlsConnection::fake().remote_addr("127.0.0.1:2".parse().unwrap());
    request.extensions_mut().insert(fake.build());
    request.extensions_mut().insert(ConnectInfo(other));
    let answer = app.ready().await.unwrap().call(request).await.unwrap();
    let answer = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, "192.0.2.1:1");
}

/// The address that the user gives counts, as behind a proxy.
#[tokio::test]
async fn the_address_that_is_given_is_the_clients() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let given: SocketAddr = "192.0.2.1:1234".parse().unwrap();
    let (server_io, client_io) = tokio::io::duplex(64 << 10);
    let serving = tokio::spawn(tls.serve_connection(server_io, given, app()));
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, client_io).await.unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("192.0.2.1:1234\n"), "{answer}");
    drop(client);
    assert!(matches!(serving.await.unwrap(), Ok(())));
}

/// Between the call and the first poll a shutdown waits already.
#[tokio::test(start_paused = true)]
async fn a_connection_that_was_given_to_serve_is_waited_for() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (server_io, client_io) = tokio::io::duplex(64 << 10);
    let serving = tls.serve_connection(server_io, None, Router::new());
    tls.shutdown();
    tls.reached(Phase::Draining).await;
    let closed = tokio::spawn(tls.closed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!closed.is_finished());
    let serving = tokio::spawn(serving);
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, client_io).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    drop(client);
    serving.await.unwrap().unwrap();
    assert_eq!(closed.await.unwrap().clean, 1);
}

/// Whoever drops the future ends the connection, and a client sees that its answer was cut.
#[tokio::test]
async fn dropping_serve_connection_ends_the_connection() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (server_io, client_io) = tokio::io::duplex(64 << 10);
    let app = Router::new().route("/", get(std::future::pending::<()>));
    let serving = tokio::spawn(tls.serve_connection(server_io, None, app));
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, client_io).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    serving.abort();
    let mut answer = Vec::new();
    timeout(SOON, client.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer, b"");
    drop(client);
    tls.shutdown();
    let report = timeout(SOON, tls.closed()).await.unwrap();
    assert!(!report.is_clean(), "{report}");
    assert_eq!(
        format!("{:?}", ExitCode::from(report)),
        format!("{:?}", ExitCode::FAILURE)
    );
}

#[tokio::test]
async fn a_handshake_that_fails_is_an_error() {
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder
        .connection_filter(|_| graceful_tls::Admission::Refuse)
        .build()
        .unwrap();
    let (server_io, _client_io) = tokio::io::duplex(64 << 10);
    let addr: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let refused = tls.serve_connection(server_io, addr, Router::new()).await;
    assert!(
        matches!(refused, Err(HandshakeError::Refused)),
        "{refused:?}"
    );

    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (server_io, mut client_io) = tokio::io::duplex(64 << 10);
    client_io.write_all(b"\x16\x03\x01nonsense").await.unwrap();
    let failed = tls.serve_connection(server_io, None, Router::new()).await;
    assert!(matches!(failed, Err(HandshakeError::Tls(_))), "{failed:?}");
}

/// A service that is not ready holds nobody up but its own connection.
#[derive(Clone)]
struct NeverReady;

impl Service<Request<Incoming>> for NeverReady {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_never_ready_ends_at_the_deadline() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (server_io, client_io) = tokio::io::duplex(64 << 10);
    let serving = tokio::spawn(tls.serve_connection(server_io, None, NeverReady));
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, client_io).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    tls.shutdown();
    let report = tls.closed().await;
    assert_eq!(
        (report.truncated, report.deadline_reached),
        (1, true),
        "{report}"
    );
    serving.await.unwrap().unwrap();
}

/// Nobody can end the connection of a handler that blocks its thread, and the process goes without its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_blocked_handler_owes_is_not_reported_clean() {
    let (builder, connector) = pair(VERSIONS[1]);
    let moment = Duration::from_millis(100);
    let drain = Drain::default().total_timeout(moment).flush_timeout(moment);
    let tls = builder
        .lame_duck(Duration::ZERO)
        .shutdown_timeout(moment)
        .write_timeout(moment)
        .drain(drain)
        .build()
        .unwrap();
    let (begun, mut begins) = mpsc::channel(1);
    let (ends, end) = std::sync::mpsc::channel::<()>();
    let end = Arc::new(Mutex::new(end));
    let blocks = service_fn(move |_: Request<Incoming>| {
        begun.try_send(()).unwrap();
        let _ = end.lock().unwrap().recv();
        ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    });
    let (server_io, client_io) = tokio::io::duplex(64 << 10);
    tokio::spawn(tls.serve_connection(server_io, None, blocks));
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, client_io).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(request).await.unwrap();
    begins.recv().await.unwrap();
    tls.shutdown();
    let report = tls.closed().await;
    drop(ends);
    assert_eq!((report.given_up, report.is_clean()), (1, false), "{report}");
}

/// A client that goes on taking its answer, though slowly, is cut by the deadline and by nobody else.
#[tokio::test(start_paused = true)]
async fn an_answer_that_the_deadline_cuts_is_truncated_however_slow_its_reader() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder
        .lame_duck(Duration::ZERO)
        .shutdown_timeout(Duration::from_secs(1))
        .write_timeout(Duration::from_secs(6))
        .build()
        .unwrap();
    let long = service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Body::from(vec![b'x'; 4 << 20])))
    });
    let (server_io, client_io) = tokio::io::duplex(16 << 10);
    tokio::spawn(tls.serve_connection(server_io, None, long));
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, client_io).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(request).await.unwrap();
    tokio::spawn(async move {
        let mut record = vec![0; 16 << 10];
        while client.read(&mut record).await.is_ok_and(|read| read > 0) {
            sleep(Duration::from_secs(4)).await;
        }
    });
    sleep(Duration::from_millis(100)).await;
    tls.shutdown();
    let report = tls.closed().await;
    assert_eq!(
        (report.truncated, report.is_clean()),
        (1, false),
        "{report}"
    );
}

/// An answer of which the first line comes, and no more.
fn endless() -> Router {
    let lines = || stream::once(ready(Ok::<_, Infallible>("first\n"))).chain(stream::pending());
    let endless = move || async move { Body::from_stream(lines()) };
    Router::new().route("/", get(endless))
}

/// A loop that has forgotten the layer.
fn forgetful(tls: &GracefulTls, tcp: TcpListener) {
    let mut incoming = tls.incoming(tcp);
    tokio::spawn(async move {
        while let Some(stream) = incoming.next().await.unwrap() {
            tokio::spawn(async move {
                let http = auto::Builder::new(TokioExecutor::new());
                let io = TokioIo::new(stream);
                let _ = http
                    .serve_connection(io, TowerToHyperService::new(endless()))
                    .await;
            });
        }
    });
}

/// A server of endless answers, with the layer or without; and who trusts it.
async fn start(layered: bool) -> (TlsConnector, SocketAddr) {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (tcp, server) = listen().await;
    match layered {
        false => forgetful(&tls, tcp),
        true => drop(tokio::spawn(async move { tls.serve(tcp, endless()).await })),
    }
    (connector, server)
}

/// What was logged since.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Of this thread.
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn says(&self, what: &str) -> usize {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.matches(what).count()
    }

    fn warnings(&self) -> usize {
        self.says("has not passed GracefulTlsLayer")
    }
}

/// Who has forgotten the layer hears of it with the first answer, before that has ended; and once.
#[tokio::test]
async fn an_answer_past_the_layer_is_logged_at_once() {
    for layered in [false, true] {
        let (log, _guard) = Log::start();
        let (connector, server) = start(layered).await;
        let (mut refused, _) = client(&connector, server).await;
        refused.write_all(b"nonsense\r\n\r\n").await.unwrap();
        refused.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(log.warnings(), 0, "hyper has refused it by itself");
        for _ in 0..2 {
            let (mut client, _) = client(&connector, server).await;
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                .await
                .unwrap();
            let mut answer = [0; 8];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1");
            assert_eq!(log.warnings(), usize::from(!layered), "layered: {layered}");
        }
    }
}

#[tokio::test]
async fn the_same_over_http2() {
    for layered in [false, true] {
        let (log, _guard) = Log::start();
        let (connector, server) = start(layered).await;
        let mut sender = h2(&connector, TcpStream::connect(server).await.unwrap()).await;
        let request = Request::get("https://localhost/")
            .body(String::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(log.warnings(), usize::from(!layered), "layered: {layered}");
    }
}

/// A handler's test needs no connection, and sees the server drain.
#[tokio::test]
async fn a_handler_is_tested_without_a_connection() {
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder.lame_duck(Duration::ZERO).build().unwrap();
    let certificate = CertificateDer::from(vec![1, 2, 3]);
    let addr: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let fake = tls
        .fake_connection()
        .server_name("a.example")
        .alpn(b"h2")
        .remote_addr(addr);
    let fake = fake.version(ProtocolVersion::TLSv1_3).local_addr(addr);
    let balancer: SocketAddr = "192.0.2.2:2".parse().unwrap();
    let fake = fake.balancer_addr(balancer);
    let fake = fake.peer_certificates(vec![certificate.clone()]).build();
    assert_eq!(fake.server_name(), Some("a.example"));
    assert_eq!(fake.alpn(), Some(&b"h2"[..]));
    assert_eq!(fake.version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(
        (fake.remote_addr(), fake.local_addr()),
        (Some(addr), Some(addr))
    );
    assert_eq!(fake.balancer_addr(), Some(balancer));
    assert_eq!(fake.peer_certificates(), Some(&[certificate][..]));

    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(fake.clone());
    let app = GracefulTlsLayer.layer(app());
    let answer = app.oneshot(request).await.unwrap();
    let answer = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(answer, "192.0.2.1:1\n");

    assert!(!fake.is_draining());
    tls.shutdown();
    timeout(SOON, fake.draining()).await.unwrap();
    assert!(!TlsConnection::fake().build().is_draining());
}

/// Nor does the test of a gRPC service.
#[tokio::test]
async fn a_fake_has_an_address_for_tonics_handlers() {
    let who = service_fn(|request: Request<Body>| async move {
        let grpc = tonic::Request::from_http(request);
        assert!(grpc.peer_certs().is_none());
        let addresses = (grpc.remote_addr(), grpc.local_addr());
        Ok::<_, Infallible>(Response::new(format!("{addresses:?}")))
    });
    let remote: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let local: SocketAddr = "192.0.2.2:443".parse().unwrap();
    let fake = || TlsConnection::fake().alpn(b"h2");
    for (fake, told) in [
        (fake(), (None, None)),
        (fake().remote_addr(remote), (Some(remote), None)),
        (
            fake().remote_addr(remote).local_addr(local),
            (Some(remote), Some(local)),
        ),
    ] {
        let mut request = Request::post("/a.Service/Method")
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(fake.build());
        let answer = GracefulTlsLayer.layer(who).oneshot(request).await.unwrap();
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(answer, format!("{told:?}"));
    }
}

/// The answer says what is wrong, and a handler may give another one.
#[tokio::test]
async fn without_a_connection_the_answer_says_what_is_missing() {
    let own = |tls: Result<TlsConnection, MissingConnection>| async move {
        let missing: Box<dyn std::error::Error> = tls.unwrap_err().into();
        missing.to_string()
    };
    let text = "no TlsConnection: is the app served with GracefulTls::serve, serve_connection, \
                axum_server, or axum::serve(tls.listener(..), tls.service(app))? In a \
                test, put TlsConnection::fake().build() into the request's extensions";
    for (path, status, told) in [("/", 500, format!("{text}\n")), ("/own", 200, text.into())] {
        let app = app().route("/own", get(own));
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = app.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let answer = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(answer, told, "{path}");
    }
}

/// Neither of a listener that has none, nor of a client that has gone.
#[tokio::test]
async fn axum_server_makes_no_address_up() {
    let tls = pair(VERSIONS[1]).0.build().unwrap();
    let (tcp, server) = listen().await;
    let (listener, accepted) = mpsc::channel(8);
    let handle = axum_server::Handle::new();
    let (tell, mut told) = mpsc::unbounded_channel();
    let serving = tls.axum_server(accepted, handle.clone());
    let serving = serving.serve(service_fn(move |client: TlsAddress| {
        tell.send(client).unwrap();
        ready(Ok::<_, Infallible>(app()))
    }));
    let serving = tokio::spawn(serving);
    assert_eq!(handle.listening().await, Some(TlsAddress(None)));

    let balancer: SocketAddr = "192.0.2.1:1".parse().unwrap();
    for given in [None, Some(balancer)] {
        for gone in [false, true] {
            let client = TcpStream::connect(server).await.unwrap();
            let own = client.local_addr().unwrap();
            let (mut io, _) = tcp.accept().await.unwrap();
            if gone {
                let socket = socket2::SockRef::from(&client);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                drop(client);
                io.read(&mut [0]).await.unwrap_err();
            }
            listener.send((io, given)).await.unwrap();
            let wanted = given.or((!gone).then_some(own));
            let told = timeout(SOON, told.recv()).await.unwrap();
            assert_eq!(told, Some(TlsAddress(wanted)), "gone: {gone}");
        }
    }
    serving.abort();
}

/// Whether it is served by then or not: of all that share the shutdown.
#[tokio::test]
async fn dropping_an_axum_server_is_a_shutdown() {
    for is_served in [false, true] {
        let tls = pair(VERSIONS[1]).0.build().unwrap();
        let other = pair(VERSIONS[1]).0.shutdown_with(&tls).build().unwrap();
        let handle = axum_server::Handle::new();
        let server = tls.axum_server(listen().await.0, handle.clone());
        assert_eq!(other.phase(), Phase::Serving);
        match is_served {
            false => drop(server),
            true => {
                let serving = tokio::spawn(server.serve(app().into_make_service()));
                handle.listening().await.unwrap();
                serving.abort();
            }
        }
        timeout(SOON, other.closed()).await.unwrap();
    }
}

/// Nothing of this crate's hides a crate of the same name.
#[test]
fn everything_can_be_imported_at_once() {
    #[allow(unused_imports)]
    use graceful_tls::*;
    let _: axum::Router = axum::Router::new();
    let _ = axum_server::Handle::<SocketAddr>::new();
    let _ = tonic::Code::Ok;
}

/// A client that goes away amid its answer is nothing that the server has cut.
#[tokio::test]
async fn a_client_that_leaves_during_a_shutdown_cuts_nothing() {
    for version in VERSIONS {
        let (builder, connector) = pair(version);
        let tls = builder.build().unwrap();
        let (tcp, server) = listen().await;
        let served = tokio::spawn({
            let tls = tls.clone();
            async move { tls.serve(tcp, endless()).await }
        });
        let (mut client, _) = client(&connector, server).await;
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .await
            .unwrap();
        client.read_exact(&mut [0; 12]).await.unwrap();
        tls.shutdown();
        // The FIN that a killed process leaves; nothing is unread, so that there is no RST.
        client.get_mut().0.shutdown().await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
        let report = served.await.unwrap().unwrap();
        assert_eq!((report.aborted, report.connections()), (1, 1), "{report}");
        assert!(report.is_clean(), "{report}");
    }
}

/// axum goes on for good where nobody tells it to stop, so the log has to say why.
#[tokio::test]
async fn an_axum_that_is_never_told_to_stop_is_logged() {
    for told in [true, false] {
        let (log, _guard) = Log::start();
        let (builder, _) = pair(VERSIONS[1]);
        let tls = builder.lame_duck(Duration::ZERO).build().unwrap();
        let (tcp, _) = listen().await;
        let server = axum::serve(tls.listener(tcp), tls.service(endless()));
        let server = match told {
            true => tokio::spawn(server.with_graceful_shutdown(tls.drained()).into_future()),
            false => tokio::spawn(server.into_future()),
        };
        tls.shutdown();
        tls.closed().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(server.is_finished(), told);
        let warned = log.says("with_graceful_shutdown(tls.drained())");
        assert_eq!(warned, usize::from(!told));
        server.abort();
    }
}
