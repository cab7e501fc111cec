//! An HTTP/2 client made of frames, which answers only what it is told to answer.
//!
//! It keeps every frame it received.  It obeys flow control only in [`H2::upload`]; everything else
//! sends what it is given.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connection::{Connection, Pumped};
use super::frame::{Frame, PREFACE, kind, setting};
use super::h2_stream::H2Stream;
use super::hpack;
use super::layer::Layer;
use super::options::Options;
use super::tls::{Client, Tls};

const DEFAULT_WINDOW: i64 = 65_535;
const DEFAULT_FRAME: usize = 16_384;

/// What the client announces, and what it answers by itself.
#[derive(Clone, Debug)]
pub struct H2Options {
    pub auto_ping_ack: bool,
    pub auto_window_update: bool,
    pub auto_settings_ack: bool,
    /// The contents of the first SETTINGS.
    pub settings: Vec<(u16, u32)>,
}

impl Default for H2Options {
    fn default() -> Self {
        Self {
            auto_ping_ack: true,
            auto_window_update: true,
            auto_settings_ack: true,
            settings: vec![(setting::ENABLE_PUSH, 0)],
        }
    }
}

impl H2Options {
    /// Opens no window but by [`H2::open`], each stream's being so large at first.
    pub fn window(initial: u32) -> Self {
        Self {
            auto_window_update: false,
            settings: vec![(setting::INITIAL_WINDOW_SIZE, initial)],
            ..Self::default()
        }
    }

    /// Answers nothing: no PING, no SETTINGS, no WINDOW_UPDATE.
    pub fn silent() -> Self {
        Self {
            auto_ping_ack: false,
            auto_window_update: false,
            auto_settings_ack: false,
            ..Self::default()
        }
    }
}

/// An HTTP/2 client over a connection.
pub struct H2<L: Layer = Tls> {
    /// The connection below, for everything which is not about frames.
    pub conn: Connection<L>,
    /// May be changed at any time.
    pub options: H2Options,
    pub(super) frames: Vec<(Duration, Frame)>,
    pub(super) streams: BTreeMap<u32, H2Stream>,
    pub(super) decoder: hpack::Decoder,
    /// A header block which goes on in CONTINUATION, with the frame that began it.
    pub(super) block: Option<(Frame, Vec<u8>)>,
    next_stream: u32,
    pub(super) initial_window: i64,
    /// What may be sent; the entry 0 is that of the connection, the others are relative to
    /// `initial_window`.
    pub(super) windows: BTreeMap<u32, i64>,
}

impl H2<Tls> {
    /// Connects with ALPN h2 and sends preface and SETTINGS.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::connect_with(addr, &Options::new().h2(), H2Options::default())
    }

    pub fn connect_with(addr: SocketAddr, tls: &Options, options: H2Options) -> io::Result<Self> {
        Self::start(Client::connect_with(addr, tls)?, options)
    }
}

impl<L: Layer> H2<L> {
    /// Sends preface and SETTINGS on a connection.
    pub fn start(conn: Connection<L>, options: H2Options) -> io::Result<Self> {
        let mut h2 = Self::over(conn, options);
        let settings = Frame::settings(&h2.options.settings).encode();
        h2.conn.send([PREFACE, &settings].concat())?;
        Ok(h2)
    }

    /// Sends nothing yet, not even the preface.
    pub fn over(conn: Connection<L>, options: H2Options) -> Self {
        Self {
            conn,
            options,
            frames: Vec::new(),
            streams: BTreeMap::new(),
            decoder: hpack::Decoder::new(),
            block: None,
            next_stream: 1,
            initial_window: DEFAULT_WINDOW,
            windows: BTreeMap::from([(0, DEFAULT_WINDOW)]),
        }
    }

    /// Sends one frame.
    pub fn send_frame(&mut self, frame: &Frame) -> io::Result<()> {
        self.send_frames(std::slice::from_ref(frame))
    }

