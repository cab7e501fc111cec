//! gRPC calls at shutdown: what is in flight finishes, what never would ends with a status that
//! says to try again. And what is seen of calls: their names, their spans, and how they ended.

mod support;

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{self, Poll},
    time::Duration,
};

use graceful_tls::{
    Builder, Cause, Ended, GracefulTls, GracefulTlsLayer, Observer, Outcome, Phase, Protocol,
    Report, State, TlsConnection, TrackedRequest,
};
use hyper_util::rt::TokioIo;
use support::{VERSIONS, pair};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{SupportedProtocolVersion, pki_types::ServerName},
};
use tonic::{
    Code,
    transport::{Channel, Endpoint, Server},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::HealthReporter,
};
use tracing_subscriber::fmt::MakeWriter;

struct Bed {
    tls: GracefulTls,
    reporter: HealthReporter,
    client: HealthClient<Channel>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// A server and a client on one HTTP/2 connection.
async fn bed(shutdown_timeout: Duration) -> Bed {
    bed_with(VERSIONS[1], shutdown_timeout, |of| of).await
}

async fn bed_with(
    version: &'static SupportedProtocolVersion,
    shutdown_timeout: Duration,
    change: impl FnOnce(Builder) -> Builder,
) -> Bed {
    let (builder, connector) = pair(version);
    let builder = builder
        .lame_duck(Duration::from_millis(20))
        .shutdown_timeout(shutdown_timeout);
    let tls = change(builder).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (reporter, service) = tonic_health::server::health_reporter();
    let server = Server::builder()
        .layer(GracefulTlsLayer)
        .layer(tower_layer::layer_fn(Says))
        .add_service(service)
        .serve_with_incoming_shutdown(tls.incoming(listener), tls.drained());
    let server = tokio::spawn(server);
    let connect = tower::service_fn(move |_| connect(addr, connector.clone()));
    // TLS is the connector's business, which tonic must not know.
    let channel = Endpoint::from_static("http://localhost")
        .connect_with_connector(connect)
        .await
        .unwrap();
    Bed {
        tls,
        reporter,
        client: HealthClient::new(channel),
        server,
    }
}

async fn connect(
    addr: std::net::SocketAddr,
    connector: TlsConnector,
) -> std::io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let tcp = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = connector.with_alpn(vec![b"h2".to_vec()]);
    Ok(TokioIo::new(connector.connect(name, tcp).await?))
}

/// Waits for the end of both, with the client gone.
async fn report(bed: Bed) -> Report {
    drop(bed.client);
    bed.server.await.unwrap().unwrap();
    bed.tls.closed().await
}

#[tokio::test]
async fn an_endless_stream_ends_with_a_status_to_retry_on() {
    let mut bed = bed(Duration::from_millis(300)).await;
    let request = HealthCheckRequest::default();
    let mut stream = bed.client.watch(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    bed.tls.shutdown();

    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(status.message(), "the server is shutting down");
    let report = report(bed).await;
    assert!(report.deadline_reached, "{report}");
    assert_eq!((report.truncated, report.connections()), (1, 1), "{report}");
}

#[tokio::test]
async fn a_stream_in_flight_finishes() {
    let mut bed = bed(Duration::from_secs(20)).await;
    let request = HealthCheckRequest::default();
    let mut stream = bed.client.watch(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    bed.tls.shutdown();
    bed.tls.reached(Phase::Draining).await;

    bed.reporter
        .set_service_status("", ServingStatus::NotServing)
        .await;
    stream.message().await.unwrap().unwrap();
    bed.reporter.clear_service_status("").await;
    assert!(stream.message().await.unwrap().is_none(), "a whole stream");
    let report = report(bed).await;
    assert!(!report.deadline_reached, "{report}");
    assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
}

#[tokio::test]
async fn a_unary_call_before_the_drain_is_answered() {
    let mut bed = bed(Duration::from_secs(20)).await;
    bed.tls.shutdown();
    let answer = bed.client.check(HealthCheckRequest::default()).await;
    assert_eq!(answer.unwrap().into_inner().status, 1);
    let report = report(bed).await;
    assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
}

/// A log, for whoever writes it.
#[derive(Clone)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Says when a call begins, and when it is answered.
#[derive(Clone)]
struct Says<S>(S);

impl<S, B> tower::Service<http::Request<B>> for Says<S>
where
    S: tower::Service<http::Request<B>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        tracing::info!(path = request.uri().path(), "called");
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await;
            tracing::info!("answered");
            answer
        })
    }
}

/// What an observer is told of: requests and ends.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<(u32, Vec<Ended>)>>);

impl Observer for Notes {
    fn request(&self, connection: &TlsConnection) {
        assert_eq!(connection.protocol(), Some(Protocol::Http2));
        self.0.lock().unwrap().0 += 1;
    }

    fn ended(&self, _: &TlsConnection, ended: &Ended) {
        self.0.lock().unwrap().1.push(ended.clone());
    }
}

fn tracked(bed: &Bed) -> Vec<TrackedRequest> {
    let all = bed.tls.connections();
    all.iter()
        .flat_map(TlsConnection::tracked_requests)
        .collect()
}

const WATCH: &str = "/grpc.health.v1.Health/Watch";

