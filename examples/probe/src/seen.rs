//! What was seen of one connection: everything that a verdict may rest on, and nothing else.

use std::time::Duration;

use crate::run::{Answer, Event};
use wire::{End, Framing, H2Stream, Response};

/// One connection, or several that were treated alike, of which this is the worst.
#[derive(Clone, Debug)]
pub struct Seen {
    pub answer: Option<Answer>,
    /// Whether only the end of the connection ends that answer.
    pub close_delimited: bool,
    pub close_notify: Option<Duration>,
    /// The fatal alert's name.
    pub alert: Option<String>,
    /// How TCP ended.
    pub end: End,
    /// A RST behind the FIN.
    pub late_reset: Option<Duration>,
    /// The client had said close_notify, or sent a FIN, before the server ended the connection.
    pub client_ended: bool,
    /// A GOAWAY came.
    pub goaway: bool,
    /// That GOAWAY says that the request was not processed.
    pub declined: bool,
    pub held: Held,
    /// When the client stopped looking.
    pub ended: Duration,
    /// More came than the client cares to receive.
    pub too_much: bool,
    /// What else the note should say.
    pub remark: Option<String>,
    pub events: Vec<Event>,
}

/// How long the server kept its descriptor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Held {
    /// It was let go at this time.
    Until(Duration),
    /// It still had it when the client stopped looking.
    Still,
    /// The server's descriptors can't be seen from here.
    Unknown,
}

impl Seen {
    /// When a RST was read, whatever came before it.
    pub fn reset(&self) -> Option<Duration> {
        match self.end {
            End::Reset(at) => Some(at),
            _ => self.late_reset,
        }
    }

    /// When a FIN was read.
    pub fn fin(&self) -> Option<Duration> {
        match self.end {
            End::Fin(at) => Some(at),
            _ => None,
        }
    }

    /// The server held on until the client lost patience.
    pub fn hangs(&self) -> bool {
        match self.held {
            Held::Still => true,
            Held::Unknown => self.end == End::StillOpen,
            Held::Until(_) => false,
        }
    }

    /// The same, with this answer.
    pub fn with(mut self, came: Came) -> Self {
        self.answer = came.answer;
        self.close_delimited = came.close_delimited;
        self
    }

    /// The same, with more to say.
    pub fn remarking(mut self, remark: impl Into<String>) -> Self {
        self.remark = Some(remark.into());
        self
    }
}

/// What came of an answer, in either protocol.
#[derive(Clone, Debug, Default)]
pub struct Came {
    pub answer: Option<Answer>,
    pub close_delimited: bool,
}

impl From<&Response> for Came {
    fn from(response: &Response) -> Self {
        Self {
            answer: Some(Answer {
                status: response.status,
                bytes: response.body.len() as u64,
                whole: response.complete,
            }),
            close_delimited: response.framing == Framing::UntilEnd,
        }
    }
}

impl From<&H2Stream> for Came {
    fn from(stream: &H2Stream) -> Self {
        let answer = stream.status.map(|status| Answer {
            status,
            bytes: stream.body.len() as u64,
            // A RST_STREAM with NO_ERROR may follow an answer that is whole (RFC 9113 8.1).
            whole: stream.end_stream.is_some(),
        });
        Self {
            answer,
            close_delimited: false,
        }
    }
}
