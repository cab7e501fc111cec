//! HTTP/2 frames as they are on the wire.

use std::fmt;

use super::story::excerpt;

/// What an HTTP/2 client sends before its first frame.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADER: usize = 9;

/// Frame types.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags.
pub mod flag {
    pub const ACK: u8 = 0x1;
    pub const END_STREAM: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// Identifiers of settings.
pub mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// One HTTP/2 frame.
#[derive(Clone, Eq, PartialEq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    /// A SETTINGS frame with these identifiers and values.
    pub fn settings(values: &[(u16, u32)]) -> Self {
        let pairs = values.iter().flat_map(|(id, value)| {
            let value = value.to_be_bytes();
            id.to_be_bytes().into_iter().chain(value)
        });
        Self::new(kind::SETTINGS, 0, 0, pairs.collect::<Vec<_>>())
    }

    pub fn settings_ack() -> Self {
        Self::new(kind::SETTINGS, flag::ACK, 0, [])
    }

    /// A whole header block, encoded already.
    pub fn headers(stream: u32, block: impl Into<Vec<u8>>, end_stream: bool) -> Self {
        let flags = flag::END_HEADERS | u8::from(end_stream);
        Self::new(kind::HEADERS, flags, stream, block)
    }

    pub fn data(stream: u32, bytes: impl Into<Vec<u8>>, end_stream: bool) -> Self {
        Self::new(kind::DATA, u8::from(end_stream), stream, bytes)
    }

    pub fn window_update(stream: u32, increment: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
    }

    pub fn ping(payload: [u8; 8]) -> Self {
        Self::new(kind::PING, 0, 0, payload)
    }

    pub fn ping_ack(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(kind::PING, flag::ACK, 0, payload)
    }

    pub fn rst_stream(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    pub fn goaway(last_stream: u32, code: u32) -> Self {
        let payload = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
        Self::new(kind::GOAWAY, 0, 0, payload)
    }

    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a frame of sane length");
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The first frame in `bytes`, if all of it is there, and its length.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let head = bytes.get(..HEADER)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = bytes.get(HEADER..HEADER + length)?;
        let stream = word(&head[5..])? & 0x7fff_ffff;
        let frame = Self::new(head[3], head[4], stream, payload);
        Some((frame, HEADER + length))
    }

    pub fn is(&self, kind: u8) -> bool {
        self.kind == kind
    }

    /// Whether the frame carries this flag.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub fn is_ack(&self) -> bool {
        matches!(self.kind, kind::SETTINGS | kind::PING) && self.has(flag::ACK)
    }

    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.has(flag::END_STREAM)
    }

    /// The error code of RST_STREAM or GOAWAY.
    pub fn error_code(&self) -> Option<u32> {
        match self.kind {
            kind::RST_STREAM => word(&self.payload),
            kind::GOAWAY => word(self.payload.get(4..)?),
            _ => None,
        }
    }

    /// Last stream and error code of a GOAWAY.
    pub fn goaway_fields(&self) -> Option<(u32, u32)> {
        let last = word(&self.payload).filter(|_| self.is(kind::GOAWAY))?;
        Some((last & 0x7fff_ffff, self.error_code()?))
    }

    /// The increment of a WINDOW_UPDATE.
    pub fn increment(&self) -> Option<u32> {
        let increment = word(&self.payload).filter(|_| self.is(kind::WINDOW_UPDATE))?;
        Some(increment & 0x7fff_ffff)
    }

    /// The values in a SETTINGS frame.
    pub fn settings_values(&self) -> Vec<(u16, u32)> {
        let settings = self.is(kind::SETTINGS).then_some(self.payload.as_slice());
        let pairs = settings.unwrap_or_default().chunks_exact(6);
        pairs
            .filter_map(|p| Some((u16::from_be_bytes([p[0], p[1]]), word(&p[2..])?)))
            .collect()
    }

    /// The payload of DATA or HEADERS without padding and priority.
    pub fn content(&self) -> &[u8] {
        let (mut rest, mut padding) = (self.payload.as_slice(), 0);
        if self.has(flag::PADDED) && matches!(self.kind, kind::DATA | kind::HEADERS) {
            padding = usize::from(rest.first().copied().unwrap_or(0));
            rest = rest.get(1..).unwrap_or_default();
        }
        if self.has(flag::PRIORITY) && self.is(kind::HEADERS) {
            rest = rest.get(5..).unwrap_or_default();
        }
        &rest[..rest.len().saturating_sub(padding)]
    }

    /// What the story calls this frame.
    pub(super) fn name(&self) -> &'static str {
        const NAMES: [&str; 10] = [
            "DATA",
            "HEADERS",
            "PRIORITY",
            "RST_STREAM",
            "SETTINGS",
            "PUSH_PROMISE",
            "PING",
            "GOAWAY",
            "WINDOW_UPDATE",
            "CONTINUATION",
        ];
        NAMES
            .get(usize::from(self.kind))
            .copied()
            .unwrap_or("unknown frame")
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())?;
        if self.stream != 0 {
            write!(f, " stream {}", self.stream)?;
        }
        if self.is_ack() {
            write!(f, " ACK")?;
        }
        if self.ends_stream() {
            write!(f, " END_STREAM")?;
        }
        match self.kind {
            kind::GOAWAY => match self.goaway_fields() {
                Some((last, code)) => write!(f, " last stream {last}, code {code}"),
                None => write!(f, " cut short"),
            },
            kind::RST_STREAM => write!(f, " code {:?}", self.error_code()),
            kind::WINDOW_UPDATE => write!(f, " by {:?}", self.increment()),
            kind::SETTINGS => write!(f, " {:?}", self.settings_values()),
            _ => write!(f, " {}", excerpt(&self.payload)),
        }
    }
}

fn word(bytes: &[u8]) -> Option<u32> {
    let bytes = bytes.get(..4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
