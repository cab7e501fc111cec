//! What one client asked and what came back: the oracles' view from outside.

use std::time::Duration;

use crate::{endpoints::Endpoint, trace::Stamp};

/// How an answer shows its end.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Framing {
    #[default]
    Unknown,
    /// A length, a last chunk, or END_STREAM.
    Framed,
    /// Only the end of the connection.
    UntilClose,
    Tunnel,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    pub endpoint: Endpoint,
    pub upload: u64,
    pub http10: bool,
    /// Where its head ends among the bytes the client has put on the wire; `None` if not asked.
    pub head: Option<u64>,
    /// Where the half of its head ends, if that came first.
    pub begun: Option<u64>,
    /// Where its upload ends.
    pub complete: Option<u64>,
    /// More of its upload would go out, if the server's windows let it; and that has been so.
    pub waits: bool,
    pub waited: bool,
    pub asked: Option<Stamp>,
    pub answer: Answer,
}

impl Ask {
    pub fn new(endpoint: Endpoint, upload: u64, http10: bool) -> Self {
        Self {
            endpoint,
            upload,
            http10,
            head: None,
            begun: None,
            complete: None,
            waits: false,
            waited: false,
            asked: None,
            answer: Answer::default(),
        }
    }

    pub fn length(&self) -> u64 {
        self.endpoint.answer_length(self.upload)
    }
}

/// What a window of HTTP/2 was opened by beyond its initial size, and when.
#[derive(Clone, Debug, Default)]
pub struct Opened(Vec<(Stamp, u32)>);

impl Opened {
    pub fn open(&mut self, by: u32, now: Stamp) {
        self.0.push((now, by));
    }

    fn until(&self, end: Duration) -> impl Iterator<Item = &(Stamp, u32)> {
        self.0.iter().take_while(move |(stamp, _)| stamp.at <= end)
    }

    pub fn by(&self, end: Duration) -> u64 {
        self.until(end).map(|(_, by)| u64::from(*by)).sum()
    }

    pub fn last(&self, end: Duration) -> Option<Stamp> {
        self.until(end).last().map(|(at, _)| *at)
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub begun: Option<Stamp>,
    pub status: u16,
    pub framing: Framing,
    pub bytes: u64,
    pub last: Option<Stamp>,
    /// It ended as its framing says.
    pub whole: Option<Stamp>,
    /// Where it ended among the server's bytes.
    pub ends: u64,
    /// RST_STREAM, and its code.
    pub reset: Option<u32>,
    pub reset_at: Option<Stamp>,
    /// What its window was opened by, and when last.
    pub opened: Opened,
    /// It said `Connection: close`, or was HTTP/1.0.
    pub closes: bool,
}

impl Answer {
    pub fn is_reset(&self) -> bool {
        self.reset.is_some()
    }

    /// Nothing more is to come.
    pub fn is_over(&self) -> bool {
        self.whole.is_some() || self.is_reset()
    }
}

/// How the client ended its side, if it did before the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Own {
    Notify,
    Fin,
    Rst,
    /// It closed its socket.
    Close,
}

impl Own {
    pub fn name(self) -> &'static str {
        match self {
            Self::Notify => "client sends close_notify",
            Self::Fin => "client half-closes",
            Self::Rst => "client resets",
            Self::Close => "client leaves",
        }
    }
}

/// GOAWAY: the last stream, and the error.
pub type Goaway = (u32, u32);

/// Everything one client saw and did.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub handshake: Option<Stamp>,
    pub asks: Vec<Ask>,
    /// close_notify, and where its record begins among the server's bytes.
    pub notify: Option<(Stamp, u64)>,
    pub after_notify: u64,
    /// Bytes behind a fatal alert, or what is no TLS.
    pub after_alert: u64,
    pub fin: Option<Stamp>,
    pub rst: Option<Stamp>,
    /// A fatal alert, or a TLS error.
    pub tls_error: Option<String>,
    pub goaways: Vec<Goaway>,
    /// It has sent a part of a request, and perhaps not the rest.
    pub half: bool,
    /// The connection's window.
    pub opened: Opened,
    pub settings: bool,
    /// The last HTTP/2 frame did not come to its end.
    pub mid_frame: bool,
    /// What the client did by itself, first to last.
    pub own: Vec<(Own, Stamp)>,
    /// Where the client's part of the handshake ends among its bytes.
    pub shaken: u64,
    /// Where its close_notify ends among its bytes.
    pub own_notify: Option<u64>,
    /// Where the last of its bytes that ask for something ends.
    pub useful: u64,
    /// Raw bytes of the server that were read.
    pub read: u64,
    /// The last byte of an answer, by whatever protocol.
    pub last_answer: Option<Stamp>,
    /// The server said something that has no sense.
    pub confused: Option<String>,
    /// What came back in plain HTTP.
    pub plain: String,
    /// The connection was refused, or reset in the queue.
    pub refused: bool,
}

impl Seen {
    pub fn own(&self, what: Own) -> Option<Stamp> {
        let found = self.own.iter().find(|(own, _)| *own == what);
        found.map(|(_, stamp)| *stamp)
    }

    /// The server's direction has ended.
    pub fn is_over(&self) -> bool {
        self.fin.is_some() || self.rst.is_some() || self.tls_error.is_some()
    }

    /// The server has said that it takes no more requests here.
    pub fn closing(&self) -> bool {
        self.is_over()
            || self.notify.is_some()
            || !self.goaways.is_empty()
            || self.asks.iter().any(|ask| ask.answer.closes)
    }

    pub fn confuse(&mut self, what: impl Into<String>) {
        self.confused.get_or_insert(what.into());
    }
}
