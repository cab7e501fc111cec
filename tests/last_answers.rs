//! The end of the last answer goes out with what ends the connection; and without that, where the server goes on.

mod support;

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use graceful_tls::GracefulTls;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, upgrade};
use support::VERSIONS;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tower::service_fn;

const LIMIT: Duration = Duration::from_secs(10);

/// Counts the writes.
struct Counts {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counts {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counts {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.writes
            .fetch_add(usize::from(written.is_ready()), Ordering::SeqCst);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

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
) -> (TlsStream<DuplexStream>, Arc<AtomicUsize>) {
    let (io, client) = duplex(64 << 10);
    let writes = Arc::new(AtomicUsize::new(0));
    let counts = Counts {
        io,
        writes: writes.clone(),
    };
    let service = service_fn(move |request| answer(request, uploads.clone()));
    tokio::spawn(tls.serve_connection(counts, None, service));
    let name = ServerName::try_from("localhost").unwrap();
    let client = connector.connect(name, client).await.unwrap();
    (client, writes)
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

#[tokio::test]
async fn it_is_one_write() {
    let lasts = [
        "GET / HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ];
    for version in VERSIONS {
        for last in lasts {
            let (builder, connector) = support::pair(version);
            let tls = builder.build().unwrap();
            let (uploads, _) = unbounded_channel();
            let (mut client, writes) = client(&tls, &connector, uploads).await;
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: s\r\n\r\n")
                .await
                .unwrap();
            hears(&mut client).await;
            let before = writes.load(Ordering::SeqCst);
            client.write_all(last.as_bytes()).await.unwrap();
            hears(&mut client).await;
            ends(&mut client).await;
            let writes = writes.load(Ordering::SeqCst) - before;
            assert_eq!(writes, 1, "{version:?} {last:?}");
        }
    }
}

/// Of the same kind as a shutdown: the answer says that it is the last, and not the request.
#[tokio::test]
async fn so_is_that_of_a_server_that_shuts_down() {
    for version in VERSIONS {
        let (builder, connector) = support::pair(version);
        let tls = builder.max_requests(2).build().unwrap();
        let (uploads, _) = unbounded_channel();
        let (mut client, writes) = client(&tls, &connector, uploads).await;
        let request = b"GET / HTTP/1.1\r\nhost: s\r\n\r\n";
        client.write_all(request).await.unwrap();
        hears(&mut client).await;
        let before = writes.load(Ordering::SeqCst);
        client.write_all(request).await.unwrap();
        assert!(hears(&mut client).await.contains("connection: close"));
        ends(&mut client).await;
        let writes = writes.load(Ordering::SeqCst) - before;
        assert_eq!(writes, 1, "{version:?}");
    }
}

/// hyper gives the stream to whoever waits for an upgrade, though it was declined, and does not shut down.
#[tokio::test]
async fn nor_for_an_upgrade_that_was_declined() {
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
            let (mut client, _) = client(&tls, &connector, uploads).await;
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
        let (mut client, _) = client(&tls, &connector, uploads).await;
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
