//! [`GracefulStream`]: TLS for the HTTP server, and a proper end whatever the server does.
//!
//! Until the end it passes reads and writes through to tokio-rustls. It keeps one eye on the
//! clock (`vigil`), and tells the server of the end of its time in the only words every server
//! understands: an EOF to read, an error to write. When the server shuts it down the teardown
//! runs in place, so that whoever waits for the server waits for the teardown too; when the
//! server drops it, the same teardown goes on as a task.

use std::{
    fmt,
    io::{self, IoSlice},
    mem::{self, MaybeUninit},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::{
    connection::{Interest, TlsConnection},
    shutdown::Registration,
    teardown::{Cause, Teardown},
    transport::Transport,
    vigil::Vigil,
};

/// A server's TLS stream that ends properly.
///
/// Made by [`Acceptor::accept`](crate::Acceptor::accept). Shutting it down, as HTTP servers do
/// after their last answer, sends close_notify (RFC 8446 6.1) and the FIN, and drains what the
/// peer still sends. Dropping it does the same on a task of its own, with one exception: where an
/// answer that ends only with the connection is cut short, close_notify is withheld, so that the
/// peer can see the truncation (RFC 9112 9.8).
///
/// # Cancel safety
///
/// Dropping the stream at any time is what it is for. Outside a runtime it makes one attempt that
/// does not block.
pub struct GracefulStream<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    state: State<IO>,
    connection: TlsConnection,
    vigil: Vigil,
    /// The task that reads, and the one that writes.
    wakers: [Option<Waker>; 2],
    peer: Peer,
    /// Application data was written.
    wrote: bool,
}

/// The teardown takes the place of what it ends: an ending connection needs no memory more.
enum State<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    Open(TlsStream<Transport<IO>>, Registration),
    Closing(Teardown<IO>),
    Closed,
}

/// What is known of the peer's side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Peer {
    Open,
    /// close_notify came; the server has not been told yet, because an answer is on its way.
    HalfClosed(Hold),
    /// The server has been told of the EOF.
    Told,
    /// It broke the TLS protocol, and may still be sending.
    Broken,
    /// TCP itself is closed or reset.
    Gone,
}

