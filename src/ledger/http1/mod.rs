//! HTTP/1 as it is on the wire: which requests are in flight, and how the answer on its way ends.
//!
//! A reader of message framing (RFC 9112) in the plaintext of both directions of a server's
//! connection, without IO. It is told of bytes after they went by, in any split, and stores none of
//! a message but the start of the line that it is in. So a stream under any server knows what that
//! server owes and what a client could mistake for a whole answer, and nobody has to tell it.
//!
//! - `head.rs`: one head, of a request or of an answer, line by line.
//! - `lines.rs`: where a line ends.
//! - `body.rs`: a body with a length or in chunks, to its last byte.
//! - `request.rs`: what the client sends; the methods of the requests not yet answered.
//! - `response.rs`: what the server sends.
//!
//! It reads as leniently as hyper and httparse do where they accept a message. What they refuse may
//! be read as a request all the same: the refusal that follows is then its answer.

mod body;
mod head;
mod lines;
mod request;
mod response;
#[cfg(test)]
mod tests;

use super::Stage;
use body::Aside;
use request::{Requests, Unanswered};
use response::Responses;
pub(crate) use response::Tunnel;

/// The framing of one connection, both ways. All questions are O(1).
#[derive(Debug, Default)]
pub(crate) struct Http1 {
    requests: Requests,
    responses: Responses,
    unanswered: Unanswered,
}

impl Http1 {
    /// Of a server whose limits are hyper's own, or of one whose nobody knows.
    pub(crate) fn new(defaults: bool) -> Self {
        Self {
            requests: Requests::new(if defaults { Aside::MOST } else { Aside::ANY }),
            ..Self::default()
        }
    }

    /// Plaintext from the client that has been handed to the server.
    #[inline]
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        // Nothing is taken from the queue any more, so nothing may be put into it.
        if !self.responses.is_lost() {
            self.requests.read(bytes, &mut self.unanswered);
        }
    }

    /// Plaintext of the server that TLS has accepted.
    #[inline]
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.responses.read(bytes, &mut self.unanswered);
        if self.responses.tunnel().is_some() {
            self.requests.open_tunnel();
        }
    }

    /// The server has shut its side down in order. A close-delimited answer is complete by that,
    /// and so is the server's half of a tunnel.
    pub(crate) fn finish(&mut self) {
        self.responses.finish(&mut self.unanswered);
    }

    /// Whether everything so far could be read. While this is false the other answers mean nothing.
    ///
    /// What the server sent and could not be read is lost for good. A request that could not be
    /// read is forgiven by what makes it meaningless: the end of the answer that was the last one
    /// (so the refusal of a broken request leaves no doubt behind), or the opening of a tunnel
    /// (whose first bytes, sent ahead, need not look like a request).
    pub(crate) fn is_followed(&self) -> bool {
        !self.responses.is_lost() && (!self.requests.is_lost() || self.responses.is_closed())
    }

    /// Whether everything that the server sent could be read: what it is amid of, and how that ends.
    pub(crate) fn answers_are_followed(&self) -> bool {
        !self.responses.is_lost()
    }

    /// Whether the client has sent a body whose framing no server can read (RFC 9112 7.1).
    pub(crate) fn is_malformed(&self) -> bool {
        self.requests.is_malformed()
    }

    /// Requests whose head is complete, in all, whether or not anybody will answer them. Saturates.
    pub(crate) fn begun(&self) -> u32 {
        self.requests.begun()
    }

    /// Those behind the answer that was the last, which nobody will answer.
    pub(crate) fn dismissed(&self) -> u32 {
        match self.responses.is_closed() {
            true => self.unanswered.len(),
            false => 0,
        }
    }

    /// Requests whose head is complete and whose answer is not wholly out.
    ///
    /// None once an answer that said it was the last is complete: those behind it will never be
    /// answered. A request that opened a tunnel is answered by that; [`tunnel`](Self::tunnel) says
    /// the rest.
    pub(crate) fn in_flight(&self) -> u32 {
        if self.responses.is_closed() {
            0
        } else {
            self.unanswered.len()
        }
    }

    /// Whether an answer's first byte is out and its end is not.
    ///
    /// Interim answers (1xx) do not count, from the twelfth byte on, which says that they are. A
    /// close-delimited answer counts until [`finish`](Self::finish). A tunnel is no answer.
    pub(crate) fn is_answering(&self) -> bool {
        self.responses.is_answering()
    }

    /// Whether a service has answered: with anything but 4xx, which servers also write by themselves.
    pub(crate) fn is_served(&self) -> bool {
        self.responses.by_service
    }

    /// Whether what is being sent, an answer's body or a [`Tunnel::Raw`], ends only with the
    /// connection, so that an early end would look like a whole one. True from the end of its head
    /// to [`finish`](Self::finish).
    pub(crate) fn is_close_delimited(&self) -> bool {
        self.responses.is_close_delimited()
    }

    /// The tunnel that has been opened, if one has. It stays after [`finish`](Self::finish): the
    /// client's half may go on.
    pub(crate) fn tunnel(&self) -> Option<Tunnel> {
        self.responses.tunnel()
    }

    /// Whether the body of a request that has begun is not wholly in, answered or not.
    pub(crate) fn has_upload(&self) -> bool {
        self.requests.has_upload()
    }

    /// Bytes of request bodies and of a tunnel so far. The framing of chunks, their extensions and
    /// trailers do not count.
    pub(crate) fn received_body(&self) -> u64 {
        self.requests.received_body()
    }

    /// Whether some of a next head is in, more than empty lines, and its blank line is not.
    pub(crate) fn head_begun(&self) -> bool {
        self.requests.head_begun()
    }

    /// How far a request has come in that is not all in, and how many bytes of that, where nothing else is in
    /// flight but what that request itself has got of its answer.
    #[inline]
    pub(crate) fn coming(&self) -> Option<(Stage, u64)> {
        let (stage, bytes) = self.requests.coming()?;
        let others = match stage {
            Stage::Head => self.in_flight() > 0 || self.is_answering(),
            Stage::Body => self.in_flight() > 1,
        };
        (!others && !self.responses.is_lost()).then_some((stage, bytes))
    }

    /// Whether a refusal could be sent to a client whose request does not come in: nothing was
    /// answered of it, and nothing else is to be answered.
    pub(crate) fn may_refuse(&self) -> bool {
        let unanswered = match self.coming() {
            Some((Stage::Head, _)) => !self.responses.is_closed(),
            Some((Stage::Body, _)) => self.has_upload() && self.in_flight() == 1,
            None => false,
        };
        unanswered && !self.is_answering()
    }

    /// Whether a request in flight is wholly in, head and body: a peer that half-closes is still
    /// owed its answer. Of those in flight only the newest can be incomplete.
    pub(crate) fn owes_complete(&self) -> bool {
        self.in_flight() > u32::from(self.has_upload())
    }
}
