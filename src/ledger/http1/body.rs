//! A body that shows its own end, by length or in chunks (RFC 9112, 6.2 and 7.1).

/// What became of a slice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    /// Bytes that belong to the body; the rest does not, or cannot be understood.
    pub(super) bytes: usize,
    /// Those of them that are not framing.
    pub(super) payload: u64,
}

/// What a chunked body may have beside its payload. hyper takes no more than 16 KiB of extensions, and as many bytes
/// and a hundred lines of trailers, unless it was told otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aside {
    bytes: u32,
    lines: u32,
}

impl Aside {
    pub(super) const MOST: Self = Self {
        bytes: 16 * 1024,
        lines: 100,
    };

    /// For who may send what he likes.
    pub(super) const ANY: Self = Self {
        bytes: u32::MAX,
        lines: u32::MAX,
    };

    /// So many bytes have led to this place. Whether there may be so much.
    fn allows(&mut self, place: Chunked, len: usize) -> bool {
        let (bytes, lines) = match place {
            Chunked::Extension(_) | Chunked::Trailer | Chunked::TrailerValue => (len, 0),
            Chunked::TrailerLf => (len + 1, 1),
            _ => return true,
        };
        let left = |of: u32, taken| of.checked_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        let left = left(self.bytes, bytes).zip(left(self.lines, lines));
        left.map(|(bytes, lines)| *self = Self { bytes, lines })
            .is_some()
    }
}

impl Default for Aside {
    fn default() -> Self {
        Self::MOST
    }
}

/// A body on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    Length(u64),
    Chunked(Chunked),
}

impl Body {
    pub(super) const CHUNKED: Self = Self::Chunked(Chunked::Start);

    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8], aside: &mut Aside) -> Taken {
        match self {
            Self::Length(left) => {
                let len = skip(left, bytes);
                Taken {
                    bytes: len,
                    payload: len as u64,
                }
            }
            Self::Chunked(chunked) => chunked.read(bytes, aside),
        }
    }

    /// Whether its last byte is in.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked::End))
    }

    /// Whether its framing has broken, so that its end cannot be known.
    pub(super) fn is_malformed(&self) -> bool {
        matches!(self, Self::Chunked(Chunked::Malformed))
    }
}

/// Takes up to `left` bytes; how many that were.
#[inline]
fn skip(left: &mut u64, bytes: &[u8]) -> usize {
    let len = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *left -= len as u64;
    len
}

/// Where in a chunked body the next byte is. As strict as hyper about CR LF.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunked {
    Start,
    Size(u64),
    /// Space after the size; no more digits may come.
    Space(u64),
    Extension(u64),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// After the last chunk or a trailer: another one, or the blank line.
    Line,
    /// The name of a trailer.
    Trailer,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
    Malformed,
}

impl Chunked {
    #[inline(never)]
    fn read(&mut self, bytes: &[u8], aside: &mut Aside) -> Taken {
        let mut taken = Taken::default();
        while let [byte, ..] = &bytes[taken.bytes..] {
            if let Self::Data(left) = self {
                let len = skip(left, &bytes[taken.bytes..]);
                if *left == 0 {
                    *self = Self::DataCr;
                }
                taken.bytes += len;
                taken.payload += len as u64;
                continue;
            }
            let len = self.pass_over(&bytes[taken.bytes..]);
            if len == 0 {
                *self = self.after(*byte).unwrap_or(Self::Malformed);
                if matches!(self, Self::Malformed) {
                    break;
                }
            }
            taken.bytes += len.max(1);
            if !aside.allows(*self, len.max(1)) {
                *self = Self::Malformed;
                break;
            }
            if matches!(self, Self::End) {
                break;
            }
        }
        taken
    }

    /// How many bytes come before the next that may change anything.
    fn pass_over(self, bytes: &[u8]) -> usize {
        let next = match self {
            Self::Extension(_) => bytes.iter().position(|it| matches!(it, b'\r' | b'\n')),
            Self::TrailerValue => bytes.iter().position(|it| !is_text(*it)),
            _ => Some(0),
        };
        next.unwrap_or(bytes.len())
    }

    /// The place after a byte that is no data.
    fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, _) => Self::Size(digit(0, byte)?),
            (Self::Size(size) | Self::Space(size), b' ' | b'\t') => Self::Space(size),
            (Self::Size(size) | Self::Space(size), b';') => Self::Extension(size),
            (Self::Size(size) | Self::Space(size) | Self::Extension(size), b'\r') => {
                Self::SizeLf(size)
            }
            (Self::Size(size), _) => Self::Size(digit(size, byte)?),
            (Self::SizeLf(0), b'\n') => Self::Line,
            (Self::SizeLf(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Start,
            (Self::Line, b'\r') => Self::EndLf,
            (Self::Line, _) if is_token(byte) => Self::Trailer,
            (Self::Trailer, b':') => Self::TrailerValue,
            (Self::Trailer, _) if is_token(byte) => Self::Trailer,
            (Self::TrailerValue, b'\r') => Self::TrailerLf,
            (Self::TrailerLf, b'\n') => Self::Line,
            (Self::EndLf, b'\n') => Self::End,
            _ => return None,
        })
    }
}

/// Whether it may be in the name of a field (RFC 9110 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether it may be in the value of one (RFC 9110 5.5), or is an LF, which some take for its end.
fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n') || byte >= b' ' && byte != 0x7f
}

/// One more hexadecimal digit, unless it is none or the size overflows.
fn digit(size: u64, byte: u8) -> Option<u64> {
    let digit = char::from(byte).to_digit(16)?;
    size.checked_mul(16)?.checked_add(u64::from(digit))
}