/// How far the wait for the end of the answers has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hold {
    /// It has just come.
    New,
    /// Since the last read no flush was tried. A server that reads twice in a row has nothing to
    /// write: it is still finding out which protocol this is.
    Read,
    /// An exchange is in flight, or the server has written since the last finished flush.
    Busy,
    /// A flush finished with nothing in flight, but something was when the server began to write.
    Settling,
    /// A read found nothing in flight, and a flush after it finished with nothing written between.
    Flushed,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    pub(crate) fn new(tls: TlsStream<Transport<IO>>, registration: Registration) -> Self {
        let connection = registration.connection().clone();
        Self {
            state: State::Open(tls, registration),
            connection,
            vigil: Vigil::default(),
            wakers: [None, None],
            peer: Peer::Open,
            wrote: false,
        }
    }

    /// The record that the layer and the handlers share with this stream.
    pub fn connection(&self) -> &TlsConnection {
        &self.connection
    }

    /// Remembers the task, if it is another than last time.
    #[inline]
    fn register(&mut self, interest: Interest, cx: &Context<'_>) {
        let known = &mut self.wakers[interest as usize];
        if !known.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *known = Some(cx.waker().clone());
            self.connection.register(interest, cx.waker());
        }
    }

    /// Bytes the transport has taken: the measure of a write's progress.
    #[inline]
    fn written(&self) -> u64 {
        match &self.state {
            State::Open(tls, _) => tls.get_ref().0.written(),
            State::Closing(_) | State::Closed => 0,
        }
    }

    fn blocked(&mut self) {
        let written = self.written();
        self.vigil.blocked(&self.connection, written);
    }

    fn over(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::TimedOut,
            match self.vigil.cause() {
                Some(Cause::Stalled) => "the peer took no bytes for the write time-out",
                _ => "the shutdown deadline has passed",
            },
        )
    }

    fn poll_read_open(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let State::Open(tls, _) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        let before = buf.filled().len();
        match Pin::new(tls).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                self.vigil
                    .read(&self.connection, buf.filled().len() - before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) if buf.remaining() == 0 => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) => {
                self.connection.set_half_closed();
                self.peer = Peer::HalfClosed(Hold::New);
                self.poll_read_half_closed(cx)
            }
            Poll::Ready(Err(error)) => {
                self.peer = match error.kind() {
                    // tokio-rustls' kind for every error of rustls.
                    io::ErrorKind::InvalidData => Peer::Broken,
                    _ => Peer::Gone,
                };
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                self.vigil.waiting(&self.connection);
                Poll::Pending
            }
        }
    }

    /// The peer has sent close_notify (RFC 8446 6.1): its answers are still due.
    fn poll_read_half_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Peer::HalfClosed(hold) = self.peer else {
            return Poll::Ready(Ok(()));
        };
        let connection = &self.connection;
        // TLS 1.2 answers at once, and discards (RFC 5246 7.2.1). A tunnel sees what the peer does.
        let at_once = !connection.is_tls13() || connection.is_tunnel();
        let in_flight = connection.tally().in_flight > 0;
        let due = match hold {
            _ if at_once || self.vigil.ends_half_close() => false,
            _ if in_flight => true,
            Hold::New | Hold::Busy | Hold::Settling => true,
            Hold::Read | Hold::Flushed => !self.vigil.trusts_half_close(connection),
        };
        if !due {
            self.peer = Peer::Told;
            return Poll::Ready(Ok(()));
        }
        if hold == Hold::New {
            // Nothing may be in flight only because the server has yet to look at what it read.
            // Let it, and see whether it flushes.
            cx.waker().wake_by_ref();
        }
        self.peer = Peer::HalfClosed(match (in_flight, hold) {
            (true, _) => Hold::Busy,
            (false, Hold::Flushed) => Hold::Flushed,
            (false, _) => Hold::Read,
        });
        if let Err(error) = ready!(self.poll_raw(cx)) {
            self.peer = Peer::Gone;
            return Poll::Ready(Err(error));
        }
        self.peer = Peer::Gone;
        Poll::Ready(Ok(()))
    }

    /// Discards what follows close_notify (RFC 8446 6.1); ready with the FIN, or an error.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let State::Open(tls, _) = &mut self.state else {
            return Poll::Ready(Ok(()));
        };
        loop {
            let mut space = [const { MaybeUninit::uninit() }; 4096];
            let mut buf = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *tls.get_mut().0).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => break,
            }
        }
        self.vigil.half_closed(&self.connection);
        self.vigil.waiting(&self.connection);
        Poll::Pending
    }

    /// A flush was tried: what waits for it?
    #[inline]
    fn flushed(&mut self, done: bool) {
        if let Peer::HalfClosed(hold) = self.peer {
            let idle = self.connection.tally().in_flight == 0;
            self.peer = Peer::HalfClosed(match (done && idle, hold) {
                (true, Hold::Read) => {
                    self.connection.wake();
                    Hold::Flushed
                }
                // An HTTP/2 answer may have been queued, and its exchange ended, by another thread
                // since the server last looked at its queue: let it look once more.
                (true, Hold::New | Hold::Busy) => {
                    self.connection.wake();
                    Hold::Settling
                }
                (true, same) => same,
                (false, _) => Hold::Busy,
            });
        }
        match done {
            true => self.vigil.flushed(&self.connection),
            false => self.blocked(),
        }
    }

    /// Whether close_notify may be sent (rule: never make a truncated answer look whole).
    fn may_notify(&self, orderly: bool) -> bool {
        let connection = &self.connection;
        if connection.is_close_delimited() {
            let finished = connection.is_tunnel() || connection.tally().in_flight == 0;
            return orderly && finished && !self.vigil.is_forced();
        }
        let layered = connection.is_layered() && !self.vigil.is_unlayered();
        if orderly || connection.is_http2() || layered || !self.wrote {
            return true;
        }
        connection.server().warned.call_once(|| {
            tracing::warn!(
                "a connection ended early and close_notify is withheld, because its answer may \
                 have been cut: add GracefulTlsLayer to the service, so that the framing is known"
            );
        });
        false
    }

    /// The teardown of an open stream; `None` where it has begun already.
    fn begin_teardown(&mut self, orderly: bool) -> Option<Teardown<IO>> {
        if !matches!(self.state, State::Open(..)) {
            return None;
        }
        let notify = self.may_notify(orderly);
        let State::Open(tls, mut registration) = mem::replace(&mut self.state, State::Closed)
        else {
            return None;
        };
        let cause = match self.vigil.cause() {
            Some(cause) => cause,
            None if orderly => Cause::Orderly,
            None if self.peer != Peer::Open => Cause::Abandoned,
            None if std::thread::panicking() => Cause::Panicked,
            None => Cause::Dropped,
        };
        // hyper shuts an HTTP/2 connection down while the task of its last stream has yet to drop
        // the body: after an orderly end, what is in flight counts when the teardown is over.
        let in_flight = self.connection.tally().in_flight > 0 || self.vigil.is_dirty();
        if !notify || (!orderly && in_flight) || self.connection.is_cut() {
            registration.set_truncated();
        }
        let peer_closed = matches!(self.peer, Peer::HalfClosed(_) | Peer::Told | Peer::Gone);
        let (io, session) = tls.into_inner();
        Some(Teardown::new(
            io,
            Some(session),
            registration,
            cause,
            notify,
            peer_closed,
            self.vigil.take_sleep(),
        ))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for GracefulStream<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.register(Interest::Read, cx);
        let written = this.written();
        if this.vigil.ends_reads(&this.connection, written) {
            return Poll::Ready(Ok(()));
        }
        match this.peer {
            Peer::Open => this.poll_read_open(cx, buf),
            Peer::HalfClosed(_) => this.poll_read_half_closed(cx),
            Peer::Told | Peer::Broken | Peer::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        len: usize,
        write: impl FnOnce(
            Pin<&mut TlsStream<Transport<IO>>>,
            &mut Context<'_>,
        ) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.register(Interest::Write, cx);
        let written = self.written();
        if self.vigil.ends_writes(&self.connection, written) {
            return Poll::Ready(Err(self.over()));
        }
        let State::Open(tls, _) = &mut self.state else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if let Peer::HalfClosed(hold) = &mut self.peer {
            // The server has more to say, though the layer has seen the last of it.
            *hold = Hold::Busy;
        }
        self.wrote = true;
        self.vigil.writes(&self.connection, len);
        let written = write(Pin::new(tls), cx);
        if written.is_pending() {
            self.blocked();
        }
        written
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for GracefulStream<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(cx, buf.len(), |tls, cx| tls.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.get_mut()
            .poll_write_with(cx, len, |tls, cx| tls.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.register(Interest::Write, cx);
        let State::Open(tls, _) = &mut this.state else {
            // The teardown flushes. hyper asks when it is woken while it waits for the shutdown.
            return Poll::Ready(Ok(()));
        };
        let written = tls.get_ref().0.written();
        if this.vigil.ends_writes(&this.connection, written) {
            return Poll::Ready(Err(this.over()));
        }
        let flushed = Pin::new(tls).poll_flush(cx);
        if !matches!(flushed, Poll::Ready(Err(_))) {
            this.flushed(flushed.is_ready());
        }
        flushed
    }

    /// Ends the connection, and resolves when its descriptor may be closed.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(teardown) = this.begin_teardown(true) {
            this.state = State::Closing(teardown);
        }
        if let State::Closing(teardown) = &mut this.state {
            ready!(Pin::new(teardown).poll(cx));
            this.state = State::Closed;
        }
        Poll::Ready(Ok(()))
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
        finish_elsewhere(teardown, &self.connection);
    }
}

/// Lets a teardown go on without its stream: at once if it can, as a task if it must.
pub(crate) fn finish_elsewhere<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut teardown: Teardown<IO>,
    connection: &TlsConnection,
) {
    teardown.leave_task();
    if teardown.attempt().is_some() {
        return;
    }
    match connection.server().shutdown.runtime() {
        Some(runtime) => drop(runtime.spawn(teardown)),
        // The attempt was all there is: dropping the teardown closes the descriptor.
        None => drop(teardown),
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> fmt::Debug for GracefulStream<IO> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GracefulStream")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
