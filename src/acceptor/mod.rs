//! The TLS handshake, and how a failed one ends.
//!
//! A handshake is bounded in time, and where too many run one whose client is silent gives
//! way: see `handshakes`; `handshaking` is the future that does one. Its socket is just closed, for nothing
//! counts that was said in a handshake without its end. One that fails has sent an alert that says why;
//! closing the socket with the client's bytes unread would destroy it (an RST), so the socket is flushed,
//! half-closed and drained like any other. A client that speaks plain HTTP is answered in HTTP: see
//! `plain_http`. Where the configuration depends on the ClientHello, `hello` does the handshake. One that has
//! agreed on what only ACME servers ask for was all that they wanted. What some listeners have a connection
//! say before, as in the PROXY protocol, is a part of the handshake here: it counts, takes time and is waited
//! for as one.

mod accept_loop;
mod arrival;
mod handshaking;
mod hello;
mod plain_http;
mod room;

use std::{io, net::SocketAddr, pin::Pin, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep},
};
use tokio_rustls::{rustls, server::TlsStream};
use tracing::field::display;

use crate::{
    connection::Facts,
    context::Context,
    ending::{Cause, Outcome},
    handshake_error::HandshakeError,
    phase::Phase,
    register::Registration,
    server::Server,
    stream::GracefulStream,
    teardown::{Start, Teardown},
    transport::{self, PlainHttp, Transport},
};

pub(crate) use accept_loop::{AcceptLoop, Accepted};
use arrival::Arrival;
pub(crate) use handshaking::Handshaking;

/// Does the TLS handshakes of one [`GracefulTls`](crate::GracefulTls).
///
/// For servers with an accept loop of their own; [`GracefulTls::serve`](crate::GracefulTls::serve)
/// has one built in.
#[derive(Clone)]
pub struct Acceptor {
    server: Arc<Server>,
}

