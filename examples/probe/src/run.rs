//! What a run found, as `--json` prints it and `--html` draws it: format 1.
//!
//! Everything else in the probe either fills these types or shows them. A reader of another version
//! finds unknown fields left alone; a new field needs `#[serde(default)]`.

use serde::{Deserialize, Serialize};

/// The format that this version writes.
pub const FORMAT: u32 = 1;

/// One run of the probe against one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub format: u32,
    pub server: Server,
    /// When it began, in UTC, as of RFC 3339.
    pub started: String,
    pub took_ms: u64,
    pub endings: Vec<Ending>,
}

/// Who was probed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// `--name`, or host and port.
    pub name: String,
    pub url: String,
    /// The `Server` header, if there was one.
    pub software: Option<String>,
}

/// How one connection ended, and what that is worth.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ending {
    /// The scenario's stable name, in kebab-case.
    pub scenario: String,
    pub title: String,
    pub group: Group,
    /// `1.2` or `1.3`; `None` where no TLS was spoken.
    #[serde(default)]
    pub tls: Option<String>,
    /// `1.0`, `1.1` or `2`; `None` where no HTTP was spoken.
    pub http: Option<String>,
    pub verdict: Verdict,
    /// The section of the RFC that the verdict rests on.
    pub rule: String,
    /// What a user would notice, in one sentence.
    pub note: String,
    /// `None` if no byte of an answer came.
    pub answer: Option<Answer>,
    pub close_notify_ms: Option<f64>,
    /// The fatal alert's name.
    pub alert: Option<String>,
    pub fin_ms: Option<f64>,
    pub rst_ms: Option<f64>,
    /// Until the server had let go of its descriptor; `None` if it never did or nobody can tell.
    pub held_ms: Option<f64>,
    /// When the client stopped looking.
    pub ended_ms: f64,
    pub events: Vec<Event>,
}

/// What came of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    pub status: u16,
    /// Bytes of the body.
    pub bytes: u64,
    /// Whether all of it came, by its own framing.
    pub whole: bool,
}

/// Something that was on the wire, at the time at which the client saw or did it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Since the connection was made.
    pub ms: f64,
    pub from: Side,
    pub kind: Kind,
    /// A few words, or nothing.
    pub detail: String,
    /// Bytes on the wire, or of plaintext for requests and answers; zero where that says nothing.
    pub bytes: u64,
}

/// Who sent it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Client,
    Server,
}

/// What it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Connect,
    Handshake,
    Request,
    Answer,
    CloseNotify,
    Alert,
    Fin,
    Rst,
    Goaway,
    Sigterm,
    Other,
}

/// What has to be at hand for a scenario.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Group {
    /// A URL.
    #[serde(rename = "black box")]
    BlackBox,
    /// `--start`.
    #[serde(rename = "shutdown")]
    Shutdown,
    /// `--testbed`.
    #[serde(rename = "testbed")]
    Testbed,
}

impl Group {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::BlackBox, Self::Testbed, Self::Shutdown];
}

/// What an ending is worth; from good to bad.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// There was nothing to see.
    Skipped,
    /// As it should be.
    Proper,
    /// Not as it should be, but nobody loses anything the RFCs promise.
    Allowed,
    /// An answer, or the knowledge that it is complete, was lost.
    Lost,
    /// It looks whole but is not.
    Untrue,
    /// The server held the connection beyond the bound.
    Hang,
}

impl Verdict {
    /// Whether it is worse than allowed.
    pub fn is_fault(self) -> bool {
        self > Self::Allowed
    }
}
