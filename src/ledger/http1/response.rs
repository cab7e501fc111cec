//! What the server sends: interim answers, answers, and what goes through a tunnel.

use super::body::{Aside, Body};
use super::head::{ANSWER, Coding, Fields, First, Head, Length, Part, Said, Upgrade};
use super::request::{Method, Unanswered};

/// What a connection has become that is no longer HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tunnel {
    /// Its protocol shows truncation by itself: `Upgrade: websocket`.
    Framed,
    /// CONNECT, or any other protocol: it ends only with the connection.
    Raw,
}

/// A status line.
#[derive(Clone, Copy, Debug)]
struct Status {
    /// HTTP/1.0.
    is_old: bool,
    /// Three digits.
    code: [u8; 3],
}

impl Status {
    #[inline]
    fn parse(line: &First) -> Option<Self> {
        let [
            version @ ..,
            b' ',
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
        ] = line
        else {
            return None;
        };
        let is_old = version == b"HTTP/1.0";
        (is_old || version == b"HTTP/1.1").then_some(Self {
            is_old,
            code: [*a, *b, *c],
        })
    }

    fn is_interim(self) -> bool {
        self.code[0] == b'1' && self.code != *b"101"
    }
}

/// How a message ends whose head is out (RFC 9112, 6.3).
#[derive(Debug)]
enum End {
    /// It was interim: the answer proper is still due.
    Interim,
    /// It has no body.
    Head,
    Body(Body),
    Close,
    Tunnel(Tunnel),
}

impl End {
    /// `None` if it cannot be known.
    fn of(status: Status, method: Method, fields: &Fields) -> Option<Self> {
        match (&status.code, method) {
            (b"101", _) if fields.upgrade == Upgrade::Websocket => {
                Some(Self::Tunnel(Tunnel::Framed))
            }
            (b"101", _) | ([b'2', ..], Method::Connect) => Some(Self::Tunnel(Tunnel::Raw)),
            _ if status.is_interim() => Some(Self::Interim),
            (b"204" | b"304", _) | (_, Method::Head) => Some(Self::Head),
            _ => Self::of_body(status, fields),
        }
    }

    fn of_body(status: Status, fields: &Fields) -> Option<Self> {
        match (fields.coding, fields.length) {
            (Coding::Absent, Length::Absent) => Some(Self::Close),
            (Coding::Absent, Length::Known(0)) => Some(Self::Head),
            (Coding::Absent, Length::Known(len)) => Some(Self::Body(Body::Length(len))),
            (Coding::Absent, Length::Unknown) | (Coding::Unknown, _) => None,
            // HTTP/1.0 does not know it: clients differ in what they make of it.
            _ if status.is_old => None,
            (Coding::Chunked, _) => Some(Self::Body(Body::CHUNKED)),
            (Coding::Other, _) => Some(Self::Close),
        }
    }
}

/// Whether no server writes an answer of this status by itself, but a service.
#[cold]
fn is_by_service(status: Status) -> bool {
    !status.is_interim() && status.code[0] != b'4'
}

/// Whether an answer says that it is the last (RFC 9112, 9.3). `None` if that cannot be known.
fn says_last(status: Status, fields: &Fields) -> Option<bool> {
    if fields.close {
        Some(true)
    } else if fields.connection_unknown {
        None
    } else {
        Some(status.is_old && !fields.keep_alive)
    }
}

#[derive(Debug, Default)]
enum State {
    /// Between answers, or in a head.
    #[default]
    Head,
    Body(Body),
    /// A body or a raw tunnel that ends with the connection.
    CloseDelimited,
    /// Nothing is left to follow: a framed tunnel, or the server's side is shut.
    Opaque,
    Lost,
}

/// The server's direction.
#[derive(Debug, Default)]
pub(super) struct Responses {
    state: State,
    head: Head<ANSWER>,
    /// A request was in flight when this answer began. If none was, it answers none: a refusal of
    /// half a head, say.
    is_answer: bool,
    /// The last answer has said that it is the last.
    pub(super) last: bool,
    /// There was one that no server writes by itself, as it does where it refuses a request.
    pub(super) by_service: bool,
    /// The last answer is complete.
    closed: bool,
    tunnel: Option<Tunnel>,
}

