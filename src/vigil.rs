//! The stream's eye on the clock: idle connections, stuck peers, and the shutdown deadline.
//!
//! There is one `Sleep` a connection, made when first needed and hardly ever reset. It is set for
//! no later than the earliest thing that may come due. When it fires, the vigil looks at what has
//! really happened since, and sets it anew; a busy connection pays for that once in many requests.
//! What a request pays for is one look at the clock, when the connection falls idle.

use std::{future::Future, pin::Pin, sync::atomic::Ordering, task::Context, time::Duration};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{connection::TlsConnection, shutdown::Phase, teardown::Cause};

/// How long an idle connection may take to end by itself once it has been told to: the time an
/// HTTP/2 peer has to answer the PING that goes with a GOAWAY (RFC 9113 6.8).
const GRACE: Duration = Duration::from_secs(1);

/// How long a half-closed HTTP/2 peer's EOF is held back where the server's own task does not
/// count exchanges: its stream tasks may have yet to call the service.
const LINGER: Duration = Duration::from_millis(100);

/// More than a request's head can be, unless the server has set hyper up for longer ones.
const HEAD: usize = 64 * 1024;

/// No more than HTTP/2 writes to acknowledge what a peer sends: that is no use of a connection.
const CONTROL: usize = 128;

/// What one connection is watched for.
#[derive(Debug, Default)]
pub(crate) struct Vigil {
    sleep: Option<Pin<Box<Sleep>>>,
    idle: Option<Since>,
    /// A write is blocked; the mark is the number of bytes the transport had taken by then.
    blocked: Option<Since>,
    /// Every body in flight is held up by the peer's HTTP/2 window; the mark is their epoch.
    held: Option<Since>,
    half_closed: Option<Since>,
    /// Bytes that show the connection in use went either way since the vigil last looked.
    traffic: bool,
    /// Bytes read since the last write.
    unanswered: usize,
    /// Something was written since the last finished flush: the answer is not out yet, though the
    /// layer may have seen the last of it.
    dirty: bool,
    /// With nothing in flight, how many exchanges had begun when bytes were read: the next one has
    /// to begin before anything is written, if there is a layer.
    head: Option<u32>,
    /// Something was answered past the layer.
    unlayered: bool,
    told: Option<Instant>,
    draining: bool,
    eof: bool,
    cause: Option<Cause>,
}

/// Since when something has not changed, and what it was.
#[derive(Clone, Copy, Debug)]
struct Since {
    at: Instant,
    mark: u64,
}

impl Since {
    fn now(mark: u64) -> Self {
        Self {
            at: Instant::now(),
            mark,
        }
    }
}

fn unmarked(since: Option<Since>, mark: u64) -> bool {
    since.is_none_or(|since| since.mark != mark)
}

impl Vigil {
    /// Why the connection's time is over, if it is.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// The timer, for whoever ends the connection.
    pub(crate) fn take_sleep(&mut self) -> Option<Pin<Box<Sleep>>> {
        self.sleep.take()
    }

    /// Whether reads have to end: with an EOF, which every server understands.
    #[inline]
    pub(crate) fn ends_reads(&mut self, connection: &TlsConnection, written: u64) -> bool {
        self.look(connection, written);
        self.cause.is_some()
    }

    /// Whether writes have to end, with an error. An idle connection may still say GOAWAY.
    #[inline]
    pub(crate) fn ends_writes(&mut self, connection: &TlsConnection, written: u64) -> bool {
        self.look(connection, written);
        self.is_forced()
    }

    /// Whether a half-closed peer's unfinished business has taken too long.
    pub(crate) fn ends_half_close(&self) -> bool {
        self.eof
    }

    /// Whether a half-closed peer has nothing in flight for sure, when it seems so.
    pub(crate) fn trusts_half_close(&self, connection: &TlsConnection) -> bool {
        let lingered = |since: Since| since.at.elapsed() >= LINGER;
        connection.is_managed() || !connection.is_http2() || self.half_closed.is_some_and(lingered)
    }

    #[inline]
    fn look(&mut self, connection: &TlsConnection, written: u64) {
        if self.is_forced() {
            return;
        }
        if connection.server().shutdown.phase() >= Phase::Deadline {
            self.cause = Some(Cause::Deadline);
        } else if self.sleep.as_ref().is_some_and(|s| s.is_elapsed()) {
            self.strike(connection, written);
        }
    }

