//! What a connection is doing, in words.
//!
//! The stream and the teardown write flags where something changes, and never on the way of bytes;
//! whoever asks reads them, and holds nobody up. So each answer is of one moment, and two of them may be
//! of two.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{BLOCKED, CLOSING, COMING, COUNTED, HALF_CLOSED, HTTP1, HTTP2, TlsConnection};
use crate::{context::Context, named::named};

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum State {
    /// No request is in flight or begins to come in, and nothing else is in use. The kernel may hold a part
    /// of the last answer still.
    Idle,
    /// A request is in flight, an upload goes on, it is a tunnel, or the server has yet to ask for the first
    /// request.
    InUse,
    /// The client has said close_notify (RFC 9846 6.1), and its answers are still due.
    HalfClosed,
    /// It ends: what is left is sent, then close_notify and the FIN, and what the client still sends is
    /// drained.
    Draining,
}

/// What a connection waits for, as far as it is known without asking the kernel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WaitsFor {
    /// The client's first request, or its next.
    Request,
    /// The rest of a request that has begun to come in. Over HTTP/2 others may be in flight.
    RestOfRequest,
    /// The handler.
    Handler,
    /// The client, to take what waits for it. It is noticed that it has up to an eighth of the
    /// [`write_timeout`](crate::Builder::write_timeout) late.
    ClientToRead,
    /// The two ends of a tunnel.
    Tunnel,
    /// The client, to take what is left and to close.
    ClientToClose,
}

/// The protocol that a connection was seen to speak, whatever ALPN says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

named!(State: Idle "idle" InUse "in_use" HalfClosed "half_closed" Draining "draining");
named!(Protocol: Http1 "http/1" Http2 "http/2");
named!(WaitsFor:
    Request "request"
    RestOfRequest "rest_of_request"
    Handler "handler"
    ClientToRead "client_to_read"
    Tunnel "tunnel"
    ClientToClose "client_to_close"
);

/// One connection at one moment: see [`TlsConnection::stats`].
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConnectionStats {
    /// See [`TlsConnection::id`].
    pub id: u64,
    /// See [`TlsConnection::remote_addr`].
    pub peer: Option<SocketAddr>,
    /// See [`TlsConnection::server_name`].
    pub server_name: Option<String>,
    /// `None` until its first request has begun.
    pub protocol: Option<Protocol>,
    /// What it is doing.
    pub state: State,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// How long it has been idle, or draining.
    pub since: Option<Duration>,
    /// See [`TlsConnection::age`].
    pub age: Duration,
    /// Requests that have begun.
    pub requests: u32,
    /// Those of them that are not answered to the last byte.
    pub requests_in_flight: u32,
    /// See [`TlsConnection::requests_failed`].
    pub requests_failed: u32,
    /// Bytes that have come from the client, as TLS records.
    pub received: u64,
    /// Bytes that the kernel has taken for the client, as TLS records.
    pub sent: u64,
}

/// What the connection is used for while no request is in flight, in place of since when it has been idle.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u64)]
pub(crate) enum Used {
    /// For a request, or that is not known.
    Request = 0,
    Upload = 1,
    Tunnel = 2,
}

/// Moments are counted from here on: what is less is a [`Used`].
const FIRST_MOMENT: u64 = 1 << 30;

/// In no unit, but in order, and never less than [`FIRST_MOMENT`].
pub(super) fn moment(context: &Context, now: Instant) -> u64 {
    let since = now.saturating_duration_since(context.epoch);
    (since.as_secs() + 1) << 30 | u64::from(since.subsec_nanos())
}

fn passed_since(context: &Context, moment: u64) -> Duration {
    let nanos = (moment & (FIRST_MOMENT - 1)) as u32;
    let at = context.epoch + Duration::new((moment >> 30) - 1, nanos);
    Instant::now().saturating_duration_since(at)
}

impl TlsConnection {
    /// What it is doing. A handle that was kept says [`State::Draining`] of a connection that has ended.
    pub fn state(&self) -> State {
        match () {
            () if self.has(CLOSING) => State::Draining,
            () if self.has(HALF_CLOSED) => State::HalfClosed,
            () if self.idles().is_some() => State::Idle,
            () => State::InUse,
        }
    }

    /// What it waits for.
    pub fn waits_for(&self) -> WaitsFor {
        let used = self.shared.since.load(Ordering::Relaxed);
        match self.state() {
            State::Draining => WaitsFor::ClientToClose,
            State::Idle => WaitsFor::Request,
            _ if used == Used::Tunnel as u64 => WaitsFor::Tunnel,
            _ if self.has(BLOCKED) => WaitsFor::ClientToRead,
            _ if self.has(COMING) => WaitsFor::RestOfRequest,
            _ if self.requests().in_flight > 0 => WaitsFor::Handler,
            _ if used == Used::Upload as u64 => WaitsFor::RestOfRequest,
            _ => WaitsFor::Request,
        }
    }

