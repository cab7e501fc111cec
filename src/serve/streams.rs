//! Handshaken streams for a server that drives its connections itself.
//!
//! The accept loop runs as a task, and every handshake as another, so that neither waits for the
//! server to ask for the next stream, nor the server for a slow client. Streams the server has not
//! taken when it stops are dropped, and end properly: nothing has been asked on them.

use std::io;

use tokio::sync::mpsc;

use crate::{
    accept::{Accept, Accepted, Incoming},
    acceptor::Acceptor,
    stream::GracefulStream,
};

/// How many handshaken streams wait for the server. Behind them clients wait in the kernel.
const WAITING: usize = 64;

/// Streams of one listener, in the order their handshakes end.
pub(super) struct Streams<A: Accept> {
    /// Until the first stream is asked for: before that there may be no runtime to spawn on.
    parts: Option<(A, Acceptor)>,
    receiver: mpsc::Receiver<io::Result<GracefulStream<A::Io>>>,
}

impl<A: Accept> Streams<A> {
    pub(super) fn new(listener: A, acceptor: Acceptor) -> Self {
        Self {
            parts: Some((listener, acceptor)),
            receiver: mpsc::channel(1).1,
        }
    }

    /// The streams as they come; `None` once the server has stopped accepting.
    ///
    /// An error is the listener's last word.
    pub(super) fn receiver(&mut self) -> &mut mpsc::Receiver<io::Result<GracefulStream<A::Io>>> {
        if let Some((listener, acceptor)) = self.parts.take() {
            let (sender, receiver) = mpsc::channel(WAITING);
            tokio::spawn(accept(
                Incoming::new(listener, acceptor.clone()),
                acceptor,
                sender,
            ));
            self.receiver = receiver;
        }
        &mut self.receiver
    }
}

async fn accept<A: Accept>(
    mut incoming: Incoming<A>,
    acceptor: Acceptor,
    sender: mpsc::Sender<io::Result<GracefulStream<A::Io>>>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = incoming.next() => accepted,
            // The server has gone.
            () = sender.closed() => return,
        };
        match accepted {
            Ok(Some(accepted)) => {
                tokio::spawn(shake_hands(accepted, acceptor.clone(), sender.clone()));
            }
            Ok(None) => return,
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }
}

async fn shake_hands<IO>(
    accepted: Accepted<IO>,
    acceptor: Acceptor,
    sender: mpsc::Sender<io::Result<GracefulStream<IO>>>,
) where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let Accepted {
        io,
        addresses,
        turn,
    } = accepted;
    if let Ok(stream) = acceptor.accept_in_turn(io, addresses, turn).await {
        // Where nobody takes it, it is dropped, and ends properly.
        let _ = sender.send(Ok(stream)).await;
    }
}
