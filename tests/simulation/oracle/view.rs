//! One connection, as the oracles look at it: what arrived, when the end began, whose fault it was.

use std::time::Duration;

use graceful_tls::{Outcome, Phase};

use super::bounds::backlog;
use crate::{
    client::{
        plan::{Reading, Step},
        seen::{Ask, Framing, Own},
    },
    observed::Observed,
    run::{Conn, Facts},
    trace::Stamp,
    world::{Served, Work},
};

/// For what follows from what: tasks that wake one another, timers of a millisecond.
pub const SLACK: Duration = Duration::from_millis(500);

/// What TLS and HTTP/2 add at the end at most, which nobody has to get: close_notify, or besides it
/// GOAWAY, PING and RST_STREAM.
const GOODBYE: [u64; 2] = [32, 200];

/// A PING in a record of its own.
const PING: u64 = 17 + 22;

pub struct View<'a> {
    pub facts: &'a Facts,
    pub conn: &'a Conn,
    pub number: usize,
}

impl<'a> View<'a> {
    pub fn new(facts: &'a Facts, number: usize) -> Self {
        Self {
            facts,
            conn: &facts.conns[number],
            number,
        }
    }

    pub fn phase(&self, phase: Phase) -> Option<Stamp> {
        self.facts.phases.get(&phase).copied()
    }

    /// The server had come to `phase` by then.
    pub fn is_past(&self, phase: Phase, then: Stamp) -> bool {
        self.phase(phase).is_some_and(|phase| phase.at <= then.at)
    }

    /// HTTP/2 connections have to go in the lame duck already.
    fn leaves_early(&self) -> bool {
        let settings = &self.facts.settings;
        self.agreed_on_http2() && (settings.handover || settings.lame_duck_goaway)
    }

    /// Since when idle connections of this protocol have to go.
    pub fn leaves(&self) -> Option<Stamp> {
        self.phase(match self.leaves_early() {
            true => Phase::LameDuck,
            false => Phase::Draining,
        })
    }

    /// Since when they had to before, in a shutdown that was called off.
    pub fn left_before(&self) -> Option<Stamp> {
        let undone = self.facts.undone.filter(|_| self.leaves_early());
        undone.map(|(begun, _)| begun)
    }

    /// The connection may have ended in a shutdown that was called off.
    pub fn ended_before(&self, ended: Stamp) -> bool {
        let (Some(begun), Some((_, over))) = (self.left_before(), self.facts.undone) else {
            return false;
        };
        let latest = over.at + self.lag() + backlog(self) + SLACK;
        (begun.at..=latest).contains(&ended.at)
    }

    /// When it may have been retired for its age, at the earliest and at the latest.
    pub fn aged(&self) -> Option<(Duration, Duration)> {
        let age = self.facts.settings.max_age?;
        let (accepted, handshake) = (self.conn.log.accepted?, self.conn.seen.handshake?);
        let tick = Duration::from_millis(2);
        let earliest = (accepted.at + age * 9 / 10).saturating_sub(tick);
        Some((earliest, handshake.at + self.lag() + age * 11 / 10 + tick))
    }

    /// When the last request came that it may have.
    pub fn spent(&self) -> Option<Duration> {
        let max = self.facts.settings.max_requests?;
        let mut arrived: Vec<_> = self
            .asks()
            .filter_map(|(_, ask)| self.arrived(ask))
            .collect();
        arrived.sort_unstable();
        Some(arrived.get(max as usize - 1)?.at)
    }

    /// It may have been retired by then.
    pub fn is_retired(&self, then: Stamp) -> bool {
        let aged = self.aged().map(|(earliest, _)| earliest);
        let since = aged.into_iter().chain(self.spent()).min();
        since.is_some_and(|since| since <= then.at)
    }

    /// It may have been ended by force by then, for its age.
    pub fn overstayed(&self, then: Stamp) -> bool {
        let ends_by = self.aged().zip(self.facts.settings.max_age_grace);
        ends_by.is_some_and(|((earliest, _), grace)| earliest + grace <= then.at)
    }

    /// It may have been ended by force by then.
    pub fn is_forced(&self, then: Stamp) -> bool {
        self.is_past(Phase::Deadline, then) || self.overstayed(then)
    }

    /// What is not the server's fault when the end begins then.
    pub fn is_excused(&self, ended: Stamp) -> bool {
        let gone = self.left() || self.peer_gone();
        gone || self.cancelled() || self.is_forced(ended)
    }