#[tokio::test]
async fn calls_are_seen_by_their_names() {
    for version in VERSIONS {
        let notes = Notes::default();
        let observer = notes.clone();
        let mut bed = bed_with(version, Duration::from_millis(300), |of| {
            of.track_requests(true).observer(observer)
        })
        .await;
        let request = HealthCheckRequest::default();
        let mut stream = bed
            .client
            .watch(request.clone())
            .await
            .unwrap()
            .into_inner();
        stream.message().await.unwrap().unwrap();
        // One that is over beside it.
        bed.client.check(request).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;

        let seen = tracked(&bed);
        let names: Vec<_> = seen
            .iter()
            .map(|of| (of.method.as_str(), &*of.path, of.answering))
            .collect();
        assert_eq!(names, [("POST", WATCH, true)]);
        assert!(seen[0].age >= Duration::from_millis(150), "{seen:?}");
        let connection = bed.tls.connections().remove(0).stats();
        assert_eq!(connection.state, State::InUse, "{connection:?}");
        assert_eq!((connection.requests, connection.requests_in_flight), (2, 1));
        let stats = bed.tls.stats();
        assert_eq!(
            (stats.in_use, stats.http2, stats.requests_in_flight),
            (1, 1, 1)
        );

        bed.tls.shutdown();
        stream.message().await.unwrap_err();
        let report = report(bed).await;
        // It has got a status, and not what it has asked for.
        let cut = &report.cut[0];
        assert_eq!((cut.cause, cut.requests_deadline), (Cause::Deadline, 1));
        assert_eq!((cut.requests_in_flight, &*cut.requests[0].path), (0, WATCH));
        let (requests, ended) = notes.0.lock().unwrap().clone();
        assert_eq!((requests, ended.len()), (2, 1));
        let how = (
            ended[0].outcome,
            ended[0].requests,
            ended[0].requests_in_flight,
            ended[0].requests_deadline,
        );
        assert_eq!(how, (Outcome::Truncated, 2, 0, 1), "{ended:?}");
    }
}

/// A client that goes away in the middle of a stream.
#[tokio::test]
async fn a_stream_that_its_client_resets_is_no_failure() {
    for version in VERSIONS {
        let notes = Notes::default();
        let observer = notes.clone();
        let mut bed = bed_with(version, Duration::from_secs(20), |of| of.observer(observer)).await;
        let request = HealthCheckRequest::default();
        let mut stream = bed.client.watch(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        assert_eq!(tracked(&bed), [], "nobody has asked for names");
        bed.reporter
            .set_service_status("", ServingStatus::NotServing)
            .await;
        drop(stream);
        bed.tls.shutdown();
        report(bed).await;
        let (requests, ended) = notes.0.lock().unwrap().clone();
        assert_eq!((requests, ended.len()), (1, 1));
        // It resets the stream, and then nothing is in flight.
        assert_ne!(ended[0].cause, Cause::Abandoned, "{ended:?}");
        assert_eq!(ended[0].requests_failed, 0, "{ended:?}");
    }
}

/// Its client knows by its status. So does the operator, by the log.
#[tokio::test]
async fn a_call_that_the_deadline_ends_is_a_warning() {
    for version in VERSIONS {
        let log: Arc<Mutex<Vec<u8>>> = Arc::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_env_filter("graceful_tls=warn")
            .with_writer(Written(log.clone()))
            .finish();
        let _subscribed = tracing::subscriber::set_default(subscriber);
        let tracks = |of: Builder| of.track_requests(true);
        let mut bed = bed_with(version, Duration::from_millis(300), tracks).await;
        let request = HealthCheckRequest::default();
        let mut stream = bed.client.watch(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        bed.tls.shutdown();
        stream.message().await.unwrap_err();
        report(bed).await;

        let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = log
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"].clone())
            .collect();
        let [left, cut] = &lines[..] else {
            panic!("{log}");
        };
        let says = left["message"].as_str().unwrap();
        assert!(says.starts_with("the deadline has passed"), "{log}");
        assert!(says.contains(WATCH), "{log}");
        assert_eq!(
            (&cut["cause"], &cut["outcome"]),
            (&"deadline".into(), &"truncated".into())
        );
        assert_eq!(cut["requests_deadline"], 1, "{log}");
        assert!(cut["cut"].as_str().unwrap().contains(WATCH), "{log}");
    }
}

#[tokio::test]
async fn what_is_said_in_a_call_falls_under_its_connections_span() {
    for version in VERSIONS {
        let log: Arc<Mutex<Vec<u8>>> = Arc::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_env_filter("graceful_tls=info,tonic=info")
            .with_writer(Written(log.clone()))
            .finish();
        let _subscribed = tracing::subscriber::set_default(subscriber);
        let mut bed = bed_with(version, Duration::from_millis(300), |of| of).await;
        let request = HealthCheckRequest::default();
        bed.client.check(request.clone()).await.unwrap();
        let mut stream = bed.client.watch(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        let peer = bed.tls.connections()[0].remote_addr().unwrap();

        let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let said: Vec<_> = lines.filter(|line| line["target"] == "tonic").collect();
        let words: Vec<_> = said
            .iter()
            .map(|line| line["fields"]["message"].clone())
            .collect();
        assert_eq!(words, ["called", "answered", "called", "answered"], "{log}");
        assert_eq!(said[2]["fields"]["path"], WATCH);
        for line in &said {
            assert_eq!(line["spans"].as_array().unwrap().len(), 1, "{line}");
            let span = &line["span"];
            assert_eq!(span["name"], "connection");
            assert_eq!(span["peer"], peer.to_string());
            assert_eq!(
                (&span["server_name"], &span["protocol"]),
                (&"localhost".into(), &"http/2".into())
            );
        }
    }
}
