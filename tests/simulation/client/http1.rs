//! HTTP/1 by hand: writes requests, reads answers.

use super::seen::{Ask, Framing, Seen};
use crate::{endpoints::Endpoint, trace::Stamp};

/// The head of request `number` of connection `conn`.
pub fn head(conn: usize, number: usize, ask: &Ask, chunked: bool) -> String {
    let version = if ask.http10 { "1.0" } else { "1.1" };
    let path = ask.endpoint.path();
    let mut head = match ask.endpoint {
        Endpoint::Connect => {
            return format!(
                "CONNECT {conn}.{number}:1 HTTP/1.1\r\nhost: {conn}.{number}:1\r\n\r\n"
            );
        }
        endpoint => {
            let method = if endpoint.takes_upload() {
                "POST"
            } else {
                "GET"
            };
            format!("{method} {path}?{conn}.{number} HTTP/{version}\r\nhost: s\r\n")
        }
    };
    if let Endpoint::Upgrade(websocket) = ask.endpoint {
        let name = if websocket { "websocket" } else { "echo" };
        head += &format!("connection: upgrade\r\nupgrade: {name}\r\n");
    }
    if ask.endpoint.takes_upload() {
        head += &match chunked {
            true => "transfer-encoding: chunked\r\n".into(),
            false => format!("content-length: {}\r\n", ask.upload),
        };
    }
    head + "\r\n"
}

/// `n` bytes of an upload, of which `left` follow.
pub fn body(n: u64, left: u64, chunked: bool) -> Vec<u8> {
    let data = vec![b'u'; n as usize];
    if !chunked {
        return data;
    }
    let mut chunk = Vec::new();
    if n > 0 {
        chunk = format!("{n:x}\r\n").into_bytes();
        chunk.extend(data);
        chunk.extend(b"\r\n");
    }
    if left == 0 {
        chunk.extend(b"0\r\n\r\n");
    }
    chunk
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    Trailers,
    /// Until the connection ends: an answer, or a tunnel.
    Rest,
}

/// Reads answers in the order of the requests.
#[derive(Debug, Default)]
pub struct Reader {
    buf: Vec<u8>,
    state: State,
    current: usize,
}

impl Reader {
    pub fn feed(&mut self, data: &[u8], now: Stamp, seen: &mut Seen) {
        self.buf.extend_from_slice(data);
        while !self.buf.is_empty() && self.step(now, seen) {}
    }

    /// The connection ended with close_notify: what only that ends is over.
    pub fn closed(&mut self, now: Stamp, seen: &mut Seen) {
        if let State::Rest = self.state {
            seen.asks[self.current].answer.whole = Some(now);
        }
    }

    /// One step; `false` where it takes more bytes.
    fn step(&mut self, now: Stamp, seen: &mut Seen) -> bool {
        match self.state {
            State::Head => self.head(now, seen),
            State::Length(left) => {
                let left = left - self.take(left, now, seen);
                self.state = State::Length(left);
                if left == 0 {
                    self.whole(now, seen);
                }
                true
            }
            State::Chunk(left) => {
                let left = left - self.take(left, now, seen);
                self.state = State::Chunk(left);
                left > 0 || self.line().is_some() && self.chunk_over()
            }
            State::ChunkSize => self.chunk_size(seen),
            State::Trailers => match self.line() {
                Some(line) if line.is_empty() => {
                    self.whole(now, seen);
                    true
                }
                line => line.is_some(),
            },
            State::Rest => {
                self.take(u64::MAX, now, seen);
                true
            }
        }
    }

    fn chunk_over(&mut self) -> bool {
        self.state = State::ChunkSize;
        true
    }

    fn chunk_size(&mut self, seen: &mut Seen) -> bool {
        let Some(line) = self.line() else {
            return false;
        };
        self.state = match u64::from_str_radix(&line, 16) {
            Ok(0) => State::Trailers,
            Ok(n) => State::Chunk(n),
            Err(_) => {
                seen.confuse(format!("a chunk of size {line:?}"));
                State::Rest
            }
        };
        true
    }

    /// Takes up to `most` bytes of the answer.
    fn take(&mut self, most: u64, now: Stamp, seen: &mut Seen) -> u64 {
        let n = most.min(self.buf.len() as u64);
        self.buf.drain(..n as usize);
        let answer = &mut seen.asks[self.current].answer;
        answer.bytes += n;
        answer.last = Some(now);
        seen.last_answer = Some(now);
        n
    }

    fn line(&mut self) -> Option<String> {
        let end = self.buf.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.buf[..end]).into_owned();
        self.buf.drain(..end + 2);
        Some(line)
    }

    fn whole(&mut self, now: Stamp, seen: &mut Seen) {
        seen.asks[self.current].answer.whole = Some(now);
        seen.asks[self.current].answer.ends = seen.read;
        seen.last_answer = Some(now);
        self.current += 1;
        self.state = State::Head;
    }

    fn head(&mut self, now: Stamp, seen: &mut Seen) -> bool {
        let Some(end) = self.buf.windows(4).position(|four| four == b"\r\n\r\n") else {
            return false;
        };
        let head = String::from_utf8_lossy(&self.buf[..end]).to_lowercase();
        self.buf.drain(..end + 4);
        let asked = seen
            .asks
            .get(self.current)
            .is_some_and(|ask| ask.head.is_some());
        if !asked && seen.half && head.starts_with("http/1.1 408 ") {
            return false;
        }
        if !asked {
            seen.confuse(format!("an answer to nothing: {head:?}"));
            self.buf.clear();
            return false;
        }
        let ask = &mut seen.asks[self.current];
        ask.answer.begun = Some(now);
        ask.answer.last = Some(now);
        ask.answer.status = head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
        ask.answer.closes = ask.http10 || field(&head, "connection") == Some("close");
        self.state = framing(&head, ask);
        ask.answer.framing = match self.state {
            State::Rest if ask.endpoint.is_tunnel() => Framing::Tunnel,
            State::Rest => Framing::UntilClose,
            _ => Framing::Framed,
        };
        if let State::Length(0) = self.state {
            self.whole(now, seen);
        }
        true
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.find(|(n, _)| *n == name).map(|(_, value)| value)
}

/// How the answer with this head ends (RFC 9112 6.3).
fn framing(head: &str, ask: &Ask) -> State {
    let status = ask.answer.status;
    let tunnel = status == 101 || ask.endpoint == Endpoint::Connect && status == 200;
    if tunnel {
        return State::Rest;
    }
    if status == 204 || status == 304 {
        return State::Length(0);
    }
    if field(head, "transfer-encoding") == Some("chunked") {
        return State::ChunkSize;
    }
    match field(head, "content-length").and_then(|n| n.parse().ok()) {
        Some(n) => State::Length(n),
        None => State::Rest,
    }
}
