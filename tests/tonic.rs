//! gRPC calls at shutdown: what is in flight finishes, what never would ends with a status that
//! says to try again.

mod support;

use std::time::Duration;

use graceful_tls::{GracefulTls, GracefulTlsLayer, Phase, Report};
use hyper_util::rt::TokioIo;
use support::{VERSIONS, pair};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tonic::{
    Code,
    transport::{Channel, Endpoint, Server},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::HealthReporter,
};

struct Bed {
    tls: GracefulTls,
    reporter: HealthReporter,
    client: HealthClient<Channel>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// A server and a client on one HTTP/2 connection.
async fn bed(shutdown_timeout: Duration) -> Bed {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder
        .lame_duck(Duration::from_millis(20))
        .shutdown_timeout(shutdown_timeout)
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (reporter, service) = tonic_health::server::health_reporter();
    let server = Server::builder()
        .layer(GracefulTlsLayer)
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
    assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
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
