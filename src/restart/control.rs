//! What two processes say to each other, over a Unix socket that the new one inherits.
//!
//! The old process says what it passes on (a [`Hello`]). From then on there are only [`Word`]s, a line each, from
//! the new process to those before it, and one answer: whether it is the one that serves. So there are never two.
//!
//! The version is that of these lines: two versions of a program have to understand each other, so lines
//! that are not known are skipped, and the version changes only where that would not do.

use std::{
    fmt,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    str::{self, FromStr},
    time::Duration,
};

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::ListenAddress;
use crate::tickets::ExportedTicketKeys;

/// The name of this socket among the descriptors that are passed (`LISTEN_FDNAMES`), and of those that lead to
/// still older processes.
pub(super) const CONTROL: &str = "graceful-tls.control";
pub(super) const OLDER: &str = "graceful-tls.older";

/// What an answer of [`Word::TooLate`] means, for people to read.
pub(super) const LATE: &str = "it has not waited for this one any longer, and serves on";

const VERSION: &str = "graceful-tls restart 1";

/// The end of a hello.
const END: &str = ".";

/// It is written as soon as this process is started: not that the one who reads it is let wait for ever by
/// something that only looks like it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a socket comes from, at first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// systemd has passed it, by this name.
    Passed(String),
    /// The program has bound it: this is what the settings said, where the port may have been 0.
    Bound(ListenAddress),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(name) => write!(f, "passed:{name}"),
            Self::Bound(address) => address.fmt(f),
        }
    }
}

impl FromStr for Origin {
    type Err = super::InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("passed:") {
            Some(name) => Ok(Self::Passed(name.into())),
            None => text.parse().map(Self::Bound),
        }
    }
}

/// What the old process passes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Hello {
    /// Name and origin of each listening socket, in the order of the descriptors.
    pub(super) sockets: Vec<(String, Origin)>,
    /// What [`TicketKeys`](crate::TicketKeys) has exported.
    pub(super) ticket_keys: Option<ExportedTicketKeys>,
}

impl Hello {
    /// What is written for the new process to read.
    pub(super) fn lines(&self) -> Zeroizing<String> {
        let mut lines = Zeroizing::new(format!("{VERSION}\n"));
        for (name, origin) in &self.sockets {
            lines.push_str(&format!("socket {name} {origin}\n"));
        }
        if let Some(keys) = &self.ticket_keys {
            let keys = Zeroizing::new(BASE64.encode(keys));
            // As long as it will be: what it grows out of is not wiped.
            lines.reserve(keys.len() + 20);
            lines.push_str("ticket-keys ");
            lines.push_str(&keys);
            lines.push('\n');
        }
        lines.push_str(END);
        lines.push('\n');
        lines
    }

