//! One head, of a request or of an answer: its first line's first bytes, and the few header fields
//! that say how its body and its connection end.

use memchr::memchr;

/// How much of the first line is kept: a status line to its code, a request line past its method.
const FIRST: usize = 12;

/// How much of a header line is kept. One of this length or more counts as unread: no sane value of
/// the fields that matter is that long, and a head may have any size. A whole line in one slice is
/// held to the same limit, or the split would change what is understood.
const LIMIT: usize = 64;

/// A request's head, of which only the framing of its body matters.
pub(super) const REQUEST: bool = false;

/// An answer's head, which also says what becomes of the connection.
pub(super) const ANSWER: bool = true;

/// A head on its way, in any split.
#[derive(Debug)]
pub(super) struct Head<const OF: bool> {
    first: [u8; FIRST],
    first_len: usize,
    /// The first line is over.
    in_fields: bool,
    /// The start of the line that the last slice ended in.
    line: [u8; LIMIT],
    line_len: usize,
    fields: Fields,
}

impl<const OF: bool> Default for Head<OF> {
    fn default() -> Self {
        Self {
            first: [0; FIRST],
            first_len: 0,
            in_fields: false,
            line: [0; LIMIT],
            line_len: 0,
            fields: Fields::default(),
        }
    }
}

impl<const OF: bool> Head<OF> {
    /// Takes bytes up to the blank line. Where it ends, if it is in; all are taken otherwise.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if !self.in_fields {
            at = self.read_first(bytes)?;
        }
        if self.line_len > 0 {
            at += self.read_broken_line(&bytes[at..])?;
            if self.fields.read::<OF>(&self.line[..self.line_len]) {
                return Some(at);
            }
            self.line_len = 0;
        }
        while let Some(len) = memchr(b'\n', &bytes[at..]) {
            let line = &bytes[at..at + len];
            at += len + 1;
            if self.fields.read::<OF>(line) {
                return Some(at);
            }
        }
        self.keep(&bytes[at..]);
        None
    }

    fn read_first(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = memchr(b'\n', bytes);
        let line = &bytes[..end.unwrap_or(bytes.len())];
        if let (0, Some(first)) = (self.first_len, line.first_chunk()) {
            self.first = *first;
            self.first_len = FIRST;
        } else {
            self.first_len += fill(&mut self.first[self.first_len..], line);
        }
        self.in_fields = end.is_some();
        end.map(|end| end + 1)
    }

    /// The rest of a line that began in an earlier slice.
    fn read_broken_line(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = memchr(b'\n', bytes);
        self.keep(&bytes[..end.unwrap_or(bytes.len())]);
        end.map(|end| end + 1)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.line_len += fill(&mut self.line[self.line_len..], bytes);
    }

    /// Makes room for the next head.
    pub(super) fn clear(&mut self) {
        self.first_len = 0;
        self.in_fields = false;
        self.line_len = 0;
        self.fields = Fields::default();
    }

    /// Whether not a byte is in.
    pub(super) fn is_empty(&self) -> bool {
        self.first_len == 0 && !self.in_fields
    }

    /// Whether the first line is over.
    pub(super) fn in_fields(&self) -> bool {
        self.in_fields
    }

    /// What is in of the first line, cut to twelve bytes.
    pub(super) fn first(&self) -> &[u8] {
        &self.first[..self.first_len]
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }
}

/// Copies what fits; how much that was.
fn fill(room: &mut [u8], bytes: &[u8]) -> usize {
    let len = room.len().min(bytes.len());
    room[..len].copy_from_slice(&bytes[..len]);
    len
}

/// What `Content-Length` said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Length {
    #[default]
    Absent,
    Known(u64),
    /// It was no number, or two.
    Unknown,
}

/// What `Transfer-Encoding` said, by the last coding of its last line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Coding {
    #[default]
    Absent,
    Chunked,
    Other,
    Unknown,
}

/// What `Upgrade` said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Upgrade {
    #[default]
    Absent,
    Websocket,
    Other,
}

#[derive(Clone, Copy, Debug, Default)]
enum Name {
    #[default]
    Other,
    ContentLength,
    TransferEncoding,
    Connection,
    Upgrade,
}

