//! Keys from a file, for a fleet: in the format of HAProxy's `tls-ticket-keys`, and used as there.
//!
//! A key a line, in base64, of 48 or 80 bytes, of which the first 16 are its name. The last three open
//! tickets. The last but one seals: so a key is known to all before anybody seals with it, whichever server
//! reads the longer file first. Rotation is another line at the end.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::{
    error::TicketKeysError,
    key::{Crypto, Key, NAME},
    ring::Ring,
};

/// How many keys open tickets.
const OPENING: usize = 3;

const LENGTHS: [usize; 2] = [48, 80];

/// Reads the keys, which are as old as `now`: a file does not say.
pub(super) fn read(path: &Path, crypto: Crypto, now: u64) -> Result<Ring, TicketKeysError> {
    let text = fs::read(path).map(Zeroizing::new);
    let text = text.map_err(|source| unreadable(path.into(), source))?;
    let mut keys = Vec::new();
    for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let text = text.trim_ascii();
        if !text.is_empty() {
            keys.push((line, read_key(path, line, text, crypto, now)?));
        }
    }
    let keys = keys.split_off(keys.len().saturating_sub(OPENING));
    check_names(path, &keys)?;
    let keys: Vec<_> = keys.into_iter().map(|(_, key)| Arc::new(key)).collect();
    match keys.get(keys.len().saturating_sub(2)).cloned() {
        Some(sealing) => Ok(Ring::of(keys, sealing)),
        None => Err(TicketKeysError::NoKeys { path: path.into() }),
    }
}

fn read_key(
    path: &Path,
    line: usize,
    text: &[u8],
    crypto: Crypto,
    now: u64,
) -> Result<Key, TicketKeysError> {
    let bytes = BASE64.decode(text).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| TicketKeysError::NotBase64 {
        path: path.into(),
        line,
    })?;
    match bytes.split_first_chunk::<NAME>() {
        Some((name, secret)) if LENGTHS.contains(&bytes.len()) => {
            Ok(Key::new(crypto, *name, secret.to_vec().into(), now))
        }
        _ => Err(TicketKeysError::WrongLength {
            path: path.into(),
            line,
            length: bytes.len(),
        }),
    }
}

fn check_names(path: &Path, keys: &[(usize, Key)]) -> Result<(), TicketKeysError> {
    for (at, (line, key)) in keys.iter().enumerate() {
        let same = keys[..at]
            .iter()
            .find(|(_, before)| before.name == key.name);
        if let Some(&(other, _)) = same {
            return Err(TicketKeysError::SameName {
                path: path.into(),
                line: *line,
                other,
            });
        }
    }
    Ok(())
}

fn unreadable(path: PathBuf, source: io::Error) -> TicketKeysError {
    match source.kind() {
        io::ErrorKind::NotFound => TicketKeysError::NotFound { path },
        io::ErrorKind::PermissionDenied => TicketKeysError::PermissionDenied { path },
        _ => TicketKeysError::Io { path, source },
    }
}

/// Whether others than its user and group may read the file.
#[cfg(unix)]
pub(super) fn is_open_to_all(path: &Path) -> bool {
    let metadata = fs::metadata(path);
    metadata.is_ok_and(|of| std::os::unix::fs::MetadataExt::mode(&of) & 0o004 != 0)
}

#[cfg(not(unix))]
pub(super) fn is_open_to_all(_: &Path) -> bool {
    false
}
