//! A kernel for in-memory transports: what they say takes the place of what a system would.

use std::{any::Any, sync::OnceLock};

/// What a kernel knows of a socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// Bytes written that the peer's side has not acknowledged.
    pub unacknowledged: u64,
    /// Bytes that have arrived and were not read.
    pub readable: u64,
    /// The peer has reset the connection.
    pub reset: bool,
}

/// Gives `None` for a transport that it does not know, or that can't be asked.
pub type Kernel = fn(&dyn Any) -> Option<Known>;

static KERNEL: OnceLock<Kernel> = OnceLock::new();

/// Asks `kernel` of every transport from now on, before the system. The first that is set stays.
pub fn set_kernel(kernel: Kernel) {
    KERNEL.get_or_init(|| kernel);
}

pub(super) fn ask(io: &dyn Any) -> Option<Known> {
    KERNEL.get().and_then(|kernel| kernel(io))
}
