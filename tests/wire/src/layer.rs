//! What sits between the socket and the plaintext: TLS, or nothing.

use std::fmt;
use std::time::Duration;

use rustls::AlertDescription;

use super::records::{Records, clear_alert};
use super::story::Story;

/// Turns raw bytes into plaintext and back.
pub trait Layer: fmt::Debug {
    /// Whether a body which has no length of its own needs close_notify to count as whole.
    const ENDS_WITH_CLOSE_NOTIFY: bool;

    /// Whether `open` has something to go on with before the socket is read again.
    fn has_more(&self) -> bool {
        false
    }

    /// Takes what the socket delivered; returns bytes which must go back, if any.
    fn open(&mut self, raw: &[u8], heard: &mut Heard, story: &mut Story) -> Vec<u8>;

    /// The bytes to send for `plaintext`, behind whatever this layer itself wants to send.
    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8>;
}

/// Everything learnt from the received bytes.
#[derive(Debug, Default)]
pub struct Heard {
    pub(super) plaintext: Vec<u8>,
    pub(super) taken: usize,
    pub(super) close_notify: Option<Duration>,
    pub(super) alert: Option<(AlertDescription, Duration)>,
    pub(super) tls_error: Option<(String, Duration)>,
    pub(super) ignored: usize,
    pub(super) partial_record: usize,
}

impl Heard {
    /// Whether no plaintext can follow.
    pub(super) fn is_over(&self) -> bool {
        self.close_notify.is_some() || self.alert.is_some() || self.tls_error.is_some()
    }

    /// Plaintext which nobody has taken yet.
    pub(super) fn unread(&self) -> &[u8] {
        &self.plaintext[self.taken..]
    }

    /// Takes `n` bytes of plaintext, or what there is.
    pub(super) fn take(&mut self, n: usize) -> Vec<u8> {
        let n = n.min(self.unread().len());
        self.taken += n;
        self.plaintext[self.taken - n..self.taken].to_vec()
    }

    pub(super) fn close_notify(&mut self, story: &mut Story) {
        if self.close_notify.is_none() {
            self.close_notify = Some(story.note("< close_notify"));
        }
    }

    pub(super) fn fatal_alert(&mut self, kind: AlertDescription, story: &mut Story) {
        let at = story.note(format!("< fatal alert {kind:?}"));
        self.alert.get_or_insert((kind, at));
    }
}

/// No TLS: for plain HTTP, and for garbage sent to a TLS port.
///
/// The server may still answer with an alert in the clear, which is recognised.
#[derive(Debug, Default)]
pub struct Plain {
    records: Records,
    not_tls: bool,
}

impl Layer for Plain {
    const ENDS_WITH_CLOSE_NOTIFY: bool = false;

    fn open(&mut self, raw: &[u8], heard: &mut Heard, story: &mut Story) -> Vec<u8> {
        story.tally("< bytes", raw.len());
        heard.plaintext.extend_from_slice(raw);
        if self.not_tls {
            return Vec::new();
        }
        self.records.push(raw);
        while let Some(record) = self.records.next() {
            match clear_alert(&record) {
                Some((_, 0)) => heard.close_notify(story),
                Some((_, kind)) => heard.fatal_alert(kind.into(), story),
                None => self.not_tls |= !(20..=24).contains(&record[0]),
            }
        }
        Vec::new()
    }

    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        plaintext.to_vec()
    }
}
