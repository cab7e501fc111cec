//! The teardown's IO: does what the machine says.
//!
//! The driver works on the transport and the rustls session themselves. After a TLS error
//! tokio-rustls answers every flush with that error, and the alert that explains it would never
//! leave; `ServerConnection::write_tls` has no such memory.

use std::{
    future::{Future, poll_fn},
    io::{self, Read, Write},
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::rustls::{Error, ServerConnection};

use super::{Action, Machine};
use crate::{
    connection::{Interest, TlsConnection},
    ending::{Cause, Outcome},
    phase::Phase,
    register::{Place, Registration},
    settings::Settings,
    transport::Transport,
};

/// How much is read at once when there is no TLS session left to read through.
const DISCARD: usize = 16 * 1024;

/// What one attempt to read came to.
enum Discarded {
    Bytes(usize),
    PeerClosed,
}

/// What is so when a teardown begins.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) cause: Cause,
    /// Whether to say close_notify.
    pub(crate) notify: bool,
    /// Whether the peer has not had its time yet to take what is left for it.
    pub(crate) patient: bool,
    /// Whether what is left for it is the rest of an answer that it can still get whole.
    pub(crate) whole: bool,
    /// Whether the peer's direction has been closed already.
    pub(crate) peer_closed: bool,
    /// Whether our own has been: the transport is shut down.
    pub(crate) half_closed: bool,
    /// How far that goes, among all the bytes sent, which the peer has to get. What follows are
    /// goodbyes.
    pub(crate) answers: u64,
    /// A timer that has nothing else to do any more.
    pub(crate) sleep: Option<Pin<Box<Sleep>>>,
}

impl Start {
    /// Nothing to be said, and both directions open.
    pub(crate) fn new(cause: Cause) -> Self {
        Self {
            cause,
            notify: false,
            patient: true,
            whole: false,
            peer_closed: false,
            half_closed: false,
            answers: 0,
            sleep: None,
        }
    }

    /// How long flushing may go without a byte taken by the peer, where so many have been sent and the rest
    /// waits in TLS.
    fn flush(&self, settings: &Settings, written: u64) -> Duration {
        match self.patient {
            // The peer has as long for that as it has while the connection is open.
            true if self.whole && self.answers > written => settings.longest_flush(),
            true => settings.drain.flush_timeout,
            false => Duration::ZERO,
        }
    }
}

