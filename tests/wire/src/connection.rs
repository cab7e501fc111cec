//! One connection: the socket, the layer above it, and what was heard so far.
//!
//! Nothing here reads or writes unless it is told to, so that a test decides what the server sees
//! and when.  A client which is not told to read is a client which has stopped reading.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::ending::{End, Ending};
use super::layer::{Heard, Layer};
use super::options::Options;
use super::proc_net;
use super::records::corrupt_record;
use super::socket::{Got, Socket};
use super::story::Story;

/// What came of one attempt to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pumped {
    /// Bytes were taken, though they need not have been a whole record.
    Progress,
    /// Nothing came in time.
    Quiet,
    /// TCP has ended, or no more is to be read.
    Ended,
}

/// A connection through the layer `L`.
pub struct Connection<L: Layer> {
    pub(super) socket: Socket,
    pub(super) layer: L,
    pub(super) heard: Heard,
    pub(super) story: Story,
    pub(super) timeout: Duration,
    pub(super) most_bytes: usize,
}

impl<L: Layer> Connection<L> {
    pub(super) fn dial(addr: SocketAddr, options: &Options, layer: L) -> io::Result<Self> {
        let (socket, story) = Socket::connect(addr, options)?;
        Ok(Self {
            socket,
            layer,
            heard: Heard::default(),
            story,
            timeout: options.timeout,
            most_bytes: options.most_bytes,
        })
    }

    /// This client's address, as the server sees it.
    pub fn local_addr(&self) -> SocketAddr {
        self.socket.local
    }

    /// The server's address.
    pub fn peer_addr(&self) -> SocketAddr {
        self.socket.peer
    }

    /// The time since the connection was made, to compare with those of an [`Ending`].
    pub fn now(&self) -> Duration {
        self.story.now()
    }

    /// Whether so much was received that nothing more is read: see [`Options::most_bytes`].
    pub fn is_full(&self) -> bool {
        self.heard.plaintext.len() >= self.most_bytes
    }

    /// What happened so far.
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// Whether close_notify was read.
    pub fn close_notified(&self) -> bool {
        self.heard.close_notify.is_some()
    }

    /// Adds a line to the story, for whoever reads it later.
    pub fn note(&mut self, text: &str) {
        self.story.note(format!("# {text}"));
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

/// Sending.
impl<L: Layer> Connection<L> {
    /// Sends plaintext through the layer, in one write if it fits.
    pub fn send(&mut self, plaintext: impl AsRef<[u8]>) -> io::Result<()> {
        self.send_for(plaintext, self.timeout)
    }

    /// Like `send`, but gives up with `TimedOut` when the server has not read for so long.
    ///
    /// What was not written stays queued in front of whatever is sent next.
    pub fn send_for(&mut self, plaintext: impl AsRef<[u8]>, timeout: Duration) -> io::Result<()> {
        let sealed = self.encrypt_only(plaintext);
        let written = self.write(&sealed, Instant::now() + timeout);
        if self.unsent() > 0 {
            self.story.tally("> not sent for now", self.unsent());
        }
        written
    }

    /// Sends while reading too, for servers which answer before they have read everything.
    ///
    /// Stops with an error at the first failed write; what came is there to be read all the same.
    pub fn send_while_reading(&mut self, plaintext: impl AsRef<[u8]>) -> io::Result<()> {
        let deadline = self.deadline();
        let mut sealed = self.encrypt_only(plaintext);
        loop {
            let slice = Instant::now() + Duration::from_millis(2);
            match self.write(&std::mem::take(&mut sealed), slice) {
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                done => return done,
            }
            if Instant::now() >= deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            self.pump(Instant::now() + Duration::from_millis(2));
        }
    }

    /// The bytes which `send` would write, so that a test can join or split them for `send_raw`.
    ///
    /// TLS numbers its records: they must be sent in the order in which they were made.
    pub fn encrypt_only(&mut self, plaintext: impl AsRef<[u8]>) -> Vec<u8> {
        self.layer.seal(plaintext.as_ref())
    }

    /// Writes bytes on the TCP socket as they are.
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.write(bytes.as_ref(), self.deadline())
    }

    /// Like `send_raw`, but gives up with `TimedOut` when the server has not read for so long.
    pub fn send_raw_for(&mut self, bytes: impl AsRef<[u8]>, timeout: Duration) -> io::Result<()> {
        self.write(bytes.as_ref(), Instant::now() + timeout)
    }

    /// Sends an application_data record which nothing can decrypt.
    pub fn send_corrupt_record(&mut self) -> io::Result<()> {
        self.story.note("> a corrupt record");
        self.send_raw(corrupt_record())
    }

    /// Bytes which are queued because an earlier write timed out.
    pub fn unsent(&self) -> usize {
        self.socket.unsent()
    }

    /// Sends a FIN; reading goes on.
    pub fn fin(&mut self) -> io::Result<()> {
        self.socket.fin(&mut self.story)
    }

    /// Sends a RST and is done with the socket.
    pub fn reset(&mut self) -> io::Result<()> {
        self.socket.close(true, &mut self.story)
    }

    /// Drops whatever comes in from now on, as a machine that is gone does: nothing is acknowledged.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn vanish(&mut self) -> io::Result<()> {
        self.socket.vanish(&mut self.story)
    }