    /// Whether the connection is ended by force: nothing that is done to it now is orderly.
    pub(crate) fn is_forced(&self) -> bool {
        matches!(self.cause, Some(Cause::Deadline | Cause::Stalled))
    }

    /// Whether something was written that has not been flushed.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether something was answered past the layer, so that its framing is unknown.
    pub(crate) fn is_unlayered(&self) -> bool {
        self.unlayered
    }

    /// `n` bytes were read.
    ///
    /// Where traffic counts, a head that drips in must not: what is read counts once it is more
    /// than a head, and so the body of an upload.
    #[inline]
    pub(crate) fn read(&mut self, connection: &TlsConnection, n: usize) {
        self.unanswered = self.unanswered.saturating_add(n);
        if connection.is_tunnel() {
            // No requests are to come: its framing was settled when it was opened.
            self.traffic = true;
            self.head = None;
            return;
        }
        if self.unanswered > HEAD {
            self.traffic = true;
        }
        if !connection.is_managed() {
            let tally = connection.tally();
            self.head = (tally.in_flight == 0).then_some(tally.begun);
        }
    }

    /// `n` bytes are to be written.
    #[inline]
    pub(crate) fn writes(&mut self, connection: &TlsConnection, n: usize) {
        self.unanswered = 0;
        self.traffic = true;
        self.dirty = true;
        if n <= CONTROL && connection.is_http2() {
            return;
        }
        self.idle = None;
        if let Some(head) = self.head.take() {
            let tally = connection.tally();
            self.unlayered |= tally.in_flight == 0 && tally.begun == head;
        }
    }

    /// A read has to wait, or a flush has finished: is anything in flight?
    #[inline]
    pub(crate) fn waiting(&mut self, connection: &TlsConnection) {
        let tally = connection.tally();
        if tally.in_flight > 0 || self.dirty {
            self.idle = None;
            return;
        }
        let fell_idle = match self.counts_traffic(connection) {
            true => std::mem::take(&mut self.traffic) || self.idle.is_none(),
            false => unmarked(self.idle, u64::from(tally.begun)),
        };
        if fell_idle {
            self.idle = Some(Since::now(u64::from(tally.begun)));
        }
        let draining = connection.server().shutdown.phase() >= Phase::Draining;
        if fell_idle || draining != self.draining {
            self.draining = draining;
            if let Some(end) = self.idle_end(connection) {
                self.fires_by(end, connection);
            }
        }
    }

    /// A write or a flush is blocked, with `written` bytes taken so far.
    pub(crate) fn blocked(&mut self, connection: &TlsConnection, written: u64) {
        if unmarked(self.blocked, written) {
            let since = Since::now(written);
            self.blocked = Some(since);
            self.fires_within_write_timeout(since, connection);
        }
    }

    /// A flush has finished: no write is blocked. Is a body, by the HTTP/2 window?
    #[inline]
    pub(crate) fn flushed(&mut self, connection: &TlsConnection) {
        self.blocked = None;
        self.dirty = false;
        if connection.is_http2() {
            self.look_at_held(connection);
        }
        self.waiting(connection);
    }

    #[inline]
    fn look_at_held(&mut self, connection: &TlsConnection) {
        let held = connection.held();
        if held.in_flight == 0 || held.in_flight < connection.tally().in_flight {
            self.held = None;
        } else if unmarked(self.held, u64::from(held.begun)) {
            let since = Since::now(u64::from(held.begun));
            self.held = Some(since);
            self.fires_within_write_timeout(since, connection);
        }
    }

    /// The peer has sent close_notify and something is in flight.
    pub(crate) fn half_closed(&mut self, connection: &TlsConnection) {
        let begun = u64::from(connection.tally().begun);
        if unmarked(self.half_closed, begun) {
            let since = Since::now(begun);
            self.half_closed = Some(since);
            self.fires_by(since.at + LINGER, connection);
        }
    }

