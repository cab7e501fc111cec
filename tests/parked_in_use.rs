//! What comes between two reads of one poll is not parked away.

mod support;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    time::{sleep, timeout},
};
use tokio_rustls::rustls::pki_types::ServerName;

const STRIKES: Duration = Duration::from_millis(300);

/// After the next read that finds something, what comes is there only once so many have found nothing.
struct Late {
    io: DuplexStream,
    empty: Arc<AtomicUsize>,
    begun: bool,
}

impl AsyncRead for Late {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let empty = self.empty.load(Ordering::SeqCst);
        if self.begun && empty > 0 {
            self.empty.store(empty - 1, Ordering::SeqCst);
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.begun = empty > 0 && read.is_ready();
        read
    }
}

impl AsyncWrite for Late {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A body that is found to be over at the second look of the poll in which a byte has come.
struct Counted(usize);

impl Body for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0 += 1;
        match self.0 {
            4.. => Poll::Ready(None),
            _ => Poll::Pending,
        }
    }
}

async fn answer(request: Request<Incoming>) -> io::Result<Response<BoxBody<Bytes, io::Error>>> {
    Ok(Response::new(match request.uri().path() {
        "/counted" => Counted(0).boxed(),
        _ => {
            sleep(Duration::from_millis(100)).await;
            Full::new("hello\n".into())
                .map_err(|no| match no {})
                .boxed()
        }
    }))
}

#[tokio::test]
async fn a_request_is_answered() {
    let (builder, connector) = support::pair(support::VERSIONS[1]);
    let tls = builder.write_timeout(STRIKES).build().unwrap();
    let (server, client) = duplex(64 << 10);
    let empty = Arc::new(AtomicUsize::new(0));
    let late = Late {
        io: server,
        empty: empty.clone(),
        begun: false,
    };
    tokio::spawn(tls.serve_connection(late, None, tower::service_fn(answer)));
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = connector.connect(name, client).await.unwrap();
    let mut heard = Vec::new();
    client
        .write_all(b"GET /counted HTTP/1.1\r\nhost: s\r\n\r\n")
        .await
        .unwrap();
    sleep(Duration::from_millis(20)).await;
    // One in the poll that reads this, and one in that of the strike.
    empty.store(2, Ordering::SeqCst);
    client.write_all(b"\r\n").await.unwrap();
    let ended = async {
        while !heard.ends_with(b"0\r\n\r\n") {
            client.read_buf(&mut heard).await.unwrap();
        }
    };
    timeout(Duration::from_secs(2), ended)
        .await
        .expect("the first answer");
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: s\r\n\r\n")
        .await
        .unwrap();
    heard.clear();
    let answered = async {
        while !heard.ends_with(b"hello\n") {
            client.read_buf(&mut heard).await.unwrap();
        }
    };
    let answered = timeout(Duration::from_secs(3), answered).await;
    assert!(
        answered.is_ok(),
        "{:?}, {:?}",
        tls.connections()[0].stats(),
        String::from_utf8_lossy(&heard)
    );
}
