//! What the kernel knows of a socket and nobody else does.
//!
//! A write that the socket takes has reached a buffer, not the peer. How much of it the peer's side
//! has acknowledged, and whether something has come in that the runtime has yet to hear of, only
//! the kernel can say. It is asked when a timer strikes and when a connection ends, never while
//! bytes flow.
//!
//! With the feature `_simulation` a transport of this crate's own tests is asked first.

use std::{any::Any, io};

#[cfg(feature = "_simulation")]
use super::simulated;

/// Bytes in the send queue that the peer has not acknowledged; 0 where that can't be known. Of a Unix
/// socket the kernel tells the memory that they take, which is another number.
pub(super) fn unacknowledged(io: &dyn Any) -> u64 {
    #[cfg(feature = "_simulation")]
    if let Some(known) = simulated::ask(io) {
        return known.unacknowledged;
    }
    sys::unacknowledged(io).unwrap_or(0)
}

/// Bytes that have arrived and were not read; `None` where that can't be known.
pub(super) fn readable(io: &dyn Any) -> Option<u64> {
    #[cfg(feature = "_simulation")]
    if let Some(known) = simulated::ask(io) {
        return Some(known.readable);
    }
    sys::readable(io)
}

/// Why the connection has failed, which no operation has told yet: most often it was reset. It says so once.
pub(super) fn take_error(io: &dyn Any) -> Option<io::Error> {
    #[cfg(feature = "_simulation")]
    if let Some(failed) = simulated::take_error(io) {
        return failed.then(|| io::ErrorKind::ConnectionReset.into());
    }
    let tcp = io.downcast_ref::<tokio::net::TcpStream>()?;
    tcp.take_error().unwrap_or_else(Some)
}

#[cfg(unix)]
mod sys {
    use std::{
        any::Any,
        os::fd::{AsFd, BorrowedFd},
    };

    use tokio::net::{TcpStream, UnixStream};

    fn tcp(io: &dyn Any) -> Option<BorrowedFd<'_>> {
        io.downcast_ref::<TcpStream>().map(AsFd::as_fd)
    }

    fn descriptor(io: &dyn Any) -> Option<BorrowedFd<'_>> {
        tcp(io).or_else(|| io.downcast_ref::<UnixStream>().map(AsFd::as_fd))
    }

    pub(super) fn readable(io: &dyn Any) -> Option<u64> {
        rustix::io::ioctl_fionread(descriptor(io)?).ok()
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[allow(
        unsafe_code,
        reason = "no crate wraps this ioctl safely, and only the kernel knows what was acknowledged"
    )]
    pub(super) fn unacknowledged(io: &dyn Any) -> Option<u64> {
        use rustix::ioctl::{Getter, Opcode, ioctl};

        /// tcp(7) calls it `SIOCOUTQ`.
        const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;
        // SAFETY: the request writes one C int, the number of bytes, and reads nothing.
        let queued = unsafe { ioctl(tcp(io)?, Getter::<SIOCOUTQ, i32>::new()) };
        u64::try_from(queued.ok()?).ok()
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn unacknowledged(_: &dyn Any) -> Option<u64> {
        None
    }
}

#[cfg(not(unix))]
mod sys {
    use std::any::Any;

    pub(super) fn readable(_: &dyn Any) -> Option<u64> {
        None
    }

    pub(super) fn unacknowledged(_: &dyn Any) -> Option<u64> {
        None
    }
}