    /// Sends frames in one write.
    pub fn send_frames(&mut self, frames: &[Frame]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for frame in frames {
            match frame.kind {
                kind::DATA => {
                    self.spend(frame);
                    self.conn.story.tally("> DATA", frame.payload.len())
                }
                kind::WINDOW_UPDATE => self.conn.story.tally("> WINDOW_UPDATE", 4),
                _ => self.conn.story.note(format!("> {frame:?}")),
            };
            bytes.extend(frame.encode());
        }
        self.conn.send(bytes)
    }

    /// The frame of a request on the next stream, unsent: for one write with other things.
    pub fn request(&mut self, fields: &[(&str, &str)], end_stream: bool) -> Frame {
        let stream = self.next_stream;
        self.next_stream += 2;
        self.streams.insert(stream, H2Stream::default());
        Frame::headers(stream, hpack::encode(fields), end_stream)
    }

    /// Sends a request and returns its stream.
    pub fn send_request(&mut self, fields: &[(&str, &str)], end_stream: bool) -> io::Result<u32> {
        let frame = self.request(fields, end_stream);
        self.send_frame(&frame)?;
        Ok(frame.stream)
    }

    /// Sends a GET and returns its stream.
    pub fn get(&mut self, path: &str) -> io::Result<u32> {
        self.send_request(&request_fields("GET", path), true)
    }

    /// Starts a POST, whose body is still to come, and returns its stream.
    pub fn post(&mut self, path: &str) -> io::Result<u32> {
        self.send_request(&request_fields("POST", path), false)
    }

    /// Starts a CONNECT tunnel and returns its stream.
    pub fn connect_tunnel(&mut self, authority: &str) -> io::Result<u32> {
        self.send_request(&[(":method", "CONNECT"), (":authority", authority)], false)
    }

    /// Sends a GET and waits for the whole response, or what comes of it.
    pub fn h2_get(&mut self, path: &str) -> io::Result<H2Stream> {
        let stream = self.get(path)?;
        Ok(self.wait_stream(stream, self.conn.timeout))
    }

    /// Sends DATA without regard to flow control.
    pub fn data(&mut self, stream: u32, bytes: &[u8], end_stream: bool) -> io::Result<()> {
        self.send_frame(&Frame::data(stream, bytes, end_stream))
    }

    /// Sends a body as flow control permits, reading meanwhile; how much of it was sent.
    ///
    /// It stops early if the server ends or resets the stream, or the connection.
    pub fn upload(&mut self, stream: u32, body: &[u8], timeout: Duration) -> io::Result<usize> {
        let deadline = Instant::now() + timeout;
        let mut sent = 0;
        loop {
            let most = self.send_window(stream).clamp(0, DEFAULT_FRAME as i64) as usize;
            let part = &body[sent..body.len().min(sent + most)];
            if !part.is_empty() || body.is_empty() {
                sent += part.len();
                self.data(stream, part, sent == body.len())?;
            }
            if sent == body.len() || Instant::now() >= deadline {
                return Ok(sent);
            }
            let patience = if part.is_empty() {
                deadline
            } else {
                Instant::now()
            };
            if self.pump(patience) == Pumped::Ended || self.stream(stream).is_over() {
                return Ok(sent);
            }
        }
    }

    /// Lets the server send so much more on a stream, and on the connection, in one write.
    pub fn open(&mut self, stream: u32, by: u32) -> io::Result<()> {
        self.send_frames(&[
            Frame::window_update(0, by),
            Frame::window_update(stream, by),
        ])
    }

    /// What flow control lets the client send on a stream.
    pub fn send_window(&self, stream: u32) -> i64 {
        let own = self.windows.get(&stream).copied().unwrap_or(0);
        self.windows[&0].min(own + self.initial_window)
    }

    fn spend(&mut self, frame: &Frame) {
        let size = frame.payload.len() as i64;
        *self.windows.entry(0).or_default() -= size;
        *self.windows.entry(frame.stream).or_default() -= size;
    }
}

impl<L: Layer> fmt::Debug for H2<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "H2, streams: {:#?}", self.streams)?;
        self.conn.fmt(f)
    }
}

fn request_fields<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ]
}
