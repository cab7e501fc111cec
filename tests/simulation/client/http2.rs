//! HTTP/2 by hand: writes frames, and reads what matters of those that come in (RFC 9113 4, 6).

use super::seen::{Framing, Own, Seen};
use crate::{endpoints::Endpoint, trace::Stamp};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The stream of a request.
pub fn stream(number: usize) -> u32 {
    number as u32 * 2 + 1
}

/// The request of a stream.
pub fn number(stream: u32) -> usize {
    (stream as usize).saturating_sub(1) / 2
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What a client begins with: the preface, and the window that each stream gets.
pub fn preface(window: u32) -> Vec<u8> {
    let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
    settings.extend(window.to_be_bytes());
    [PREFACE, &frame(SETTINGS, 0, 0, &settings)].concat()
}

/// A header, literal and without an index (RFC 7541 6.2.2).
fn header(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap_or(0) & 0x7f);
        block.extend(text.bytes());
    }
}

/// The head of request `number` of connection `conn`, with an upload of `upload` bytes to come.
pub fn head(conn: usize, number: usize, endpoint: Endpoint, ends: bool) -> Vec<u8> {
    let mut block = Vec::new();
    if endpoint == Endpoint::Connect {
        header(&mut block, ":method", "CONNECT");
        header(&mut block, ":authority", &format!("{conn}.{number}:1"));
    } else {
        let method = if endpoint.takes_upload() {
            "POST"
        } else {
            "GET"
        };
        header(&mut block, ":method", method);
        header(&mut block, ":scheme", "https");
        header(
            &mut block,
            ":path",
            &format!("{}?{conn}.{number}", endpoint.path()),
        );
        header(&mut block, ":authority", "s");
    }
    let flags = END_HEADERS | if ends { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream(number), &block)
}

/// `n` bytes of an upload, of which `left` follow.
pub fn body(number: usize, n: u64, left: u64) -> Vec<u8> {
    let flags = if left == 0 { END_STREAM } else { 0 };
    let mut frames = Vec::new();
    let mut rest = n;
    while rest > 16_384 {
        frames.extend(frame(DATA, 0, stream(number), &[b'u'; 16_384]));
        rest -= 16_384;
    }
    frames.extend(frame(
        DATA,
        flags,
        stream(number),
        &vec![b'u'; rest as usize],
    ));
    frames
}

pub fn ping() -> Vec<u8> {
    frame(PING, 0, 0, b"for this")
}

pub fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

pub fn window_update(stream: u32, n: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &n.to_be_bytes())
}

/// What the server lets the client upload.
#[derive(Debug, Default)]
pub struct Credit {
    initial: i64,
    connection: i64,
    /// Of each request, beside the initial.
    streams: Vec<i64>,
}

impl Credit {
    pub fn new(requests: usize) -> Self {
        Self {
            initial: 65_535,
            connection: 65_535,
            streams: vec![0; requests],
        }
    }

    fn grant(&mut self, stream: u32, n: u32) {
        match stream {
            0 => self.connection += i64::from(n),
            stream => self.streams[number(stream)] += i64::from(n),
        }
    }

    /// Takes up to `wanted` bytes.
    pub fn take(&mut self, number: usize, wanted: u64) -> u64 {
        let own = self.initial + self.streams[number];
        let n = (wanted as i64).min(own).min(self.connection).max(0);
        self.streams[number] -= n;
        self.connection -= n;
        n as u64
    }
}

/// Reads frames.
#[derive(Debug, Default)]
pub struct Reader {
    pub buf: Vec<u8>,
    /// The window of what is read is opened again at once, of all streams but these.
    pub opens: bool,
    pub stalled: Vec<usize>,
    pub deaf_to_pings: bool,
    pub credit: Credit,
}

