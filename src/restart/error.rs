//! [`RestartError`]: why a process can't begin to serve.

use std::{io, path::PathBuf};

use super::ListenAddress;

/// Why a process can't begin to serve. Each says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// There is nothing to listen on.
    #[error("no listener: name one with `listen`, as in listen(\"https\", address)")]
    NoListener,

    /// A name that others could not read.
    #[error(
        "listener {0:?}: a name has letters, digits, '-', '_' and '.', up to 200 of them, and is not one of this \
         crate's own"
    )]
    Name(String),

    /// A path that others could not read.
    #[error("listener {name}: {path:?} has to be text, in one line")]
    Path {
        /// The listener's.
        name: String,
        /// The Unix socket's.
        path: PathBuf,
    },

    /// Nobody has named a listener so.
    #[error("there is no listener {name:?}, or it was taken: there is {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },

    /// An address can't be listened on.
    #[error("listener {name}, {address}: {source}{}", advice(address, source))]
    Listen {
        /// The listener's.
        name: String,
        /// Where it was to be.
        address: ListenAddress,
        /// Why it is not.
        source: io::Error,
    },

    /// What systemd, or whoever started this process, has passed is not what it is said to be.
    #[error("{0}")]
    Passed(String),

    /// The process before this one has not handed over what it should have.
    #[error("the process before did not hand over: {0}")]
    Predecessor(String),

    /// The pid file can't be written.
    #[error(
        "pid file {}: {source}: give a file in a folder that can be written to, on a disk with room",
        path.display()
    )]
    PidFile {
        /// Where it was to be.
        path: PathBuf,
        /// Why it is not.
        source: io::Error,
    },

    /// There is no tokio runtime, or it can't listen, or catch signals.
    #[error("{0}: call this in a tokio runtime, with IO and time enabled")]
    Runtime(#[source] io::Error),

    /// The process that had taken over has died, too late for this one to go on, so that nobody serves. What was open
    /// has ended in order. Only under systemd, which can then start the service again.
    #[error("the new process has died, and it was too late to take over from it")]
    SuccessorDied,

    /// A listener broke while it was served. Everything that was open has ended in order.
    #[error("a listener can no longer be listened on: {0}")]
    Broken(#[source] io::Error),
}

fn advice(address: &ListenAddress, error: &io::Error) -> &'static str {
    if let ListenAddress::Unix(_) = address {
        return ": give a path in a folder that can be written to, where no other server listens";
    }
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            ": stop what listens there, or choose another; port 0 takes a free one"
        }
        io::ErrorKind::PermissionDenied => {
            ": take a port from 1024 on, have systemd pass the socket, or give the program \
             CAP_NET_BIND_SERVICE"
        }
        _ => ": give an address of this machine",
    }
}
