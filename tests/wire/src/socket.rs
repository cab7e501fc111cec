//! The TCP socket, and what it says about FIN and RST.
//!
//! Linux reports a RST in several ways, all of which are sorted out here and nowhere else:
//!
//! - with no FIN before it, the next read (once the queue is drained), write or `SO_ERROR` says
//!   `ECONNRESET`, but only the first of them does, and a read after that returns 0 as if a FIN had
//!   come;
//! - after a FIN, reads go on returning 0, and only `SO_ERROR` or a write says `EPIPE`.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockFilter;
use socket2::{Domain, SockRef, Socket as RawSocket, Type};

use super::ending::End;
use super::options::Options;
use super::story::Story;

/// What one read brought.
pub(super) enum Got {
    Bytes(Vec<u8>),
    Quiet,
    Ended,
}

/// A connected socket and its condition.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Option<TcpStream>,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) end: End,
    pub(super) late_reset: Option<Duration>,
    pub(super) write_failed: Option<(ErrorKind, Duration)>,
    /// `ECONNRESET` was seen somewhere, though what came before it may still be unread.
    reset: Option<Duration>,
    sent_fin: bool,
    unsent: Vec<u8>,
    chunk: usize,
}

impl Socket {
    /// Connects.  A server which resets at once may make even that fail, with `ConnectionReset`.
    pub(super) fn connect(addr: SocketAddr, options: &Options) -> io::Result<(Self, Story)> {
        let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, None)?;
        if let Some(size) = options.recv_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        socket.connect_timeout(&addr.into(), options.timeout)?;
        let mut story = Story::new();
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        // A peer which has reset the connection already has no address any more.
        let peer = stream.peer_addr().unwrap_or(addr);
        story.note(format!("connected {local} to {peer}"));
        let socket = Self {
            stream: Some(stream),
            local,
            peer,
            end: End::StillOpen,
            late_reset: None,
            write_failed: None,
            reset: None,
            sent_fin: false,
            unsent: Vec::new(),
            chunk: options.read_chunk.max(1),
        };
        Ok((socket, story))
    }

    /// Reads once, waiting until `deadline` at most.
    pub(super) fn read(&mut self, deadline: Instant, story: &mut Story) -> Got {
        if self.end != End::StillOpen {
            return Got::Ended;
        }
        let mut buffer = vec![0; self.chunk];
        match self.read_until(&mut buffer, deadline) {
            Ok(0) => self.read_nothing(story),
            Ok(n) => {
                buffer.truncate(n);
                Got::Bytes(buffer)
            }
            Err(error) if is_timeout(&error) => Got::Quiet,
            Err(error) => self.read_failed(&error, story),
        }
    }

    fn read_until(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        // The shortest timeout of a socket is a tick or two, so that a mere look must not use it.
        let look = Instant::now() >= deadline;
        stream.set_nonblocking(look)?;
        let done = loop {
            stream.set_read_timeout(Some(left(deadline)))?;
            match stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        stream.set_nonblocking(false)?;
        done
    }

    fn read_nothing(&mut self, story: &mut Story) -> Got {
        self.end = match self.reset {
            Some(at) => End::Reset(at),
            None => End::Fin(story.note("< FIN")),
        };
        Got::Ended
    }

    fn read_failed(&mut self, error: &io::Error, story: &mut Story) -> Got {
        if error.kind() != ErrorKind::ConnectionReset {
            story.note(format!("read failed: {error}"));
        }
        self.end = End::Reset(self.saw_reset(story));
        Got::Ended
    }

    fn saw_reset(&mut self, story: &mut Story) -> Duration {
        *self.reset.get_or_insert_with(|| story.note("< RST"))
    }

    /// Writes all of `bytes`, behind whatever an earlier write left over.
    ///
    /// What does not fit until `deadline` stays queued, and the error is `TimedOut`.
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        deadline: Instant,
        story: &mut Story,
    ) -> io::Result<()> {
        self.unsent.extend_from_slice(bytes);
        while !self.unsent.is_empty() {
            match self.write_once(deadline) {
                Ok(n) => {
                    story.tally("> bytes", n);
                    self.unsent.drain(..n);
                    if !self.unsent.is_empty() && Instant::now() >= deadline {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Err(ErrorKind::TimedOut.into()),
                Err(error) => return Err(self.write_failed(error, story)),
            }
        }
        Ok(())
    }

    fn write_once(&mut self, deadline: Instant) -> io::Result<usize> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        stream.set_write_timeout(Some(left(deadline)))?;
        match stream.write(&self.unsent)? {
            0 => Err(ErrorKind::WriteZero.into()),
            n => Ok(n),
        }
    }

    fn write_failed(&mut self, error: io::Error, story: &mut Story) -> io::Error {
        self.unsent.clear();
        let at = story.note(format!("> write failed: {error}"));
        self.write_failed.get_or_insert((error.kind(), at));
        self.consider(error.kind(), story);
        error
    }

    /// Draws conclusions from a write's error or from `SO_ERROR`.
    fn consider(&mut self, error: ErrorKind, story: &mut Story) {
        match error {
            ErrorKind::ConnectionReset if !matches!(self.end, End::Fin(_)) => {
                self.saw_reset(story);
            }
            ErrorKind::BrokenPipe if self.sent_fin => {}
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe if self.late_reset.is_none() => {
                self.late_reset = Some(story.note("< RST, after a FIN"));
            }
            _ => {}
        }
    }

    /// Asks the kernel for a RST which no read or write has told of yet.
    pub(super) fn probe(&mut self, story: &mut Story) -> Option<Duration> {
        let error = match &self.stream {
            Some(stream) => stream.take_error().ok().flatten(),
            None => None,
        };
        if let Some(error) = error {
            // With a FIN behind it, EPIPE here is a RST even if this side is shut down too.
            if error.kind() == ErrorKind::BrokenPipe && self.late_reset.is_none() {
                self.late_reset = Some(story.note("< RST, after a FIN"));
            } else {
                self.consider(error.kind(), story);
            }
        }
        self.late_reset.or(self.reset)
    }

    /// Sends a FIN.
    pub(super) fn fin(&mut self, story: &mut Story) -> io::Result<()> {
        let stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
        stream.shutdown(Shutdown::Write)?;
        self.sent_fin = true;
        story.note("> FIN");
        Ok(())
    }

    /// Drops whatever comes in from now on, as a machine that is gone does: nothing is acknowledged.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn vanish(&mut self, story: &mut Story) -> io::Result<()> {
        // Returns 0: so many bytes of each packet are let through.
        const RETURN_NOTHING: SockFilter = SockFilter::new(6, 0, 0, 0);
        let stream = self.stream.as_ref().ok_or(ErrorKind::NotConnected)?;
        SockRef::from(stream).attach_filter(&[RETURN_NOTHING])?;
        story.note("> vanished");
        Ok(())
    }

    /// Closes the socket; `how` says whether with a RST.
    pub(super) fn close(&mut self, reset: bool, story: &mut Story) -> io::Result<()> {
        let stream = self.stream.take().ok_or(ErrorKind::NotConnected)?;
        if reset {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        drop(stream);
        let at = story.note(if reset { "> RST" } else { "> closed" });
        if self.end == End::StillOpen {
            self.end = End::Ours(at);
        }
        Ok(())
    }

    /// Bytes which an earlier write could not place.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }
}

/// The time to `deadline`, in a form which socket timeouts accept.
fn left(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
