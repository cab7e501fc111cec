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

use super::{Departure, GracefulStream, State, frames};
use crate::{
    connection::{Leaving, Requests, Retirement},
    ending::Cause,
    ledger::{Coming, Patience, Progress, Use},
    lifetime::{Facts, Limits, Owed, Windows},
};

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    fn limits(&self) -> Limits {
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
    fn holds_back(&self) -> bool {
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

    /// The server drains, or the connection is to end as soon as it can.
    #[cold]
    fn look_at_phase(&mut self, leaving: &Leaving) {
        let now = Instant::now();
        let next = self.decide(now, Some(leaving), Owed::Unasked, Windows::Patient(None));
        if let Some(next) = next {
            self.timer.fires_by(next, &self.connection);
        }
        if self.lifetime.over().is_none() && self.ledger.open_streams() > 0 {
            self.announce(now, leaving);
        }
    }

    /// Tells the client of an HTTP/2 connection that is in use to open no more streams on it, once it
    /// has to be told: when it is idle comes the GOAWAY that names the last (RFC 9113 6.8).
    fn announce(&mut self, now: Instant, leaving: &Leaving) {
        let mut departure = self.departure(now, leaving);
        if departure.told.is_some() {
            return;
        }
        if let Some(later) = leaving.departs(true).filter(|due| *due > now) {
            self.timer.fires_by(later, &self.connection);
            return;
        }
        departure.told = Some(now);
        self.departure = Some(departure);
        self.frames.get_or_insert_default().announce();
        self.connection.wake();
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
        let limits = self.limits();
        let half_close = self.look_at_half_close(now);
        // The connection may be in use, with nothing that could come due.
        let others = [uploads, half_close, age];
        let next = next.into_iter().chain(others.into_iter().flatten()).min();
        let next = next.unwrap_or(now + limits.keep_alive);
        self.timer.set(next, &self.connection);
    }

    /// Is it old enough to go? When that is, if not yet.
    fn look_at_age(&self, now: Instant) -> Option<Instant> {
        let retires = self.connection.retires()?;
        if now < retires {
            return Some(retires);
        }
        self.connection.retire(Retirement::Age);
        None
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
        self.ledger.sent_body().unwrap_or_else(|| self.written())
    }

    /// What a peer that has said close_notify is owed. TLS 1.2 answers at once, and discards (RFC 5246
    /// 7.2.1).
    pub(super) fn owed(&self) -> crate::ledger::Owed {
        match self.connection.is_tls13() {
            true => self.ledger.owed(),
            false => crate::ledger::Owed::Nothing,
        }
    }

    fn decide(
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

    /// Until when a request that is on its way may come although the connection is to end.
    fn awaited(&mut self, now: Instant, leaving: &Leaving) -> Option<Instant> {
        let departure = self.departure(now, leaving);
        let held = self.held(departure, leaving);
        let since = match self.ledger.head_begun() {
            true => Some(departure.at),
            false => departure.told.filter(|_| self.ledger.awaits_pong()),
        };
        if let Some(since) = since {
            let until = since + self.connection.context().settings.handshake_timeout;
            return held.max(Some(until));
        }
        let none_yet = self.published.begun == 0;
        let first = self.connection.first_request_by().filter(|_| none_yet);
        first.max(held)
    }

    /// When it was first seen to be leaving. A shutdown that was called off is another; one that comes
    /// when this connection has to go anyway is not.
    fn departure(&mut self, now: Instant, leaving: &Leaving) -> Departure {
        let Requests { begun, in_flight } = self.published;
        let at_work = in_flight > 0 || self.tail.is_some();
        let shutdown = leaving.shutdown();
        let known = self.departure;
        let departure =
            known.filter(|known| leaving.retired.is_some() || known.shutdown == shutdown);
        *self.departure.insert(departure.unwrap_or(Departure {
            shutdown,
            at: now,
            answered: begun.wrapping_sub(u32::from(at_work)),
            told: None,
            idle: (begun > 0).then_some(now),
            crossed: false,
        }))
    }

    /// How long it may stay although nothing is in use.
    ///
    /// An HTTP/2 client that has been answered once more is told by the GOAWAY behind that answer, which
    /// no request of its next crosses: unless its requests do not wait for answers. Such a client is
    /// never seen to be idle for sure, and stays as long as one that is at work.
    fn held(&self, departure: Departure, leaving: &Leaving) -> Option<Instant> {
        let untold = leaving.departs(false)?;
        let asked = self.connection.is_http2() && self.published.begun != departure.answered;
        match asked {
            true if departure.crossed => leaving.departs(true).map(|due| due.min(untold)),
            true => None,
            false => Some(untold),
        }
    }

    /// A connection that is to end has begun a request, or answered one.
    #[cold]
    fn note_requests(&mut self, before: Requests) {
        let Some(mut departure) = self.departure else {
            return;
        };
        let now = Instant::now();
        let Requests { begun, in_flight } = self.published;
        if begun > before.begun {
            // The client had not got the last answer when it sent this.
            let end = self.answers_end();
            let unheard = self.transport().is_some_and(|io| io.acknowledged() < end);
            let has_it = |idle: Instant| Some(idle + self.round_trip?);
            let waited = |idle| has_it(idle).is_some_and(|by| by <= now);
            departure.crossed = in_flight > 1 || unheard || !departure.idle.is_none_or(waited);
        }
        if in_flight < before.in_flight {
            departure.idle = Some(now);
        }
        self.departure = Some(departure);
    }

    /// Whether something waits for the peer to take it.
    fn ask_kernel(&self) -> Owed {
        let State::Open(tls, _) = &self.state else {
            return Owed::Nothing;
        };
        let io = tls.get_ref().0;
        let holds_back = self.holds_back();
        match holds_back || io.unacknowledged() > 0 {
            true => Owed::Bytes {
                // There is no telling how much of it there is where TLS or the server has the rest.
                end: if holds_back { u64::MAX } else { io.written() },
                taken: io.acknowledged(),
            },
            false => Owed::Nothing,
        }
    }

    /// How far what was sent has come.
    fn progress(&self) -> Progress {
        let State::Open(tls, _) = &self.state else {
            return Progress::default();
        };
        let (io, session) = tls.get_ref();
        let written = io.written();
        Progress {
            written,
            flushed: match session.wants_write() {
                true => self.flushed,
                false => written,
            },
            acknowledged: io.acknowledged(),
        }
    }

    /// Breaks off the HTTP/2 streams whose requests do not come on. When to look again.
    fn look_at_uploads(&mut self, now: Instant) -> Option<Instant> {
        self.watches_uploads = self.ledger.has_uploads();
        if !self.watches_uploads {
            return None;
        }
        let limits = self.limits();
        let late = self.ledger.late_uploads(
            now,
            &Patience {
                body: limits.body,
                tunnel: limits.tunnel,
                rate: limits.rate,
                beside: self.parts + self.unread,
                asked: self.reads,
                held_up: self.held_up,
            },
        );
        self.reset(late.streams);
        // One that is not waited for now may be at any moment.
        let shortest = limits.tunnel.map_or(limits.body, |it| it.min(limits.body));
        let soon = now + Limits::every(shortest);
        Some(late.next.map_or(soon, |next| next.min(soon)))
    }

    /// Which HTTP/2 streams has the peer's window held up for too long?
    fn look_at_windows(&mut self, now: Instant) -> Windows {
        let Limits { write, rate, .. } = self.limits();
        let progress = self.progress();
        let stalled = self.ledger.stalled(now, write, rate, &progress);
        let next = stalled
            .next
            .map(|next| next.min(now + Limits::every(write)));
        self.watches_windows = next.is_some();
        if stalled.streams.is_empty() {
            self.may_open = None;
            return Windows::Patient(next);
        }
        // What would open them may have arrived, while nobody had the time to read.
        let (read, arrived) = self.transport().map_or((0, 0), |io| {
            (io.read(), io.read() + io.readable().unwrap_or(0))
        });
        if read < *self.may_open.get_or_insert(arrived) {
            self.watches_windows = true;
            self.connection.wake();
            return Windows::Patient(Some(now + Limits::every(write)));
        }
        self.may_open = None;
        // The client may go on with others, an answer may be on its way still, or an upload: then only
        // the streams end.
        let all = !stalled.outlived && stalled.streams.len() >= self.ledger.open_streams();
        if all && progress.flushed == progress.written {
            return Windows::AllStalled;
        }
        self.reset(stalled.streams);
        Windows::Patient(next)
    }

    /// There are more frames that say nothing than there may be.
    #[cold]
    pub(super) fn judge_noise(&mut self) {
        let now = Instant::now();
        let begun = now.checked_sub(self.connection.age()).unwrap_or(now);
        if let Some(http2) = self.ledger.http2() {
            if http2.is_flood(now, begun) {
                self.lifetime.force(Cause::Flood);
                self.connection.wake();
            }
        }
    }

    fn reset(&mut self, streams: Vec<u32>) {
        if streams.is_empty() {
            return;
        }
        let frames = self.frames.get_or_insert_default();
        for stream in streams {
            frames.reset(stream, &mut self.ledger);
        }
        self.publish();
        self.connection.wake();
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
    #[cold]
    pub(super) fn vouch(&mut self, ping: [u8; 8], behind: u64) {
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
        } else if !self.lifetime.is_idle_since(usage) {
            let now = Instant::now();
            self.lifetime.becomes_idle(now, usage);
            let settings = &self.connection.context().settings;
            let limit = match usage {
                Use::Nothing { .. } => {
                    self.connection.became_idle(now);
                    Some(settings.keep_alive_timeout)
                }
                Use::Tunnel { .. } => settings.tunnel_timeout,
                _ => Some(settings.keep_alive_timeout),
            };
            if let Some(limit) = limit {
                self.timer.fires_by(now + limit, &self.connection);
            }
            if self.connection.leaving().is_some() || self.half_close.is_waiting() {
                // The server may have read already, and not do so again by itself.
                self.connection.wake();
            }
        } else if self.departure.is_some_and(|of| of.told.is_some()) {
            // What came may be the client's word that it has heard.
            self.connection.wake();
        }
        let held = !self.watches_windows && self.ledger.has_held();
        if held || !self.watches_uploads && self.ledger.has_uploads() {
            self.watch_streams();
        }
        if self.round_trip.is_none() && self.ledger.settings_heard() {
            // The server says its SETTINGS first of all.
            self.round_trip = Some(self.connection.age());
        }
    }

    /// Marks the HTTP/2 streams that wait for the peer now.
    #[cold]
    fn watch_streams(&mut self) {
        let now = Instant::now();
        let uploads = self.look_at_uploads(now);
        let windows = self.look_at_windows(now).next();
        if let Some(next) = uploads.into_iter().chain(windows).min() {
            self.timer.fires_by(next, &self.connection);
        }
    }

    /// The server waits for what comes: for more of a request, and since when?
    #[inline]
    pub(super) fn await_request(&mut self) {
        if std::mem::replace(&mut self.reads, true) {
            return;
        }
        if let Some(coming) = self.coming() {
            self.await_more(coming);
        }
    }

    #[cold]
    fn await_more(&mut self, coming: Coming) {
        if !self.lifetime.awaits(&coming) {
            let limits = self.limits();
            let due = self.lifetime.comes(Instant::now(), coming, &limits);
            self.timer.fires_by(due, &self.connection);
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
            if requests.begun >= self.last_request {
                self.spend(requests);
            }
            if self.departure.is_some() {
                self.note_requests(before);
            }
        }
    }

    /// The last request has begun. HTTP/1 says so in the answer to it, and answers in order: those
    /// before it come first.
    #[cold]
    fn spend(&self, requests: Requests) {
        let answered = requests.begun - requests.in_flight.min(requests.begun);
        if self.ledger.has_control_frames() || answered + 1 >= self.last_request {
            self.connection.retire(Retirement::Requests);
        }
    }
}
