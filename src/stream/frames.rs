//! HTTP/2 frames of our own, between those of the server and those of the peer.
//!
//! A server that drives HTTP/2 can't be told to break off one stream, nor that its peer can't
//! answer its PINGs any more. The stream under it can put a frame in the way, at the boundary of
//! two others, which the ledger knows:
//!
//! * **GOAWAY** that names the last stream (RFC 9113 6.8), when a connection ends; before, where it is
//!   in use, one that names none, with a **PING**: what the client began before it heard of that has
//!   come by the time that it is acknowledged,
//! * **RST_STREAM** (RFC 9113 6.4) for a stream that its peer's window has held up for too long: to
//!   the server first, as if the peer had sent it, so that it sends nothing more on that stream;
//!   then to the peer,
//! * **PING** acknowledged (RFC 9113 6.7) for a peer that has said close_notify and waits for its
//!   answers: it lives, and can't say so.

use std::{io::Write, mem};

use tokio::io::ReadBuf;
use tokio_rustls::rustls::ServerConnection;

use crate::{
    ending::Cause,
    ledger::{HEARD, Ledger, MAX_31_BITS, NO_ERROR, goaway, ping, ping_ack, rst_stream},
};

/// RFC 9113 7.
const CANCEL: u32 = 8;

/// How much rustls buffers before it takes no more, unless told otherwise; its default.
pub(super) const BUFFER_LIMIT: usize = 64 * 1024;

/// What waits for a boundary.
#[derive(Debug, Default)]
pub(super) struct Frames {
    to_server: Vec<u8>,
    /// The server has been given the beginning of that.
    begun: bool,
    to_peer: Vec<u8>,
    /// The client is to be told that no more streams are wanted.
    announces: bool,
}

impl Frames {
    pub(super) fn is_empty(&self) -> bool {
        self.to_server.is_empty() && self.to_peer.is_empty() && !self.announces
    }

    /// Breaks off `stream`.
    pub(super) fn reset(&mut self, stream: u32, cause: Cause, ledger: &mut Ledger) {
        if let Some(http2) = ledger.http2() {
            http2.break_off(stream, cause);
        }
        let frame = rst_stream(stream, CANCEL);
        self.to_server.extend(frame);
        self.to_peer.extend(frame);
    }

    /// Says that no more streams are wanted, and asks for a sign that this has been heard.
    pub(super) fn announce(&mut self) {
        self.announces = true;
    }

    /// Acknowledges a PING of the server's for its peer.
    pub(super) fn answer_ping(&mut self, payload: [u8; 8], ledger: &mut Ledger) {
        if let Some(http2) = ledger.http2() {
            http2.forget_ping(payload);
        }
        self.to_server.extend(ping_ack(payload));
    }

    /// Acknowledges all of them for a peer that can't.
    pub(super) fn answer_pings(&mut self, ledger: &mut Ledger) {
        while let Some(payload) = ledger.http2().and_then(|http2| http2.take_ping()) {
            self.to_server.extend(ping_ack(payload));
        }
    }

    /// Gives the server what waits for it, where there is a boundary.
    ///
    /// What is begun goes on before anything of the peer's is read, which stays at its boundary.
    pub(super) fn give(&mut self, ledger: &mut Ledger, buf: &mut ReadBuf<'_>) -> bool {
        let may = self.begun || ledger.http2().is_some_and(|http2| http2.may_inject());
        let n = buf.remaining().min(self.to_server.len());
        if n == 0 || !may {
            return false;
        }
        buf.put_slice(&self.to_server[..n]);
        self.to_server.drain(..n);
        self.begun = !self.to_server.is_empty();
        true
    }

    /// Sends the peer what waits for it, where there is a boundary, and the server knows already. How
    /// many bytes that were.
    pub(super) fn send(&mut self, ledger: &mut Ledger, session: &mut ServerConnection) -> usize {
        let waits = !self.is_empty() && self.to_server.is_empty();
        let Some(http2) = ledger.http2().filter(|http2| waits && http2.may_speak()) else {
            return 0;
        };
        if mem::take(&mut self.announces) {
            // The server may have said it, or which stream is the last, and that may not rise again.
            if http2.goaway_said().is_none() {
                self.to_peer.extend(goaway(NO_ERROR, MAX_31_BITS));
            }
            self.to_peer.extend(ping(HEARD));
        }
        match speak(&self.to_peer, ledger, session) {
            true => mem::take(&mut self.to_peer).len(),
            false => 0,
        }
    }
}

/// Puts `frames` behind what TLS holds, all of it; `false` where there is no place for them.
pub(super) fn speak(frames: &[u8], ledger: &mut Ledger, session: &mut ServerConnection) -> bool {
    let Some(http2) = ledger
        .http2()
        .filter(|http2| http2.may_speak() || http2.is_silent())
    else {
        return false;
    };
    let spoken = put(frames, session);
    if spoken {
        http2.sent(frames);
    }
    spoken
}

/// Puts `bytes` behind what TLS holds, all of them.
pub(super) fn put(bytes: &[u8], session: &mut ServerConnection) -> bool {
    session.set_buffer_limit(None);
    let taken = session.writer().write_all(bytes).is_ok();
    session.set_buffer_limit(Some(BUFFER_LIMIT));
    taken
}
