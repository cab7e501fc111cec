//! [`TicketKeysError`]: why there are no keys.

use std::{io, path::PathBuf, time::Duration};

/// Why keys for session tickets can't be made, read or taken over. The text names the fix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketKeysError {
    /// The crypto provider can't seal tickets.
    #[error(
        "the crypto provider has neither TLS13_AES_256_GCM_SHA384 nor TLS13_CHACHA20_POLY1305_SHA256 with \
         what QUIC needs of it, which is what tickets are sealed with: take one that has, as those of ring \
         and aws-lc-rs, and leave one of the two among its cipher_suites"
    )]
    NoCipher,
    /// The crypto provider has no random numbers.
    #[error("the crypto provider has no random numbers to make a key of: see to the system's")]
    NoRandom,
    /// A key that is used for no time, or for too long.
    #[error(
        "rotate_every is {value:?}: set 1 min to 7 days; a shorter time has no use, and what a key has \
         sealed can be read by whoever gets it"
    )]
    RotateEvery {
        /// What it was set to.
        value: Duration,
    },
    /// Tickets that are good for no time, or for longer than TLS has it.
    #[error(
        "ticket_lifetime is {value:?}: set 1 min to 7 days, the longest that TLS allows (RFC 9846 4.6.1)"
    )]
    Lifetime {
        /// What it was set to.
        value: Duration,
    },
    /// There is no such file.
    #[error(
        "{}: there is no such file: give the path of a file with a key a line (openssl rand -base64 48; a \
         relative one begins at the working directory)", path.display()
    )]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// This process may not read the file.
    #[error(
        "{}: this process may not read it: give its user the right to, on the file and its folders",
        path.display()
    )]
    PermissionDenied {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be read otherwise.
    #[error("{}: it can't be read ({source}): give a file with a key a line", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no key in the file.
    #[error(
        "{}: there is no key in it: add one, and one more each time that they are to change (openssl rand \
         -base64 48)", path.display()
    )]
    NoKeys {
        /// The file.
        path: PathBuf,
    },
    /// A line is not base64.
    #[error(
        "{}, line {line}: it is not base64 (RFC 4648 4): write it anew, all of it on one line (openssl rand \
         -base64 48; for 80 bytes, openssl rand 80 | openssl base64 -A)", path.display()
    )]
    NotBase64 {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
    },
    /// A line is too short or too long for a key.
    #[error(
        "{}, line {line}: it has {length} bytes: write a key of 48 or of 80 bytes (openssl rand -base64 48)",
        path.display()
    )]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// How many bytes it has.
        length: usize,
    },
    /// Two keys can't be told apart.
    #[error(
        "{}, line {line}: its first 16 bytes, the key's name, are those of line {other}: leave one of the \
         two, and make each key anew (openssl rand -base64 48)", path.display()
    )]
    SameName {
        /// The file.
        path: PathBuf,
        /// The line, from 1 on.
        line: usize,
        /// The line before that it is like.
        other: usize,
    },
    /// Keys from another version of this crate.
    #[error(
        "the keys that were handed over are in format {version}, and this is format {known}: go on without; \
         sessions begin anew, once"
    )]
    UnknownFormat {
        /// What they are in.
        version: u8,
        /// What can be read.
        known: u8,
    },
    /// What was handed over is not what was exported.
    #[error(
        "the keys that were handed over are damaged: hand over all that `export` has given, and nothing else"
    )]
    Damaged,
}