/// The header fields that matter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    pub(super) length: Length,
    pub(super) coding: Coding,
    pub(super) upgrade: Upgrade,
    /// `Connection` has named `close`.
    pub(super) close: bool,
    /// `Connection` has named `keep-alive`.
    pub(super) keep_alive: bool,
    /// `Connection` could not be read, or not all of it.
    pub(super) connection_unknown: bool,
    /// Whose line was the last: it may go on in the next.
    last: Name,
}

impl Fields {
    /// Takes one line, without its LF. Whether it was the blank one.
    #[inline(always)]
    fn read<const OF: bool>(&mut self, line: &[u8]) -> bool {
        let Some(first) = line.first() else {
            return true;
        };
        match first {
            b'c' | b'C' | b't' | b'T' => self.read_field::<OF>(line),
            b'u' | b'U' if OF == ANSWER => self.read_field::<OF>(line),
            // A line folded the obsolete way (RFC 9112, 5.2) goes on with the one before.
            b' ' | b'\t' => self.spoil(),
            b'\r' if line.len() == 1 => return true,
            _ => self.last = Name::Other,
        }
        false
    }

    #[inline(never)]
    fn read_field<const OF: bool>(&mut self, line: &[u8]) {
        self.last = Name::Other;
        let Some((name, value)) = named::<OF>(line) else {
            return;
        };
        self.last = name;
        if line.len() < LIMIT {
            self.set(value.trim_ascii());
        } else {
            self.spoil();
        }
    }

    fn set(&mut self, value: &[u8]) {
        match self.last {
            Name::Other => {}
            Name::ContentLength => {
                self.length = match (self.length, number(value)) {
                    (Length::Absent, Some(len)) => Length::Known(len),
                    (Length::Known(known), Some(len)) if known == len => Length::Known(len),
                    _ => Length::Unknown,
                }
            }
            Name::TransferEncoding if self.coding == Coding::Unknown => {}
            Name::TransferEncoding => {
                self.coding = match tokens(value).next_back() {
                    Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => Coding::Chunked,
                    _ => Coding::Other,
                }
            }
            Name::Connection => {
                self.close |= tokens(value).any(|it| it.eq_ignore_ascii_case(b"close"));
                self.keep_alive |= tokens(value).any(|it| it.eq_ignore_ascii_case(b"keep-alive"));
            }
            Name::Upgrade => {
                let websocket = value.eq_ignore_ascii_case(b"websocket");
                self.upgrade = match self.upgrade {
                    Upgrade::Absent if websocket => Upgrade::Websocket,
                    _ => Upgrade::Other,
                }
            }
        }
    }

    /// The last line said something that was not understood.
    fn spoil(&mut self) {
        match self.last {
            Name::Other => {}
            Name::ContentLength => self.length = Length::Unknown,
            Name::TransferEncoding => self.coding = Coding::Unknown,
            Name::Connection => self.connection_unknown = true,
            Name::Upgrade => self.upgrade = Upgrade::Other,
        }
    }
}

/// The field of a line, if it is one that matters.
fn named<const OF: bool>(line: &[u8]) -> Option<(Name, &[u8])> {
    if let Some(value) = value(line, b"content-length") {
        return Some((Name::ContentLength, value));
    }
    if let Some(value) = value(line, b"transfer-encoding") {
        return Some((Name::TransferEncoding, value));
    }
    if OF == REQUEST {
        return None;
    }
    if let Some(value) = value(line, b"connection") {
        return Some((Name::Connection, value));
    }
    Some((Name::Upgrade, value(line, b"upgrade")?))
}

/// What follows the colon, if the line has this name. The colon is looked for first: it tells most
/// lines apart at once.
fn value<'a, const N: usize>(line: &'a [u8], name: &[u8; N]) -> Option<&'a [u8]> {
    let (start, [b':', value @ ..]) = line.split_first_chunk::<N>()? else {
        return None;
    };
    // Without a way out in the middle this is a few vector instructions.
    let is_same = start.iter().zip(name).fold(true, |same, (byte, of_name)| {
        same & (byte.to_ascii_lowercase() == *of_name)
    });
    is_same.then_some(value)
}

fn tokens(value: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Digits only: no sign, no list.
fn number(value: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        number.checked_mul(10)?.checked_add(digit(byte)?)
    })
}
