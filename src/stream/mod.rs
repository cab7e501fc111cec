//! [`GracefulStream`]: TLS for the HTTP server, and a proper end whatever the server does.
//!
//! Until the end it passes reads and writes through to tokio-rustls. The `ledger` reads along, and
//! knows what is in flight; the `lifetime` decides by that when the connection's time is over, which
//! the server is told in the only words every server understands: an EOF to read, an error to
//! write. When the server shuts the stream down the teardown runs in place, so that whoever waits
//! for the server waits for the teardown too; when the server drops it, the same teardown goes on as
//! a task.
//!
//! `read` is the half of it that reads, `watch` its eye on the clock, with one `timer`; `leaving` its part
//! in a shutdown, `streams` what it knows of those of HTTP/2; `frames` puts HTTP/2 frames of our own between
//! the others, and `cork` keeps what is written together.

mod cork;
mod frames;
mod leaving;
mod read;
mod streams;
mod timer;
mod watch;

use std::{
    fmt,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};
use tokio_rustls::{rustls::Error, server::TlsStream};

use crate::{
    connection::{Interest, Protocol, Requests, TlsConnection},
    ending::{Cause, CutBy},
    ledger::{End, Ledger, Use},
    lifetime::{HalfClose, Lifetime},
    phase::Phase,
    register::Registration,
    teardown::{Start, Teardown},
    transport::Transport,
};
use frames::Frames;
use leaving::Departure;
use timer::Timer;

/// What a record costs on the wire beside its plaintext, at most: its head, an explicit nonce and a tag
/// (RFC 5246 6.2.3.3).
const OVERHEAD: u64 = 5 + 8 + 16;

/// A server's TLS stream that ends properly.
///
/// Made by [`Acceptor::accept`](crate::Acceptor::accept). Shutting it down, as HTTP servers do
/// after their last answer, sends close_notify (RFC 9846 6.1) and the FIN, and drains what the
/// peer still sends. Dropping it does the same on a task of its own, with one exception: where an
/// answer that ends only with the connection is cut short, or may be because what was sent could not
/// be followed as HTTP, close_notify is withheld, so that the peer can see the truncation (RFC 9112
/// 9.8).
///
/// In a tunnel (CONNECT, 101) shutting down ends our own direction only: close_notify and the FIN
/// go out, and reading goes on until the stream is dropped. A tunnel that is ended by force gives
/// its reader an error, not an EOF.
///
/// # Cancel safety
///
/// Dropping the stream at any time is what it is for. Outside a runtime it makes one attempt that
/// does not block.
pub struct GracefulStream<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    state: State<IO>,
    connection: TlsConnection,
    ledger: Ledger,
    lifetime: Lifetime,
    half_close: HalfClose,
    timer: Timer,
    /// HTTP/2 frames of our own that wait for their place.
    frames: Option<Box<Frames>>,
    /// The task that reads, and the one that writes.
    wakers: [Option<Waker>; 2],
    /// What the connection was last told of the ledger.
    published: Requests,
    /// Of how many answers that the server has broken off it was told.
    failed: u32,
    /// How far the transport had been read when the server last asked its peer for a sign of life.
    asked: u64,
    /// From so many requests on somebody has to be told of each that begins.
    telling: u32,
    /// How far the transport had been read when a read last came to its end, and how many bytes had come
    /// by then of which TLS could open none yet: a record may be long on its way.
    read: u64,
    parts: u64,
    /// When it was first seen that it is to end: most of its life there is none.
    departure: Option<Box<Departure>>,
    /// No more than this passes before a client has an HTTP/2 answer and we its next request.
    round_trip: Option<Duration>,
    /// How far what had arrived when the connection's time was over goes: the last look ends there.
    arrived: Option<u64>,
    /// How far what had arrived goes when the peer's windows were seen to hold streams up too long.
    may_open: Option<u64>,
    /// How far the transport had come when a flush last finished, and when the end of an answer was
    /// last flushed.
    flushed: u64,
    answered: u64,
    /// What TLS has taken since then comes to so many bytes on the wire, at most.
    taken: u64,
    /// The last bytes of an answer have not been flushed yet, and end there at most.
    tail: Option<u64>,
    /// A write or a flush waits for the transport.
    is_blocked: bool,
    /// What is written waits in TLS: see `cork`.
    corked: bool,
    /// The last frames have been said, if there was anything to say: nothing of ours follows.
    said_goodbye: bool,
    /// Something has moved that may have changed what the connection is used for.
    moved: bool,
    /// Our own direction of a tunnel is closed.
    half_closed: bool,
    /// The timer is set for the HTTP/2 streams that wait for the peer, for windows or for requests.
    watches_windows: bool,
    watches_uploads: bool,
    /// The server has asked for what comes, and nothing was there.
    reads: bool,
    /// And that was the rest of a request.
    awaits: bool,
    /// The timer has struck, and the server has not asked for more since then.
    struck: bool,
    /// How many requests had begun when the server last asked for more while one was in flight and all in.
    whole: u32,
    /// How far the transport had been read when the timer last struck, and how much there was to read.
    looked_at: u64,
    unread: u64,
    /// There was some, and the server had read nothing since the time before.
    held_up: bool,
    /// How many frames of an HTTP/2 client may say nothing.
    most_noise: i64,
    /// Application data was written.
    wrote: bool,
    /// It is known whether the service's first answer has passed the layer.
    is_served: bool,
}

