//! How a connection ends: why, and with what result.

use crate::named::named;

/// Why a connection began to end.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// The HTTP server shut the stream down, most often after the last byte of its last answer. hyper also where a
    /// PING of its over HTTP/2 was not answered in time, and that was not the client's fault: the outcome says what
    /// was cut.
    Orderly,
    /// The stream was dropped: a handler or its answer's body failed, a future was cancelled, an upgraded
    /// tunnel let go; or a client sent what its server takes for so wrong that it drops the connection, and nobody
    /// else can see. Over HTTP/2 also where the server's GOAWAY blames itself, as by INTERNAL_ERROR.
    Dropped,
    /// The stream was dropped by a panicking task.
    Panicked,
    /// The peer closed the connection with nothing in flight, as clients do, or ended it by an alert. A tunnel is
    /// nothing in flight.
    PeerClosed,
    /// The peer closed or reset the connection while something was in flight, or ended it by an alert.
    Abandoned,
    /// Nothing was in flight for the keep-alive time-out.
    Idle,
    /// Of those with nothing in flight it had been idle longest when another needed its place: see
    /// [`max_connections`](crate::Builder::max_connections).
    Evicted,
    /// Nothing was in flight when, or any more once, the server drained.
    Draining,
    /// Nothing was in flight any more after [`TlsConnection::close`](crate::TlsConnection::close), or
    /// after a last request that had arrived by the keep-alive time-out.
    Retired,
    /// Nothing was in flight any more once it had reached
    /// [`Builder::max_connection_age`](crate::Builder::max_connection_age).
    MaxAge,
    /// Something was still in flight when the grace was over that comes after that: see
    /// [`Builder::max_connection_age_grace`](crate::Builder::max_connection_age_grace).
    MaxAgeGrace,
    /// Nothing was in flight any more after as many requests as
    /// [`Builder::max_requests`](crate::Builder::max_requests) allows.
    MaxRequests,
    /// The client's machine is gone: it acknowledged nothing for so long that TCP gave it up, see
    /// [`Builder::tcp_keepalive`](crate::Builder::tcp_keepalive). Or it did not answer an HTTP/2 PING of the
    /// server's in time, while something was in flight.
    Vanished,
    /// The peer took nothing of what waits for it for the write time-out, or less than the minimum
    /// rate.
    Stalled,
    /// The head of a request did not come in by the header time-out, or too slowly.
    HeaderTimeout,
    /// The body of a request stopped coming in for the body time-out, or came too slowly.
    BodyTimeout,
    /// An HTTP/2 client sent too many frames that neither ask nor answer anything, or the server's GOAWAY said
    /// ENHANCE_YOUR_CALM for another reason.
    Flood,
    /// A client broke the protocol of TLS (RFC 9846 6.2), of HTTP/2 (RFC 9113 5.4.1), or the chunks of an HTTP/1
    /// body (RFC 9112 7.1), which ends the connection.
    ProtocolError,
    /// Nothing went through a tunnel for the tunnel time-out.
    TunnelTimeout,
    /// The shutdown deadline passed; also where gRPC calls have ended with `UNAVAILABLE` because of that.
    Deadline,
    /// An ACME server has seen the certificate that it asked for, by TLS-ALPN-01 (RFC 8737 3): the handshake
    /// was all.
    AcmeChallenge,
    /// The TLS handshake failed, stalled, or was none.
    Handshake,
    /// The client of the TLS handshake had been silent for too long when there were more than
    /// [`max_handshakes`](crate::Builder::max_handshakes), or no room for another connection.
    HandshakeEvicted,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Everything was sent and the peer closed its side in time.
    Clean,
    /// Everything was sent; the peer neither sent anything nor closed until the time was up.
    PeerSilent,
    /// Everything was sent; the peer went on sending past the drain's bound of time or bytes, or
    /// the connection gave its place to a newer one.
    DrainCut,
    /// The server cut short an answer, or a request being received; or it let a tunnel go without ending its own
    /// direction, so that a client that may listen still can't know that it has got everything. By the deadline also
    /// where the peer was slow to take it: nobody knows whether it would have taken the rest. An answer that the
    /// server has broken off before over HTTP/2 counts, however the connection ended then.
    Truncated,
    /// The peer itself cut something short: it reset the connection, closed it while something was in flight, took
    /// no more bytes or too slowly, stopped sending a request, answered no PING, or broke the protocol. One stream
    /// of HTTP/2 that was reset before for such a reason counts, however the connection ended then.
    Aborted,
}

/// Who has cut something short, if anybody has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum CutBy {
    #[default]
    Nobody,
    Peer,
    Server,
}

/// Requests whose streams were reset before their answers were out while the connection went on, as HTTP/2 can
/// (RFC 9113 6.4), by why.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Resets {
    /// By the server itself, and not for a fault of the client's: as [`Cause::Dropped`] over HTTP/1.
    pub(crate) failed: u32,
    /// See [`Cause::Stalled`].
    pub(crate) stalled: u32,
    /// See [`Cause::BodyTimeout`].
    pub(crate) body: u32,
    /// See [`Cause::TunnelTimeout`].
    pub(crate) tunnel: u32,
    /// See [`Cause::ProtocolError`]: the server has found fault with the client's stream.
    pub(crate) protocol: u32,
}

impl Resets {
    /// One more of those that the stream itself resets.
    pub(crate) fn count(&mut self, cause: Cause) {
        match cause {
            Cause::Stalled => self.stalled += 1,
            Cause::BodyTimeout => self.body += 1,
            Cause::TunnelTimeout => self.tunnel += 1,
            _ => {}
        }
    }
}

impl Cause {
    /// Whether it is the peer's fault if something is cut short by an end for this reason.
    pub(crate) fn is_peers_fault(self) -> bool {
        matches!(
            self,
            Self::PeerClosed
                | Self::Abandoned
                | Self::Vanished
                | Self::Stalled
                | Self::HeaderTimeout
                | Self::BodyTimeout
                | Self::TunnelTimeout
                | Self::Flood
                | Self::ProtocolError
        )
    }
}

named!(Cause:
    Orderly "orderly"
    Dropped "dropped"
    Panicked "panicked"
    PeerClosed "peer_closed"
    Abandoned "abandoned"
    Idle "idle"
    Evicted "evicted"
    Draining "draining"
    Retired "retired"
    MaxAge "max_age"
    MaxAgeGrace "max_age_grace"
    MaxRequests "max_requests"
    Vanished "vanished"
    Stalled "stalled"
    HeaderTimeout "header_timeout"
    BodyTimeout "body_timeout"
    Flood "flood"
    ProtocolError "protocol_error"
    TunnelTimeout "tunnel_timeout"
    Deadline "deadline"
    AcmeChallenge "acme_challenge"
    Handshake "handshake"
    HandshakeEvicted "handshake_evicted"
);

named!(Outcome:
    Clean "clean"
    PeerSilent "peer_silent"
    DrainCut "drain_cut"
    Truncated "truncated"
    Aborted "aborted"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_counted_where_they_stand() {
        for (at, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, at, "{cause}");
        }
        for (at, outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, at, "{outcome}");
        }
    }
}
