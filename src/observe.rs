//! What happens to connections, for whoever wants to know: an [`Observer`] of the user's, and the log.
//!
//! Where nobody observes an event is one branch that is not taken.

use std::{
    fmt, mem,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::field::display;

use crate::{
    connection::{TlsConnection, TrackedRequest},
    ending::{Cause, Outcome, Resets},
    handshake_error::HandshakeError,
    phase::Phase,
    sparing::Sparing,
};

/// Is told what happens to connections. Set with [`Builder::observer`](crate::Builder::observer).
///
/// It is called where things happen, often in the middle of a poll: so it must not block. A panic in it
/// is logged, ten times a second at most, and harms nothing. (What the panic hook prints is the
/// application's.)
///
/// What a connection is told of comes in the order of its methods. Each that is accepted is told of as
/// established or as failed, begins to close once, and ends once.
///
/// A pair of observers is one too.
pub trait Observer: Send + Sync + 'static {
    /// A connection has been accepted, and its handshake begins. One that was refused before that, as by
    /// [`connection_filter`](crate::Builder::connection_filter), is not told of:
    /// [`GracefulTls::refused`](crate::GracefulTls::refused) counts them. Behind a balancer that has yet to
    /// tell who the client is, `peer` is the balancer.
    fn accepted(&self, peer: Option<SocketAddr>) {
        let _ = peer;
    }

    /// A handshake has failed.
    fn handshake_failed(&self, failed: &HandshakeFailed<'_>) {
        let _ = failed;
    }

    /// A handshake is over: see [`TlsConnection::handshake_time`].
    fn established(&self, connection: &TlsConnection) {
        let _ = connection;
    }

    /// The head of a request has come in. One that is dismissed unserved, because it came behind the last
    /// answer or was refused by GOAWAY, is told of too, and not among [`Ended::requests`].
    fn request(&self, connection: &TlsConnection) {
        let _ = connection;
    }

    /// The server has broken off an answer, over HTTP/2, and the connection goes on: see
    /// [`Ended::requests_failed`]. Over HTTP/1 the connection ends by that.
    fn request_failed(&self, connection: &TlsConnection) {
        let _ = connection;
    }

    /// A connection begins to end: nothing of it is served any more.
    fn closing(&self, connection: &TlsConnection, cause: Cause) {
        let _ = (connection, cause);
    }

    /// A connection has ended, and its descriptor is about to be closed, or was a moment ago.
    fn ended(&self, connection: &TlsConnection, ended: &Ended) {
        let _ = (connection, ended);
    }

    /// A shutdown has come to this phase, or was called off ([`Phase::Serving`]). Each comes in turn, also
    /// [`Phase::Deadline`] of a shutdown that had nothing left to end by force, and all of them at once of one
    /// that has no runtime to take its time on. What is begun or called off in
    /// here is told of after it. [`GracefulTls::closed`](crate::GracefulTls::closed) resolves when
    /// [`Phase::Closed`] has been told.
    fn phase(&self, phase: Phase) {
        let _ = phase;
    }
}

/// Two that are both told, the first one first. Where that panics the second is not told of it.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn accepted(&self, peer: Option<SocketAddr>) {
        self.0.accepted(peer);
        self.1.accepted(peer);
    }

    fn handshake_failed(&self, failed: &HandshakeFailed<'_>) {
        self.0.handshake_failed(failed);
        self.1.handshake_failed(failed);
    }

    fn established(&self, connection: &TlsConnection) {
        self.0.established(connection);
        self.1.established(connection);
    }

    fn request(&self, connection: &TlsConnection) {
        self.0.request(connection);
        self.1.request(connection);
    }

    fn request_failed(&self, connection: &TlsConnection) {
        self.0.request_failed(connection);
        self.1.request_failed(connection);
    }

    fn closing(&self, connection: &TlsConnection, cause: Cause) {
        self.0.closing(connection, cause);
        self.1.closing(connection, cause);
    }

    fn ended(&self, connection: &TlsConnection, ended: &Ended) {
        self.0.ended(connection, ended);
        self.1.ended(connection, ended);
    }

    fn phase(&self, phase: Phase) {
        self.0.phase(phase);
        self.1.phase(phase);
    }
}

/// A handshake that has failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct HandshakeFailed<'a> {
    /// The client's address, where it is known.
    pub peer: Option<SocketAddr>,
    /// Why: [`HandshakeError::reason`] has it in a word.
    pub error: &'a HandshakeError,
    /// From the moment it was accepted.
    pub took: Duration,
}

