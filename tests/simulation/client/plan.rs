//! What a client is going to do.

use std::time::Duration;

use tokio::time::Instant;

use super::{http2, seen::Ask};

/// How the raw bytes are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    Eager,
    /// So many bytes at a time, and how often.
    Rate(usize, Duration),
    Never,
}

/// Frames that ask for nothing.
#[derive(Clone, Copy, Debug)]
pub enum Control {
    Pings,
    Settings,
    Updates,
    /// Of the window of the first stream.
    StreamUpdates,
}

impl Control {
    pub fn frames(self, n: usize) -> Vec<u8> {
        match self {
            Self::Pings => http2::ping(),
            Self::Settings => http2::settings(),
            Self::Updates => http2::window_update(0, 1),
            Self::StreamUpdates => http2::window_update(1, 1),
        }
        .repeat(n)
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes the head of a request.
    Head(usize),
    /// Writes half of the head of a request, which `Head` completes.
    HalfHead(usize),
    /// Writes what is no request yet.
    Raw(Vec<u8>),
    /// Writes so many bytes that are no TLS.
    Junk(usize),
    /// Writes so many bytes of its upload, or of its tunnel.
    Body(usize, u64),
    Pause(Duration),
    /// Waits so long after the last thing that happened on the connection.
    Edge(Duration),
    /// Waits until a time since the run began.
    At(Duration),
    /// Waits for the answers to all that was asked, or the end.
    Answers,
    /// Waits for an answer to begin.
    Begun(usize),
    Read(Reading),
    /// Sends close_notify.
    Notify,
    Fin,
    Rst,
    /// Closes the socket without a word.
    Close,
}

/// A script, and how the client behaves beside it. After the last step it waits for the server to
/// end the connection.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What kind of client it is, for the log.
    pub role: &'static str,
    /// When the run began.
    pub start: Instant,
    /// When the client connects.
    pub connects: Duration,
    pub tls12: bool,
    pub http2: bool,
    /// It agrees on HTTP/2 and speaks HTTP/1, which a server that looks for itself serves.
    pub lies: bool,
    pub asks: Vec<Ask>,
    pub steps: Vec<Step>,
    /// HTTP/1 uploads are chunked.
    pub chunked: bool,
    /// The initial HTTP/2 window of each stream.
    pub window: u32,
    /// The windows are opened by so much, and how often, in place of what was read.
    pub window_tick: Option<(Duration, u32)>,
    pub never_opens: bool,
    /// The connection's window is as good as none.
    pub wide: bool,
    /// Requests whose windows are never opened.
    pub stalled: Vec<usize>,
    /// So many control frames, and how often.
    pub flood: Option<(Duration, usize, Control)>,
    pub deaf_to_pings: bool,
    /// Only so many bytes of the hello are sent.
    pub handshake_cut: Option<usize>,
    /// Speaks plain HTTP to the TLS port.
    pub plain: bool,
    /// Says nothing any more.
    pub mute: bool,
    /// Keeps its socket open when the server has ended.
    pub holds: bool,
}

impl Plan {
    /// Whether the client takes what comes as it comes: then nothing that stalls is its fault.
    pub fn reads_eagerly(&self) -> bool {
        let slow = |step: &Step| matches!(step, Step::Read(_));
        !self.steps.iter().any(slow) && self.window_tick.is_none() && !self.never_opens
    }

    /// Whether some of what it sends is no TLS.
    pub fn babbles(&self) -> bool {
        let junk = |step: &Step| matches!(step, Step::Junk(_));
        self.steps.iter().any(junk)
    }

    /// Whether it leaves the server with half of something, for a while.
    pub fn dawdles(&self) -> bool {
        let half = |step: &Step| matches!(step, Step::Raw(_) | Step::HalfHead(_));
        self.steps.iter().any(half)
    }

    /// Whether the steps before `step` have written a part of something that others will go on with.
    pub fn is_within_raw(&self, step: usize) -> bool {
        let raw = |step: &Step| matches!(step, Step::Raw(_));
        let head = |step: &&Step| matches!(step, Step::Head(_) | Step::HalfHead(_));
        let (done, to_do) = self.steps.split_at(step.min(self.steps.len()));
        let half = matches!(done.iter().rev().find(head), Some(Step::HalfHead(_)));
        half || done.iter().any(raw) && to_do.iter().any(raw)
    }
}
