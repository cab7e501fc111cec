//! [`GracefulTls::incoming`]: handshaken streams for a server that drives them itself.
//!
//! ```no_run
//! # use graceful_tls::GracefulTls;
//! # async fn f(tls: GracefulTls, tcp: tokio::net::TcpListener) -> std::io::Result<()> {
//! let mut incoming = tls.incoming(tcp);
//! while let Some(stream) = incoming.next().await? {
//!     tokio::spawn(async move { drop(stream) /* serve it */ });
//! }
//! let report = tls.closed().await;
//! # Ok(()) }
//! ```
//!
//! The accept loop runs as a task, and every handshake as another, so that neither waits for the
//! server to ask for the next stream, nor the server for a slow client. Streams the server has not
//! taken when it drops this are dropped, and end properly: nobody has read what was asked on them.

#[cfg(feature = "tonic")]
use std::pin::Pin;
use std::{
    fmt, io,
    net::SocketAddr,
    task::{Context, Poll},
};

use tokio::sync::{Semaphore, mpsc};

use crate::{
    accept::Accept,
    acceptor::{AcceptLoop, Acceptor},
    graceful_tls::GracefulTls,
    stream::GracefulStream,
};

/// TLS on a listener: streams in the order in which their handshakes end.
///
/// It survives accept errors such as running out of descriptors, which it logs, and empties the
/// listener's queue before it closes. Dropping it closes the listener.
pub struct Incoming<A: Accept> {
    /// Until the first stream is asked for: before that there may be no runtime to spawn on.
    parts: Option<(A, Acceptor)>,
    streams: mpsc::Receiver<io::Result<Box<GracefulStream<A::Io>>>>,
    local: Option<SocketAddr>,
    /// When a server that goes on until there are no more streams should stop.
    #[cfg(feature = "tonic")]
    pub(super) draining: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl GracefulTls {
    /// TLS on `listener`, for a server that drives its connections itself.
    ///
    /// Put [`GracefulTlsLayer`](crate::GracefulTlsLayer) around the service, and
    /// [`GracefulStream::connection`] into its requests' extensions.
    pub fn incoming<A: Accept>(&self, listener: A) -> Incoming<A> {
        Incoming {
            local: listener.local_addr(),
            parts: Some((listener, self.acceptor())),
            streams: mpsc::channel(1).1,
            #[cfg(feature = "tonic")]
            draining: Box::pin(self.drained()),
        }
    }
}

impl<A: Accept> Incoming<A> {
    /// The next stream; `None` once the server has stopped accepting. Cancel safe.
    ///
    /// # Errors
    ///
    /// The listener is broken for good. It is the last word: `None` follows.
    pub async fn next(&mut self) -> io::Result<Option<GracefulStream<A::Io>>> {
        std::future::poll_fn(|cx| self.poll_next(cx))
            .await
            .transpose()
    }

    /// The same for hand-written futures.
    ///
    /// # Errors
    ///
    /// See [`next`](Self::next).
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<GracefulStream<A::Io>>>> {
        if let Some((listener, acceptor)) = self.parts.take() {
            // A server that takes no streams must not gather handshaken ones without limit. Behind
            // as many as may shake hands at once, and those that do, clients wait in the kernel.
            let waiting = acceptor.server().context.settings.max_handshakes;
            let (sender, streams) = mpsc::channel(waiting.min(Semaphore::MAX_PERMITS));
            let incoming = AcceptLoop::new(listener, acceptor.clone());
            tokio::spawn(accept(incoming, acceptor, sender));
            self.streams = streams;
        }
        let received = self.streams.poll_recv(cx);
        received.map_ok(|stream| *stream)
    }

    /// The address that clients connect to, if there is one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }
}

async fn accept<A: Accept>(
    mut incoming: AcceptLoop<A>,
    acceptor: Acceptor,
    sender: mpsc::Sender<io::Result<Box<GracefulStream<A::Io>>>>,
) {
    let stops = acceptor.server().context.phases.stop_accepting.clone();
    loop {
        // Handshakes do not count: a flood of those would lock everybody out.
        tokio::select! {
            biased;
            taken = sender.reserve() => match taken {
                Ok(place) => drop(place),
                Err(_) => return, // the server has gone
            },
            // What is still in the queue when the sweep is over is reset: nobody waits for a place.
            () = stops.cancelled() => {}
        }
        let accepted = tokio::select! {
            accepted = incoming.next() => accepted,
            () = sender.closed() => return,
        };
        match accepted {
            Ok(Some(accepted)) => {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept_arrived(accepted).await {
                        // Where nobody takes it, it is dropped, and ends properly.
                        let _ = sender.send(Ok(stream)).await;
                    }
                });
            }
            Ok(None) => return,
            Err(error) => return drop(sender.send(Err(error)).await),
        }
    }
}

impl<A: Accept> fmt::Debug for Incoming<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
