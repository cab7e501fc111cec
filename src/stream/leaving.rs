//! Leaving: the stream's part in a shutdown, and in retirement.
//!
//! When a connection that is to end has to go, what its client is told before, and for how long one more
//! request may come. `departures` has the moments, `lifetime` the verdict.

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::GracefulStream;
use crate::{
    connection::{Leaving, Requests, Retirement},
    ending::Cause,
    lifetime::{Owed, Windows},
    phase::Phase,
};

/// The moment when a connection was first seen to be one that is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    /// The shutdown that wants it, if one does.
    shutdown: Option<Instant>,
    at: Instant,
    /// How many requests had been answered by then.
    answered: u32,
    /// When its client was told, while it was in use.
    pub(super) told: Option<Instant>,
    /// When its last answer was out, at the latest; unless there was none.
    idle: Option<Instant>,
    /// The last request was on its way before its client had that answer: there may be another.
    crossed: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    /// The server drains, or the connection is to end as soon as it can.
    #[cold]
    pub(super) fn look_at_phase(&mut self, leaving: &Leaving) {
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
        self.remember(departure);
        self.frames.get_or_insert_default().announce();
        self.connection.wake();
    }

    /// Is it old enough to go? When that is, if not yet.
    pub(super) fn look_at_age(&self, now: Instant) -> Option<Instant> {
        let retires = self.connection.retires()?;
        if now < retires {
            return Some(retires);
        }
        self.connection.retire(Retirement::Age);
        None
    }

    /// Until when a request that is on its way may come although the connection is to end.
    pub(super) fn awaited(&mut self, now: Instant, leaving: &Leaving) -> Option<Instant> {
        let departure = self.departure(now, leaving);
        if self.is_untold(departure, leaving) {
            return Some(now + self.connection.context().settings.keep_alive_timeout);
        }
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

    /// Whether the age of an HTTP/1 connection came when an answer was on its way that could not say so any
    /// more. Its client is at work and may send the next request at any moment; the answer to that tells
    /// it, and nothing is urgent.
    fn is_untold(&self, departure: Departure, leaving: &Leaving) -> bool {
        let aged = leaving.retired == Some(Cause::MaxAge);
        let serving = self.connection.phase() < Phase::Draining;
        let was_at_work = self.published.begun == departure.answered.wrapping_add(1);
        aged && serving && was_at_work && !self.ledger.has_control_frames()
    }

    /// When it was first seen to be leaving. A shutdown that was called off is another; one that comes
    /// when this connection has to go anyway is not.
    fn departure(&mut self, now: Instant, leaving: &Leaving) -> Departure {
        let Requests { begun, in_flight } = self.published;
        let at_work = in_flight > 0 || self.tail.is_some();
        let shutdown = leaving.shutdown();
        let known = self.departure.as_deref().copied();
        let known = known.filter(|known| leaving.retired.is_some() || known.shutdown == shutdown);
        known.unwrap_or_else(|| {
            self.remember(Departure {
                shutdown,
                at: now,
                answered: begun.wrapping_sub(u32::from(at_work)),
                told: None,
                idle: (begun > 0).then_some(now),
                crossed: false,
            })
        })
    }

    fn remember(&mut self, departure: Departure) -> Departure {
        match &mut self.departure {
            Some(known) => **known = departure,
            None => self.departure = Some(Box::new(departure)),
        }
        departure
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
    pub(super) fn note_requests(&mut self, before: Requests) {
        let Some(mut departure) = self.departure.as_deref().copied() else {
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
        self.remember(departure);
    }

    /// The last request has begun. HTTP/1 says so in the answer to it, and answers in order: those
    /// before it come first.
    pub(super) fn spend(&self, requests: Requests, last: u32) {
        let answered = requests.begun - requests.in_flight.min(requests.begun);
        if self.ledger.has_control_frames() || answered + 1 >= last {
            self.connection.retire(Retirement::Requests);
        }
    }
}
