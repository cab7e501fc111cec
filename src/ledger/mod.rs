//! The ledger: what a connection's bytes say about its exchanges.
//!
//! Which requests are in flight, which uploads are, whether an answer has come to its end, and
//! whether that end is shown by the answer itself: all of it is written on the wire, in the heads of
//! HTTP/1 messages and of HTTP/2 frames. The ledger reads them there, in the plaintext of both
//! directions, after it has been handed over. So the stream knows the same, exactly, under every
//! server, with a layer around the service and without.
//!
//! `http1` and `http2` are readers without IO; payloads are skipped. Here they are put behind one
//! face, and found out which of them it is: by ALPN, else by the preface that a client with prior
//! knowledge of HTTP/2 sends (RFC 9113 3.4).

mod http1;
mod http2;

use std::time::Duration;

use http1::Http1;
use http2::{ENHANCE_YOUR_CALM, Http2, blames_peer};
pub(crate) use http2::{
    HEARD, MAX_31_BITS, NO_ERROR, Patience, Progress, Stalled, UNKNOWN_TYPE, goaway, ping,
    ping_ack, rst_stream,
};
use tokio::time::Instant;

use crate::{
    connection::{Protocol, Requests},
    ending::{Cause, Resets},
    pace::Rate,
};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const REQUEST_TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a connection is used for, as far as its bytes tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Use {
    /// No request is in flight and no upload goes on. `requests` have begun so far.
    Nothing { requests: u32 },
    /// Every request is answered, and the body of one is still coming in; `bytes` came so far.
    Upload { bytes: u64 },
    /// A request is in flight: its head is complete, its answer not fully out.
    Request,
    /// It is a tunnel, which lasts as long as its two ends like; `bytes` went either way.
    Tunnel { bytes: u64 },
    /// Its protocol can't be followed. That it moves is all that is known; `bytes` went either way.
    Unknown { bytes: u64 },
}

/// A request that is coming in, and has not all come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Coming {
    pub(crate) stage: Stage,
    /// How many requests had begun.
    pub(crate) request: u32,
    /// How much of it is in.
    pub(crate) bytes: u64,
}

/// How far a request has come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    Head,
    Body,
}

impl Coming {
    /// Whether both are about the same stage of the same request.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.stage, self.request) == (other.stage, other.request)
    }
}

/// How the end of what was sent last is known to the peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// By itself: a length, chunks, frames, or nothing was being sent.
    Shown,
    /// Only by the end of the connection.
    CloseDelimited,
    /// It can't be known.
    Unknown,
}

/// What a peer is owed that will send nothing more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Owed {
    Nothing,
    /// Answers to requests that will never be complete, which the server may or may not give.
    Doubtful,
    /// Answers to requests that are complete.
    Answers,
}

/// The reader of one connection.
#[derive(Debug)]
pub(crate) enum Ledger {
    /// So many bytes of HTTP/2's preface have come, and nothing else. `http2` is what ALPN says, and
    /// what comes may say otherwise.
    Undecided {
        seen: usize,
        http2: bool,
        http1_defaults: bool,
    },
    Http1(Http1),
    Http2(Box<Http2>),
}

impl Ledger {
    /// `http2` is what ALPN says. With `http1_defaults` the server's limits of HTTP/1 are hyper's own, else nobody
    /// knows them.
    pub(crate) fn new(http2: bool, http1_defaults: bool) -> Self {
        Self::Undecided {
            seen: 0,
            http2,
            http1_defaults,
        }
    }

    fn http2_begins() -> Self {
        Self::Http2(Box::new(Http2::new()))
    }

