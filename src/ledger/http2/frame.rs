//! The frames of one direction, found by their headers.
//!
//! A [`Reader`] is given the plaintext in any pieces and says where frames begin and end. It keeps
//! nine bytes at most; a payload costs the same whatever its length. What is not a frame is
//! [`Step::Lost`]: a wrong preface, a length or a stream that the type does not allow, a header
//! block that something else comes into.

/// What a client's connection begins with (RFC 9113 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The largest window, the largest stream id, and what is left of either without its reserved bit.
pub(crate) const MAX_31_BITS: u32 = u32::MAX >> 1;

const HEAD_LEN: usize = 9;

// Frame types (RFC 9113 6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// None of them: everybody ignores it (RFC 9113 5.5).
pub(crate) const UNKNOWN_TYPE: u8 = 0xfa;

/// Where in a frame its type is, and how long a PING is.
pub(super) const TYPE_AT: usize = 3;
pub(super) const PING_LEN: usize = HEAD_LEN + 8;

// Flags.
pub(super) const ACK: u8 = 0x1;
pub(super) const END_STREAM: u8 = 0x1;
pub(super) const END_HEADERS: u8 = 0x4;

const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;

// Error codes (RFC 9113 7).
pub(crate) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const CONNECT_ERROR: u32 = 10;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
const HTTP_1_1_REQUIRED: u32 = 13;

/// Whether a server that says this has found fault with what its peer sent, and not with itself or with
/// what it answers.
pub(crate) fn blames_peer(code: u32) -> bool {
    let own = [
        NO_ERROR,
        INTERNAL_ERROR,
        REFUSED_STREAM,
        CANCEL,
        CONNECT_ERROR,
    ];
    !own.contains(&code) && code <= HTTP_1_1_REQUIRED
}

/// A GOAWAY frame, on behalf of a server that has seen streams up to `last_stream`.
pub(crate) fn goaway(code: u32, last_stream: u32) -> [u8; 17] {
    let mut frame = [0; 17];
    frame[2] = 8;
    frame[3] = GOAWAY;
    frame[9..13].copy_from_slice(&(last_stream & MAX_31_BITS).to_be_bytes());
    frame[13..].copy_from_slice(&code.to_be_bytes());
    frame
}

/// SETTINGS that set nothing: what a server that says anything says first.
pub(crate) const SETTINGS_FRAME: [u8; 9] = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];

/// A RST_STREAM frame.
pub(crate) fn rst_stream(id: u32, code: u32) -> [u8; 13] {
    let mut frame = [0; 13];
    frame[2] = 4;
    frame[3] = RST_STREAM;
    frame[5..9].copy_from_slice(&(id & MAX_31_BITS).to_be_bytes());
    frame[9..].copy_from_slice(&code.to_be_bytes());
    frame
}

/// A PING.
pub(crate) fn ping(payload: [u8; 8]) -> [u8; 17] {
    let mut frame = ping_ack(payload);
    frame[4] = 0;
    frame
}

/// The acknowledgement of a PING.
pub(crate) fn ping_ack(payload: [u8; 8]) -> [u8; 17] {
    let mut frame = [0; 17];
    frame[2] = 8;
    frame[3] = PING;
    frame[4] = ACK;
    frame[9..].copy_from_slice(&payload);
    frame
}

/// A frame's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) id: u32,
}

impl Head {
    fn parse([a, b, c, kind, flags, id @ ..]: [u8; HEAD_LEN]) -> Self {
        Self {
            len: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            id: u32::from_be_bytes(id) & MAX_31_BITS,
        }
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether length and stream are such as the frame type allows.
    #[inline]
    fn is_possible(self, from: Side) -> bool {
        match self.kind {
            HEADERS if from == Side::Client => self.id % 2 == 1,
            PUSH_PROMISE if from == Side::Client => false,
            DATA | HEADERS | PRIORITY | PUSH_PROMISE | CONTINUATION => self.id != 0,
            RST_STREAM => self.id != 0 && self.len == 4,
            SETTINGS if self.has(ACK) => self.id == 0 && self.len == 0,
            SETTINGS => self.id == 0 && self.len % 6 == 0,
            PING => self.id == 0 && self.len == 8,
            GOAWAY => self.id == 0 && self.len >= 8,
            WINDOW_UPDATE => self.len == 4,
            _ => true,
        }
    }
}

/// Whose frames they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What a [`Reader`] came upon.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// So many more bytes of the DATA payload of this stream have gone by; whether the stream ends
    /// with them.
    Data(u32, u32, bool),
    /// Another frame is complete. A header block is one frame, whose head is that of its first; before
    /// that each part of it is a CONTINUATION.
    ///
    /// The value is the first word of WINDOW_UPDATE, RST_STREAM and GOAWAY, and the initial window
    /// of SETTINGS if there is one in it.
    Frame(Head, Option<u32>),
    /// This is not HTTP/2.
    Lost,
}