/// How a connection has ended.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ended {
    /// Why it began to end.
    pub cause: Cause,
    /// With what result.
    pub outcome: Outcome,
    /// Requests that had begun.
    pub requests: u32,
    /// Those of them that were not answered to the last byte.
    pub requests_in_flight: u32,
    /// Those whose answers the server broke off before, over HTTP/2 by RST_STREAM (RFC 9113 6.4): a
    /// handler's error or panic, and not where the code blames the client (RFC 9113 7) and it can be at fault:
    /// a proxy's answer may break off with a code of its upstream's. They are in flight no more.
    pub requests_failed: u32,
    /// Those whose streams were reset before because the client took nothing of them: see
    /// [`Cause::Stalled`], which ends an HTTP/1 connection. They are in flight no more.
    pub requests_stalled: u32,
    /// Those whose streams were reset before because the rest of them did not come in: see
    /// [`Cause::BodyTimeout`].
    pub requests_body_timeout: u32,
    /// Those that were tunnels, and whose streams were reset before because nothing went through: see
    /// [`Cause::TunnelTimeout`].
    pub requests_tunnel_timeout: u32,
    /// Those whose streams the server reset before because it found fault with what the client sent on them (RFC
    /// 9113 5.4.2, 8.1.1): see [`Cause::ProtocolError`].
    pub requests_protocol_error: u32,
    /// gRPC calls that the shutdown's deadline has ended, each by the status `UNAVAILABLE` (feature `tonic`).
    /// One whose status the client has not taken is in flight still.
    pub requests_deadline: u32,
    /// Bytes that have come from the client, as TLS records.
    pub received: u64,
    /// Bytes that the kernel has taken for the client, as TLS records.
    pub sent: u64,
    /// From the end of the handshake on.
    pub age: Duration,
    /// From the moment that it began to end: flush, close_notify, FIN and drain.
    pub drain: Duration,
}

impl Ended {
    pub(crate) fn new(
        connection: &TlsConnection,
        cause: Cause,
        outcome: Outcome,
        resets: Resets,
    ) -> Self {
        let requests = connection.requests();
        Self {
            cause,
            outcome,
            requests: requests.begun,
            requests_in_flight: requests.in_flight,
            requests_failed: resets.failed,
            requests_stalled: resets.stalled,
            requests_body_timeout: resets.body,
            requests_tunnel_timeout: resets.tunnel,
            requests_protocol_error: resets.protocol,
            requests_deadline: connection.last_calls(),
            received: connection.bytes_received(),
            sent: connection.bytes_sent(),
            age: connection.age(),
            drain: connection.closing_for(),
        }
    }
}

/// A connection that a shutdown has cut short: see [`Report::cut`](crate::Report::cut).
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cut {
    /// See [`TlsConnection::id`].
    pub id: u64,
    /// See [`TlsConnection::remote_addr`].
    pub peer: Option<SocketAddr>,
    /// Why it began to end.
    pub cause: Cause,
    /// Requests that were not answered to the last byte.
    pub requests_in_flight: u32,
    /// See [`Ended::requests_failed`].
    pub requests_failed: u32,
    /// See [`Ended::requests_deadline`].
    pub requests_deadline: u32,
    /// Those of all these that are known by name, the first 100: see
    /// [`Builder::track_requests`](crate::Builder::track_requests).
    pub requests: Vec<TrackedRequest>,
}

impl Cut {
    const MOST_REQUESTS: usize = 100;

    pub(crate) fn new(connection: &TlsConnection, cause: Cause) -> Self {
        let mut requests = connection.cut_requests();
        requests.truncate(Self::MOST_REQUESTS);
        Self {
            id: connection.id(),
            peer: connection.remote_addr(),
            cause,
            requests_in_flight: connection.requests_in_flight(),
            requests_failed: connection.requests_failed(),
            requests_deadline: connection.last_calls(),
            requests,
        }
    }
}

/// Who observes a server, if anybody does.
#[derive(Clone, Default)]
pub(crate) struct Observed(Option<Arc<Observing>>);

struct Observing<O: ?Sized = dyn Observer> {
    /// What is said of its panics: a stranger may bring them about.
    panics: Sparing,
    observer: O,
}

impl Observed {
    pub(crate) fn by(observer: impl Observer) -> Self {
        let panics = Sparing::new();
        Self(Some(Arc::new(Observing { panics, observer })))
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.0.is_some()
    }

