//! The network: a link between a client and the server, which behaves as TCP does, or worse.
//!
//! Each way has a send buffer, which holds what the peer's kernel has not acknowledged, a delay, and
//! a receive buffer, whose free space is the window. A FIN follows the last byte. Closing an end
//! whose receive buffer holds unread bytes sends an RST, and so does any byte that comes in after;
//! an RST destroys what its receiver has not read yet. Whatever the seed asks for comes on top:
//! partial reads and writes, wakes in any order and for nothing, a socket that becomes writable
//! only when a third of its buffer is free, a runtime that hears of what has come only later. Most
//! links answer the crate as a kernel does; the others are as TLS over something else would be.
//!
//! `pump` carries the bytes, `ends` is what the two sides hold, `log` what the oracles ask for.

mod ends;
mod log;
mod pump;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    task::Waker,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use graceful_tls::simulated::Kernel;
use tokio::time::Instant;

pub use self::{
    ends::{ClientEnd, Received, ServerEnd},
    log::{Log, reached},
};

/// Which end of a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Client,
    Server,
}
use Side::{Client, Server};

impl Side {
    fn other(self) -> Self {
        match self {
            Client => Server,
            Server => Client,
        }
    }
}

/// How a link behaves.
#[derive(Clone, Debug)]
pub struct Nature {
    pub delay: Duration,
    pub send_buffer: usize,
    pub receive_buffer: usize,
    /// So many in a hundred reads and writes are partial.
    pub partial: u8,
    /// So many in a hundred times somebody is woken for nothing.
    pub spurious: u8,
    /// The server's socket becomes writable only when a third of its buffer is free.
    pub lazy: bool,
    /// The server's runtime hears of what has arrived so long after.
    pub late: Duration,
    /// The server's kernel can be asked what it knows of the socket.
    pub asked: bool,
}

impl Nature {
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        let buffers = [2 << 10, 8 << 10, 32 << 10, 128 << 10];
        Self {
            delay: Duration::from_millis(*rng.choice(&[0, 0, 1, 20, 20, 300]).unwrap()),
            send_buffer: *rng.choice(&buffers).unwrap(),
            receive_buffer: *rng.choice(&buffers).unwrap(),
            partial: *rng.choice(&[0, 0, 5, 50]).unwrap(),
            spurious: *rng.choice(&[0, 0, 10]).unwrap(),
            lazy: rng.u8(..4) == 0,
            late: Duration::from_millis(*rng.choice(&[0, 0, 1, 5, 50]).unwrap()),
            asked: rng.u8(..3) > 0,
        }
    }
}

/// What travels.
#[derive(Debug)]
enum Parcel {
    Bytes(Bytes),
    Fin,
    Rst,
}

/// One direction, named by its sender.
#[derive(Debug, Default)]
struct Way {
    /// Written, not yet sent.
    queued: BytesMut,
    flight: VecDeque<(Instant, Parcel)>,
    in_flight: usize,
    /// Arrived, not yet read.
    inbox: VecDeque<Bytes>,
    unread: usize,
    /// The sender will write no more.
    closing: bool,
    fin_sent: bool,
    fin_arrived: bool,
    rst_sent: bool,
    /// What an RST destroyed before it arrived: it is never acknowledged.
    lost: usize,
}

impl Way {
    fn unacknowledged(&self) -> usize {
        self.queued.len() + self.in_flight + self.lost
    }

    fn clear(&mut self) {
        self.lost = self.unacknowledged();
        self.queued.clear();
        self.flight.clear();
        self.in_flight = 0;
    }

    fn destroy_unread(&mut self) {
        self.inbox.clear();
        self.unread = 0;
    }
}

#[derive(Debug, Default)]
struct End {
    dropped: bool,
    reset: bool,
    /// It has been told of that.
    told: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
struct State {
    conn: usize,
    nature: Nature,
    rng: fastrand::Rng,
    ways: [Way; 2],
    ends: [End; 2],
    pump: Option<Waker>,
    /// When the server's reader hears of what has arrived.
    hears: Option<Instant>,
    log: Log,
}

impl State {
    /// Whether a write may be partial this time.
    fn vary(&mut self, n: usize) -> usize {
        if n > 1 && self.rng.u8(..100) < self.nature.partial {
            let most = if self.rng.bool() { 16 } else { n };
            return self.rng.usize(1..=most.min(n));
        }
        n
    }

    fn wake_pump(&mut self) {
        if let Some(pump) = self.pump.take() {
            pump.wake();
        }
    }

    /// Lets go of one end, as `close(2)` does.
    fn close(&mut self, side: Side, rst: bool) {
        let unread = self.ways[side.other() as usize].unread;
        self.ends[side as usize].dropped = true;
        let way = &mut self.ways[side as usize];
        if rst || unread > 0 {
            way.queued.clear();
            way.rst_sent = true;
            let at = Instant::now() + self.nature.delay;
            way.flight.push_back((at, Parcel::Rst));
        } else {
            way.closing = true;
        }
        self.ways[side.other() as usize].destroy_unread();
        self.wake_pump();
    }
}

/// What the server's kernel says of its sockets.
pub const KERNEL: Kernel = Kernel {
    known: |io| io.downcast_ref::<ServerEnd>()?.known(),
    take_error: |io| io.downcast_ref::<ServerEnd>()?.take_error(),
};

/// A link, as the two ends, the pump and the oracles share it.
#[derive(Clone, Debug)]
pub struct Link(Arc<Mutex<State>>);

impl Link {
    pub fn new(conn: usize, nature: Nature, rng: fastrand::Rng) -> Self {
        Self(Arc::new(Mutex::new(State {
            conn,
            nature,
            rng,
            ways: Default::default(),
            ends: Default::default(),
            pump: None,
            hears: None,
            log: Log::default(),
        })))
    }

    pub fn ends(&self) -> (ClientEnd, ServerEnd) {
        (ClientEnd::new(self.clone()), ServerEnd::new(self.clone()))
    }

    /// What happened at the server's end.
    pub fn log(&self) -> Log {
        self.lock().log.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}