    /// Closes the socket both ways.
    ///
    /// If anything received is still unread, the kernel makes that a RST.
    pub fn close(&mut self) -> io::Result<()> {
        self.socket.close(false, &mut self.story)
    }

    fn write(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        self.socket.write(bytes, deadline, &mut self.story)
    }
}

/// Reading.
impl<L: Layer> Connection<L> {
    /// Takes the next record received, or reads from the socket once, until `deadline` at most.
    pub fn pump(&mut self, deadline: Instant) -> Pumped {
        if self.is_full() {
            return Pumped::Ended;
        }
        let raw = match self.layer.has_more() {
            true => Vec::new(),
            false => match self.socket.read(deadline, &mut self.story) {
                Got::Bytes(raw) => raw,
                Got::Quiet => return Pumped::Quiet,
                Got::Ended => return Pumped::Ended,
            },
        };
        let reply = self.layer.open(&raw, &mut self.heard, &mut self.story);
        if !reply.is_empty() {
            // A failure is in the story, and the next read shows what it was about.
            let _ = self.write(&reply, self.deadline());
        }
        Pumped::Progress
    }

    /// Reads until `done`, which is asked before every read; `false` if that never came to be.
    ///
    /// It looks at the socket at least once, even if there is no time to wait.
    pub fn pump_until(
        &mut self,
        timeout: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if done(self) {
                return true;
            }
            if self.pump(deadline) == Pumped::Ended || Instant::now() >= deadline {
                return done(self);
            }
        }
    }

    /// Reads from the socket once each `pause`, at most [`Options::read_chunk`] bytes, until `done`,
    /// which is asked before every read; `false` if that never came to be.
    pub fn read_paced(
        &mut self,
        pause: Duration,
        timeout: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let deadline = Instant::now() + timeout;
        while !done(self) {
            // A record that was read already takes nothing from the socket.
            if !self.layer.has_more() {
                thread::sleep(pause);
            }
            if self.pump(deadline) == Pumped::Ended || Instant::now() >= deadline {
                return done(self);
            }
        }
        true
    }

    /// Takes the unread plaintext, waiting for some if there is none; empty if none came.
    pub fn read_some(&mut self, timeout: Duration) -> Vec<u8> {
        self.pump_until(timeout, |c| {
            !c.heard.unread().is_empty() || c.heard.is_over()
        });
        self.heard.take(usize::MAX)
    }

    /// Takes exactly `n` bytes of plaintext, or fewer if no more came in time.
    pub fn read_exactly(&mut self, n: usize, timeout: Duration) -> Vec<u8> {
        self.pump_until(timeout, |c| {
            c.heard.unread().len() >= n || c.heard.is_over()
        });
        self.heard.take(n)
    }

    /// Plaintext which was received and not taken yet.
    pub fn unread(&self) -> &[u8] {
        self.heard.unread()
    }

    /// Reads until TCP ends, past close_notify, and reports.
    pub fn read_until_end(&mut self, timeout: Duration) -> Ending {
        self.pump_until(timeout, |_| false);
        self.ending()
    }

    /// `read_until_end` with the connection's own timeout.
    pub fn finish(&mut self) -> Ending {
        self.read_until_end(self.timeout)
    }

    /// Reads until close_notify; its time, or `None` if TCP ended or time ran out first.
    pub fn wait_close_notify(&mut self, timeout: Duration) -> Option<Duration> {
        self.pump_until(timeout, |c| c.heard.close_notify.is_some());
        self.heard.close_notify
    }

    /// Watches for a RST, which may well come after a FIN: its time, or `None`.
    ///
    /// A RST is an answer: once both sides have sent a FIN, nothing is sent which could provoke one,
    /// and the kernel would not report it.  Look before sending a FIN, or send something first.
    pub fn linger_for_reset(&mut self, timeout: Duration) -> Option<Duration> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(at) = self.socket.probe(&mut self.story) {
                while self.pump(Instant::now()) == Pumped::Progress {}
                return Some(at);
            }
            if let End::Reset(at) = self.socket.end {
                return Some(at);
            }
            if Instant::now() >= deadline {
                return None;
            }
            self.wait_a_little();
        }
    }

    /// Reads if there may be something to read, and sleeps if there cannot.
    fn wait_a_little(&mut self) {
        const STEP: Duration = Duration::from_millis(5);
        if self.pump(Instant::now() + STEP) == Pumped::Ended {
            thread::sleep(STEP);
        }
    }

    /// What was on the wire until now, without reading.
    pub fn ending(&self) -> Ending {
        Ending {
            bytes: self.heard.plaintext.clone(),
            close_notify: self.heard.close_notify,
            alert: self.heard.alert,
            end: self.socket.end,
            late_reset: self.socket.late_reset,
            write_failed: self.socket.write_failed,
            tls_error: self.heard.tls_error.clone(),
            ignored: self.heard.ignored,
            partial_record: self.heard.partial_record,
            story: self.story.clone(),
        }
    }

    /// An error which tells the story.
    pub(super) fn failure(&self, kind: ErrorKind, what: &str) -> io::Error {
        io::Error::new(kind, Failure(format!("{what}: {:?}", self.ending())))
    }
}