impl Responses {
    #[inline]
    pub(super) fn read(&mut self, mut bytes: &[u8], unanswered: &mut Unanswered) {
        while !bytes.is_empty() {
            let len = match self.state {
                State::Head => self.read_head(bytes, unanswered),
                State::Body(_) => self.read_body(bytes, unanswered),
                State::CloseDelimited | State::Opaque | State::Lost => return,
            };
            bytes = &bytes[len..];
        }
    }

    #[inline(never)] // or the rest pays for its registers
    fn read_head(&mut self, bytes: &[u8], unanswered: &mut Unanswered) -> usize {
        if self.head.is_empty() {
            self.is_answer = unanswered.front().is_some();
            // Whatever the last one said: here is another.
            self.closed = false;
        }
        let mut said = Said::default();
        let Some(len) = self.head.read(bytes, &mut said) else {
            if !self.head.part().is_none_or(may_be_http) {
                self.state = State::Lost;
            }
            return bytes.len();
        };
        if self.end_head(&said, unanswered).is_none() {
            self.state = State::Lost;
        }
        len
    }

    /// `None` if nothing that comes can be followed.
    fn end_head(&mut self, said: &Said, unanswered: &mut Unanswered) -> Option<()> {
        let status = Status::parse(&said.first)?;
        let fields = &said.fields;
        if !self.by_service {
            self.by_service = self.is_answer && is_by_service(status);
        }
        let method = if self.is_answer {
            unanswered.front()
        } else {
            None
        };
        match End::of(status, method.unwrap_or(Method::Other), fields)? {
            End::Interim => {}
            End::Head => {
                self.last = says_last(status, fields)?;
                self.complete(unanswered);
            }
            End::Body(body) => {
                self.last = says_last(status, fields)?;
                self.state = State::Body(body);
            }
            End::Close => {
                self.last = true;
                self.state = State::CloseDelimited;
            }
            End::Tunnel(tunnel) => self.open_tunnel(tunnel, unanswered),
        }
        Some(())
    }

    fn read_body(&mut self, bytes: &[u8], unanswered: &mut Unanswered) -> usize {
        let State::Body(body) = &mut self.state else {
            return 0;
        };
        let taken = body.read(bytes, &mut { Aside::ANY });
        if body.is_complete() {
            self.state = State::Head;
            self.complete(unanswered);
        } else if body.is_malformed() {
            self.state = State::Lost;
        }
        taken.bytes
    }

    /// An answer is wholly out.
    fn complete(&mut self, unanswered: &mut Unanswered) {
        if self.is_answer {
            unanswered.pop();
        }
        self.closed = self.last;
    }

    fn open_tunnel(&mut self, tunnel: Tunnel, unanswered: &mut Unanswered) {
        self.tunnel = Some(tunnel);
        self.last = true;
        self.closed = true;
        self.state = match tunnel {
            Tunnel::Framed => State::Opaque,
            Tunnel::Raw => State::CloseDelimited,
        };
        unanswered.clear();
    }

    pub(super) fn finish(&mut self, unanswered: &mut Unanswered) {
        if matches!(self.state, State::CloseDelimited) {
            self.complete(unanswered);
            self.state = State::Opaque;
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_answering(&self) -> bool {
        match self.state {
            State::Head => !self.head.is_empty() && !self.is_interim(),
            State::Body(_) => true,
            State::CloseDelimited => self.tunnel.is_none(),
            State::Opaque | State::Lost => false,
        }
    }

    fn is_interim(&self) -> bool {
        let status = self
            .head
            .part()
            .and_then(|head| Status::parse(&head.said.first));
        status.is_some_and(Status::is_interim)
    }

    pub(super) fn is_close_delimited(&self) -> bool {
        matches!(self.state, State::CloseDelimited)
    }

    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        self.tunnel
    }
}

/// Whether what is in of a head can be one.
fn may_be_http(head: &Part) -> bool {
    const START: &[u8] = b"HTTP/1.";
    if head.in_fields {
        Status::parse(&head.said.first).is_some()
    } else {
        let line = head.first_so_far();
        START.starts_with(line) || line.starts_with(START)
    }
}
