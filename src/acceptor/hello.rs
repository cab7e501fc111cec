//! The handshake of a server that picks the configuration by the ClientHello.
//!
//! The ClientHello is read first, with no session yet; then the user's closure is asked. Until it has
//! answered there is nothing but the transport, so a client that gets no configuration is told so here, by
//! an alert that is a record of its own (RFC 9846 5.1, 6.2). Only servers with such a closure come through
//! here.

use std::{error::Error, future::poll_fn, io, sync::Arc, task::Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{
    LazyConfigAcceptor, StartHandshake,
    rustls::{self, AlertDescription, ServerConfig, server},
    server::TlsStream,
};

use crate::{
    choice::{self, Choice},
    handshakes::Handshake,
    transport::Transport,
};

/// Does the handshake with what `choice` picks, or with the server's `own` configuration.
pub(super) async fn handshake<IO>(
    choice: Arc<Choice>,
    own: Arc<ServerConfig>,
    mut transport: Transport<IO>,
    shared: Arc<Handshake>,
) -> Result<TlsStream<Transport<IO>>, (io::Error, Transport<IO>)>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let read = LazyConfigAcceptor::new(server::Acceptor::default(), &mut transport).await;
    let accepted = match read {
        Ok(start) => start.accepted,
        Err(error) => return Err((complain(&mut transport, error).await, transport)),
    };
    match choose(&choice, own, &accepted, &mut transport, &shared).await {
        Ok(config) => {
            let start = StartHandshake::from_parts(accepted, transport);
            start.into_stream(config).into_fallible().await
        }
        Err(error) => Err((error, transport)),
    }
}

/// Asks the closure, until the handshake has expired, and tells a client for which there is nothing.
async fn choose<IO>(
    choice: &Choice,
    own: Arc<ServerConfig>,
    accepted: &server::Accepted,
    transport: &mut Transport<IO>,
    shared: &Handshake,
) -> io::Result<Arc<ServerConfig>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    // From now on it waits for us.
    shared.answer();
    let mut choosing = choice.ask(accepted.client_hello());
    let chosen = poll_fn(|cx| match shared.is_expired() {
        true => Poll::Ready(Err(io::Error::from(io::ErrorKind::TimedOut))),
        false => choosing.as_mut().poll(cx).map(Ok),
    });
    let chosen = chosen.await?;
    // It had nothing to say meanwhile, and is no more silent than others.
    shared.hear();
    match chosen {
        Ok(None) => Ok(own),
        Ok(Some(config)) => match choice::check_chosen(&config, &own) {
            Ok(()) => Ok(config),
            Err(error) => {
                choice.complain(&error);
                Err(refuse(transport, AlertDescription::InternalError, error).await)
            }
        },
        Err(refusal) => Err(refuse(transport, refusal.alert(), refusal).await),
    }
}

/// Where there is another message than a ClientHello, rustls says so only if there is a session.
async fn complain<IO>(transport: &mut Transport<IO>, error: io::Error) -> io::Error
where
    IO: AsyncWrite + Unpin,
{
    let tls = error.get_ref().and_then(|error| error.downcast_ref());
    if let (
        0,
        Some(
            rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. },
        ),
    ) = (transport.written(), tls)
    {
        alert(transport, AlertDescription::UnexpectedMessage).await;
    }
    error
}

/// Tells the client by a fatal alert.
async fn refuse<IO>(
    transport: &mut Transport<IO>,
    alert: AlertDescription,
    error: impl Error + Send + Sync + 'static,
) -> io::Error
where
    IO: AsyncWrite + Unpin,
{
    self::alert(transport, alert).await;
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The client may be gone, which changes nothing.
async fn alert<IO>(transport: &mut Transport<IO>, alert: AlertDescription)
where
    IO: AsyncWrite + Unpin,
{
    const FATAL: u8 = 2;
    let record = [21, 3, 3, 0, 2, FATAL, alert.into()];
    let _ = transport.write_all(&record).await;
}
