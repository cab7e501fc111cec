//! The load: many clients on one thread, for a given time.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::{Response, StatusCode, body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::rig::{
    Certificate, Error,
    client::{connect, consume, request},
};

/// Connections at once.
pub const CONNECTIONS: usize = 16;

/// What an unread upload sends: more than sockets buffer on loopback without being read.
const UPLOAD: usize = 200 * 1024;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// What the clients do.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    KeepAlive {
        protocol: Protocol,
        path: &'static str,
        /// Requests at once on each connection: of HTTP/2.
        streams: usize,
    },
    /// A connection for each request.
    Once { resume: bool },
    /// A connection for each request, whose body the server does not read.
    Upload,
}

/// What they got done.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Answered whole.
    pub requests: u64,
    pub lost: u64,
    /// Connections on which an RST was seen.
    pub reset: u64,
    pub took: Duration,
    /// How long each of those that were answered has taken, in microseconds; with its connection, where
    /// each has one.
    pub latencies: Vec<u32>,
}

/// What all clients of one run count together.
#[derive(Debug, Default)]
struct Counters {
    lost: AtomicU64,
    reset: AtomicU64,
    latencies: Mutex<Vec<u32>>,
}

impl Load {
    pub const fn keep_alive(protocol: Protocol, path: &'static str) -> Self {
        let streams = 1;
        Self::KeepAlive {
            protocol,
            path,
            streams,
        }
    }

    /// Over HTTP/2, so many at once.
    pub const fn streams(streams: usize, path: &'static str) -> Self {
        let protocol = Protocol::Http2;
        Self::KeepAlive {
            protocol,
            path,
            streams,
        }
    }

    /// Runs the load against `addr` for `time`.
    pub async fn run(
        self,
        addr: SocketAddr,
        certificate: &Certificate,
        time: Duration,
    ) -> Result<Done, Error> {
        let connector = match self {
            Self::KeepAlive {
                protocol: Protocol::Http2,
                ..
            } => certificate.connector(b"h2", false)?,
            Self::Once { resume } => certificate.connector(b"http/1.1", resume)?,
            Self::KeepAlive { .. } | Self::Upload => certificate.connector(b"http/1.1", false)?,
        };
        let begun = Instant::now();
        let counters = Arc::<Counters>::default();
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let client = self.client(addr, connector.clone(), counters.clone(), begun + time);
            clients.spawn(client);
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        let latencies = std::mem::take(&mut *counters.latencies.lock().unwrap());
        Ok(Done {
            requests: latencies.len() as u64,
            lost: counters.lost.load(Ordering::Relaxed),
            reset: counters.reset.load(Ordering::Relaxed),
            took: begun.elapsed(),
            latencies,
        })
    }

    async fn client(
        self,
        addr: SocketAddr,
        connector: TlsConnector,
        counters: Arc<Counters>,
        end: Instant,
    ) -> Result<(), Error> {
        while Instant::now() < end {
            let begun = Instant::now();
            let tls = connect(addr, &connector).await?;
            match self {
                Self::KeepAlive {
                    protocol,
                    path,
                    streams,
                } => match protocol {
                    Protocol::Http1 => http1(tls, path, &counters, end).await?,
                    Protocol::Http2 => http2(tls, path, streams, &counters, end).await?,
                },
                Self::Once { .. } => {
                    let head = b"GET /close HTTP/1.1\r\nhost: localhost\r\n\r\n";
                    counters.count(once(tls, head, 0).await, begun);
                }
                Self::Upload => {
                    let head = format!(
                        "POST /unread/4194304 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                         content-length: {UPLOAD}\r\n\r\n"
                    );
                    counters.count(once(tls, head.as_bytes(), UPLOAD).await, begun);
                }
            }
        }
        Ok(())
    }
}

/// One answer, and how its connection ended.
struct Answer {
    whole: bool,
    reset: bool,
}

impl Counters {
    fn answered(&self, since: Instant) {
        let micros = since.elapsed().as_micros().try_into().unwrap_or(u32::MAX);
        self.latencies.lock().unwrap().push(micros);
    }

    fn count(&self, answer: Answer, begun: Instant) {
        match answer.whole {
            true => self.answered(begun),
            false => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
        }
        self.reset
            .fetch_add(u64::from(answer.reset), Ordering::Relaxed);
    }
}

/// One request, and the connection read to its end: close_notify or not, then FIN or RST.
async fn once(tls: TlsStream<TcpStream>, head: &[u8], upload: usize) -> Answer {
    let (mut reader, mut writer) = tokio::io::split(tls);
    let mut answer = Vec::with_capacity(512);
    let send = async {
        writer.write_all(head).await?;
        writer.write_all(&vec![b'x'; upload]).await?;
        writer.flush().await
    };
    // The server may end while the upload is still on its way.
    let (sent, read) = tokio::join!(send, reader.read_to_end(&mut answer));
    let whole = is_whole(&answer);
    let mut reset = is_reset(&sent) || is_reset(&read);
    let mut tls = reader.unsplit(writer);
    if !reset {
        let _ = tls.shutdown().await;
        reset = is_reset(&tls.get_mut().0.read(&mut [0; 64]).await);
    }
    Answer { whole, reset }
}

fn is_reset<T>(result: &io::Result<T>) -> bool {
    let kind = result.as_ref().map_err(io::Error::kind).err();
    matches!(
        kind,
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    )
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|w| w == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.trim().parse().ok());
    head.starts_with("http/1.1 200") && length == Some(answer.len() - end - 4)
}

async fn http1(
    tls: TlsStream<TcpStream>,
    path: &str,
    counters: &Counters,
    end: Instant,
) -> Result<(), Error> {
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(tls)).await?;
    tokio::spawn(connection);
    while Instant::now() < end {
        sender.ready().await?;
        let begun = Instant::now();
        read(sender.send_request(request(path)?).await?).await?;
        counters.answered(begun);
    }
    Ok(())
}

async fn http2(
    tls: TlsStream<TcpStream>,
    path: &'static str,
    streams: usize,
    counters: &Arc<Counters>,
    end: Instant,
) -> Result<(), Error> {
    let (sender, connection) =
        conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
    tokio::spawn(connection);
    let mut clients = JoinSet::new();
    for _ in 0..streams {
        let (mut sender, counters) = (sender.clone(), counters.clone());
        clients.spawn(async move {
            while Instant::now() < end {
                sender.ready().await?;
                let begun = Instant::now();
                let mut request = request(path)?;
                // nginx takes it for a second one, beside `:authority`.
                request.headers_mut().remove("host");
                read(sender.send_request(request).await?).await?;
                counters.answered(begun);
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

/// The answer to its end.
async fn read(answer: Response<Incoming>) -> Result<(), Error> {
    match answer.status() {
        StatusCode::OK => consume(answer.into_body()).await,
        other => Err(format!("the answer is {other}").into()),
    }
}
