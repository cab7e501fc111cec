//! What the oracles ask of a link: which byte was where, and when.

use crate::trace::Stamp;

/// How far a count of bytes had come, and when.
pub type Marks = Vec<(u64, Stamp)>;

/// The record of one link.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The server took the connection from its listener.
    pub accepted: Option<Stamp>,
    /// Bytes that the server's socket has taken from the server.
    pub written: Marks,
    /// Bytes that have arrived in the client's kernel.
    pub acknowledged: Marks,
    /// Bytes that have arrived in the server's kernel.
    pub arrived: Marks,
    /// Bytes the server has read.
    pub read: Marks,
    /// The server's write has been waiting since, with no byte taken.
    pub blocked: Option<Stamp>,
    /// The client's FIN arrived, and its RST.
    pub fin_arrived: Option<Stamp>,
    pub rst_arrived: Option<Stamp>,
    /// The server was told of it, which a kernel does once.
    pub rst_told: Option<Stamp>,
    /// The server half-closed.
    pub fin: Option<Stamp>,
    /// The server let go.
    pub dropped: Option<Stamp>,
    /// Bytes of the client that were unread by then, which makes the kernel send an RST.
    pub unread: usize,
    /// The server's end reset the connection, at the drop or by what came after it.
    pub reset_sent: Option<Stamp>,
}

/// Adds `n` bytes to a count.
pub fn add(marks: &mut Marks, n: usize, stamp: Stamp) {
    let total = marks.last().map_or(0, |(total, _)| *total) + n as u64;
    marks.push((total, stamp));
}

/// When the count reached `offset`.
pub fn reached(marks: &Marks, offset: u64) -> Option<Stamp> {
    let first = marks.partition_point(|(total, _)| *total < offset);
    marks.get(first).map(|(_, stamp)| *stamp)
}

impl Log {
    pub fn arrived(&self, offset: u64) -> Option<Stamp> {
        reached(&self.arrived, offset)
    }

    /// When the server began to end the connection, as the client can tell: `notify` is where
    /// close_notify begins among its bytes.
    pub fn ended(&self, notify: Option<u64>) -> Option<Stamp> {
        let notify = notify.and_then(|offset| reached(&self.written, offset + 1));
        notify.into_iter().chain(self.fin).chain(self.dropped).min()
    }
}
