//! Splits what the socket delivers into TLS records.
//!
//! rustls takes whole records, one at a time, so that the client knows which of them carried
//! close_notify, what came behind it, and whether the last one was cut short.

/// The largest record body TLS 1.2 permits; TLS 1.3 permits less.
const LARGEST_BODY: usize = (1 << 14) + 2048;
const HEADER: usize = 5;

/// Received bytes which are not a whole record yet.
#[derive(Debug, Default)]
pub(super) struct Records {
    buffer: Vec<u8>,
}

impl Records {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole record with its header, or everything there is if that is not TLS at all.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        let length = self.whole()?;
        Some(self.buffer.drain(..length).collect())
    }

    /// The length of the next record, if it is whole.
    pub(super) fn whole(&self) -> Option<usize> {
        let length = match self.body_length()? {
            Some(body) => HEADER + body,
            None => self.buffer.len(),
        };
        (self.buffer.len() >= length).then_some(length)
    }

    /// The bytes of a record whose rest has not come.
    pub(super) fn unfinished(&self) -> usize {
        match self.whole() {
            Some(_) => 0,
            None => self.buffer.len(),
        }
    }

    /// The body length from a complete header; `Some(None)` for what cannot be one.
    fn body_length(&self) -> Option<Option<usize>> {
        if !is_record_type(*self.buffer.first()?) {
            return Some(None);
        }
        let header = self.buffer.get(..HEADER)?;
        let body = usize::from(u16::from_be_bytes([header[3], header[4]]));
        Some((header[1] == 3 && body <= LARGEST_BODY).then_some(body))
    }
}

fn is_record_type(byte: u8) -> bool {
    (20..=24).contains(&byte)
}

/// The name of a record's outer type, for the story.
pub(super) fn record_name(record: &[u8]) -> &'static str {
    match record.first() {
        Some(20) => "change_cipher_spec",
        Some(21) => "alert",
        Some(22) => "handshake",
        Some(23) => "application_data",
        _ => "unknown",
    }
}

/// Level and description of an alert sent in the clear, as before the end of a handshake.
pub(super) fn clear_alert(record: &[u8]) -> Option<(u8, u8)> {
    match record {
        [21, 3, _, 0, 2, level, description] => Some((*level, *description)),
        _ => None,
    }
}

/// An application_data record whose body no key can have made.
pub(super) fn corrupt_record() -> Vec<u8> {
    let mut record = vec![23, 3, 3, 0, 64];
    record.extend((0..64u8).map(|n| n.wrapping_mul(37) ^ 0x5a));
    record
}