    /// The server is given this of what the peer sent. Where in it the type of a frame is that is not
    /// for the server.
    #[inline]
    pub(crate) fn received(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Http1(http1) => http1.received(bytes),
            Self::Http2(http2) => return http2.received(bytes),
            Self::Undecided { .. } => self.decide(bytes),
        }
        None
    }

    /// TLS has taken this of what the server sends.
    #[inline]
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        match self {
            Self::Http1(http1) => http1.sent(bytes),
            Self::Http2(http2) => http2.sent(bytes),
            Self::Undecided { .. } => self.decide_by_server(bytes),
        }
    }

    #[cold]
    fn decide(&mut self, bytes: &[u8]) {
        let Self::Undecided {
            seen,
            http2,
            http1_defaults,
        } = *self
        else {
            return;
        };
        let rest = &PREFACE[seen..];
        let common = bytes.len().min(rest.len());
        if bytes[..common] != rest[..common] {
            self.becomes(Self::Http1(Http1::new(http1_defaults)), seen);
        } else if common == rest.len() {
            self.becomes(Self::http2_begins(), seen);
        } else {
            *self = Self::Undecided {
                seen: seen + common,
                http2,
                http1_defaults,
            };
            return;
        }
        self.received(bytes);
    }

    /// The server has found out before we have, or speaks first, as HTTP/2 does.
    #[cold]
    fn decide_by_server(&mut self, bytes: &[u8]) {
        let Self::Undecided {
            seen,
            http1_defaults,
            ..
        } = *self
        else {
            return;
        };
        match bytes.first() {
            None => return,
            Some(b'H') => self.becomes(Self::Http1(Http1::new(http1_defaults)), seen),
            Some(_) => self.becomes(Self::http2_begins(), seen),
        }
        self.sent(bytes);
    }

    fn becomes(&mut self, mut known: Self, seen: usize) {
        known.received(&PREFACE[..seen]);
        *self = known;
    }

    /// What the bytes say is spoken.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Undecided { .. } => None,
            Self::Http1(_) => Some(Protocol::Http1),
            Self::Http2(_) => Some(Protocol::Http2),
        }
    }

    #[inline]
    pub(crate) fn requests(&self) -> Requests {
        match self {
            Self::Undecided { .. } => Requests::default(),
            Self::Http1(http1) => Requests {
                begun: http1.begun().saturating_sub(http1.dismissed()),
                in_flight: http1.in_flight(),
            },
            Self::Http2(http2) => Requests {
                begun: http2.begun(),
                in_flight: http2.in_flight(),
            },
        }
    }

    /// `moved` says how many bytes have gone either way.
    #[inline]
    pub(crate) fn usage(&self, moved: impl FnOnce() -> u64) -> Use {
        let (followed, upload, bytes) = match self {
            Self::Undecided { .. } => (true, false, 0),
            Self::Http1(http1) if http1.tunnel().is_some() => {
                return Use::Tunnel { bytes: moved() };
            }
            Self::Http1(http1) => (
                http1.is_followed(),
                http1.has_upload(),
                http1.received_body(),
            ),
            Self::Http2(http2) => (
                http2.is_followed(),
                http2.uploads() > 0,
                http2.received_body(),
            ),
        };
        let requests = self.requests();
        match () {
            () if !followed => Use::Unknown { bytes: moved() },
            () if requests.in_flight > 0 || self.is_answering() => Use::Request,
            () if upload && self.awaits_window() => Use::Request,
            () if upload => Use::Upload { bytes },
            () => Use::Nothing {
                requests: requests.begun,
            },
        }
    }

    /// Whether a part of an HTTP/1 request's head has come, and not the rest, or of what may be one.
    ///
    /// In HTTP/2 that may be refused: the GOAWAY says that it was not looked at. A part of the preface
    /// too, where HTTP/2 was agreed on.
    pub(crate) fn head_begun(&self) -> bool {
        match self {
            Self::Undecided { seen, http2, .. } => *seen > 0 && !http2,
            Self::Http1(http1) => http1.head_begun(),
            Self::Http2(_) => false,
        }
    }

    /// The request that is coming in, where the server has nothing else to do for this client.
    ///
    /// In HTTP/2 that is a header block. Bodies come beside one another there: see
    /// [`late_uploads`](Self::late_uploads).
    #[inline]
    pub(crate) fn coming(&self) -> Option<Coming> {
        let (stage, request, bytes) = match self {
            Self::Http1(http1) => {
                let (stage, bytes) = http1.coming()?;
                (stage, http1.begun(), bytes)
            }
            Self::Http2(http2) => (Stage::Head, http2.begun(), http2.header_block()?),
            Self::Undecided { seen: 0, .. } => return None,
            Self::Undecided { seen, .. } => (Stage::Head, 0, *seen as u64),
        };
        Some(Coming {
            stage,
            request,
            bytes,
        })
    }

    /// Whether an upload that is not all in waits for the server.
    fn awaits_window(&self) -> bool {
        matches!(self, Self::Http2(http2) if http2.awaits_window())
    }

    fn is_answering(&self) -> bool {
        matches!(self, Self::Http1(http1) if http1.is_answering())
    }

    /// Whether a service has answered, and not the server by itself.
    pub(crate) fn is_served(&self) -> bool {
        match self {
            Self::Undecided { .. } => false,
            Self::Http1(http1) => http1.is_served(),
            Self::Http2(http2) => http2.is_served(),
        }
    }

    /// Whether the connection has become a tunnel, as a whole.
    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self, Self::Http1(http1) if http1.tunnel().is_some())
    }

    pub(crate) fn end(&self) -> End {
        match self {
            Self::Http1(http1) if !http1.answers_are_followed() => End::Unknown,
            Self::Http1(http1) if http1.is_close_delimited() => End::CloseDelimited,
            _ => End::Shown,
        }
    }

    /// What is owed to a peer that has closed its direction. In a tunnel that is nothing: it sees
    /// what its peer does.
    pub(crate) fn owed(&self) -> Owed {
        let (followed, answers, in_flight) = match self {
            Self::Undecided { .. } => return Owed::Nothing,
            Self::Http1(http1) => {
                // An answer to what is no request, as 400, is whole without one.
                let refusal = http1.is_answering() && http1.in_flight() == 0;
                let answers = http1.owes_complete() || refusal;
                // Of a request that can't come in any more nothing is due but what the server makes of that.
                let doubtful = http1.in_flight() > 0 && (answers || !http1.may_refuse());
                (http1.is_followed(), answers, doubtful)
            }
            Self::Http2(http2) => (
                http2.is_followed(),
                http2.complete() > 0,
                http2.in_flight() > 0,
            ),
        };
        match () {
            () if !followed => Owed::Doubtful,
            () if answers => Owed::Answers,
            () if in_flight => Owed::Doubtful,
            () => Owed::Nothing,
        }
    }

    /// How much of answers has gone out, where that is not all that has: HTTP/2 has control frames.
    pub(crate) fn sent_body(&self) -> Option<u64> {
        match self {
            Self::Http2(http2) if http2.is_followed() => Some(http2.sent_body()),
            _ => None,
        }
    }

    /// The server has closed its direction in order: what only that ends is complete.
    pub(crate) fn finish(&mut self) {
        if let Self::Http1(http1) = self {
            http1.finish();
        }
    }

    /// Whether an answer is cut short if the connection ends now. Where nothing was asked over HTTP/2 there is none.
    pub(crate) fn is_cut_short(&self) -> bool {
        match self {
            Self::Undecided { .. } => false,
            Self::Http1(http1) => {
                !http1.answers_are_followed() || http1.in_flight() > 0 || http1.is_answering()
            }
            Self::Http2(http2) => self.may_have_more() || http2.in_flight() > 0,
        }
    }

    /// Whether more may have been asked than is known.
    pub(crate) fn may_have_more(&self) -> bool {
        match self {
            Self::Undecided { .. } => false,
            Self::Http1(http1) => !http1.is_followed() && !http1.is_malformed(),
            Self::Http2(http2) => http2.begun() > 0 && !http2.answers_are_followed(),
        }
    }

    /// Whether a client was the cause that something of its own was broken off before while the connection went
    /// on, as it can over HTTP/2.
    pub(crate) fn was_cut(&self) -> bool {
        matches!(self, Self::Http2(http2) if http2.was_cut())
    }

    /// Whether the server has said something that others have to know of, since this was last asked: it has
    /// broken off an answer, or asked for a sign of life.
    #[inline]
    pub(crate) fn has_news(&mut self) -> bool {
        match self {
            Self::Http2(http2) => http2.has_news(),
            _ => false,
        }
    }

    /// Why the server ends the connection, where that is for an error: of HTTP/2 (RFC 9113 5.4.1), or in the
    /// framing of an HTTP/1 request (RFC 9112 7.1).
    pub(crate) fn error(&self) -> Option<Cause> {
        match self {
            Self::Undecided { .. } => None,
            // What a server has not come to yet, behind another request, it ends nothing for.
            Self::Http1(http1) => {
                let ends = http1.is_malformed() && http1.in_flight() <= 1;
                ends.then_some(Cause::ProtocolError)
            }
            Self::Http2(http2) => Some(match http2.error()? {
                ENHANCE_YOUR_CALM => Cause::Flood,
                code if blames_peer(code) => Cause::ProtocolError,
                _ => Cause::Dropped,
            }),
        }
    }

    /// Whether an HTTP/2 server waits for the answer to a PING.
    pub(crate) fn awaits_life(&self) -> bool {
        matches!(self, Self::Http2(http2) if http2.awaits_life())
    }

    /// How many answers were broken off while the connection went on, as it can over HTTP/2.
    pub(crate) fn resets(&self) -> Resets {
        match self {
            Self::Http2(http2) => http2.resets(),
            Self::Undecided { .. } | Self::Http1(_) => Resets::default(),
        }
    }

    /// The GOAWAY to end an HTTP/2 connection with, if there is a place for one and it would say
    /// something new.
    ///
    /// `calm` if it is for too much noise (ENHANCE_YOUR_CALM).
    ///
    /// Where the server has not spoken yet, its SETTINGS come first (RFC 9113 3.4). It has looked at
    /// nothing then: it would have done so before.
    pub(crate) fn goodbye(&mut self, calm: bool) -> Option<Vec<u8>> {
        if let Self::Undecided {
            seen, http2: true, ..
        } = *self
        {
            self.becomes(Self::http2_begins(), seen);
        }
        let Self::Http2(http2) = self else {
            return None;
        };
        if http2.is_silent() {
            return Some([&http2::SETTINGS_FRAME[..], &goaway(NO_ERROR, 0)].concat());
        }
        let last = http2.last_stream();
        let news = calm || http2.goaway_said().is_none_or(|said| said > last);
        let code = if calm { ENHANCE_YOUR_CALM } else { NO_ERROR };
        (news && http2.may_speak()).then(|| goaway(code, last).to_vec())
    }

    /// How many frames of an HTTP/2 client said nothing, more than answers give it reason for.
    #[inline]
    pub(crate) fn noise(&self) -> i64 {
        match self {
            Self::Http2(http2) => http2.noise(),
            _ => 0,
        }
    }

    pub(crate) fn http2(&mut self) -> Option<&mut Http2> {
        match self {
            Self::Http2(http2) => Some(http2),
            _ => None,
        }
    }

    /// Whether the server sends more than answers on this connection: frames that nobody misses.
    #[inline]
    pub(crate) fn has_control_frames(&self) -> bool {
        match self {
            Self::Undecided { http2, .. } => *http2,
            Self::Http1(_) => false,
            Self::Http2(http2) => http2.is_followed(),
        }
    }

    /// The PING by which the server has asked whether its peer lives, if it has since this was called.
    pub(crate) fn asks_for_life(&mut self) -> Option<[u8; 8]> {
        match self {
            Self::Http2(http2) => http2.asks_for_life(),
            _ => None,
        }
    }

    /// Whether a PING of the stream's own waits for the peer.
    pub(crate) fn awaits_pong(&self) -> bool {
        matches!(self, Self::Http2(http2) if http2.awaits_pong())
    }

    /// Whether an HTTP/2 client has acknowledged the server's first SETTINGS.
    #[inline]
    pub(crate) fn settings_heard(&self) -> bool {
        matches!(self, Self::Http2(http2) if http2.settings_heard())
    }

    /// Whether an HTTP/2 stream waits for the peer to open a window.
    #[inline]
    pub(crate) fn has_held(&self) -> bool {
        matches!(self, Self::Http2(http2) if http2.held() > 0)
    }

    /// How many HTTP/2 streams are open, for their answers or their uploads.
    pub(crate) fn open_streams(&self) -> usize {
        match self {
            Self::Http2(http2) => http2.open_streams(),
            _ => 0,
        }
    }

    /// The HTTP/2 streams that have waited for the peer's windows for `timeout`.
    pub(crate) fn stalled(
        &mut self,
        now: Instant,
        timeout: Duration,
        rate: Rate,
        progress: &Progress,
    ) -> Stalled {
        match self {
            Self::Http2(http2) => http2.stalled(now, timeout, rate, progress),
            _ => Stalled::default(),
        }
    }

    /// The HTTP/2 streams whose request has not come on for too long.
    pub(crate) fn late_uploads(&mut self, now: Instant, patience: &Patience) -> Stalled {
        match self {
            Self::Http2(http2) => http2.late_uploads(now, patience),
            _ => Stalled::default(),
        }
    }

    /// Whether an HTTP/2 request is not all in.
    #[inline]
    pub(crate) fn has_uploads(&self) -> bool {
        matches!(self, Self::Http2(http2) if http2.uploads() > 0)
    }

    /// The refusal of a request that does not come in (RFC 9110 15.5.9), if there is a place for one:
    /// over HTTP/1, where no answer has begun.
    pub(crate) fn refusal(&self) -> Option<&'static [u8]> {
        match self {
            Self::Http1(http1) => http1.may_refuse().then_some(REQUEST_TIMEOUT),
            Self::Undecided { seen, http2, .. } => (*seen > 0 && !http2).then_some(REQUEST_TIMEOUT),
            Self::Http2(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
