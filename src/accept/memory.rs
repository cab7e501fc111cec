//! A listener without a network, for tests.

use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};

use super::Accept;

/// How many may wait to be accepted.
const BACKLOG: usize = 128;

/// A listener in memory. Made by [`in_memory`].
#[derive(Debug)]
pub struct InMemory(mpsc::Receiver<Accepted>);

type Accepted = (DuplexStream, Option<SocketAddr>);

/// Connects to an [`InMemory`] listener. Clones connect to the same.
#[derive(Clone, Debug)]
pub struct InMemoryConnector {
    sender: mpsc::Sender<Accepted>,
    buffer: usize,
}

/// A listener in memory, and who connects to it. A write waits once `buffer` bytes of its direction have
/// not been read. Give it what a socket has, such as 64 KiB: with a few bytes TLS clients wait for themselves.
///
/// For tests: a whole server and its client in one process, with no port, and under a paused clock.
///
/// ```
/// # async fn f(tls: graceful_tls::GracefulTls) -> std::io::Result<()> {
/// # let app = tower::service_fn(|_: http::Request<hyper::body::Incoming>| async {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
/// # });
/// let (connector, listener) = graceful_tls::in_memory(64 * 1024);
/// tokio::spawn(async move { tls.serve(listener, app).await });
/// let io = connector.connect(None).await?; // and a TLS client on it
/// # Ok(()) }
/// ```
pub fn in_memory(buffer: usize) -> (InMemoryConnector, InMemory) {
    let (sender, listener) = mpsc::channel(BACKLOG);
    let buffer = buffer.max(1); // tokio panics at none
    (InMemoryConnector { sender, buffer }, InMemory(listener))
}

/// As a channel is one.
impl Accept for InMemory {
    type Io = DuplexStream;

    fn accept(&mut self) -> impl Future<Output = io::Result<Accepted>> + Send {
        self.0.accept()
    }

    fn accept_now(&mut self) -> Option<io::Result<Accepted>> {
        self.0.accept_now()
    }
}

impl InMemoryConnector {
    /// The client's end of a new connection; the server sees it come from `client`. Cancel safe.
    ///
    /// It waits while 128 others wait to be accepted.
    ///
    /// # Errors
    ///
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) once the listener is closed.
    pub async fn connect(&self, client: Option<SocketAddr>) -> io::Result<DuplexStream> {
        let (near, far) = duplex(self.buffer);
        let sent = self.sender.send((far, client)).await;
        sent.map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }
}