/// Finds the frames in one direction.
#[derive(Debug)]
pub(super) struct Reader {
    from: Side,
    /// What is still to come before the first frame.
    preface: &'static [u8],
    /// A server's preface is its SETTINGS (RFC 9113 3.4). They are still to come.
    expects_settings: bool,
    /// The frame whose payload is going by, and how much of it is to come.
    frame: Option<Head>,
    left: u32,
    /// The first frame of a header block that goes on.
    block: Option<Head>,
    /// How long its frames were so far.
    block_len: u64,
    /// The part of a head, a setting or a word that was at the end of the last slice.
    buf: [u8; HEAD_LEN],
    filled: usize,
    value: Option<u32>,
    /// The payload of the last PING.
    ping: [u8; 8],
    /// The error of the last GOAWAY.
    error: u32,
}

impl Reader {
    pub(super) fn new(from: Side) -> Self {
        Self {
            from,
            preface: match from {
                Side::Client => PREFACE,
                Side::Server => &[],
            },
            expects_settings: from == Side::Server,
            frame: None,
            left: 0,
            block: None,
            block_len: 0,
            buf: [0; HEAD_LEN],
            filled: 0,
            value: None,
            ping: [0; 8],
            error: NO_ERROR,
        }
    }

    /// The payload of the PING that has just ended.
    pub(super) fn ping(&self) -> [u8; 8] {
        self.ping
    }

    /// The error of the GOAWAY that has just ended (RFC 9113 7).
    pub(super) fn error(&self) -> u32 {
        self.error
    }

    /// Whether another frame could be put here.
    pub(super) fn is_between_frames(&self) -> bool {
        let inside = self.frame.is_some() || self.filled > 0 || self.block.is_some();
        self.preface.is_empty() && !self.expects_settings && !inside
    }

    /// How much is in of a header block that is not all in, or of the preface.
    #[inline]
    pub(super) fn header_block(&self) -> Option<u64> {
        match self.is_between_frames() {
            true => None,
            false => self.part(),
        }
    }

    #[cold]
    fn part(&self) -> Option<u64> {
        let greeted = PREFACE.len() - self.preface.len();
        if !self.preface.is_empty() {
            return (greeted > 0).then_some(greeted as u64);
        }
        let is_head = |head: &Head| matches!(head.kind, HEADERS | CONTINUATION);
        let frame = self.frame.filter(is_head);
        let in_frame = frame.map(|head| u64::from(head.len - self.left));
        let before = self.block.map(|_| self.block_len);
        match (before, in_frame) {
            (None, None) => None,
            (before, in_frame) => Some(before.unwrap_or(0) + in_frame.unwrap_or(0)),
        }
    }

    /// Whether not a byte of the server's has gone by.
    pub(super) fn is_untouched(&self) -> bool {
        self.expects_settings && self.filled == 0 && self.frame.is_none()
    }

    /// Takes bytes off the front to the next that says something. `None` when all are taken and
    /// nothing does.
    #[inline(always)] // into two callers: a step is a frame, and half of its cost was the call
    pub(super) fn step(&mut self, bytes: &mut &[u8]) -> Option<Step> {
        if !self.preface.is_empty() && !self.greet(bytes) {
            return Some(Step::Lost);
        }
        loop {
            let head = match self.frame {
                Some(head) => head,
                None => {
                    let head = Head::parse(self.take(bytes)?);
                    if !self.begin(head) {
                        return Some(Step::Lost);
                    }
                    head
                }
            };
            let part = self.payload(bytes);
            if self.left > 0 && part.is_empty() {
                return None;
            }
            if let Some(step) = self.pass(head, part) {
                return Some(step);
            }
        }
    }

    /// Whether the bytes agree with the preface so far.
    #[cold]
    fn greet(&mut self, bytes: &mut &[u8]) -> bool {
        let n = bytes.len().min(self.preface.len());
        let (said, rest) = bytes.split_at(n);
        let (expected, to_come) = self.preface.split_at(n);
        *bytes = rest;
        self.preface = to_come;
        said == expected
    }

    /// Whether the frame may be in this place.
    #[inline]
    fn begin(&mut self, head: Head) -> bool {
        let in_place = match self.block {
            Some(open) => head.kind == CONTINUATION && head.id == open.id,
            None if self.expects_settings => head.kind == SETTINGS && !head.has(ACK),
            None => head.kind != CONTINUATION,
        };
        self.expects_settings = false;
        self.frame = Some(head);
        self.left = head.len;
        in_place && head.is_possible(self.from)
    }