    /// The timer has fired: what is due?
    #[cold]
    fn strike(&mut self, connection: &TlsConnection, written: u64) {
        let now = Instant::now();
        let timeout = connection.server().settings.write_timeout;
        let past = |since: Option<Since>| since.is_some_and(|since| now >= since.at + timeout);

        if self.blocked.is_some() && unmarked(self.blocked, written) {
            self.blocked = Some(Since::now(written));
        }
        if self.held.is_some() {
            self.look_at_held(connection);
        }
        if past(self.blocked) || past(self.held) {
            self.cause = Some(Cause::Stalled);
        } else if self.cause.is_none() && self.is_idle_too_long(connection, now) {
            self.cause = Some(Cause::Idle);
        }
        // What a half-closed peer still owes will never come.
        let owes = connection.has_upload() || connection.is_http2();
        self.eof |= owes && past(self.half_closed) && connection.tally().in_flight > 0;
        if self.cause.is_some() || self.half_closed.is_some() {
            connection.wake();
        }
        // An idle connection that does not end may be stuck in a write.
        if !self.is_forced() {
            self.rearm(connection, now);
        }
    }

    /// Whether the idle time is up; an HTTP/2 connection is told by GOAWAY first.
    fn is_idle_too_long(&mut self, connection: &TlsConnection, now: Instant) -> bool {
        let traffic = self.counts_traffic(connection) && std::mem::take(&mut self.traffic);
        if traffic || self.dirty || connection.tally().in_flight > 0 {
            self.idle = None;
            self.waiting(connection);
            return false;
        }
        if self.idle_end(connection).is_none_or(|end| now < end) {
            return false;
        }
        let phase = connection.server().shutdown.phase();
        let tell = connection.is_http2() && connection.is_managed() && phase < Phase::Draining;
        if tell && self.told.is_none() {
            self.told = Some(now);
            connection.expire();
            return false;
        }
        true
    }

    #[inline]
    fn idle_end(&self, connection: &TlsConnection) -> Option<Instant> {
        if connection.is_tunnel() && !connection.is_http2() {
            // The tunnel is the exchange, and lasts as long as its handler likes.
            return None;
        }
        let server = connection.server();
        let since = self.idle?.at;
        if let Some(told) = self.told {
            return Some(told.max(since) + GRACE);
        }
        let end = since + server.settings.keep_alive_timeout;
        match server.shutdown.draining_since() {
            Some(draining) if !self.counts_traffic(connection) => {
                Some(end.min(draining.max(since) + GRACE))
            }
            _ => Some(end),
        }
    }

    /// The earliest thing that may come due.
    fn due(&self, connection: &TlsConnection, now: Instant) -> Instant {
        let settings = &connection.server().settings;
        let timeout = settings.write_timeout;
        let after = |since: Option<Since>| since.map(|since| since.at + timeout);
        [
            after(self.blocked),
            after(self.held),
            after(self.half_closed).filter(|_| !self.eof),
            self.half_closed.map(|since| since.at + LINGER),
            self.idle_end(connection),
        ]
        .into_iter()
        .flatten()
        .filter(|due| *due > now)
        .min()
        .unwrap_or_else(|| now + timeout.min(settings.keep_alive_timeout))
    }

    /// Whether traffic shows that the connection is in use, because exchanges do not.
    #[inline]
    fn counts_traffic(&self, connection: &TlsConnection) -> bool {
        let layered = connection.server().layered.load(Ordering::Relaxed) && !self.unlayered;
        !layered || connection.is_tunnel()
    }

    fn fires_within_write_timeout(&mut self, since: Since, connection: &TlsConnection) {
        let timeout = connection.server().settings.write_timeout;
        self.fires_by(since.at + timeout, connection);
    }

    /// Sees to it that the timer fires by `due`. What is due earlier it is set for already.
    #[inline]
    fn fires_by(&mut self, due: Instant, connection: &TlsConnection) {
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() <= due => {}
            Some(sleep) if sleep.is_elapsed() => {}
            Some(sleep) => {
                sleep.as_mut().reset(due);
                poll(sleep, connection);
            }
            None => poll(self.sleep.insert(Box::pin(sleep_until(due))), connection),
        }
    }

    fn rearm(&mut self, connection: &TlsConnection, now: Instant) {
        let due = self.due(connection, now);
        if let Some(sleep) = &mut self.sleep {
            sleep.as_mut().reset(due);
            poll(sleep, connection);
        }
    }
}

/// Registers the timer with a waker that finds the connection's tasks, wherever they move.
fn poll(sleep: &mut Pin<Box<Sleep>>, connection: &TlsConnection) {
    let waker = connection.waker();
    // Where it has elapsed already, the next poll of the stream sees it: make sure there is one.
    if sleep
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_ready()
    {
        waker.wake();
    }
}
