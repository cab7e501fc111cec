//! The load: many clients on one thread, for a given time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Connections at once.
const CONNECTIONS: usize = 16;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    protocol: Protocol,
    path: &'static str,
    keep_alive: bool,
}

/// What they got done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub requests: u64,
    pub took: Duration,
}

impl Load {
    pub const fn keep_alive(protocol: Protocol, path: &'static str) -> Self {
        Self {
            protocol,
            path,
            keep_alive: true,
        }
    }

    pub const fn one_per_connection(path: &'static str) -> Self {
        Self {
            protocol: Protocol::Http1,
            path,
            keep_alive: false,
        }
    }

    /// Runs the load against `addr` for `time`.
    pub async fn run(
        self,
        addr: SocketAddr,
        connector: TlsConnector,
        time: Duration,
    ) -> Result<Done, Error> {
        let begun = Instant::now();
        let end = begun + time;
        let requests = Arc::new(AtomicU64::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let connector = connector.clone();
            let requests = requests.clone();
            clients.spawn(async move {
                while Instant::now() < end {
                    let tls = connect(addr, &connector, self.protocol).await?;
                    match (self.keep_alive, self.protocol) {
                        (false, _) => self.once(tls, &requests).await?,
                        (true, Protocol::Http1) => self.http1(tls, &requests, end).await?,
                        (true, Protocol::Http2) => self.http2(tls, &requests, end).await?,
                    }
                }
                Ok::<(), Error>(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        Ok(Done {
            requests: requests.load(Ordering::Relaxed),
            took: begun.elapsed(),
        })
    }

    /// One request, read to the end of the connection: close_notify or not.
    async fn once(self, mut tls: TlsStream<TcpStream>, requests: &AtomicU64) -> Result<(), Error> {
        use tokio::io::AsyncReadExt;
        let head = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n\r\n", self.path);
        tls.write_all(head.as_bytes()).await?;
        let mut answer = Vec::with_capacity(512);
        let _ = tls.read_to_end(&mut answer).await;
        if !answer.starts_with(b"HTTP/1.1 200") {
            return Err("no answer".into());
        }
        let _ = tls.shutdown().await;
        requests.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn http1(
        self,
        tls: TlsStream<TcpStream>,
        requests: &AtomicU64,
        end: Instant,
    ) -> Result<(), Error> {
        let (mut sender, connection) = conn::http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        while Instant::now() < end {
            sender.ready().await?;
            consume(sender.send_request(self.request()?).await?.into_body()).await?;
            requests.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn http2(
        self,
        tls: TlsStream<TcpStream>,
        requests: &AtomicU64,
        end: Instant,
    ) -> Result<(), Error> {
        let (mut sender, connection) =
            conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
        tokio::spawn(connection);
        while Instant::now() < end {
            sender.ready().await?;
            consume(sender.send_request(self.request()?).await?.into_body()).await?;
            requests.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn request(self) -> Result<Request<Empty<Bytes>>, http::Error> {
        Request::get(format!("https://localhost{}", self.path))
            .header("host", "localhost")
            .body(Empty::new())
    }
}

async fn connect(
    addr: SocketAddr,
    connector: &TlsConnector,
    protocol: Protocol,
) -> Result<TlsStream<TcpStream>, Error> {
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let alpn = match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    };
    let name = ServerName::try_from("localhost")?;
    Ok(connector.with_alpn(vec![alpn]).connect(name, tcp).await?)
}

async fn consume(mut body: Incoming) -> Result<(), Error> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}