/// The server's side, as the kernel knows it.
impl<L: Layer> Connection<L> {
    /// Whether the server process still owns a descriptor of this connection.
    ///
    /// Nor does it own one before it has accepted the connection.
    pub fn server_holds(&self) -> bool {
        proc_net::holds(self.socket.peer, self.socket.local)
    }

    /// The server's socket in the kernel's table: its state, and what it has not read or sent.
    pub fn server_row(&self) -> Option<proc_net::Row> {
        proc_net::server_row(self.socket.peer, self.socket.local)
    }

    /// How long from now the server process goes on holding the connection; `None` if it still does
    /// after `timeout`.
    pub fn held_for(&self, timeout: Duration) -> Option<Duration> {
        let start = Instant::now();
        loop {
            if !self.server_holds() {
                return Some(start.elapsed());
            }
            if start.elapsed() >= timeout {
                return None;
            }
            thread::sleep(Duration::from_millis(3));
        }
    }

    /// Waits until the server process has accepted the connection.
    pub fn wait_held(&self, timeout: Duration) -> bool {
        let start = Instant::now();
        while !self.server_holds() {
            if start.elapsed() >= timeout {
                return false;
            }
            thread::sleep(Duration::from_millis(3));
        }
        true
    }
}

impl<L: Layer> fmt::Debug for Connection<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Connection as of {:?}", self.story.now())?;
        writeln!(f, "server's socket: {:?}", self.server_row())?;
        self.ending().fmt(f)
    }
}

/// An error whose `Debug`, which is what `unwrap` prints, is as legible as its `Display`.
struct Failure(String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}
