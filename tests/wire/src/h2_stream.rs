//! What was received on one HTTP/2 stream.

use std::time::Duration;

use super::frame::Frame;
use super::story::excerpt;

/// A stream as far as it has come.
#[derive(Clone, Default)]
pub struct H2Stream {
    /// The final status.
    pub status: Option<u16>,
    /// The statuses of the 1xx responses which came first.
    pub interim: Vec<u16>,
    pub headers: Vec<(String, String)>,
    pub trailers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When END_STREAM was read.
    pub end_stream: Option<Duration>,
    /// The code of a RST_STREAM, and when it was read.
    pub reset: Option<(u32, Duration)>,
}

impl H2Stream {
    /// A final status, and END_STREAM with no RST_STREAM.
    pub fn is_complete(&self) -> bool {
        self.status.is_some() && self.end_stream.is_some() && self.reset.is_none()
    }

    /// Whether nothing more can come.
    pub fn is_over(&self) -> bool {
        self.end_stream.is_some() || self.reset.is_some()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(n, _)| n == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn add_fields(&mut self, fields: Vec<(String, String)>) {
        let status = fields.iter().find(|(name, _)| name == ":status");
        match status.and_then(|(_, value)| value.parse().ok()) {
            Some(status @ 100..200) => self.interim.push(status),
            Some(status) => {
                self.status = Some(status);
                self.headers = fields;
            }
            None => self.trailers = fields,
        }
    }

    pub(super) fn add_data(&mut self, frame: &Frame) {
        self.body.extend_from_slice(frame.content());
    }
}

impl std::fmt::Debug for H2Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("H2Stream")
            .field("status", &self.status)
            .field("interim", &self.interim)
            .field("headers", &self.headers)
            .field("trailers", &self.trailers)
            .field("body", &excerpt(&self.body))
            .field("end_stream", &self.end_stream)
            .field("reset", &self.reset)
            .finish()
    }
}