    /// The same, and does not keep the observer.
    pub(crate) fn weak(&self) -> WeaklyObserved {
        WeaklyObserved(self.0.as_ref().map(Arc::downgrade))
    }

    #[inline]
    pub(crate) fn tell(&self, event: impl FnOnce(&dyn Observer)) {
        if let Some(observing) = &self.0 {
            observing.tell(event);
        }
    }
}

/// Who observes a server as long as somebody keeps that.
#[derive(Debug)]
pub(crate) struct WeaklyObserved(Option<Weak<Observing>>);

impl WeaklyObserved {
    /// `None` where nobody does, or any more.
    pub(crate) fn upgrade(&self) -> Option<Observed> {
        let observing = self.0.as_ref()?.upgrade()?;
        Some(Observed(Some(observing)))
    }
}

impl Observing {
    #[cold]
    fn tell(&self, event: impl FnOnce(&dyn Observer)) {
        if !panics(|| event(&self.observer)) {
            return;
        }
        if let Some(unlogged) = self.panics.admit() {
            // Who reads the log may panic as well.
            panics(|| tracing::error!(unlogged, "the observer has panicked"));
        }
    }
}

fn panics(what: impl FnOnce()) -> bool {
    // What it has thrown may throw again when it is dropped.
    let caught = catch_unwind(AssertUnwindSafe(what)).map_err(mem::forget);
    caught.is_err()
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "an observer",
            None => "nobody",
        })
    }
}

/// One line for one answer that was broken off while its connection goes on. Over HTTP/1 its end would tell.
#[cold]
pub(crate) fn log_failed(connection: &TlsConnection) {
    let kind = &connection.context().losses[Cause::Dropped as usize];
    if let Some(unlogged) = kind.admit() {
        tracing::warn!(
            id = connection.id(),
            peer = connection.remote_addr().map(display),
            server_name = connection.server_name(),
            protocol = connection.protocol().map(display),
            requests_failed = connection.requests_failed(),
            unlogged,
            "an answer was broken off, and its connection goes on"
        );
    }
}

/// One line for one ended connection.
///
/// Ends that a peer may bring about at will are logged at `debug`: a log must not fill at a
/// stranger's word. A truncated answer is the one thing an operator has to know of; so many lines a second are
/// enough.
/// `cut` says that the server has cut something short by this end, and not only before, which has had lines of
/// its own.
pub(crate) fn log(connection: &TlsConnection, ended: &Ended, cut: bool) {
    let Ended {
        cause,
        outcome,
        requests,
        requests_in_flight,
        requests_failed,
        received,
        sent,
        ..
    } = *ended;
    // Most have none.
    let some = |requests: u32| (requests > 0).then_some(requests);
    let requests_stalled = some(ended.requests_stalled);
    let requests_body_timeout = some(ended.requests_body_timeout);
    let requests_tunnel_timeout = some(ended.requests_tunnel_timeout);
    let requests_protocol_error = some(ended.requests_protocol_error);
    let requests_deadline = some(ended.requests_deadline);
    let id = connection.id();
    let peer = connection.remote_addr().map(display);
    let server_name = connection.server_name();
    let protocol = connection.protocol().map(display);
    let admitted = || connection.context().losses[cause as usize].admit();
    let Some(unlogged) = cut.then(admitted).flatten() else {
        tracing::debug!(
            id, peer, server_name, protocol,
            %cause, %outcome, requests, requests_in_flight, requests_failed,
            requests_stalled, requests_body_timeout, requests_tunnel_timeout,
            requests_protocol_error, requests_deadline,
            received, sent,
            "connection ended"
        );
        return;
    };
    let names = Names(&connection.cut_requests()).to_string();
    let names = (!names.is_empty()).then_some(names);
    tracing::warn!(
        id, peer, server_name, protocol,
        %cause, %outcome, requests, requests_in_flight, requests_failed,
        requests_stalled, requests_body_timeout, requests_tunnel_timeout,
        requests_protocol_error, requests_deadline,
        received, sent,
        unlogged, cut = names,
        "connection ended with an exchange cut short"
    );
}

/// Requests, one behind the other: the first, and how many more there are.
struct Names<'a>(&'a [TrackedRequest]);

/// How many requests a line names.
pub(crate) const NAMED: usize = 3;

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, request) in self.0.iter().take(NAMED).enumerate() {
            let between = if at > 0 { "; " } else { "" };
            write!(f, "{between}{request}")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
