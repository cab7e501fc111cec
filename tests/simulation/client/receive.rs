//! Takes in what comes: raw bytes, and TLS records one at a time.

use std::mem;

use super::{Client, plan::Reading, seen::Seen};
use crate::{net::Received, trace::event};

impl Client {
    /// Reads what there is, as far as the script lets it.
    pub(super) fn receive(&mut self) {
        let mut buf = [0; 16 << 10];
        while !self.seen.is_over() {
            let most = match self.reading {
                Reading::Eager => buf.len(),
                Reading::Rate(..) => self.allowance.min(buf.len()),
                Reading::Never => 0,
            };
            if most == 0 {
                return;
            }
            match self.end.read(&mut buf[..most]) {
                Received::Bytes(n) => {
                    event(self.conn, "client reads", n as u64);
                    self.allowance = self.allowance.saturating_sub(n);
                    self.raw.extend_from_slice(&buf[..n]);
                    self.decrypt();
                }
                Received::Nothing => return,
                Received::Fin => self.seen.fin = Some(event(self.conn, "client sees FIN", 0)),
                Received::Reset => self.seen.rst = Some(event(self.conn, "client sees RST", 0)),
            }
        }
    }

    /// Takes whole records, one at a time: what follows close_notify has to be noticed.
    fn decrypt(&mut self) {
        if self.plan.plain {
            return;
        }
        let raw = mem::take(&mut self.raw);
        let mut rest = &raw[..];
        while rest.len() >= 5 && self.seen.tls_error.is_none() {
            let length = 5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
            if rest.len() < length {
                break;
            }
            self.record(&rest[..length]);
            rest = &rest[length..];
        }
        self.raw = match self.after_the_end() {
            Some(after) => {
                *after += rest.len() as u64;
                Vec::new()
            }
            None => rest.to_vec(),
        };
    }

    /// Where to count what comes behind the last word.
    fn after_the_end(&mut self) -> Option<&mut u64> {
        match &mut self.seen {
            Seen {
                tls_error: Some(_),
                after_alert,
                ..
            } => Some(after_alert),
            Seen {
                notify: Some(_),
                after_notify,
                ..
            } => Some(after_notify),
            _ => None,
        }
    }

    fn record(&mut self, mut record: &[u8]) {
        if self.seen.notify.is_some() {
            self.seen.after_notify += record.len() as u64;
            return;
        }
        let begins = self.seen.read;
        self.seen.read += record.len() as u64;
        let mut state = Ok(None);
        while !record.is_empty() && matches!(state, Ok(None)) {
            let taken = self.tls.read_tls(&mut record);
            state = match taken {
                Ok(0) | Err(_) => return,
                Ok(_) => self
                    .tls
                    .process_new_packets()
                    .map(|s| s.peer_has_closed().then_some(())),
            };
            self.plaintext();
        }
        if !self.tls.is_handshaking() && self.seen.handshake.is_none() && state.is_ok() {
            self.shaken();
        }
        match state {
            Ok(None) => {}
            Ok(Some(())) => self.notified(begins),
            Err(error) => self.seen.tls_error = Some(error.to_string()),
        }
    }
}