impl Reader {
    /// What has to be answered goes to `out`.
    pub fn feed(&mut self, data: &[u8], now: Stamp, seen: &mut Seen, out: &mut Vec<u8>) {
        self.buf.extend_from_slice(data);
        let buf = std::mem::take(&mut self.buf);
        let mut rest = &buf[..];
        while rest.len() >= 9 {
            let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
            if rest.len() < 9 + length {
                break;
            }
            let stream = u32::from_be_bytes([rest[5], rest[6], rest[7], rest[8]]) & 0x7fff_ffff;
            let payload = &rest[9..9 + length];
            self.frame((rest[3], rest[4], stream), payload, now, seen, out);
            rest = &rest[9 + length..];
        }
        self.buf = rest.to_vec();
        seen.mid_frame = !self.buf.is_empty();
        if self.buf.get(3) == Some(&DATA) {
            check_data(self.buf.get(9..).unwrap_or_default(), seen);
        }
    }

    fn frame(
        &mut self,
        (kind, flags, stream): (u8, u8, u32),
        payload: &[u8],
        now: Stamp,
        seen: &mut Seen,
        out: &mut Vec<u8>,
    ) {
        let word = |at: usize| {
            let bytes = payload.get(at..at + 4).and_then(|b| b.try_into().ok());
            u32::from_be_bytes(bytes.unwrap_or_default())
        };
        match kind {
            SETTINGS if flags & ACK == 0 => {
                seen.settings = true;
                for setting in payload.chunks_exact(6) {
                    if setting[..2] == [0, 4] {
                        let value = setting[2..].try_into().unwrap_or_default();
                        self.credit.initial = i64::from(u32::from_be_bytes(value));
                    }
                }
                out.extend(frame(SETTINGS, ACK, 0, &[]));
            }
            PING if flags & ACK == 0 && !self.deaf_to_pings => {
                out.extend(frame(PING, ACK, 0, payload));
            }
            WINDOW_UPDATE => self.credit.grant(stream, word(0)),
            GOAWAY => seen.goaways.push((word(0) & 0x7fff_ffff, word(4))),
            HEADERS | DATA | RST_STREAM => {
                let asked = seen
                    .asks
                    .get(number(stream))
                    .is_some_and(|a| a.head.is_some());
                if !asked || stream == 0 {
                    return seen.confuse(format!("frame {kind} on stream {stream}"));
                }
                match kind {
                    RST_STREAM => {
                        let answer = &mut seen.asks[number(stream)].answer;
                        (answer.reset, answer.reset_at) = (Some(word(0)), Some(now));
                    }
                    DATA => {
                        check_data(payload, seen);
                        self.answer(kind, flags, stream, payload, now, seen, out);
                    }
                    _ => self.answer(kind, flags, stream, payload, now, seen, out),
                }
            }
            _ => {}
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a frame, and where it goes")]
    fn answer(
        &self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        now: Stamp,
        seen: &mut Seen,
        out: &mut Vec<u8>,
    ) {
        seen.last_answer = Some(now);
        let read = seen.read;
        let silent = seen.own(Own::Notify).is_some();
        let answer = &mut seen.asks[number(stream)].answer;
        answer.last = Some(now);
        answer.framing = Framing::Framed;
        if kind == HEADERS && answer.begun.is_none() {
            answer.begun = Some(now);
            answer.status = status(payload);
        }
        if kind == DATA {
            answer.bytes += payload.len() as u64;
        }
        if flags & END_STREAM != 0 {
            answer.whole = Some(now);
            answer.ends = read;
        }
        // Behind its close_notify a client can say no more.
        if kind == DATA && !payload.is_empty() && self.opens && !silent {
            let n = payload.len() as u32;
            out.extend(window_update(0, n));
            seen.opened.open(n, now);
            if flags & END_STREAM == 0 && !self.stalled.contains(&number(stream)) {
                out.extend(window_update(stream, n));
                answer.opened.open(n, now);
            }
        }
    }
}

/// The server's answers are of `x`, or of what was uploaded: a frame put into one shows.
fn check_data(payload: &[u8], seen: &mut Seen) {
    if payload.iter().any(|byte| !matches!(byte, b'x' | b'u')) {
        seen.confuse("DATA that no handler gave");
    }
}

/// The status, where it has an index of its own (RFC 7541 A); others do not matter.
fn status(block: &[u8]) -> u16 {
    match block.iter().find(|byte| *byte & 0xe0 != 0x20) {
        Some(0x88) => 200,
        Some(0x89) => 204,
        Some(0x8b) => 304,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        Some(0x8e) => 500,
        _ => 1,
    }
}
