//! What can be asked of the server, and what has to come back: those of the testbed.

use std::str::FromStr;

/// One endpoint, with its arguments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    Hello,
    /// So many bytes with a Content-Length, in chunks.
    Bytes(u64),
    /// The same as one frame.
    Full(u64),
    /// So many bytes of unknown length.
    Chunked(u64),
    /// One KiB each so many milliseconds.
    Slow(u64, u64),
    /// Chunks that stand ready in a channel: they use the task's budget up.
    Channel(u64, u64),
    /// Chunks of unknown length, then an error.
    ErrorMidBody,
    /// The same with a Content-Length of more.
    ErrorMidBodyLen,
    Panic,
    PanicMidBody,
    /// An upload that is never read.
    Unread(u64),
    EchoLen,
    Echo,
    /// Reads the body first.
    Sleep(u64),
    Close,
    /// Answers at once and reads the body on, in a task that takes its time.
    Early(u64),
    Trailers(u64),
    Status(u16),
    /// A chunk each so many milliseconds, for ever.
    Events(u64),
    /// A tunnel that echoes. It is a websocket as far as the headers go, or it is not.
    Upgrade(bool),
    Connect,
}
use Endpoint::*;

impl Endpoint {
    /// The path; a tunnel's is no path, but goes where one does.
    pub fn path(self) -> String {
        match self {
            Hello => "/".into(),
            Bytes(n) => format!("/bytes/{n}"),
            Full(n) => format!("/full/{n}"),
            Chunked(n) => format!("/chunked/{n}"),
            Slow(chunks, ms) => format!("/slow/{chunks}/{ms}"),
            Channel(chunks, size) => format!("/channel/{chunks}/{size}"),
            ErrorMidBody => "/error-mid-body".into(),
            ErrorMidBodyLen => "/error-mid-body-len".into(),
            Panic => "/panic".into(),
            PanicMidBody => "/panic-mid-body".into(),
            Unread(n) => format!("/unread/{n}"),
            EchoLen => "/echo-len".into(),
            Echo => "/echo".into(),
            Sleep(ms) => format!("/sleep/{ms}"),
            Close => "/close".into(),
            Early(ms) => format!("/early/{ms}"),
            Trailers(n) => format!("/trailers/{n}"),
            Status(code) => format!("/status/{code}"),
            Events(ms) => format!("/events/{ms}"),
            Upgrade(websocket) => format!("/upgrade/{}", u8::from(websocket)),
            Connect => "/connect".into(),
        }
    }

    /// Whether the handler reads the body to its end before it can answer whole.
    pub fn needs_upload(self) -> bool {
        matches!(self, EchoLen | Echo | Sleep(_))
    }

    /// Whether the request may carry a body.
    pub fn takes_upload(self) -> bool {
        self.needs_upload() || matches!(self, Unread(_) | Early(_))
    }

    pub fn is_tunnel(self) -> bool {
        matches!(self, Upgrade(_) | Connect)
    }

    /// A tunnel whose protocol does not show its own end.
    pub fn is_unframed_tunnel(self) -> bool {
        matches!(self, Upgrade(false) | Connect)
    }

    /// The handler breaks its answer off by itself.
    pub fn fails(self) -> bool {
        matches!(self, ErrorMidBody | ErrorMidBodyLen | Panic | PanicMidBody)
    }

    /// How much of its answer a handler gives at most, before it fails if it does.
    pub fn given_length(self, upload: u64) -> u64 {
        match self.fails() {
            true => 4096,
            false => self.answer_length(upload),
        }
    }

    /// The length of the whole answer to an upload of `upload` bytes.
    pub fn answer_length(self, upload: u64) -> u64 {
        match self {
            Hello | Sleep(_) => 6,
            Bytes(n) | Full(n) | Chunked(n) | Unread(n) | Trailers(n) => n,
            Slow(chunks, _) => chunks * 1024,
            Channel(chunks, size) => chunks * size,
            EchoLen => upload.to_string().len() as u64,
            Echo | Upgrade(_) | Connect => upload,
            Close => 4,
            ErrorMidBodyLen => 100_000,
            Early(_) | Status(_) => 0,
            ErrorMidBody | Panic | PanicMidBody | Events(_) => u64::MAX,
        }
    }
}

impl FromStr for Endpoint {
    type Err = ();

    fn from_str(path: &str) -> Result<Self, ()> {
        let mut parts = path.trim_start_matches('/').split('/');
        let name = parts.next().unwrap_or_default();
        let numbers: Vec<u64> = parts.filter_map(|part| part.parse().ok()).collect();
        let number = |i: usize| numbers.get(i).copied().ok_or(());
        Ok(match name {
            "" => Hello,
            "bytes" => Bytes(number(0)?),
            "full" => Full(number(0)?),
            "chunked" => Chunked(number(0)?),
            "slow" => Slow(number(0)?, number(1)?),
            "channel" => Channel(number(0)?, number(1)?),
            "error-mid-body" => ErrorMidBody,
            "error-mid-body-len" => ErrorMidBodyLen,
            "panic" => Panic,
            "panic-mid-body" => PanicMidBody,
            "unread" => Unread(number(0)?),
            "echo-len" => EchoLen,
            "echo" => Echo,
            "sleep" => Sleep(number(0)?),
            "close" => Close,
            "early" => Early(number(0)?),
            "trailers" => Trailers(number(0)?),
            "status" => Status(number(0)?.try_into().map_err(drop)?),
            "events" => Events(number(0)?),
            "upgrade" => Upgrade(number(0)? == 1),
            "connect" => Connect,
            _ => return Err(()),
        })
    }
}
