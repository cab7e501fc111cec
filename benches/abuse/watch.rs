//! How long a server holds its connections, as the kernel sees it.
//!
//! Whoever attacks may be any program, and may not notice when it is let go. So nobody asks it: the
//! rows of `/proc/net/tcp` say which of the server's sockets a process owns. All runs share one
//! look, because the table may be long. Good clients come from [`GOOD`] and are not counted.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// From one look to the next, at least. A look at a table with a hundred thousand rows takes 0.1 s:
/// the pauses are [`REST`] times as long.
const LOOK: Duration = Duration::from_millis(50);
const REST: u32 = 2;

/// Not seen in so many looks: let go. One does not suffice, since the table is not read in one piece
/// and may miss a row.
const MISSED: usize = 3;

/// The address that attacks come from, as the table prints it.
const ATTACKERS: &str = "0100007F";

/// Where good clients come from.
pub const GOOD: [u8; 4] = [127, 0, 0, 2];

/// How long one connection was held.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub time: Duration,
    /// Whether it was let go at all.
    pub ended: bool,
}

/// Looks for as long as somebody has it.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Mutex<Ports>>);

type Ports = HashMap<u16, Port>;

/// What was seen of one server.
#[derive(Debug)]
struct Port {
    /// Looks so far.
    looks: usize,
    /// By the client's port.
    last: HashMap<u16, Seen>,
    /// Those whose port another connection has had since.
    over: Vec<Held>,
    peak: usize,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Instant,
    last: Instant,
    /// The last look that saw it.
    look: usize,
}

impl Seen {
    fn held(self, looks: usize) -> Held {
        Held {
            time: self.last - self.first,
            ended: looks - self.look >= MISSED,
        }
    }
}

impl Watch {
    pub fn start() -> Self {
        let ports = Arc::default();
        let weak = Arc::downgrade(&ports);
        thread::spawn(move || look_on(&weak));
        Self(ports)
    }

    /// Begins to look at the server on `port`.
    pub fn begin(&self, port: u16) {
        lock(&self.0).insert(port, Port::new());
    }

    /// Connections that a process owns now.
    pub fn open(&self, port: u16) -> usize {
        self.held(port).iter().filter(|held| !held.ended).count()
    }

    /// The most there were at once.
    pub fn peak(&self, port: u16) -> usize {
        lock(&self.0).get(&port).map_or(0, |port| port.peak)
    }

    /// How long each connection was held until now.
    pub fn held(&self, port: u16) -> Vec<Held> {
        lock(&self.0).get(&port).map_or(Vec::new(), Port::held)
    }
}

fn look_on(ports: &Weak<Mutex<Ports>>) {
    while let Some(ports) = ports.upgrade() {
        let now = Instant::now();
        let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let mut ports = lock(&ports);
        for (port, peer) in table.lines().filter_map(owned) {
            if let Some(port) = ports.get_mut(&port) {
                port.see(peer, now);
            }
        }
        ports.values_mut().for_each(Port::looked);
        drop(ports);
        thread::sleep(LOOK.max(now.elapsed() * REST));
    }
}

impl Port {
    fn new() -> Self {
        Self {
            looks: 0,
            last: HashMap::new(),
            over: Vec::new(),
            peak: 0,
        }
    }

    fn see(&mut self, peer: u16, now: Instant) {
        let look = self.looks;
        let new = Seen {
            first: now,
            last: now,
            look,
        };
        let seen = self.last.entry(peer).or_insert(new);
        let held = seen.held(look);
        if held.ended {
            self.over.push(held);
            *seen = new;
        }
        (seen.last, seen.look) = (now, look);
    }

    fn looked(&mut self) {
        let open = self.last.values().filter(|seen| seen.look == self.looks);
        self.peak = self.peak.max(open.count());
        self.looks += 1;
    }

    fn held(&self) -> Vec<Held> {
        let last = self.last.values().map(|seen| seen.held(self.looks));
        last.chain(self.over.iter().copied()).collect()
    }
}

/// The ports of a connection from an attacker that a process owns at the server's side. The inode
/// is zero once the kernel is left alone with it, and while it has not been accepted.
fn owned(line: &str) -> Option<(u16, u16)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (_, port) = fields.next()?.split_once(':')?;
    let (ip, peer) = fields.next()?.split_once(':')?;
    let inode = fields.nth(6)?;
    let number = |hex| u16::from_str_radix(hex, 16).ok();
    let ports = (number(port)?, number(peer)?);
    (ip == ATTACKERS && inode != "0").then_some(ports)
}

fn lock(mutex: &Mutex<Ports>) -> MutexGuard<'_, Ports> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