/// The teardown takes the place of what it ends: an ending connection needs no memory more.
#[expect(
    clippy::large_enum_variant,
    reason = "a teardown of its own allocation would cost each connection one"
)]
enum State<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    Open(TlsStream<Transport<IO>>, Registration),
    Closing(Teardown<IO>),
    Closed,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    /// `sleep` is the handshake's timer, if it had one.
    pub(crate) fn new(
        tls: TlsStream<Transport<IO>>,
        registration: Registration,
        sleep: Option<Pin<Box<Sleep>>>,
    ) -> Self {
        let connection = registration.connection().clone();
        // The handshake ends with a flush.
        let (read, flushed) = (tls.get_ref().0.read(), tls.get_ref().0.written());
        Self {
            ledger: Ledger::new(
                connection.is_http2(),
                connection.context().settings.http1_defaults,
            ),
            timer: Self::first_timer(&connection, sleep),
            most_noise: connection.context().settings.max_control_frames.into(),
            state: State::Open(tls, registration),
            connection,
            lifetime: Lifetime::default(),
            half_close: HalfClose::default(),
            frames: None,
            wakers: [None, None],
            published: Requests::default(),
            failed: 0,
            asked: 0,
            telling: 1,
            read,
            parts: 0,
            departure: None,
            round_trip: None,
            arrived: None,
            may_open: None,
            flushed,
            answered: 0,
            taken: 0,
            tail: None,
            is_blocked: false,
            corked: false,
            said_goodbye: false,
            moved: true,
            half_closed: false,
            watches_windows: false,
            watches_uploads: false,
            reads: false,
            awaits: false,
            struck: false,
            whole: 0,
            looked_at: 0,
            unread: 0,
            held_up: false,
            wrote: false,
            is_served: false,
        }
    }

    /// It strikes each write time-out, and sooner where something comes due.
    fn first_timer(connection: &TlsConnection, sleep: Option<Pin<Box<Sleep>>>) -> Timer {
        let first = Instant::now() + connection.context().settings.write_timeout;
        let retires = connection.retires();
        let mut timer = Timer::new(sleep);
        timer.set(retires.map_or(first, |of| of.min(first)), connection);
        timer
    }

    /// The record that the handlers share with this stream.
    pub fn connection(&self) -> &TlsConnection {
        &self.connection
    }

    fn transport(&self) -> Option<&Transport<IO>> {
        match &self.state {
            State::Open(tls, _) => Some(tls.get_ref().0),
            State::Closing(_) | State::Closed => None,
        }
    }

    /// Remembers the task, if it is another than last time.
    #[inline]
    fn set_waker(&mut self, interest: Interest, cx: &Context<'_>) {
        let known = &mut self.wakers[interest as usize];
        if !known.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *known = Some(cx.waker().clone());
            self.connection.set_waker(interest, cx.waker());
        }
    }

    fn over(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::TimedOut,
            match self.lifetime.over() {
                Some(Cause::Stalled) => "the peer took no bytes for the write time-out",
                Some(Cause::HeaderTimeout) => "the head of a request did not come in in time",
                Some(Cause::BodyTimeout) => "the body of a request did not come in in time",
                Some(Cause::Flood) => "the peer sent too many frames that say nothing",
                Some(Cause::TunnelTimeout) => "nothing went through the tunnel for its time-out",
                Some(Cause::MaxAgeGrace) => {
                    "the connection has reached its age, and the grace is over"
                }
                _ => "the shutdown deadline has passed",
            },
        )
    }

    /// What has to be so before anything is written; the open stream to write to.
    #[inline]
    fn prepare_write(&mut self, cx: &Context<'_>) -> io::Result<()> {
        self.set_waker(Interest::Write, cx);
        self.look();
        if self.lifetime.is_forced() {
            return Err(self.over());
        }
        if self.half_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.frames.is_some() {
            self.send_frames();
        }
        Ok(())
    }

    #[cold]
    fn send_frames(&mut self) {
        let State::Open(tls, _) = &mut self.state else {
            return;
        };
        if self.said_goodbye {
            self.frames = None;
        }
        if let Some(frames) = &mut self.frames {
            let n = frames.send(&mut self.ledger, tls.get_mut().1);
            if frames.is_empty() {
                self.frames = None;
            }
            self.takes(n as u64);
        }
    }

    /// TLS has taken these bytes.
    #[inline]
    fn sent<'a>(&mut self, bytes: impl Iterator<Item = &'a [u8]>) {
        (self.wrote, self.moved) = (true, true);
        let (answers, before) = (self.is_answer(), self.answers_end());
        let mut n = 0;
        for bytes in bytes {
            self.ledger.sent(bytes);
            n += bytes.len() as u64;
        }
        self.takes(n);
        self.publish();
        if answers || self.is_answer() {
            self.tail = Some(self.flushed + self.taken);
        }
        if !self.is_served {
            self.look_for_layer();
        }
        if self.ledger.has_news() {
            self.heed(before);
        }
    }

    /// Has the service's first answer passed the layer? If not, none will.
    #[cold]
    fn look_for_layer(&mut self) {
        self.is_served = self.ledger.is_served();
        if self.is_served && !self.connection.is_layered() {
            self.connection.context().unlayered.call_once(|| {
                tracing::warn!(
                    id = self.connection.id(),
                    "an answer has not passed GracefulTlsLayer: HTTP/1 clients will not be told by \
                     Connection: close when this server shuts down, nor gRPC clients by a status. \
                     Serve with GracefulTls::serve, serve_connection, or for axum::serve give it \
                     tls.service(app); around any other service put GracefulTlsLayer, and \
                     stream.connection() into its requests"
                );
            });
        }
    }

    /// TLS has taken so many bytes: in one write, so that only its last record may be a small one.
    #[inline]
    fn takes(&mut self, n: u64) {
        let record = self.connection.context().record;
        self.taken += n + n.div_ceil(record) * OVERHEAD;
    }

    /// Whether what is sent now belongs to an answer: in HTTP/2 it may be control frames.
    #[inline]
    fn is_answer(&self) -> bool {
        self.published.in_flight > 0 || !self.ledger.has_control_frames()
    }

    /// How far that goes of what was sent which the peer has to get, at most.
    fn answers_end(&self) -> u64 {
        self.tail.unwrap_or(self.answered)
    }

    /// Whether close_notify may be sent (rule: never make a truncated answer look whole).
    fn may_notify(&self, orderly: bool) -> bool {
        match self.ledger.end() {
            End::Shown => true,
            End::CloseDelimited => orderly && !self.lifetime.is_forced(),
            End::Unknown if orderly || !self.wrote => true,
            End::Unknown => {
                self.connection.context().warned.call_once(|| {
                    tracing::warn!(
                        id = self.connection.id(),
                        "a connection ended early and close_notify is withheld: what it carried \
                         could not be followed as HTTP, so its answer may have been cut"
                    );
                });
                false
            }
        }
    }

    fn why(&mut self, orderly: bool) -> Cause {
        if self.connection.last_calls() > 0 {
            // That is what has made it idle, and its client close it.
            return Cause::Deadline;
        }
        if let Some(cause) = self.lifetime.over() {
            return cause;
        }
        let idle = self.ledger.requests().in_flight == 0;
        let closed = self.half_close.is_closed();
        let broken = self.broken_by();
        let alert = matches!(broken, Some(Error::AlertReceived(_)));
        let left = !(idle && orderly) && (alert || self.has_left());
        // hyper shuts an HTTP/2 connection down in order whose peer has gone, whatever is in flight.
        let orderly = orderly && !(left && self.ledger.end() == End::Shown);
        match () {
            () if self.transport().is_some_and(Transport::has_vanished) => Cause::Vanished,
            () if (closed || alert || left) && idle => Cause::PeerClosed,
            () if broken.is_some() && !alert => Cause::ProtocolError,
            () if orderly && self.is_cut_off() => match self.is_silent() {
                true => Cause::Vanished,
                false => Cause::Orderly,
            },
            // An HTTP/2 server shuts down in order after an error, too.
            () if orderly => {
                let why = self
                    .ledger
                    .error()
                    .or_else(|| self.connection.why_retired());
                why.unwrap_or(Cause::Orderly)
            }
            () if self.connection.phase() >= Phase::Deadline => Cause::Deadline,
            () if std::thread::panicking() => Cause::Panicked,
            () if left => Cause::Abandoned,
            () => self.ledger.error().unwrap_or(Cause::Dropped),
        }
    }

    /// Whether an HTTP/2 server that shuts down in order does so amid an answer or an upload, and for no error of
    /// the client's: hyper, where a PING of its was not answered in time.
    fn is_cut_off(&self) -> bool {
        let uses = matches!(self.ledger.usage(|| 0), Use::Upload { .. } | Use::Request);
        let http2 = self.ledger.protocol() == Some(Protocol::Http2);
        let by_client = self.ledger.error().is_some() || self.half_close.is_closed();
        http2 && uses && !by_client && self.lifetime.over().is_none()
    }

    /// Whether nothing has come since the server last asked its peer for a sign of life, not even what it has not
    /// looked at: then it is the server that is late. A kernel that can't be asked may hold something.
    fn is_silent(&self) -> bool {
        let silent = |io: &Transport<IO>| io.read() == self.asked && io.readable() == Some(0);
        self.ledger.awaits_life() && self.transport().is_some_and(silent)
    }

    /// By which error TLS has ended, if it has: the peer has broken it, or has ended it by an alert (RFC 9846 6.2).
    fn broken_by(&mut self) -> Option<Error> {
        match &mut self.state {
            State::Open(tls, _) if self.half_close == HalfClose::Broken => {
                tls.get_mut().1.process_new_packets().err()
            }
            _ => None,
        }
    }

    /// Whether the peer has closed or reset the connection. The server may have heard of it by a write, where
    /// something that it has not read lies before the end; or not at all yet.
    fn has_left(&mut self) -> bool {
        // One that waits for its answer behind its close_notify has not.
        let closed = self.half_close.is_closed() && !self.half_close.is_waiting();
        let State::Open(tls, _) = &mut self.state else {
            return closed;
        };
        closed || tls.get_mut().0.has_failed()
    }

    /// The teardown of an open stream; `None` where it has begun already.
    fn begin_teardown(&mut self, orderly: bool) -> Option<Teardown<IO>> {
        let orderly = orderly || self.half_closed;
        let State::Open(tls, _) = &self.state else {
            return None;
        };
        let patient =
            self.lifetime.over() != Some(Cause::Stalled) || !tls.get_ref().1.wants_write();
        let cause = self.why(orderly);
        let notify = self.may_notify(orderly);
        let start = Start {
            patient,
            cause,
            notify,
            whole: !self.is_cut_short(notify),
            peer_closed: self.half_close.is_closed(),
            half_closed: self.half_closed,
            answers: self.answers_end(),
            sleep: self.timer.take(),
        };
        let own = orderly && self.is_cut_off();
        if orderly && start.notify {
            self.ledger.finish();
        }
        self.say_goodbye();
        // What that has dismissed was not begun.
        self.publish();
        let State::Open(mut tls, mut registration) = mem::replace(&mut self.state, State::Closed)
        else {
            return None;
        };
        tls.get_mut().0.read_until(None);
        // A server that ends in order knows what it was asked.
        let unknown = !orderly && self.ledger.may_have_more();
        if unknown || own || self.is_cut_short(start.notify) {
            registration.set_cut(self.cut_by(cause));
        }
        registration.set_resets(self.ledger.resets(), self.ledger.was_cut());
        let (io, session) = tls.into_inner();
        Some(Teardown::new(io, Some(session), registration, start))
    }

    /// Who cuts short what an end for this reason cuts short.
    fn cut_by(&self, cause: Cause) -> CutBy {
        match cause {
            // In TLS 1.3 that ends the peer's own direction only: it may wait for the rest.
            Cause::PeerClosed
                if self.half_close == HalfClose::Told && self.connection.is_tls13() =>
            {
                CutBy::Server
            }
            _ if cause.is_peers_fault() => CutBy::Peer,
            _ => CutBy::Server,
        }
    }

    /// Whether an answer is cut short, or may be for want of a close_notify, or by force an upload or a tunnel
    /// that is in use.
    fn is_cut_short(&self, notified: bool) -> bool {
        if self.lifetime.over() == Some(Cause::TunnelTimeout) {
            // Through one that ends for its silence nothing went.
            return false;
        }
        let used = || match self.ledger.usage(|| 0) {
            // One that waits for the server's window is in use as a request is.
            Use::Upload { .. } | Use::Request | Use::Tunnel { .. } => true,
            Use::Nothing { .. } | Use::Unknown { .. } => false,
        };
        !notified || self.ledger.is_cut_short() || self.lifetime.is_forced() && used()
    }

    /// A GOAWAY that names the last stream, so that the peer knows what was not processed (RFC 9113
    /// 6.8). The server has said all it has to say by now, whatever the end is.
    fn say_goodbye(&mut self) {
        if mem::replace(&mut self.said_goodbye, true) {
            return;
        }
        let State::Open(tls, _) = &mut self.state else {
            return;
        };
        if self.half_close == HalfClose::Open {
            let calm = self.lifetime.over() == Some(Cause::Flood);
            if let Some(goodbye) = self.ledger.goodbye(calm) {
                frames::speak(&goodbye, &mut self.ledger, tls.get_mut().1);
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for GracefulStream<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.set_waker(Interest::Read, cx);
        this.look();
        this.poll_read_any(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for GracefulStream<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.prepare_write(cx)?;
        let State::Open(tls, _) = &mut this.state else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let written = Pin::new(tls).poll_write_vectored(cx, bufs);
        this.note(&written);
        if let Poll::Ready(Ok(n)) = &written {
            this.sent(first(bufs, *n));
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_to_flush() {
            return Poll::Ready(Ok(()));
        }
        this.prepare_write(cx)?;
        this.poll_flush_tls(cx)
    }

    /// Ends the connection, and resolves when its descriptor may be closed.
    ///
    /// In a tunnel it ends our own direction, and resolves when that is done.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ledger.is_tunnel() && !this.lifetime.is_forced() {
            return this.poll_half_close(cx);
        }
        if matches!(this.state, State::Open(..)) {
            // Where that fails a server would have dropped the stream at its flush.
            let flushed = ready!(this.poll_flush_last(cx));
            if let Some(teardown) = this.begin_teardown(flushed.is_ok()) {
                this.state = State::Closing(teardown);
            }
        }
        if let State::Closing(teardown) = &mut this.state {
            ready!(Pin::new(teardown).poll(cx));
            this.state = State::Closed;
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    /// Whether a flush is ours: the teardown flushes by itself. hyper asks when it is woken while it waits for the
    /// shutdown.
    #[inline]
    fn is_to_flush(&self) -> bool {
        !self.half_closed && matches!(self.state, State::Open(..))
    }

    /// Sends what TLS holds.
    #[inline]
    fn poll_flush_tls(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let State::Open(tls, _) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        let flushed = Pin::new(tls).poll_flush(cx);
        self.note(&flushed);
        if let Poll::Ready(Ok(())) = &flushed {
            self.flushed = self.written();
            self.taken = 0;
            if self.tail.take().is_some() {
                self.answered = self.flushed;
                self.moved = true;
            }
            self.settled();
        }
        flushed
    }

    /// Sends what a server that shuts down has left in TLS, and the goodbyes with it: by the rules for answers, as its
    /// own flush would.
    fn poll_flush_last(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.holds_back() {
            return Poll::Ready(Ok(()));
        }
        self.prepare_write(cx)?;
        let answers = self.answers_end();
        if !self.said_goodbye {
            self.say_goodbye();
            if self.may_notify(true) {
                self.ledger.finish();
                if let State::Open(tls, _) = &mut self.state {
                    tls.get_mut().1.send_close_notify();
                }
            }
        }
        let flushed = self.poll_flush_tls(cx);
        self.answered = self.answered.min(answers);
        flushed
    }

    /// Sends close_notify and the FIN, and leaves the peer's direction open.
    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.half_closed {
            return Poll::Ready(Ok(()));
        }
        self.prepare_write(cx)?;
        let State::Open(tls, _) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        let closed = Pin::new(tls).poll_shutdown(cx);
        self.note(&closed);
        self.half_closed = matches!(closed, Poll::Ready(Ok(())));
        closed
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for GracefulStream<IO> {
    fn drop(&mut self) {
        let teardown = match self.begin_teardown(false) {
            Some(teardown) => teardown,
            None => match mem::replace(&mut self.state, State::Closed) {
                State::Closing(teardown) => teardown,
                State::Open(..) | State::Closed => return,
            },
        };
        teardown.finish_elsewhere();
    }
}

/// The first `n` bytes of `bufs`.
#[inline]
fn first<'a>(bufs: &'a [IoSlice<'_>], mut n: usize) -> impl Iterator<Item = &'a [u8]> {
    bufs.iter().map_while(move |buf| {
        let bytes = &buf[..buf.len().min(n)];
        n -= bytes.len();
        (!bytes.is_empty()).then_some(bytes)
    })
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> fmt::Debug for GracefulStream<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GracefulStream")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
