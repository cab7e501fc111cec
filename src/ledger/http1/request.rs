//! What the client sends: heads, bodies, and what goes through a tunnel.

use std::collections::VecDeque;

use super::body::{Aside, Body};
use super::head::{Coding, Fields, First, Head, Length, REQUEST, Said};
use crate::ledger::Stage;

/// The methods that change how an answer ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Method {
    Head,
    Connect,
    Other,
}

impl Method {
    #[inline]
    fn of(request_line: First) -> Self {
        if request_line.starts_with(b"HEAD ") {
            Self::Head
        } else if request_line.starts_with(b"CONNECT ") {
            Self::Connect
        } else {
            Self::Other
        }
    }
}

/// How many requests may wait for their answer. This bounds memory and nothing else: the server's
/// read buffer has bounded their heads long before.
pub(super) const MAX_UNANSWERED: usize = 65_536;

/// The methods of requests not wholly answered, in the order that their answers come in. Nothing is
/// allocated until requests are pipelined.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    front: Option<Method>,
    behind: VecDeque<Method>,
}

impl Unanswered {
    /// False if there are too many.
    fn push(&mut self, method: Method) -> bool {
        if self.front.is_none() {
            self.front = Some(method);
        } else if self.behind.len() + 1 < MAX_UNANSWERED {
            self.behind.push_back(method);
        } else {
            return false;
        }
        true
    }

    #[inline]
    pub(super) fn pop(&mut self) {
        self.front = None;
        if !self.behind.is_empty() {
            self.move_up();
        }
    }

    #[cold]
    fn move_up(&mut self) {
        self.front = self.behind.pop_front();
        if self.behind.is_empty() {
            // Whoever pipelined once need not hold the memory for ever.
            self.behind = VecDeque::new();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn front(&self) -> Option<Method> {
        self.front
    }

    pub(super) fn len(&self) -> u32 {
        // No more than MAX_UNANSWERED.
        u32::from(self.front.is_some()) + self.behind.len() as u32
    }
}

#[derive(Debug, Default)]
enum State {
    /// Between requests, or in a head.
    #[default]
    Head,
    Body(Body),
    Tunnel,
    Lost,
    /// The client has broken the framing of a body: no server can read on.
    Malformed,
}

impl State {
    /// What comes after a head (RFC 9112, 6.3).
    fn after(fields: &Fields) -> Self {
        match (fields.coding, fields.length) {
            (Coding::Chunked, _) => Self::Body(Body::CHUNKED),
            (Coding::Absent, Length::Absent | Length::Known(0)) => Self::Head,
            (Coding::Absent, Length::Known(len)) => Self::Body(Body::Length(len)),
            _ => Self::Lost,
        }
    }
}

/// The client's direction.
#[derive(Debug, Default)]
pub(super) struct Requests {
    state: State,
    head: Head<REQUEST>,
    begun: u32,
    body: u64,
    /// How much there may be in the chunk extensions and trailers of a body, and how much more of this one.
    most: Aside,
    aside: Aside,
    /// Bytes since the last whole request or body: they belong to the tunnel, if one is opened.
    ahead: u64,
}

impl Requests {
    pub(super) fn new(most: Aside) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    #[inline]
    pub(super) fn read(&mut self, mut bytes: &[u8], unanswered: &mut Unanswered) {
        while !bytes.is_empty() {
            let len = match self.state {
                State::Head => self.read_head(bytes, unanswered),
                State::Body(_) => self.read_body(bytes),
                State::Tunnel => {
                    self.body += bytes.len() as u64;
                    bytes.len()
                }
                // Unless a tunnel is opened, nobody will ask.
                State::Lost | State::Malformed => {
                    self.ahead += bytes.len() as u64;
                    bytes.len()
                }
            };
            bytes = &bytes[len..];
        }
    }

    #[inline(never)] // or the rest pays for its registers
    fn read_head(&mut self, bytes: &[u8], unanswered: &mut Unanswered) -> usize {
        let empty = if self.head.is_empty() {
            empty_lines(bytes)
        } else {
            0
        };
        let mut said = Said::default();
        let Some(len) = self.head.read(&bytes[empty..], &mut said) else {
            self.ahead += bytes.len() as u64;
            return bytes.len();
        };
        self.begun = self.begun.saturating_add(1);
        (self.ahead, self.aside) = (0, self.most);
        self.state = State::after(&said.fields);
        if !unanswered.push(Method::of(said.first)) {
            self.state = State::Lost;
        }
        empty + len
    }

    fn read_body(&mut self, bytes: &[u8]) -> usize {
        let State::Body(body) = &mut self.state else {
            return 0;
        };
        let taken = body.read(bytes, &mut self.aside);
        if body.is_complete() {
            self.state = State::Head;
        } else if body.is_malformed() {
            self.state = State::Malformed;
        }
        self.body += taken.payload;
        taken.bytes
    }

    /// From here on everything is opaque, and so is what was sent ahead.
    pub(super) fn open_tunnel(&mut self) {
        self.state = State::Tunnel;
        self.body += std::mem::take(&mut self.ahead);
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost | State::Malformed)
    }

    pub(super) fn is_malformed(&self) -> bool {
        matches!(self.state, State::Malformed)
    }

    pub(super) fn begun(&self) -> u32 {
        self.begun
    }

    pub(super) fn received_body(&self) -> u64 {
        self.body
    }

    pub(super) fn has_upload(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// How far a request has come in that is not all in, and how many bytes of that.
    #[inline]
    pub(super) fn coming(&self) -> Option<(Stage, u64)> {
        match self.state {
            State::Head if !self.head.is_empty() => Some((Stage::Head, self.ahead)),
            State::Body(_) => Some((Stage::Body, self.body)),
            // Where its body ends nobody knows, but whoever waits for more of it.
            State::Lost | State::Malformed => Some((Stage::Body, self.ahead)),
            _ => None,
        }
    }

    pub(super) fn head_begun(&self) -> bool {
        matches!(self.state, State::Head) && !self.head.is_empty()
    }
}

/// Length of the empty lines that may come before a request line (RFC 9112, 2.2).
fn empty_lines(bytes: &[u8]) -> usize {
    let is_empty = |byte: &&u8| matches!(byte, b'\r' | b'\n');
    bytes.iter().take_while(is_empty).count()
}
