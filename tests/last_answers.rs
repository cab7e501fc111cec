//! The last answer goes out also where hyper does not shut the connection down behind it.

mod support;

use std::time::Duration;

use bytes::Bytes;
use graceful_tls::GracefulTls;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, upgrade};
use support::VERSIONS;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tower::service_fn;

const LIMIT: Duration = Duration::from_secs(10);

type Uploads = UnboundedSender<Vec<u8>>;

/// Answers at once; what is uploaded, or is to be upgraded, is somebody else's.
async fn answer(
    request: Request<Incoming>,
    uploads: Uploads,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let mut answer = Response::new(Full::from("hello\n"));
    if request.method() == Method::CONNECT {
        *answer.status_mut() = StatusCode::FORBIDDEN;
    }
    match (request.uri().path(), request.method()) {
        ("/aside", _) => {
            tokio::spawn(async move {
                let upload = request.into_body().collect().await.unwrap();
                uploads.send(upload.to_bytes().to_vec()).unwrap();
            });
        }
        ("/kept", _) => {
            tokio::spawn(async move {
                uploads.closed().await;
                drop(request);
            });
        }
        ("/waited", _) | (_, &Method::CONNECT) => {
            tokio::spawn(upgrade::on(request));
        }
        _ => {}
    }
    Ok(answer)
}

async fn client(
    tls: &GracefulTls,
    connector: &TlsConnector,
    uploads: Uploads,
) -> TlsStream<DuplexStream> {
    let (io, client) = duplex(64 << 10);
    let service = service_fn(move |request| answer(request, uploads.clone()));
    tokio::spawn(tls.serve_connection(io, None, service));
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, client).await.unwrap()
}

async fn hears(client: &mut TlsStream<DuplexStream>) -> String {
    let mut heard = Vec::new();
    let whole = async {
        while !heard.ends_with(b"hello\n") {
            assert!(client.read_buf(&mut heard).await.unwrap() > 0);
        }
    };
    let whole = timeout(LIMIT, whole).await;
    let heard = String::from_utf8(heard).unwrap();
    assert!(whole.is_ok(), "{heard:?}");
    heard
}

/// An end that was announced by close_notify: rustls gives an error for any other.
async fn ends(client: &mut TlsStream<DuplexStream>) {
    let end = timeout(LIMIT, client.read_to_end(&mut Vec::new())).await;
    assert_eq!(end.unwrap().unwrap(), 0);
}

/// hyper gives the stream to whoever waits for an upgrade, though it was declined, and does not shut down.
#[tokio::test]
async fn it_does_not_wait_for_an_upgrade_that_was_declined() {
    let lasts: [&[&str]; 4] = [
        &["GET /kept HTTP/1.1\r\nhost: s\r\nconnection: upgrade, close\r\nupgrade: x\r\n\r\n"],
        &["GET /waited HTTP/1.1\r\nhost: s\r\nconnection: upgrade, close\r\nupgrade: x\r\n\r\n"],
        &["CONNECT s:1 HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n"],
        &[
            "GET /waited HTTP/1.1\r\nhost: s\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n",
        ],
    ];
    for version in VERSIONS {
        for requests in lasts {
            let (builder, connector) = support::pair(version);
            let tls = builder.build().unwrap();
            let (uploads, _uploaded) = unbounded_channel();
            let mut client = client(&tls, &connector, uploads).await;
            for request in requests {
                client.write_all(request.as_bytes()).await.unwrap();
                hears(&mut client).await;
            }
        }
    }
}

/// hyper does not shut down while somebody reads the request: the answer does not wait for that.
#[tokio::test]
async fn it_does_not_wait_for_the_rest_of_its_request() {
    for version in VERSIONS {
        let (builder, connector) = support::pair(version);
        let tls = builder.build().unwrap();
        let (uploads, mut uploaded) = unbounded_channel();
        let mut client = client(&tls, &connector, uploads).await;
        let head = "POST /aside HTTP/1.1\r\nhost: s\r\ncontent-length: 8\r\n\
                    connection: close\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(b"half").await.unwrap();
        assert!(hears(&mut client).await.contains("connection: close"));
        assert!(uploaded.try_recv().is_err());
        client.write_all(b"whol").await.unwrap();
        let upload = timeout(LIMIT, uploaded.recv()).await.unwrap();
        assert_eq!(upload.as_deref(), Some(&b"halfwhol"[..]));
        ends(&mut client).await;
    }
}
