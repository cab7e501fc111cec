//! [`Handshaking`]: one handshake, from the connection that was accepted to its stream.
//!
//! What comes before TLS, TLS itself, and meanwhile three reasons to give it up: its time-out, a newer one
//! that needs its place, and the shutdown's deadline. Whatever it does then fails, which is the only way to get
//! the socket back out of what is not over.
//!
//! It is not an `async fn`, for a task is copied and kept with room for all that it may hold at any of its
//! steps, and that were three TLS sessions where there is one.

use std::{
    future::{Future, poll_fn},
    io, mem,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Sleep, sleep_until},
};
use tokio_rustls::server::{FallibleAccept, TlsStream};
use tokio_util::either::Either;

use super::{Accepted, Acceptor, arrival::Arrival, hello};
use crate::{
    accept::{Preface, PrefaceInfo},
    choice,
    handshake_error::HandshakeError,
    phase::Phase,
    server::Server,
    stream::GracefulStream,
    transport::Transport,
};

/// See the [module](self).
///
/// Dropping it gives the handshake up and closes the socket without an alert.
pub(crate) struct Handshaking<IO> {
    // Before the arrival: the connection counts until its socket is closed.
    step: Step<IO>,
    /// `None` once it is over.
    arrival: Option<Arrival>,
    /// Until the handshake has to be over. There is none before a poll, which has a runtime, has come to nothing.
    sleep: Option<Pin<Box<Sleep>>>,
    acceptor: Acceptor,
}

#[expect(
    clippy::large_enum_variant,
    reason = "a TLS session is most of what a handshake is: a box for it would cost each connection one"
)]
enum Step<IO> {
    Accepted(IO, Option<Preface<IO>>),
    Preface(Boxed<(IO, Heard)>),
    Tls(Tls<IO>),
    Over,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What was said before TLS; `None` if the handshake has expired.
type Heard = Option<io::Result<PrefaceInfo>>;

/// One whose configuration has to be picked is boxed, or all would have its size.
type Tls<IO> = Either<FallibleAccept<Transport<IO>>, Boxed<Shaken<IO>>>;

type Shaken<IO> = Result<TlsStream<Transport<IO>>, (io::Error, Transport<IO>)>;

/// The stream is large, and would be copied at each step on its way: so it has a box.
type Ended<IO> = Result<Box<GracefulStream<IO>>, HandshakeError>;

impl<IO> Handshaking<IO> {
    pub(super) fn new(acceptor: Acceptor, accepted: Accepted<IO>) -> Self {
        let Accepted {
            io,
            preface,
            arrival,
        } = accepted;
        Self {
            step: Step::Accepted(io, preface),
            arrival: Some(arrival),
            sleep: None,
            acceptor,
        }
    }

    pub(crate) fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }
}

impl<IO> Future for Handshaking<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = Ended<IO>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended<IO>> {
        let this = self.get_mut();
        let ended = this.proceed(cx);
        if ended.is_ready() || !this.is_out_of_time(cx) {
            return ended;
        }
        if let Some(arrival) = &this.arrival {
            arrival.running.handshake.expire();
        }
        this.proceed(cx)
    }
}

impl<IO> Handshaking<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn proceed(&mut self, cx: &mut Context<'_>) -> Poll<Ended<IO>> {
        loop {
            match &mut self.step {
                Step::Accepted(..) => self.begin(),
                Step::Preface(reading) => {
                    let (io, heard) = ready!(reading.as_mut().poll(cx));
                    if let Err(error) = self.heard(io, heard) {
                        return Poll::Ready(Err(error));
                    }
                }
                Step::Tls(tls) => {
                    let ended = ready!(Pin::new(tls).poll(cx));
                    return Poll::Ready(self.end(ended));
                }
                Step::Over => return Poll::Pending,
            }
        }
    }

    /// Whether it has to be given up; if not, the task is woken when it has to.
    fn is_out_of_time(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(arrival) = &mut self.arrival else {
            return false;
        };
        let deadline = arrival.deadline;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        sleep.as_mut().poll(cx).is_ready()
            || arrival.running.poll_evicted(cx).is_ready()
            || self.acceptor.server.context.phases.is_past(Phase::Deadline)
    }

    fn begin(&mut self) {
        self.acceptor.server.context.remember_runtime();
        let step = mem::replace(&mut self.step, Step::Over);
        let (Step::Accepted(io, preface), Some(arrival)) = (step, &self.arrival) else {
            return;
        };
        self.step = match preface {
            None => shake(&self.acceptor.server, io, arrival),
            Some(preface) => Step::Preface(hear_out(io, preface, arrival)),
        };
    }

    /// What came before TLS has been read: now the gate is asked about the client that it tells of.
    fn heard(&mut self, io: IO, heard: Heard) -> Result<(), HandshakeError> {
        self.step = Step::Over;
        let Some(arrival) = &mut self.arrival else {
            return Err(HandshakeError::Dropped);
        };
        let admitted = match heard {
            None => Err(self.acceptor.classify(io::ErrorKind::TimedOut.into())),
            Some(Err(error)) => Err(HandshakeError::Preface(error)),
            Some(Ok(told)) => {
                arrival.begun.addresses.set_client(told.client);
                arrival.running.handshake.hear();
                let pass = self.acceptor.server.admit(told.client);
                pass.ok_or(HandshakeError::Refused)
            }
        };
        let error = match admitted {
            Ok(pass) => {
                arrival.begun.admit(pass);
                self.step = shake(&self.acceptor.server, io, arrival);
                return Ok(());
            }
            Err(error) => error,
        };
        let transport = Transport::new(io, arrival.running.handshake.clone());
        Err(match self.arrival.take() {
            Some(arrival) => self.acceptor.fail(error, transport, arrival),
            None => error,
        })
    }

    fn end(&mut self, shaken: Shaken<IO>) -> Ended<IO> {
        self.step = Step::Over;
        let acceptor = &self.acceptor;
        let Some(arrival) = self.arrival.take() else {
            return Err(HandshakeError::Dropped);
        };
        match shaken {
            Ok(tls) if tls.get_ref().1.alpn_protocol() == Some(choice::ACME) => {
                Err(acceptor.challenged(tls, arrival))
            }
            Ok(tls) => Ok(acceptor.established(tls, arrival, self.sleep.take())),
            Err((error, transport)) => {
                let error = acceptor.classify(error);
                Err(acceptor.fail(error, transport, arrival))
            }
        }
    }
}

/// TLS itself.
fn shake<IO>(server: &Server, io: IO, arrival: &Arrival) -> Step<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Server { tls, choice, .. } = server;
    let handshake = arrival.running.handshake.clone();
    let transport = Transport::new(io, handshake.clone());
    Step::Tls(match choice {
        None => Either::Left(tls.accept(transport).into_fallible()),
        Some(choice) => Either::Right(Box::pin(hello::handshake(
            choice.clone(),
            tls.config().clone(),
            transport,
            handshake,
        ))),
    })
}

/// Reads what comes before TLS.
fn hear_out<IO>(mut io: IO, preface: Preface<IO>, arrival: &Arrival) -> Boxed<(IO, Heard)>
where
    IO: Send + 'static,
{
    let handshake = arrival.running.handshake.clone();
    let balancer = arrival.begun.addresses.remote;
    Box::pin(async move {
        let heard = {
            let mut reading = pin!(preface.read(&mut io, balancer));
            let reads = poll_fn(|cx| match handshake.is_expired() {
                true => Poll::Ready(None),
                false => reading.as_mut().poll(cx).map(Some),
            });
            reads.await
        };
        (io, heard)
    })
}
