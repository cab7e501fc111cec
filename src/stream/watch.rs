//! The stream's eye on the clock and on the ledger.
//!
//! On the way of bytes only what is cheap is asked: whether there are news (the timer has fired, the
//! phase has changed, somebody has said something), and whether the connection has just become idle.
//! The rest is looked at when the timer strikes.

use std::{io, task::Poll};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{GracefulStream, State, frames};
use crate::{
    connection::{Leaving, Protocol, Requests, Used},
    ending::Cause,
    ledger::{Coming, Use},
    lifetime::{Facts, HalfClose, Limits, Owed, Windows},
    transport::Transport,
};

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    #[inline(always)]
    pub(super) fn limits(&self) -> Limits {
        let settings = &self.connection.context().settings;
        Limits {
            keep_alive: settings.keep_alive_timeout,
            write: settings.write_timeout,
            header: settings.header_timeout,
            body: settings.body_timeout,
            tunnel: settings.tunnel_timeout,
            rate: settings.min_rate,
        }
    }

    /// What the connection is used for now.
    #[inline(always)]
    fn usage(&self) -> Use {
        // What TLS holds beyond the tail may be control frames, which are no use.
        match self.tail {
            Some(end) if self.written() < end && self.holds_back() => Use::Request,
            _ => match self.ledger.usage(|| self.bytes()) {
                Use::Upload { bytes } => Use::Upload {
                    bytes: bytes + self.parts,
                },
                usage => usage,
            },
        }
    }

    /// Whether TLS or the transport has something that the kernel has not got.
    #[inline]
    pub(super) fn holds_back(&self) -> bool {
        match &self.state {
            State::Open(tls, _) => self.is_blocked || tls.get_ref().1.wants_write(),
            State::Closing(_) | State::Closed => false,
        }
    }

    /// Bytes that have gone either way.
    fn bytes(&self) -> u64 {
        self.transport().map_or(0, |io| io.read() + io.written())
    }

    /// Bytes that have come in.
    pub(super) fn received(&self) -> u64 {
        self.transport().map_or(0, |io| io.read())
    }

    /// Bytes that have gone out.
    pub(super) fn written(&self) -> u64 {
        self.transport().map_or(0, |io| io.written())
    }

    /// Whether the time is over, if anything may have changed that.
    #[inline]
    pub(super) fn look(&mut self) {
        if self.connection.has_news() {
            self.look_closer();
        }
    }

    #[cold]
    fn look_closer(&mut self) {
        if self.lifetime.is_forced() {
            return;
        }
        self.connection.take_news();
        if self.timer.has_fired() {
            self.strike();
        }
        if let Some(leaving) = self.connection.leaving() {
            self.look_at_phase(&leaving);
        }
        if self.connection.is_wanted() && self.lifetime.over().is_none() {
            self.look_at_room();
        }
    }

    /// Another connection needs this one's place: it ends if it is idle.
    #[cold]
    fn look_at_room(&mut self) {
        let leaving = self.connection.leaving();
        let windows = Windows::Patient(None);
        self.decide(Instant::now(), leaving.as_ref(), Owed::Unasked, windows);
        if self.lifetime.over().is_none() {
            self.connection.stays();
        }
    }

    /// The timer has fired: what has happened that no poll tells, and when to look again?
    #[cold]
    fn strike(&mut self) {
        let now = Instant::now();
        let age = self.look_at_age(now);
        let owed = self.ask_kernel();
        self.look_at_unread();
        let uploads = self.look_at_uploads(now);
        let windows = self.look_at_windows(now);
        let leaving = self.connection.leaving();
        let next = self.decide(now, leaving.as_ref(), owed, windows);
        self.tell_waits();
        let limits = self.limits();
        let half_close = self.look_at_half_close(now);
        // No poll tells that a peer has stopped to acknowledge what it was sent.
        let at_last = now + limits.write;
        let dues = [next, uploads, half_close, age];
        let next = dues.into_iter().flatten().fold(at_last, Instant::min);
        self.timer.set(next, &self.connection);
        if let Some(http2) = self.ledger.http2() {
            http2.trim();
        }
        // Who has asked once may want no more: who does asks again.
        (self.reads, self.struck) = (false, true);
        if self.is_awaited() {
            self.connection.wake();
        }
    }

    /// The timer has struck, and the server asks for more where there is nothing: has it anything left of what
    /// it was given? See `serve::parking`.
    #[cold]
    pub(super) fn rest(&mut self) {
        self.struck = false;
        let done = matches!(self.usage(), Use::Nothing { requests } if requests == self.whole)
            && self.ledger.protocol() != Some(Protocol::Http2)
            && self.ledger.coming().is_none();
        let flushed = self.tail.is_none() && !self.holds_back();
        let open = self.half_close == HalfClose::Open && self.lifetime.over().is_none();
        if done && flushed && open {
            self.connection.rests();
        }
    }

    /// Whether there may be somebody who waits for more of a request.
    fn is_awaited(&self) -> bool {
        self.ledger.has_uploads() || self.ledger.coming().is_some()
    }

    /// A server that does not read would never ask whether it is to be told.
    fn look_at_half_close(&mut self, now: Instant) -> Option<Instant> {
        let (owed, patience) = (self.owed(), self.limits().write);
        if self.half_close.is_waiting() {
            let sent = self.answered_so_far();
            self.half_close.ends(now, owed, sent, patience);
            self.connection.wake();
        }
        self.half_close.next(owed, patience)
    }

    /// What shows a peer that has said close_notify that it is still being answered: no PINGs.
    pub(super) fn answered_so_far(&self) -> u64 {
        match self.ledger.sent_body() {
            Some(sent) => sent.saturating_sub(self.unheard()),
            None => self.written(),
        }
    }

    /// How many bytes the peer has yet to acknowledge of all that TLS has taken, at most.
    fn unheard(&self) -> u64 {
        let acknowledged = self.transport().map_or(0, Transport::acknowledged);
        (self.written() + self.backlog()).saturating_sub(acknowledged)
    }

    /// What a peer that has said close_notify is owed. TLS 1.2 answers at once, and discards (RFC 9846
    /// 6.1, on versions before 1.3).
    pub(super) fn owed(&self) -> crate::ledger::Owed {
        match self.connection.is_tls13() {
            true => self.ledger.owed(),
            false => crate::ledger::Owed::Nothing,
        }
    }

    pub(super) fn decide(
        &mut self,
        now: Instant,
        leaving: Option<&Leaving>,
        owed: Owed,
        windows: Windows,
    ) -> Option<Instant> {
        let facts = Facts {
            phase: self.connection.phase(),
            leaving: leaving.is_some(),
            retired: leaving.and_then(|leaving| leaving.retired),
            ends_by: self.connection.overstays(),
            wanted: self.connection.is_wanted(),
            awaited: leaving.and_then(|leaving| self.awaited(now, leaving)),
            usage: self.usage(),
            owed,
            coming: self.coming().filter(|_| self.reads),
            held_up: self.held_up,
            tail: matches!(owed, Owed::Bytes { taken, .. } if taken < self.answers_end()),
            windows,
        };
        let before = self.lifetime.over();
        let next = self.lifetime.look(now, &facts, &self.limits());
        if self.lifetime.over() != before {
            // The one who polls may not be the one who has to know.
            self.connection.wake();
            self.refuse();
        }
        next
    }

    /// Answers a request that does not come in for the server, which knows nothing of that.
    fn refuse(&mut self) {
        let late = matches!(
            self.lifetime.over(),
            Some(Cause::HeaderTimeout | Cause::BodyTimeout)
        );
        let State::Open(tls, _) = &mut self.state else {
            return;
        };
        let Some(refusal) = self.ledger.refusal().filter(|_| late) else {
            return;
        };
        if frames::put(refusal, tls.get_mut().1) {
            self.sent([refusal].into_iter());
        }
    }

    /// The request that is coming in. What has come and is not given counts as well: of a record that is
    /// not all in, and, when that was last looked at, what the server had yet to read.
    #[inline]
    fn coming(&self) -> Option<Coming> {
        let coming = self.ledger.coming()?;
        Some(Coming {
            bytes: coming.bytes + self.parts + self.unread,
            ..coming
        })
    }

    /// Looks at what the server has yet to read, and whether it has read anything since the last look.
    fn look_at_unread(&mut self) {
        let (read, unread) = self
            .transport()
            .map_or((0, 0), |io| (io.read(), io.readable().unwrap_or(0)));
        self.held_up = unread > 0 && read == self.looked_at;
        (self.looked_at, self.unread) = (read, unread);
    }

    /// Whether something waits for the peer to take it.
    fn ask_kernel(&self) -> Owed {
        let State::Open(tls, _) = &self.state else {
            return Owed::Nothing;
        };
        let io = tls.get_ref().0;
        // What waits for the end of a poll does not wait for the peer.
        let holds_back = self.holds_back() && (self.is_blocked || !self.corked);
        match holds_back || io.unacknowledged() > 0 {
            true => Owed::Bytes {
                // There is no telling how much of it there is where TLS or the server has the rest.
                end: if holds_back { u64::MAX } else { io.written() },
                taken: io.acknowledged(),
            },
            false => Owed::Nothing,
        }
    }

    /// What came of a write, a flush or a half-close: whether it waits for the transport.
    #[inline]
    pub(super) fn note<T>(&mut self, poll: &Poll<io::Result<T>>) {
        self.is_blocked = poll.is_pending();
        if self.is_blocked {
            self.blocked();
        }
    }

    /// The server asks its peer for a sign of life, by a PING that waits behind an answer: what has been
    /// sent of it ends at `behind`, and the peer has not got that yet.
    ///
    /// Then it says nothing of the peer that the answer to the PING is late, and as long as bytes are owed
    /// the write time-out watches over it: so the server is answered at once.
    fn vouch(&mut self, ping: [u8; 8], behind: u64) {
        if self
            .transport()
            .is_none_or(|io| io.acknowledged() >= behind)
        {
            return;
        }
        self.blocked();
        let frames = self.frames.get_or_insert_default();
        frames.answer_ping(ping, &mut self.ledger);
        self.connection.wake();
    }

    fn blocked(&mut self) {
        if self.lifetime.is_owed() {
            return;
        }
        let taken = self.transport().map_or(0, |io| io.acknowledged());
        let limits = self.limits();
        let now = Instant::now();
        let due = self.lifetime.owes(now, u64::MAX, taken, &limits);
        self.connection.set_blocked(true);
        if self.tail.is_some() {
            self.connection.use_for(Used::Request);
        }
        self.timer.fires_by(due, &self.connection);
    }

    /// Something came in or went out, and no more does for now: is the connection idle?
    #[inline]
    pub(super) fn settled(&mut self) {
        if !std::mem::take(&mut self.moved) {
            return;
        }
        let usage = self.usage();
        if usage == Use::Request {
            self.lifetime.busy();
            self.connection.use_for(Used::Request);
        } else if !self.lifetime.is_idle_since(usage) {
            self.becomes_idle(usage);
        } else if self.departure.as_ref().is_some_and(|of| of.told.is_some()) {
            // What came may be the client's word that it has heard.
            self.connection.wake();
        }
        let held = !self.watches_windows && self.ledger.has_held();
        if held || self.watches_uploads != self.ledger.has_uploads() {
            self.watch_streams();
        }
        if self.round_trip.is_none() && self.ledger.settings_heard() {
            // The server says its SETTINGS first of all.
            self.round_trip = Some(self.connection.age());
        }
    }

    /// No request is in flight, from now on.
    #[inline]
    fn becomes_idle(&mut self, usage: Use) {
        let now = Instant::now();
        self.lifetime.becomes_idle(now, usage);
        match usage {
            Use::Nothing { .. } => self.connection.became_idle(now),
            Use::Upload { .. } => self.connection.use_for(Used::Upload),
            Use::Tunnel { .. } => self.connection.use_for(Used::Tunnel),
            Use::Request | Use::Unknown { .. } => self.connection.use_for(Used::Request),
        }
        // It strikes each write time-out in any case.
        let limits = self.limits();
        let sooner = limits.idle(usage).filter(|limit| *limit < limits.write);
        if let Some(limit) = sooner {
            self.timer.fires_by(now + limit, &self.connection);
        }
        // A part of the next request may have come before.
        self.reads = false;
        if self.connection.leaving().is_some() || self.half_close.is_waiting() {
            // The server may have read already, and not do so again by itself.
            self.connection.wake();
        }
    }

    /// The server waits for what comes: for more of a request, and since when?
    #[inline]
    pub(super) fn await_request(&mut self) {
        if std::mem::replace(&mut self.reads, true) {
            return;
        }
        match self.coming() {
            Some(coming) => self.await_more(coming),
            None => {
                if self.published.in_flight > 0 && !self.is_blocked {
                    self.whole = self.published.begun;
                }
                if self.awaits {
                    self.awaits_no_more();
                }
            }
        }
    }

    #[cold]
    fn await_more(&mut self, coming: Coming) {
        if !self.lifetime.awaits(&coming) {
            let limits = self.limits();
            let due = self.lifetime.comes(Instant::now(), coming, &limits);
            self.timer.fires_by(due, &self.connection);
        }
        if !std::mem::replace(&mut self.awaits, true) {
            self.connection.set_coming(true);
        }
    }

    #[cold]
    fn awaits_no_more(&mut self) {
        self.awaits = false;
        self.tell_waits();
    }

    /// Tells whoever asks whether the client is waited for, and what for.
    pub(super) fn tell_waits(&self) {
        let held = self.watches_windows && self.ledger.has_held();
        self.connection.set_blocked(self.lifetime.is_owed() || held);
        self.connection
            .set_coming(self.awaits || self.watches_uploads);
    }

    /// Requests have begun, or ended, and somebody has to know: of the first what is spoken, of each who
    /// observes, of the last that it is.
    #[cold]
    fn tell(&mut self, before: Requests, requests: Requests) {
        if let Some(protocol) = self.ledger.protocol().filter(|_| before.begun == 0) {
            self.connection.speaks(protocol);
        }
        let last = self.connection.context().settings.max_requests;
        let last = last.unwrap_or(u32::MAX);
        self.telling = last;
        if let State::Open(_, registration) = &self.state {
            if registration.is_observed() {
                registration.requested(requests.begun.saturating_sub(before.begun));
                self.telling = last.min(requests.begun + 1);
            }
        }
        if requests.begun >= last {
            self.spend(requests, last);
        }
    }

    /// The server has said something that is not its client's business alone; before that answers ended at `behind`.
    #[cold]
    pub(super) fn heed(&mut self, behind: u64) {
        if let Some(ping) = self.ledger.asks_for_life() {
            self.asked = self.received();
            self.vouch(ping, behind);
        }
        // Of answers that it has broken off nothing else would tell before the connection's end.
        let failed = self.ledger.resets().failed;
        let before = std::mem::replace(&mut self.failed, failed);
        if let State::Open(_, registration) = &mut self.state {
            registration.failed(failed - before);
        }
    }

    /// Tells everybody else what the ledger says.
    #[inline]
    pub(super) fn publish(&mut self) {
        let requests = self.ledger.requests();
        if requests != self.published {
            let before = std::mem::replace(&mut self.published, requests);
            self.connection.set_requests(requests);
            if requests.begun > before.begun && self.lifetime.over().is_none() {
                // It has more time, and a last look of its own at the end of that.
                self.arrived = None;
            }
            if requests.begun >= self.telling {
                self.tell(before, requests);
            }
            if self.departure.is_some() {
                self.note_requests(before);
            }
        }
    }
}
