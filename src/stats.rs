//! [`Stats`]: what all connections of a server are doing, and how those ended that are not open any more.
//!
//! Counted when somebody asks, by looking at every open connection once: linear, without waking or stopping
//! any. A connection that lives pays nothing for it.

use crate::{
    connection::{Protocol, State, TlsConnection},
    context::Context,
    ending::{Cause, Outcome},
    phase::Phase,
    register::Register,
    tally::{ByCause, Totals},
};

/// What all connections of a server, and of those that share its shutdown, are doing, and how those have
/// ended that are not open any more: see [`GracefulTls::stats`](crate::GracefulTls::stats).
///
/// The sums add up at any moment, for a connection is in one place:
///
/// * `accepted` is `open` and all of `ended`, failed handshakes among them
///   ([`Cause::Handshake`], [`Cause::HandshakeEvicted`], [`Cause::AcmeChallenge`]),
/// * `open` is `handshaking`, `idle`, `in_use`, `half_closed` and `draining`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// How far the shutdown has come.
    pub phase: Phase,
    /// Connections that have been accepted and have not ended: the sum of the next five.
    pub open: u64,
    /// In their handshake.
    pub handshaking: u64,
    /// See [`State::Idle`].
    pub idle: u64,
    /// See [`State::InUse`].
    pub in_use: u64,
    /// See [`State::HalfClosed`].
    pub half_closed: u64,
    /// See [`State::Draining`]. Sockets of failed handshakes are among them.
    pub draining: u64,
    /// Open ones that were seen to speak HTTP/1.
    pub http1: u64,
    /// Open ones that were seen to speak HTTP/2.
    pub http2: u64,
    /// Requests that have begun and are not answered to the last byte.
    pub requests_in_flight: u64,
    /// Connections accepted since the server was made.
    pub accepted: u64,
    /// Clients refused before their handshake since then: see
    /// [`GracefulTls::refused`](crate::GracefulTls::refused), which has those of one server.
    pub refused: u64,
    /// Requests that have begun since then.
    pub requests: u64,
    /// Those of them whose answers the server has broken off while their connections went on: see
    /// [`Ended::requests_failed`](crate::Ended::requests_failed).
    pub requests_failed: u64,
    /// Bytes received since then, as TLS records.
    pub received: u64,
    /// Bytes sent since then, as TLS records.
    pub sent: u64,
    /// How connections have ended since then; what never happened is not among them.
    pub ended: Vec<EndedCount>,
}

/// How many connections have ended for one cause and with one outcome.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct EndedCount {
    /// Why they began to end.
    pub cause: Cause,
    /// With what result.
    pub outcome: Outcome,
    /// How many.
    pub connections: u64,
}

impl Stats {
    /// How many connections have ended with this outcome, whatever the cause.
    pub fn ended_with(&self, outcome: Outcome) -> u64 {
        let with = self.ended.iter().filter(|of| of.outcome == outcome);
        with.map(|of| of.connections).sum()
    }

    pub(crate) fn of(context: &Context, register: &Register) -> Self {
        let mut stats = Self {
            phase: context.phases.now(),
            refused: register.tallies.refused(),
            ..Self::default()
        };
        let mut by_cause = ByCause::default();
        register.look(|open, ended| {
            open.iter().for_each(|(_, of)| stats.sees(of));
            for of in ended {
                stats.accepted += of.accepted();
                stats.goes_through(of.totals());
                add(&mut by_cause, &of.by_cause());
            }
        });
        stats.ended = counts(&by_cause);
        let ended: u64 = by_cause.as_flattened().iter().sum();
        let known = stats.idle + stats.in_use + stats.half_closed + stats.draining;
        stats.open = stats.accepted.saturating_sub(ended);
        stats.handshaking = stats.open.saturating_sub(known);
        stats
    }

    fn goes_through(&mut self, totals: Totals) {
        self.requests += totals.requests;
        self.requests_failed += totals.requests_failed;
        self.received += totals.received;
        self.sent += totals.sent;
    }

    fn sees(&mut self, connection: &TlsConnection) {
        if connection.is_counted() {
            return;
        }
        let requests = connection.requests();
        *match connection.state() {
            State::Idle => &mut self.idle,
            State::InUse => &mut self.in_use,
            State::HalfClosed => &mut self.half_closed,
            State::Draining => &mut self.draining,
        } += 1;
        match connection.protocol() {
            Some(Protocol::Http1) => self.http1 += 1,
            Some(Protocol::Http2) => self.http2 += 1,
            None => {}
        }
        self.requests_in_flight += u64::from(requests.in_flight);
        self.goes_through(Totals {
            requests: requests.begun.into(),
            requests_failed: connection.requests_failed().into(),
            received: connection.bytes_received(),
            sent: connection.bytes_sent(),
        });
    }
}

fn add(sum: &mut ByCause, other: &ByCause) {
    let pairs = sum.as_flattened_mut().iter_mut();
    for (sum, other) in pairs.zip(other.as_flattened()) {
        *sum += other;
    }
}

fn counts(by_cause: &ByCause) -> Vec<EndedCount> {
    let mut counts = Vec::new();
    for (&cause, by_outcome) in Cause::ALL.iter().zip(by_cause) {
        for (&outcome, &connections) in Outcome::ALL.iter().zip(by_outcome) {
            if connections > 0 {
                counts.push(EndedCount {
                    cause,
                    outcome,
                    connections,
                });
            }
        }
    }
    counts
}