    /// The protocol that it was seen to speak; `None` until its first request has begun.
    pub fn protocol(&self) -> Option<Protocol> {
        match () {
            () if self.has(HTTP1) => Some(Protocol::Http1),
            () if self.has(HTTP2) => Some(Protocol::Http2),
            () => None,
        }
    }

    /// Requests that have begun and are not answered to the last byte.
    pub fn requests_in_flight(&self) -> u32 {
        self.requests().in_flight
    }

    /// Requests whose answers the server has broken off while the connection goes on: see
    /// [`Ended::requests_failed`](crate::Ended::requests_failed).
    pub fn requests_failed(&self) -> u32 {
        self.shared.failed.load(Ordering::Acquire)
    }

    /// Bytes that have come from the client, as TLS records, the handshake's among them.
    pub fn bytes_received(&self) -> u64 {
        self.shared.facts.handshake.traffic.read()
    }

    /// Bytes that the kernel has taken for the client, as TLS records, the handshake's among them.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.facts.handshake.traffic.written()
    }

    /// How long its handshake took, from the moment it was accepted.
    pub fn handshake_time(&self) -> Duration {
        self.shared.facts.handshake_time
    }

    /// All of this, as it is now.
    pub fn stats(&self) -> ConnectionStats {
        let requests = self.requests();
        ConnectionStats {
            id: self.id(),
            peer: self.remote_addr(),
            server_name: self.server_name().map(String::from),
            protocol: self.protocol(),
            state: self.state(),
            waits_for: self.waits_for(),
            since: self.since(),
            age: self.age(),
            requests: requests.begun,
            requests_in_flight: requests.in_flight,
            requests_failed: self.requests_failed(),
            received: self.bytes_received(),
            sent: self.bytes_sent(),
        }
    }

    /// How long it has been idle, or draining.
    fn since(&self) -> Option<Duration> {
        let moment = match self.has(CLOSING) {
            true => Some(self.shared.closing_since.load(Ordering::Relaxed)),
            false => self.idles(),
        };
        Some(passed_since(self.context(), moment?))
    }

    /// When it became idle, in no unit, if it is idle.
    pub(super) fn idle_moment(&self) -> Option<u64> {
        let since = self.shared.since.load(Ordering::Relaxed);
        (since >= FIRST_MOMENT && self.requests().in_flight == 0).then_some(since)
    }

    /// The same, but for one whose next request has begun to come in.
    fn idles(&self) -> Option<u64> {
        self.idle_moment().filter(|_| !self.has(COMING))
    }

    /// How long ago it began to end.
    pub(crate) fn closing_for(&self) -> Duration {
        match self.shared.closing_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            moment => passed_since(self.context(), moment),
        }
    }

    /// For the stream alone: it is not idle, though no request is in flight, or one begins.
    #[inline]
    pub(crate) fn use_for(&self, used: Used) {
        self.shared.since.store(used as u64, Ordering::Relaxed);
    }

    /// It begins to end, unless it has begun to.
    pub(crate) fn closes(&self) {
        let now = moment(self.context(), Instant::now());
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.shared.closing_since.compare_exchange(0, now, set, get);
        self.set(CLOSING);
    }

    /// What has gone through it is counted with those that have ended, from now on.
    pub(crate) fn count_elsewhere(&self) {
        self.set(COUNTED);
    }

    pub(crate) fn is_counted(&self) -> bool {
        self.has(COUNTED)
    }

    /// For the stream alone: what it has seen the connection speak.
    pub(crate) fn speaks(&self, protocol: Protocol) {
        if let Some(span) = self.span() {
            span.record("protocol", protocol.as_str());
        }
        self.set(match protocol {
            Protocol::Http1 => HTTP1,
            Protocol::Http2 => HTTP2,
        });
    }

    /// For the stream alone: the client has said close_notify.
    pub(crate) fn half_closes(&self) {
        self.set(HALF_CLOSED);
    }

    /// For the stream alone: whether something waits for the client to take it.
    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.set_to(BLOCKED, blocked);
    }

    /// For the stream alone: whether the server waits for the rest of a request.
    pub(crate) fn set_coming(&self, coming: bool) {
        self.set_to(COMING, coming);
    }

    fn set_to(&self, flag: u32, on: bool) {
        match on {
            true => self.set(flag),
            false => self.unset(flag),
        }
    }
}