    /// What the log says of it.
    pub fn observed(&self) -> Option<&'a Observed> {
        let mut observed = self.facts.told.ended.iter();
        observed.find(|observed| observed.conn == Some(self.number))
    }

    /// There and back, twice, until the runtimes hear of it.
    pub fn lag(&self) -> Duration {
        self.conn.nature.delay * 4 + self.conn.nature.late * 2
    }

    /// When the server began to end the connection.
    pub fn ended(&self) -> Option<Stamp> {
        self.conn
            .log
            .ended(self.conn.seen.notify.map(|(_, begins)| begins))
    }

    pub fn http2(&self) -> bool {
        self.conn.plan.http2
    }

    /// ALPN says that it is HTTP/2: when connections have to go is decided by that.
    pub fn agreed_on_http2(&self) -> bool {
        self.http2() || self.conn.plan.lies
    }

    pub fn served(&self, ask: usize) -> Option<&'a Served> {
        self.facts.served.get(&(self.number, ask))
    }

    pub fn asks(&self) -> impl Iterator<Item = (usize, &'a Ask)> {
        self.conn.seen.asks.iter().enumerate()
    }

    /// When the request's head was in the server's kernel.
    pub fn arrived(&self, ask: &Ask) -> Option<Stamp> {
        self.conn.log.arrived(ask.head?)
    }

    /// When all of it was.
    pub fn complete(&self, ask: &Ask) -> Option<Stamp> {
        self.conn.log.arrived(ask.complete?)
    }

    /// The request was in the server's kernel before it began to end the connection.
    pub fn in_time(&self, ask: &Ask) -> bool {
        let arrived = match ask.endpoint.needs_upload() {
            true => self.complete(ask),
            false => self.arrived(ask),
        };
        match (arrived, self.ended()) {
            (Some(arrived), Some(ended)) => arrived < ended,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// The client's part of the handshake was in the server's kernel before the end.
    pub fn shook_hands(&self) -> bool {
        let arrived = self.conn.log.arrived(self.conn.seen.shaken);
        self.conn.seen.handshake.is_some()
            && arrived.is_some_and(|at| self.ended().is_none_or(|ended| at < ended))
    }

    /// The task that served the connection was cancelled: by then, or at that moment.
    pub fn cancelled(&self) -> bool {
        let (Some(accepted), Some(ended)) = (self.conn.log.accepted, self.ended()) else {
            return false;
        };
        let cancels = self.facts.kind.cancels;
        cancels.is_some_and(|after| ended.at >= accepted.at + after)
    }

    /// The deadline struck, or the task was cancelled, and the flush that followed took all its
    /// time.
    pub fn flush_exhausted(&self) -> bool {
        let settings = &self.facts.settings;
        let most = settings.drain.flush_timeout.max(settings.write_timeout) * 9 / 10;
        let (log, cancels) = (&self.conn.log, self.facts.kind.cancels);
        let deadline = self.phase(Phase::Deadline).map(|stamp| stamp.at);
        let cancelled = log
            .accepted
            .zip(cancels)
            .map(|(accepted, after)| accepted.at + after);
        let begun = deadline.into_iter().chain(cancelled).min();
        let waited = |dropped: Stamp| begun.map(|begun| dropped.at.saturating_sub(begun));
        let exhausted = log
            .dropped
            .and_then(waited)
            .is_some_and(|waited| waited >= most);
        log.fin.is_none() && log.blocked.is_some() && exhausted
    }

    /// More came after the client's close_notify, or the server's end, than a drain takes.
    pub fn flooded(&self) -> bool {
        self.discarded() >= self.facts.settings.drain.max_bytes
    }

    /// How much of what was read came after the client's close_notify, or the server's end.
    pub fn discarded(&self) -> u64 {
        let log = &self.conn.log;
        let Some((all, _)) = log.read.last() else {
            return 0;
        };
        let at_end = log.fin.map(|fin| {
            let before = log.read.iter().rev().find(|(_, stamp)| *stamp < fin);
            before.map_or(0, |(total, _)| *total)
        });
        let from = at_end.into_iter().chain(self.conn.seen.own_notify).min();
        from.map_or(0, |from| all.saturating_sub(from))
    }

    /// The client does not look at what its kernel holds.
    pub fn looks_away(&self) -> bool {
        let never = |step: &Step| matches!(step, Step::Read(Reading::Never));
        self.conn.plan.steps.iter().any(never)
    }

    /// The client's close_notify was in the server's kernel.
    pub fn notified(&self) -> Option<Stamp> {
        self.conn.log.arrived(self.conn.seen.own_notify?)
    }

    /// The client's socket was closed, or reset, by the client and before the server ended.
    pub fn left(&self) -> bool {
        let own = |what| self.conn.seen.own(what).is_some();
        own(Own::Rst) || own(Own::Close)
    }

    /// The client's FIN or RST, where it was before the server's end.
    pub fn peer_gone(&self) -> bool {
        let log = &self.conn.log;
        let gone = log.fin_arrived.into_iter().chain(log.rst_arrived).min();
        match (gone, self.ended()) {
            (Some(gone), Some(ended)) => gone < ended,
            (gone, None) => gone.is_some(),
            (None, _) => false,
        }
    }

    /// The server had more to write when it let go, and for `bound` before that its socket had taken
    /// nothing, or the client's kernel.
    pub fn blocked_for(&self, bound: Duration) -> bool {
        let log = &self.conn.log;
        let (Some(since), Some(dropped)) = (log.blocked, log.dropped) else {
            return false;
        };
        let before = |(_, stamp): &&(u64, Stamp)| *stamp < dropped;
        let last = log.acknowledged.iter().rev().find(before);
        let last = last.map_or(Duration::ZERO, |(_, stamp)| stamp.at);
        let waited = match self.conn.nature.asked {
            true => dropped.at - last,
            false => dropped.at - since.at.min(last),
        };
        // What is acknowledged is known a while later.
        waited + self.conn.nature.delay * 2 >= bound
    }

    /// For how long the client may take nothing before it is let go, at least: for goodbyes, and for what is left of
    /// answers that were cut, less than for one that it can still get whole. Whether one was cut, other oracles ask.
    pub fn patience(&self) -> Duration {
        let settings = &self.facts.settings;
        let uncut = |observed: &Observed| observed.outcome != Outcome::Truncated;
        let open = self.asks().filter(|(_, ask)| !ask.answer.is_over());
        let works: Vec<_> = open.filter_map(|(n, _)| self.served(n)).collect();
        let given = works.iter().all(|served| served.work == Work::Given);
        let whole = given && !works.is_empty() && self.observed().is_some_and(uncut);
        let patience = match whole {
            true => settings.write_timeout,
            false => settings.write_timeout.min(settings.drain.flush_timeout),
        };
        patience * 9 / 10
    }

    /// The last of the client's bytes that ask for something, of those that came before the end.
    pub fn useful(&self) -> Option<Stamp> {
        let ended = self.ended();
        let in_time = |stamp: &Stamp| ended.is_none_or(|ended| *stamp < ended);
        let useful = self.conn.seen.useful;
        let mut last = None;
        for (total, stamp) in &self.conn.log.arrived {
            if !in_time(stamp) {
                break;
            }
            last = Some(*stamp);
            if *total >= useful {
                break;
            }
        }
        last.filter(|_| useful > 0)
    }

    /// How much of the answers the server's kernel held when the server let go, if any, and when the
    /// client last got some.
    pub fn held_at_the_close(&self) -> Option<(u64, Stamp)> {
        let log = &self.conn.log;
        let dropped = log.dropped?;
        let before = |marks: &[(u64, Stamp)]| {
            let before = marks.iter().rev().find(|(_, stamp)| *stamp < dropped);
            before.copied().unwrap_or_default()
        };
        let (written, _) = before(&log.written);
        let (taken, moved) = before(&log.acknowledged);
        let held = self.answers_end(written).saturating_sub(taken);
        (held > 0).then_some((held, moved))
    }

    /// Where the last answer ends, of what was written: exactly where all came whole.
    fn answers_end(&self, written: u64) -> u64 {
        let known =
            |(n, ask): &(usize, &Ask)| self.served(*n).is_some() || ask.answer.begun.is_some();
        let mut asked = self.asks().filter(known);
        let goodbye = GOODBYE[usize::from(self.http2())] + self.pings();
        let most = written.saturating_sub(goodbye);
        let end = asked.try_fold(0, |end, (_, ask)| {
            ask.answer.whole.map(|_| ask.answer.ends.max(end))
        });
        end.map_or(most, |end| end.min(written))
    }

    /// What the server's PINGs come to at most, which may all have waited behind the last answer.
    fn pings(&self) -> u64 {
        let (Some((every, _)), true) = (self.facts.kind.pings(), self.http2()) else {
            return 0;
        };
        let (Some(accepted), Some(dropped)) = (self.conn.log.accepted, self.conn.log.dropped)
        else {
            return 0;
        };
        let pings = (dropped.at - accepted.at).as_nanos() / every.as_nanos() + 1;
        PING * pings as u64
    }

    pub fn has_tunnel(&self) -> bool {
        self.asks()
            .any(|(_, ask)| ask.endpoint.is_tunnel() && ask.answer.begun.is_some())
    }

    /// An answer that only the end of the connection ends has begun.
    pub fn close_delimited(&self) -> bool {
        self.asks().any(|(_, ask)| match ask.answer.framing {
            Framing::UntilClose => true,
            Framing::Tunnel => ask.endpoint.is_unframed_tunnel(),
            Framing::Framed | Framing::Unknown => false,
        })
    }
}
