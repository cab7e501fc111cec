//! One head, of a request or of an answer: its first line's first bytes, and the few header fields
//! that say how its body and its connection end.
//!
//! Almost every head comes in one slice and is read there, in place: nothing is copied, and nothing
//! is kept between heads. Only of a head that is split the little that matters is kept, in a [`Part`].

use super::lines::take_line;

/// How much of the first line is kept: a status line to its code, a request line past its method.
const FIRST: usize = 12;

/// How much of a header line is kept, without the space and the zeroes that say nothing. One of this length
/// or more counts as unread: no sane value of the fields that matter is that long, and a head may have any
/// size. A whole line in one slice is held to the same limit, or the split would change what is understood.
const LIMIT: usize = 64;

/// A request's head, of which only the framing of its body matters.
pub(super) const REQUEST: bool = false;

/// An answer's head, which also says what becomes of the connection.
pub(super) const ANSWER: bool = true;

/// The start of a first line. Zeroes follow where the line is shorter.
pub(super) type First = [u8; FIRST];

/// A head on its way, in any split.
#[derive(Debug, Default)]
pub(super) struct Head<const OF: bool> {
    part: Option<Box<Part>>,
}

/// What a head says that matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) first: First,
    pub(super) fields: Fields,
}

impl<const OF: bool> Head<OF> {
    /// Takes bytes up to the blank line. Where it ends, if it is in, and then all is in `said`, which
    /// has to be new; all are taken otherwise.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8], said: &mut Said) -> Option<usize> {
        if self.part.is_none() {
            let end = said.read::<OF>(bytes);
            if end.is_some() {
                return end;
            }
        }
        self.read_part(bytes, said)
    }

    #[cold]
    fn read_part(&mut self, bytes: &[u8], said: &mut Said) -> Option<usize> {
        if bytes.is_empty() {
            return None;
        }
        let end = self.part.get_or_insert_default().read::<OF>(bytes)?;
        *said = self.part.take()?.said;
        Some(end)
    }

    /// Whether not a byte is in.
    pub(super) fn is_empty(&self) -> bool {
        self.part.is_none()
    }

    /// What is in of a head that is not complete.
    pub(super) fn part(&self) -> Option<&Part> {
        self.part.as_deref()
    }
}

impl Said {
    /// Reads a head that begins and ends in this slice.
    #[inline]
    fn read<const OF: bool>(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        self.first = first_of(take_line(&mut rest)?);
        let is_over = self.fields.read_lines::<OF>(&mut rest);
        is_over.then_some(bytes.len() - rest.len())
    }
}

#[inline]
fn first_of(line: &[u8]) -> First {
    line.first_chunk().copied().unwrap_or_else(|| {
        let mut first = [0; FIRST];
        fill(&mut first, line);
        first
    })
}

/// What is known of a head whose blank line is to come.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) said: Said,
    first_len: usize,
    /// The first line is over.
    pub(super) in_fields: bool,
    /// The line that the last slice ended in, so far.
    line: Line,
}

impl Part {
    /// Where in the slice the head ends, if it does.
    fn read<const OF: bool>(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        if !self.in_fields {
            self.read_first(&mut rest)?;
        }
        let is_over = self.line.len > 0 && self.read_broken_line::<OF>(&mut rest)?;
        if is_over || self.said.fields.read_lines::<OF>(&mut rest) {
            return Some(bytes.len() - rest.len());
        }
        self.line.keep(rest);
        None
    }

    /// `None` if the line goes on in the next slice.
    fn read_first(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let whole = take_line(bytes);
        let line = whole.unwrap_or(*bytes);
        self.first_len += fill(&mut self.said.first[self.first_len..], line);
        self.in_fields = whole.is_some();
        whole.map(drop)
    }

    /// The rest of a line that began in an earlier slice: whether it is the blank one, if it ends.
    fn read_broken_line<const OF: bool>(&mut self, bytes: &mut &[u8]) -> Option<bool> {
        let whole = take_line(bytes);
        self.line.keep(whole.unwrap_or(*bytes));
        whole?;
        let line = std::mem::take(&mut self.line);
        Some(self.said.fields.read::<OF>(line.kept()))
    }

    /// What is in of the first line, cut to twelve bytes.
    pub(super) fn first_so_far(&self) -> &[u8] {
        &self.said.first[..self.first_len]
    }
}