    /// What is in of the payload that is to come.
    #[inline]
    fn payload<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        let n = bytes.len().min(self.left as usize);
        let (part, rest) = bytes.split_at(n);
        *bytes = rest;
        self.left -= n as u32;
        part
    }

    /// A part of the payload, the last one or not. What it says, if anything.
    #[inline]
    fn pass(&mut self, head: Head, part: &[u8]) -> Option<Step> {
        let is_over = self.left == 0;
        if is_over {
            self.frame = None;
        }
        match head.kind {
            DATA => {
                let ends = is_over && head.has(END_STREAM);
                Some(Step::Data(head.id, part.len() as u32, ends))
            }
            HEADERS | PUSH_PROMISE | CONTINUATION if is_over => self.end_headers(head),
            // It makes nothing of a part of one.
            _ => self.look(head, part, is_over),
        }
    }

    #[inline]
    fn end_headers(&mut self, head: Head) -> Option<Step> {
        let first = self.block.take().unwrap_or(head);
        if head.has(END_HEADERS) {
            return Some(Step::Frame(first, None));
        }
        Some(self.goes_on(first, head))
    }

    #[cold]
    fn goes_on(&mut self, first: Head, head: Head) -> Step {
        if head.kind != CONTINUATION {
            self.block_len = 0;
        }
        self.block_len += u64::from(head.len);
        self.block = Some(first);
        let kind = CONTINUATION;
        Step::Frame(Head { kind, ..head }, None)
    }

    /// Picks out what the payload says, a setting or a word at a time.
    fn look(&mut self, head: Head, mut part: &[u8], is_over: bool) -> Option<Step> {
        match head.kind {
            WINDOW_UPDATE | RST_STREAM if self.value.is_none() => {
                self.value = self.take(&mut part).map(u32::from_be_bytes);
            }
            GOAWAY if self.value.is_none() => {
                if let Some([a, b, c, d, error @ ..]) = self.take::<8>(&mut part) {
                    self.value = Some(u32::from_be_bytes([a, b, c, d]));
                    self.error = u32::from_be_bytes(error);
                }
            }
            PING => self.ping = self.take(&mut part).unwrap_or(self.ping),
            SETTINGS => {
                while let Some([a, b, value @ ..]) = self.take::<6>(&mut part) {
                    if u16::from_be_bytes([a, b]) == SETTINGS_INITIAL_WINDOW_SIZE {
                        self.value = Some(u32::from_be_bytes(value));
                    }
                }
            }
            _ => {}
        }
        is_over.then(|| Step::Frame(head, self.value.take()))
    }

    /// Takes `N` bytes, once that many are in. Most often they come at once.
    #[inline]
    fn take<const N: usize>(&mut self, bytes: &mut &[u8]) -> Option<[u8; N]> {
        match bytes.split_first_chunk() {
            Some((whole, rest)) if self.filled == 0 => {
                *bytes = rest;
                Some(*whole)
            }
            _ if bytes.is_empty() => None,
            _ => self.collect(bytes),
        }
    }

    /// Moves bytes into `buf` until there are `N`.
    #[cold]
    fn collect<const N: usize>(&mut self, bytes: &mut &[u8]) -> Option<[u8; N]> {
        let n = bytes.len().min(N - self.filled);
        let (part, rest) = bytes.split_at(n);
        self.buf[self.filled..][..n].copy_from_slice(part);
        *bytes = rest;
        self.filled = (self.filled + n) % N;
        match self.filled {
            0 => self.buf.first_chunk().copied(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of zeroes.
    fn frame(kind: u8, flags: u8, id: u32, len: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, len, kind, flags];
        bytes.extend(id.to_be_bytes());
        bytes.resize(HEAD_LEN + usize::from(len), 0);
        bytes
    }

    /// What a server says first.
    fn settings() -> Vec<u8> {
        frame(SETTINGS, 0, 0, 0)
    }

    /// Whether a reader gets to the end of it, all at once and byte by byte.
    fn is_read(from: Side, bytes: &[u8]) -> bool {
        let [whole, single] = [bytes.len().max(1), 1].map(|size| {
            let mut reader = Reader::new(from);
            bytes.chunks(size).all(|mut chunk| {
                std::iter::from_fn(|| reader.step(&mut chunk)).all(|s| !matches!(s, Step::Lost))
            })
        });
        assert_eq!(whole, single);
        whole
    }

    #[test]
    fn each_type_has_its_length_and_its_streams() {
        for (kind, flags, id, len, fine) in [
            (DATA, 0, 1, 0, true),
            (DATA, 0, 1, 200, true),
            (DATA, 0, 0, 1, false),
            (HEADERS, END_HEADERS, 1, 5, true),
            (HEADERS, END_HEADERS, 0, 5, false),
            (PRIORITY, 0, 1, 5, true),
            (PRIORITY, 0, 0, 5, false),
            (RST_STREAM, 0, 1, 4, true),
            (RST_STREAM, 0, 1, 3, false),
            (RST_STREAM, 0, 1, 5, false),
            (RST_STREAM, 0, 0, 4, false),
            (SETTINGS, 0, 0, 0, true),
            (SETTINGS, 0, 0, 6, true),
            (SETTINGS, 0, 0, 12, true),
            (SETTINGS, 0, 0, 7, false),
            (SETTINGS, 0, 1, 6, false),
            (SETTINGS, ACK, 0, 0, true),
            (SETTINGS, ACK, 0, 6, false),
            (SETTINGS, ACK, 1, 0, false),
            (PUSH_PROMISE, END_HEADERS, 1, 8, true),
            (PUSH_PROMISE, END_HEADERS, 0, 8, false),
            (PING, 0, 0, 8, true),
            (PING, 0, 0, 7, false),
            (PING, 0, 1, 8, false),
            (GOAWAY, 0, 0, 8, true),
            (GOAWAY, 0, 0, 90, true),
            (GOAWAY, 0, 0, 7, false),
            (GOAWAY, 0, 1, 8, false),
            (WINDOW_UPDATE, 0, 0, 4, true),
            (WINDOW_UPDATE, 0, 1, 4, true),
            (WINDOW_UPDATE, 0, 1, 3, false),
            (WINDOW_UPDATE, 0, 1, 5, false),
            (CONTINUATION, END_HEADERS, 1, 1, false),
            (10, 0xff, 0, 0, true),
            (0xff, 0xff, 7, 99, true),
        ] {
            let bytes = [settings(), frame(kind, flags, id, len)].concat();
            assert_eq!(
                is_read(Side::Server, &bytes),
                fine,
                "{kind} {flags} {id} {len}"
            );
        }
    }

    #[test]
    fn a_header_block_is_not_interrupted() {
        let open = [settings(), frame(HEADERS, 0, 3, 2)].concat();
        for (next, fine) in [
            (frame(CONTINUATION, 0, 3, 0), true),
            (frame(CONTINUATION, END_HEADERS, 3, 2), true),
            (frame(CONTINUATION, END_HEADERS, 1, 2), false),
            (frame(CONTINUATION, END_HEADERS, 0, 2), false),
            (frame(HEADERS, END_HEADERS, 3, 2), false),
            (frame(DATA, 0, 3, 2), false),
            (frame(PING, 0, 0, 8), false),
            (frame(99, 0, 3, 2), false),
        ] {
            assert_eq!(
                is_read(Side::Server, &[&open[..], &next].concat()),
                fine,
                "{next:?}"
            );
        }
        let ended = frame(CONTINUATION, END_HEADERS, 3, 2);
        assert!(!is_read(
            Side::Server,
            &[&open[..], &ended, &ended].concat()
        ));
        assert!(is_read(
            Side::Server,
            &[&open[..], &ended, &open[HEAD_LEN..]].concat()
        ));
    }

    #[test]
    fn the_preface_has_to_match() {
        assert!(is_read(Side::Client, b""));
        assert!(is_read(Side::Client, &PREFACE[..7]));
        assert!(is_read(
            Side::Client,
            &[PREFACE, &frame(PING, 0, 0, 8)].concat()
        ));
        for at in 0..PREFACE.len() {
            let mut wrong = PREFACE.to_vec();
            wrong[at] ^= 0x20;
            assert!(!is_read(Side::Client, &wrong), "{at}");
        }
    }

    #[test]
    fn reserved_bits_are_masked() {
        let head = Head::parse([1, 2, 3, DATA, END_STREAM, 0x80, 0, 1, 2]);
        assert_eq!((head.len, head.id), (0x01_02_03, 0x01_02));
        assert!(head.has(END_STREAM) && !head.has(END_HEADERS));
    }

    #[test]
    fn frames_of_our_own() {
        let want = [
            0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        ];
        assert_eq!(goaway(NO_ERROR, u32::MAX), want);
        let want = [0, 0, 4, 3, 0, 0, 0, 1, 2, 0, 0, 3, 4];
        assert_eq!(rst_stream(0x8000_0102, 0x0304), want);
        let want = [0, 0, 8, 6, 1, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(ping_ack([1, 2, 3, 4, 5, 6, 7, 8]), want);
    }
}