impl Acceptor {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    /// Does the handshake on `io`.
    ///
    /// Spawn it, or a slow client holds up the accept loop. On a `TcpStream` it sets
    /// `TCP_NODELAY`, `TCP_NOTSENT_LOWAT` where there is one, and what
    /// [`Builder::tcp_keepalive`](crate::Builder::tcp_keepalive) says.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`]. The socket of a failed handshake is ended on a task of its own, so
    /// that the alert arrives; there is nothing left to do with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the handshake up and closes the socket without an alert. An observer is
    /// told: [`HandshakeError::Dropped`].
    pub async fn accept<IO>(&self, io: IO) -> Result<GracefulStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.accept_from(io, None).await
    }

    /// The same where the client's address is known otherwise, as from the PROXY protocol; `None` is
    /// that of the socket.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`].
    ///
    /// # Cancel safety
    ///
    /// As of [`accept`](Self::accept).
    pub async fn accept_from<IO>(
        &self,
        io: IO,
        client: Option<SocketAddr>,
    ) -> Result<GracefulStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Ok(*self.accept_arrived(self.arrive(io, client)?).await?)
    }

    /// A connection that somebody else has accepted: from now on a shutdown waits for it.
    pub(crate) fn arrive<IO: 'static>(
        &self,
        io: IO,
        client: Option<SocketAddr>,
    ) -> Result<Accepted<IO>, HandshakeError> {
        transport::prepare(&io, self.server.context.settings.tcp_keepalive);
        let addresses = transport::addresses(&io, client, None);
        let pass = self.server.admit(addresses.remote);
        let pass = pass.ok_or(HandshakeError::Refused)?;
        if self.server.context.is_full() {
            self.server.register.make_room();
        }
        Ok(Accepted {
            io,
            preface: None,
            arrival: self.arrival(pass, self.server.elsewhere.clone(), addresses),
        })
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The handshake of a connection that has been accepted.
    pub(crate) fn accept_arrived<IO>(&self, accepted: Accepted<IO>) -> Handshaking<IO> {
        Handshaking::new(self.clone(), accepted)
    }

    fn established<IO>(
        &self,
        mut tls: TlsStream<Transport<IO>>,
        mut arrival: Arrival,
        sleep: Option<Pin<Box<Sleep>>>,
    ) -> Box<GracefulStream<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        tls.get_mut().0.established();
        let facts = Facts::new(&tls, arrival.begun.addresses, arrival.begun.took());
        let first_request_by = Some(self.first_request_by(&arrival));
        let registration = arrival.begun.enter(facts, first_request_by);
        let established = registration.connection();
        self.server.observed.tell(|of| of.established(established));
        Box::new(GracefulStream::new(tls, registration, sleep))
    }

    /// How long a connection may take to send its first request although the server drains.
    ///
    /// As long as its handshake took, which is a round trip at least: a request that is on its way
    /// arrives within that. One that came, or became ready, after the shutdown had begun has the
    /// rest of the time that a handshake may take, if that is more.
    fn first_request_by(&self, arrival: &Arrival) -> Instant {
        let Context {
            phases, settings, ..
        } = &*self.server.context;
        let now = Instant::now();
        let left = arrival.deadline.saturating_duration_since(now);
        let as_long_again = now + settings.handshake_timeout.saturating_sub(left);
        match arrival.late || phases.now() >= Phase::Draining {
            true => as_long_again.max(arrival.deadline),
            false => as_long_again,
        }
    }

    /// An ACME server has seen the certificate: the connection ends without a word more (RFC 8737 3).
    fn challenged<IO>(&self, tls: TlsStream<Transport<IO>>, mut arrival: Arrival) -> HandshakeError
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let begun = &mut arrival.begun;
        let took = begun.took();
        let facts = Facts::new(&tls, begun.addresses, took);
        let (mut transport, session) = tls.into_inner();
        transport.established();
        let peer = begun.addresses.remote.map(display);
        tracing::debug!(
            peer,
            server_name = facts.server_name.as_deref(),
            "ACME challenge"
        );
        let registration = begun.enter(facts, None);
        let error = HandshakeError::AcmeChallenge;
        begun.tell_failed(&error, took);
        let start = Start {
            notify: true,
            answers: transport.written(),
            ..Start::new(Cause::AcmeChallenge)
        };
        Teardown::new(transport, Some(session), registration, start).finish_elsewhere();
        error
    }

    /// Ends the socket of a failed handshake elsewhere.
    fn fail<IO>(
        &self,
        error: HandshakeError,
        mut transport: Transport<IO>,
        mut arrival: Arrival,
    ) -> HandshakeError
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let head = transport.established();
        let error = match arrival.running.handshake.is_evicted() {
            true => HandshakeError::Evicted,
            false => error,
        };
        let registration = arrival.begun.fail(&error);
        match error {
            HandshakeError::PlainHttp => {
                plain_http::answer(transport, head, registration, arrival.running);
            }
            HandshakeError::Evicted => close(transport, &registration, Cause::HandshakeEvicted),
            HandshakeError::Refused => close(transport, &registration, Cause::Handshake),
            _ => end(transport, registration, 0),
        }
        error
    }

    fn classify(&self, error: io::Error) -> HandshakeError {
        let error = match error.downcast() {
            Ok(refusal) => return HandshakeError::NoConfig(refusal),
            Err(error) => error,
        };
        let error = match error.downcast() {
            Ok(unusable) => return HandshakeError::UnusableConfig(unusable),
            Err(error) => error,
        };
        let inner = error.get_ref();
        if inner.is_some_and(|e| e.is::<PlainHttp>()) {
            return HandshakeError::PlainHttp;
        }
        if let Some(tls) = inner.and_then(|e| e.downcast_ref::<rustls::Error>()) {
            return HandshakeError::Tls(tls.clone());
        }
        let phase = self.server.context.phases.now();
        match error.kind() {
            io::ErrorKind::TimedOut if phase >= Phase::Deadline => HandshakeError::ShuttingDown,
            io::ErrorKind::TimedOut => HandshakeError::TimedOut,
            _ => HandshakeError::Io(error),
        }
    }
}

/// Flushes, half-closes and drains a transport that has no TLS session, of whose bytes the peer has to
/// get so many.
fn end<IO>(transport: Transport<IO>, registration: Registration, answers: u64)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let start = Start {
        answers,
        ..Start::new(Cause::Handshake)
    };
    Teardown::new(transport, None, registration, start).finish_elsewhere();
}

/// Closes the socket of a failed handshake at once: its place is wanted, or nothing is due to its client.
fn close<IO>(io: IO, registration: &Registration, cause: Cause) {
    registration.closing(cause);
    drop(io);
    registration.ended(cause, Outcome::DrainCut);
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}