/// The start of a line, of which what says nothing is left out: all but one of several spaces, and zeroes
/// before a number.
#[derive(Debug)]
struct Line {
    kept: [u8; LIMIT],
    len: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            kept: [0; LIMIT],
            len: 0,
        }
    }
}

impl Line {
    fn of(bytes: &[u8]) -> Self {
        let mut line = Self::default();
        line.keep(bytes);
        line
    }

    fn kept(&self) -> &[u8] {
        &self.kept[..self.len]
    }

    fn keep(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.len == LIMIT {
                return;
            }
            // In place of the byte before, if that has said nothing.
            let says = match (self.kept(), byte) {
                ([.., b' ' | b'\t'], b' ' | b'\t') => 0,
                ([.., b' ' | b'\t' | b':', b'0'], b'0'..=b'9') => 0,
                _ => 1,
            };
            self.kept[self.len + says - 1] = *byte;
            self.len += says;
        }
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

impl Name {
    /// The name that a line may have, by its first letter and where its colon is: that tells almost
    /// every line apart at once.
    #[inline]
    fn by_shape<const OF: bool>(line: &[u8]) -> Self {
        let ends_at = |len: usize| line.get(len) == Some(&b':');
        match line {
            [b'c' | b'C', ..] if ends_at(14) => Self::ContentLength,
            [b'c' | b'C', ..] if OF == ANSWER && ends_at(10) => Self::Connection,
            [b't' | b'T', ..] if ends_at(17) => Self::TransferEncoding,
            [b'u' | b'U', ..] if OF == ANSWER && ends_at(7) => Self::Upgrade,
            _ => Self::Other,
        }
    }

    /// What follows the colon, if the line has this name.
    #[inline(always)] // as `Fields::set`
    fn value(self, line: &[u8]) -> Option<&[u8]> {
        match self {
            Self::ContentLength => value(line, b"content-length"),
            Self::TransferEncoding => value(line, b"transfer-encoding"),
            Self::Connection => value(line, b"connection"),
            Self::Upgrade => value(line, b"upgrade"),
            Self::Other => None,
        }
    }
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
    /// Takes whole lines off the front, to the blank one. Whether that has come.
    #[inline]
    fn read_lines<const OF: bool>(&mut self, bytes: &mut &[u8]) -> bool {
        loop {
            // The one line that is not worth a search.
            if let Some(rest) = bytes.strip_prefix(b"\r\n") {
                *bytes = rest;
                return true;
            }
            match take_line(bytes) {
                Some(line) if !self.read::<OF>(line) => {}
                line => return line.is_some(),
            }
        }
    }

    /// Takes one line, without its LF. Whether it was the blank one.
    #[inline]
    fn read<const OF: bool>(&mut self, line: &[u8]) -> bool {
        match line {
            [] => return true,
            // A line folded the obsolete way (RFC 9112, 5.2) goes on with the one before.
            [b' ' | b'\t', ..] => self.spoil(),
            [b'\r'] => return true,
            _ => match Name::by_shape::<OF>(line) {
                Name::Other => self.last = Name::Other,
                name => self.read_field(name, line),
            },
        }
        false
    }

    /// A line that looks like one with this name.
    #[inline(never)] // most lines are none
    fn read_field(&mut self, name: Name, line: &[u8]) {
        let Some(value) = name.value(line) else {
            self.last = Name::Other;
            return;
        };
        self.last = name;
        if line.len() < LIMIT {
            self.set(value.trim_ascii());
        } else {
            self.read_long(line);
        }
    }

    #[cold]
    fn read_long(&mut self, line: &[u8]) {
        let line = Line::of(line);
        match self.last.value(line.kept()).filter(|_| line.len < LIMIT) {
            Some(value) => self.set(value.trim_ascii()),
            None => self.spoil(),
        }
    }

    #[inline(always)] // a second caller, which is cold, is no reason for a call
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

/// What follows the colon, if the line has this name.
#[inline(always)]
fn value<'a, const N: usize>(line: &'a [u8], name: &[u8; N]) -> Option<&'a [u8]> {
    let (start, [b':', value @ ..]) = line.split_first_chunk::<N>()? else {
        return None;
    };
    // Most say it in lower case, and then this is two words to compare.
    let is_same = start == name || start.eq_ignore_ascii_case(name);
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
