//! A kernel for in-memory transports: what they say takes the place of what a system would.

use std::{any::Any, sync::OnceLock};

/// What a kernel knows of a socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Bytes written that the peer's side has not acknowledged.
    pub unacknowledged: u64,
    /// Bytes that have arrived and were not read.
    pub readable: u64,
}

/// What is asked of it. All give `None` for a transport that is not known, or that can't be asked.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// What it knows of a socket.
    pub known: fn(&dyn Any) -> Option<Known>,
    /// Whether the peer has reset the connection, which nobody has been told yet.
    pub take_error: fn(&dyn Any) -> Option<bool>,
}

static KERNEL: OnceLock<Kernel> = OnceLock::new();

/// Asks `kernel` of every transport from now on, before the system. The first that is set stays.
pub fn set_kernel(kernel: Kernel) {
    KERNEL.get_or_init(|| kernel);
}

pub(super) fn ask(io: &dyn Any) -> Option<Known> {
    KERNEL.get().and_then(|kernel| (kernel.known)(io))
}

pub(super) fn take_error(io: &dyn Any) -> Option<bool> {
    KERNEL.get().and_then(|kernel| (kernel.take_error)(io))
}