/// Ends one connection, and resolves when its descriptor may be closed.
///
/// Cancel safety: dropped before it is done, it makes one last attempt that does not block.
pub(crate) struct Teardown<IO: AsyncRead + AsyncWrite + Unpin + 'static> {
    io: Transport<IO>,
    /// `None` where there is no session to speak of: a failed handshake, a failed session.
    session: Option<ServerConnection>,
    machine: Machine,
    cause: Cause,
    /// See [`Start::answers`].
    answers: u64,
    /// Bytes that the socket had taken when the flush was last blocked.
    written: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
    place: Option<Place>,
    registration: Registration,
    /// The task that is woken when the connection is told something.
    watched: Option<Waker>,
    done: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Teardown<IO> {
    pub(crate) fn new(
        io: Transport<IO>,
        mut session: Option<ServerConnection>,
        registration: Registration,
        start: Start,
    ) -> Self {
        // A failed session repeats its error. Where it sent a fatal alert rustls says nothing more;
        // where it was sent one, nothing is to be said (RFC 9846 6.2).
        let unread = session.as_mut().map(|s| s.process_new_packets());
        let notify = start.notify && !matches!(unread, None | Some(Err(Error::AlertReceived(_))));
        if let (Some(session), Some(Ok(_))) = (&mut session, unread) {
            // rustls takes nothing more in while it holds much that nobody will read.
            discard_plaintext(session);
        }
        let context = registration.connection().context();
        let flush = start.flush(&context.settings, io.written());
        let bounds = context.bounds.clone();
        registration.closing(start.cause);
        Self {
            written: None,
            machine: Machine::new(
                Instant::now(),
                flush,
                bounds,
                notify,
                start.peer_closed,
                start.half_closed,
            ),
            io,
            session,
            cause: start.cause,
            answers: start.answers,
            sleep: start.sleep,
            place: None,
            registration,
            watched: None,
            done: false,
        }
    }

    /// Lets it go on without whoever began it: at once if it can, as a task if it must.
    pub(crate) fn finish_elsewhere(mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        if let Some(outcome) = self.advance(cx) {
            return self.finish(outcome);
        }
        match self.connection().context().runtime() {
            Some(runtime) => drop(runtime.spawn(self)),
            // Dropping the teardown makes one more attempt, and closes the descriptor.
            None => drop(self),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Teardown<IO> {
    fn connection(&self) -> &TlsConnection {
        self.registration.connection()
    }

    /// Does what can be done now. `None` says that the peer or the clock has to move first.
    fn advance(&mut self, cx: &mut Context<'_>) -> Option<Outcome> {
        loop {
            let progress = match self.machine.action() {
                Action::Notify => self.notify(),
                Action::Flush => self.poll_flush(cx),
                Action::HalfClose => self.poll_half_close(cx),
                Action::Drain => self.poll_drain(cx),
                Action::Close(outcome) => {
                    if outcome == Outcome::Aborted {
                        self.empty_socket(cx);
                    }
                    return Some(outcome);
                }
            };
            if progress.is_pending() {
                return None;
            }
        }
    }

    fn notify(&mut self) -> Poll<()> {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
        }
        self.machine.notified(Instant::now());
        Poll::Ready(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let flushed = match &mut self.session {
            Some(session) => poll_write_tls(&mut self.io, session, cx),
            None => Pin::new(&mut self.io).poll_flush(cx),
        };
        if flushed.is_pending() && self.written != Some(self.io.written()) {
            self.written = Some(self.io.written());
            self.ask_how_far();
        }
        match ready!(flushed) {
            Ok(()) => self.machine.flushed(Instant::now()),
            Err(_) => self.machine.failed(),
        }
        Poll::Ready(())
    }

    fn poll_half_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(Pin::new(&mut self.io).poll_shutdown(cx)) {
            Ok(()) => self.machine.half_closed(Instant::now()),
            Err(_) => self.machine.failed(),
        }
        Poll::Ready(())
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.connection().is_evicted() {
            self.ask_kernel();
            self.machine.evicted();
            return Poll::Ready(());
        }
        if self.connection().is_wanted() && self.makes_room() {
            return Poll::Ready(());
        }
        if self.machine.is_peer_closed() {
            return self.poll_acknowledged();
        }
        let discarded = ready!(self.poll_discard(cx));
        // Any of these may end the drain.
        self.ask_kernel();
        match discarded {
            Ok(Discarded::Bytes(n)) => self.machine.received(Instant::now(), n),
            Ok(Discarded::PeerClosed) => self.machine.peer_closed(),
            Err(_) => self.machine.failed(),
        }
        Poll::Ready(())
    }

    /// Another connection needs this one's place. It has it as soon as no answer is on its way.
    fn makes_room(&mut self) -> bool {
        self.ask_kernel();
        let makes_room = self.held() == 0;
        match makes_room {
            true => self.machine.evicted(),
            false => self.connection().stays_for_now(),
        }
        makes_room
    }

    /// Nothing is left to read. Has the peer got what it was sent, or gone?
    fn poll_acknowledged(&mut self) -> Poll<()> {
        self.ask_kernel();
        if self.io.has_failed() {
            self.machine.failed();
        }
        match self.machine.action() {
            Action::Drain => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// What the kernel holds of the answers, which the peer has to get. The goodbyes behind them it
    /// need not.
    fn held(&self) -> u64 {
        // In the numbers of TCP the FIN is one more byte, and the last (RFC 9293 3.4).
        let outstanding = self.io.unacknowledged().saturating_sub(1);
        let acknowledged = self.io.written().saturating_sub(outstanding);
        self.answers
            .min(self.io.written())
            .saturating_sub(acknowledged)
    }

    /// Closing a socket with unread input resets it, which would destroy what the kernel still holds
    /// for the peer (RFC 1122 4.2.2.13).
    fn empty_socket(&mut self, cx: &mut Context<'_>) {
        let mut left = self.io.readable().unwrap_or(0);
        while left > 0 && self.io.unacknowledged() > 0 {
            match poll_discard_raw(&mut self.io, cx) {
                Poll::Ready(Ok(Discarded::Bytes(n))) => left = left.saturating_sub(n as u64),
                _ => return,
            }
        }
    }

    /// Tells the machine how far the peer has come.
    fn ask_how_far(&mut self) {
        let acknowledged = self.io.acknowledged();
        self.machine.acknowledged(Instant::now(), acknowledged);
    }

    /// Tells the machine what the kernel holds for the peer.
    fn ask_kernel(&mut self) {
        let held = self.held();
        self.machine.unacknowledged(Instant::now(), held);
    }

    /// Reads through TLS while it can be, to see the peer's close_notify; else as it comes.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Discarded>> {
        let Some(session) = &mut self.session else {
            return poll_discard_raw(&mut self.io, cx);
        };
        let io = &mut self.io;
        match session.read_tls(&mut SyncIo { io, cx }) {
            Ok(0) => Poll::Ready(Ok(Discarded::PeerClosed)),
            Ok(n) => match session.process_new_packets() {
                Ok(state) if state.peer_has_closed() => Poll::Ready(Ok(Discarded::PeerClosed)),
                Ok(_) => {
                    discard_plaintext(session);
                    Poll::Ready(Ok(Discarded::Bytes(n)))
                }
                Err(_) => {
                    self.session = None;
                    Poll::Ready(Ok(Discarded::Bytes(n)))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits for the machine's deadline; `Ready` when it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.machine.deadline() else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        // Whoever polls may have used up its task's budget: then a timer would register nothing.
        let mut sleep = unconstrained(sleep.as_mut());
        ready!(Pin::new(&mut sleep).poll(cx));
        self.strike();
        Poll::Ready(())
    }

    /// The machine's deadline has passed: what has happened that no event tells?
    fn strike(&mut self) {
        match self.machine.action() {
            Action::Flush => self.ask_how_far(),
            Action::Drain if self.machine.is_peer_closed() => drop(self.poll_acknowledged()),
            Action::Drain => self.ask_kernel(),
            _ => {}
        }
        self.machine.tick(Instant::now());
    }

    /// What needs no waiting: called where nobody will poll again.
    fn attempt(&mut self) -> Option<Outcome> {
        // Not for want of budget: there may be no second attempt.
        let advance = unconstrained(poll_fn(|cx| Poll::Ready(self.advance(cx))));
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Some(outcome)) = pin!(advance).poll(cx) else {
            return None;
        };
        self.finish(outcome);
        Some(outcome)
    }

    /// Sees to it that whoever tells the connection something wakes this task.
    fn watch(&mut self, cx: &Context<'_>) -> bool {
        let waker = cx.waker();
        if !self
            .watched
            .as_ref()
            .is_some_and(|known| known.will_wake(waker))
        {
            self.watched = Some(waker.clone());
            self.connection().set_waker(Interest::Read, waker);
            self.connection().set_waker(Interest::Write, waker);
            return true;
        }
        let takes = self.machine.action() == Action::Drain && self.place.is_none();
        if takes {
            self.place = Some(self.registration.place_to_drain());
        }
        takes
    }

    fn finish(&mut self, outcome: Outcome) {
        self.done = true;
        self.place = None;
        self.registration.ended(self.cause, outcome);
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Future for Teardown<IO> {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = self.get_mut();
        loop {
            if this.connection().phase() >= Phase::Deadline {
                this.machine.hurry(Instant::now());
            }
            if let Some(outcome) = this.advance(cx) {
                this.finish(outcome);
                return Poll::Ready(outcome);
            }
            // First the waker, then the place: an eviction in between is not lost.
            if this.watch(cx) {
                continue;
            }
            ready!(this.poll_deadline(cx));
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Drop for Teardown<IO> {
    fn drop(&mut self) {
        if self.done || self.attempt().is_some() {
            return;
        }
        let outcome = match self.machine.action() {
            Action::Drain if self.held() == 0 => Outcome::PeerSilent,
            _ => Outcome::Aborted,
        };
        self.finish(outcome);
    }
}

/// Writes all that `session` holds.
fn poll_write_tls<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Transport<IO>,
    session: &mut ServerConnection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while session.wants_write() {
        match session.write_tls(&mut SyncIo { io, cx }) {
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Pin::new(io).poll_flush(cx)
}

fn poll_discard_raw<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut Transport<IO>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Discarded>> {
    let mut space = [const { MaybeUninit::uninit() }; DISCARD];
    let mut buf = ReadBuf::uninit(&mut space);
    ready!(Pin::new(io).poll_read(cx, &mut buf))?;
    Poll::Ready(Ok(match buf.filled().len() {
        0 => Discarded::PeerClosed,
        n => Discarded::Bytes(n),
    }))
}

fn discard_plaintext(session: &mut ServerConnection) {
    let mut reader = session.reader();
    while let n @ 1.. = io::BufRead::fill_buf(&mut reader).map_or(0, <[u8]>::len) {
        io::BufRead::consume(&mut reader, n);
    }
}

/// The blocking face of an asynchronous transport that rustls asks for: `Pending` is `WouldBlock`.
struct SyncIo<'a, 'cx, T> {
    io: &'a mut T,
    cx: &'a mut Context<'cx>,
}

fn would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<T: AsyncRead + Unpin> Read for SyncIo<'_, '_, T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        would_block(Pin::new(&mut *self.io).poll_read(self.cx, &mut buf))?;
        Ok(buf.filled().len())
    }
}

impl<T: AsyncWrite + Unpin> Write for SyncIo<'_, '_, T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        would_block(Pin::new(&mut *self.io).poll_write(self.cx, buf))
    }

    fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
        would_block(Pin::new(&mut *self.io).poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        would_block(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}
