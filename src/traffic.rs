//! How much has gone either way.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes on the wire. The transport alone writes them, and whoever asks reads them.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
}

impl Traffic {
    /// Bytes given by the socket so far.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes taken by the socket so far.
    #[inline]
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn reads(&self, n: usize) {
        self.read.store(self.read() + n as u64, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn writes(&self, n: usize) {
        self.written
            .store(self.written() + n as u64, Ordering::Relaxed);
    }
}
