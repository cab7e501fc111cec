//! Keys in bytes, as one process hands them to the next, in memory.
//!
//! ```text
//!  format, 1 byte │ of each key: name, 16 bytes │ made, 8 bytes │ length, 1 byte │ the key
//! ```
//!
//! The first key is the one that seals. How old a key is goes with it, so that rotation goes on where it was;
//! how often that is, and how long tickets are good for, is the new process's to say.

use std::{fmt, ops::Deref, sync::Arc};

use zeroize::Zeroizing;

use super::{
    error::TicketKeysError,
    key::{Crypto, Key},
};

const FORMAT: u8 = 1;

/// The longest key there is, in bytes.
const LONGEST: usize = 64;

/// The keys of [`TicketKeys::export`](super::TicketKeys::export), in bytes. They are wiped when dropped, and `Debug`
/// shows nothing of them.
#[derive(Clone)]
pub struct ExportedTicketKeys(Zeroizing<Vec<u8>>);

impl ExportedTicketKeys {
    #[cfg(all(unix, feature = "restart"))]
    pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl Deref for ExportedTicketKeys {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ExportedTicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportedTicketKeys").finish_non_exhaustive()
    }
}

pub(super) fn write<'a>(keys: impl Iterator<Item = &'a Key>) -> ExportedTicketKeys {
    let keys: Vec<_> = keys.collect();
    // Enough at once: what a vector leaves behind as it grows nobody wipes.
    let capacity = 1 + keys.len() * (16 + 8 + 1 + LONGEST);
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    bytes.push(FORMAT);
    for key in keys {
        bytes.extend(key.name);
        bytes.extend(key.made.to_be_bytes());
        bytes.push(key.secret.len() as u8);
        bytes.extend(&key.secret[..]);
    }
    ExportedTicketKeys(bytes)
}

/// None of them is younger than `now`, whatever the other's clock says.
pub(super) fn read(
    bytes: &[u8],
    crypto: Crypto,
    now: u64,
) -> Result<Vec<Arc<Key>>, TicketKeysError> {
    let (&version, mut rest) = bytes.split_first().ok_or(TicketKeysError::Damaged)?;
    if version != FORMAT {
        return Err(TicketKeysError::UnknownFormat {
            version,
            known: FORMAT,
        });
    }
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let key = read_key(&mut rest, crypto, now).ok_or(TicketKeysError::Damaged)?;
        keys.push(Arc::new(key));
    }
    Ok(keys)
}

fn read_key(rest: &mut &[u8], crypto: Crypto, now: u64) -> Option<Key> {
    let (name, after) = rest.split_first_chunk()?;
    let (made, after) = after.split_first_chunk()?;
    let (&length, after) = after.split_first()?;
    let (secret, after) = after.split_at_checked(length.into())?;
    if !(16..=LONGEST).contains(&secret.len()) {
        return None;
    }
    *rest = after;
    let made = u64::from_be_bytes(*made).min(now);
    Some(Key::new(crypto, *name, secret.to_vec().into(), made))
}