    /// Reads what the process before says, or has said.
    pub(super) fn read(mut from: &UnixStream) -> io::Result<Self> {
        from.set_read_timeout(Some(PATIENCE))?;
        // What a buffer leaves behind as it grows nobody wipes: this is more than there usually is.
        let mut said = Zeroizing::new(Vec::with_capacity(64 * 1024));
        let mut some = Zeroizing::new([0; 4096]);
        let end = loop {
            match from.read(&mut *some)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => said.extend_from_slice(&some[..length]),
            }
            let end = said.windows(3).position(|three| three == b"\n.\n");
            if let Some(end) = end {
                break end + 1;
            }
        };
        // An answer, and nothing was asked yet.
        if said.len() > end + 2 {
            return Err(io::Error::other(LATE));
        }
        Self::parse(&String::from_utf8_lossy(&said[..end]))
    }

    fn parse(said: &str) -> io::Result<Self> {
        let mut lines = said.lines();
        let version = lines.next().unwrap_or_default();
        if version != VERSION {
            let other =
                format!("it says {version:?}, this is {VERSION:?}: stop it, and start anew");
            return Err(io::Error::other(other));
        }
        let mut hello = Self::default();
        lines.try_for_each(|line| hello.take(line))?;
        Ok(hello)
    }

    fn take(&mut self, line: &str) -> io::Result<()> {
        let words: Vec<_> = line.splitn(3, ' ').collect();
        match words[..] {
            ["socket", name, origin] => {
                let origin = origin.parse().map_err(io::Error::other)?;
                self.sockets.push((name.into(), origin));
            }
            ["ticket-keys", keys] => {
                let keys = BASE64.decode(keys.as_bytes()).map_err(io::Error::other)?;
                self.ticket_keys = Some(ExportedTicketKeys::new(Zeroizing::new(keys)));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a process says to one before it, and what it is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Word {
    /// To the one just before, or if that has gone to the next: it is ready to serve, by what name the system
    /// knows it, and which of the passed sockets it has taken, by their numbers.
    Ready { pid: u32, taken: Vec<usize> },
    /// To those before that one: it serves, so there is nothing to take back any more.
    Replaced { pid: u32 },
    /// To the one just before: it ends because it was told to, and not because it fails.
    Stopping,
    /// The answer to the first: it is the one that serves.
    Serve,
    /// Or that it came too late, and the old process serves on.
    TooLate,
    /// To the oldest: there are too many, do not wait any longer.
    TooMany,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { pid, taken } => {
                write!(f, "ready {pid}")?;
                taken.iter().try_for_each(|number| write!(f, " {number}"))
            }
            Self::Replaced { pid } => write!(f, "replaced {pid}"),
            Self::Stopping => f.write_str("stopping"),
            Self::Serve => f.write_str("serve"),
            Self::TooLate => f.write_str("too-late"),
            Self::TooMany => f.write_str("too-many"),
        }
    }
}

impl Word {
    /// In one piece, for others may be writing to the same process. What is said to one that has gone is lost;
    /// whether it can have heard it.
    pub(super) fn tell(&self, mut process: &UnixStream) -> bool {
        process.write_all(format!("{self}\n").as_bytes()).is_ok()
    }
}

/// The answer of the process before to [`Word::Ready`]; `None` where it has gone, or does not run.
pub(super) fn answer(mut from: &UnixStream) -> Option<Word> {
    // Another process may have had it before.
    from.set_nonblocking(false).ok()?;
    from.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut line = [0; 64];
    let length = from.read(&mut line).ok()?;
    str::from_utf8(&line[..length]).ok()?.trim().parse().ok()
}

impl FromStr for Word {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        match words.next() {
            Some("ready") => {
                let pid = pid(words.next())?;
                let taken: Result<_, _> = words.map(str::parse).collect();
                Ok(Self::Ready {
                    pid,
                    taken: taken.map_err(|_| ())?,
                })
            }
            Some("replaced") => Ok(Self::Replaced {
                pid: pid(words.next())?,
            }),
            Some("stopping") => Ok(Self::Stopping),
            Some("serve") => Ok(Self::Serve),
            Some("too-late") => Ok(Self::TooLate),
            Some("too-many") => Ok(Self::TooMany),
            _ => Err(()),
        }
    }
}

fn pid(word: Option<&str>) -> Result<u32, ()> {
    word.and_then(|word| word.parse().ok()).ok_or(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let address = |text: &str| Origin::Bound(text.parse().unwrap());
        Hello {
            sockets: vec![
                ("https".into(), address("127.0.0.1:0")),
                ("https".into(), Origin::Passed("web.socket".into())),
                ("admin".into(), address("unix:/run/a b.sock")),
            ],
            ticket_keys: Some(ExportedTicketKeys::new(Zeroizing::new((0..200).collect()))),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (mut old, new) = UnixStream::pair().unwrap();
        old.write_all(hello().lines().as_bytes()).unwrap();
        let read = Hello::read(&new).unwrap();
        assert_eq!(read.sockets, hello().sockets);
        assert_eq!(read.ticket_keys.as_deref(), hello().ticket_keys.as_deref());
        for word in [
            Word::Ready {
                pid: 7,
                taken: vec![0, 2],
            },
            Word::Ready {
                pid: 1,
                taken: vec![],
            },
            Word::Replaced { pid: 9 },
            Word::Stopping,
            Word::Serve,
            Word::TooLate,
            Word::TooMany,
        ] {
            assert_eq!(word.to_string().parse(), Ok(word));
        }
        for nothing in ["", "OK", "ready", "ready x", "ready 1 x", "replace"] {
            assert_eq!(nothing.parse::<Word>(), Err(()), "{nothing}");
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        let said = format!("{VERSION}\nfrom the future\nsocket https passed:a\nsocket\n");
        assert_eq!(Hello::parse(&said).unwrap().sockets.len(), 1);
        assert!(Hello::parse("").is_err());
        assert!(Hello::parse("graceful-tls restart 2\n").is_err());
        assert!(Hello::parse(&format!("{VERSION}\nsocket https nowhere\n")).is_err());
    }
}
