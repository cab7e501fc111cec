//! Where the listening sockets come from: the process before this one, systemd, or the settings.
//!
//! Both pass them the same way, as open descriptors with a number and a name (sd_listen_fds(3)); a process
//! before has a socket of its own among them, through which it says what they are.

use std::{
    env,
    ffi::c_int,
    fs,
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{
    ListenAddress, RestartError,
    control::{CONTROL, Hello, OLDER, Origin},
};
use crate::tickets::ExportedTicketKeys;

/// How many connections may wait to be accepted, if the kernel lets so many.
const BACKLOG: c_int = 1024;

/// A listener as the settings want it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) address: ListenAddress,
}

/// A listening socket of this process.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) socket: Listening,
}

#[derive(Debug)]
pub(super) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(match self.try_clone()? {
            Self::Tcp(socket) => socket.into(),
            Self::Unix(socket) => socket.into(),
        })
    }

    /// Where clients find it, for people to read.
    pub(super) fn address(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(socket) => socket.local_addr()?.to_string(),
            Self::Unix(socket) => match socket.local_addr()?.as_pathname() {
                Some(path) => format!("unix:{}", path.display()),
                None => "unix:".into(),
            },
        })
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(socket) => SockRef::from(socket),
            Self::Unix(socket) => SockRef::from(socket),
        }
    }

    /// Of what was passed. Systems that can't say whether it listens say so when it is accepted from.
    fn check(&self) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        if !self.socket().is_listener()? {
            return Err(io::Error::other("is a socket that does not listen"));
        }
        self.socket().set_nonblocking(true)
    }
}

/// The file of a Unix socket, which may have become another's.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

impl SocketFile {
    /// As it is now.
    pub(super) fn of(origin: &Origin) -> Option<Self> {
        let Origin::Bound(ListenAddress::Unix(path)) = origin else {
            return None;
        };
        Some(Self {
            identity: identity(path)?,
            path: path.clone(),
        })
    }

    pub(super) fn remove(&self) {
        if identity(&self.path) == Some(self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Device, inode, and when it was made: inodes are used again.
type Identity = (u64, u64, i64, i64);

/// `None` where there is no socket.
fn identity(path: &Path) -> Option<Identity> {
    let file = fs::symlink_metadata(path).ok()?;
    let is_socket = file.file_type().is_socket();
    is_socket.then(|| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec()))
}

/// All that this process begins with.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) open: Vec<Open>,
    /// The way to the process before this one.
    pub(super) before: Option<UnixStream>,
    /// Of the sockets that it has passed, those that this process listens on.
    pub(super) taken: Vec<usize>,
    /// The ways to processes that are older still, the oldest first.
    pub(super) older: Vec<UnixStream>,
    /// Those of the process before.
    pub(super) ticket_keys: Option<ExportedTicketKeys>,
}

/// Takes over the sockets of the process before, takes those of systemd, or makes new ones.
///
/// `listenfd` removes variables from the environment.
pub(super) fn open(wanted: &[Wanted]) -> Result<Sockets, RestartError> {
    let mut passed = Passed::of_environment()?;
    let older = passed.streams(OLDER)?;
    let before = passed.streams(CONTROL)?.pop();
    let hello = match &before {
        None => passed.by_systemd(),
        Some(control) => {
            Hello::read(control).map_err(|error| RestartError::Predecessor(error.to_string()))?
        }
    };
    let pool = passed.listening(hello.sockets)?;
    let (open, taken) = assign(wanted, pool)?;
    Ok(Sockets {
        open,
        before,
        taken,
        older,
        ticket_keys: hello.ticket_keys,
    })
}

/// What is wanted is taken from those that were passed, or bound. What systemd has passed under a name is all
/// that there is of that name, whatever the settings say.
fn assign(wanted: &[Wanted], pool: Vec<Open>) -> Result<(Vec<Open>, Vec<usize>), RestartError> {
    let (mut open, mut taken) = (Vec::new(), Vec::new());
    let pool = pool.into_iter().enumerate();
    let (passed, mut pool): (Vec<_>, Vec<_>) = pool.partition(|(_, of)| of.is_passed());
    for (number, socket) in passed {
        let name = name_of(&socket, wanted)?;
        taken.push(number);
        open.push(Open { name, ..socket });
    }
    let passed: Vec<_> = open.iter().map(|of| of.name.clone()).collect();
    for wanted_one in wanted.iter().filter(|of| !passed.contains(&of.name)) {
        let same = pool.iter().position(|(_, of)| of.is(wanted_one));
        let name = wanted_one.name.clone();
        open.push(match same.map(|at| pool.swap_remove(at)) {
            Some((number, socket)) => {
                taken.push(number);
                Open { name, ..socket }
            }
            None => bind(wanted_one)?,
        });
    }
    Ok((open, taken))
}

/// Which listener a socket of systemd is. Where there is only one, every socket is.
fn name_of(passed: &Open, wanted: &[Wanted]) -> Result<String, RestartError> {
    let passed = match &passed.origin {
        Origin::Passed(name) => name,
        Origin::Bound(_) => &passed.name,
    };
    let mut names = wanted.iter().map(|of| &of.name);
    let first = names.next().ok_or(RestartError::NoListener)?;
    if names.all(|name| name == first) || first == passed {
        return Ok(first.clone());
    }
    match wanted.iter().any(|of| of.name == *passed) {
        true => Ok(passed.clone()),
        false => Err(RestartError::Passed(format!(
            "LISTEN_FDNAMES: {:?} is none of the listeners of this program, {}: set FileDescriptorName= in \
             the socket unit",
            passed,
            known(wanted.iter().map(|of| of.name.as_str()))
        ))),
    }
}

/// Names for people to read, each once.
pub(super) fn known<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: std::collections::BTreeSet<_> = names.collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

impl Open {
    fn is_passed(&self) -> bool {
        matches!(self.origin, Origin::Passed(_))
    }

    fn is(&self, wanted: &Wanted) -> bool {
        let free = matches!(&wanted.address, ListenAddress::Tcp(of) if of.port() == 0);
        let address = matches!(&self.origin, Origin::Bound(address) if *address == wanted.address);
        address && (!free || self.name == wanted.name)
    }
}

fn bind(wanted: &Wanted) -> Result<Open, RestartError> {
    let bound = match &wanted.address {
        ListenAddress::Tcp(address) => bind_tcp(*address),
        ListenAddress::Unix(path) => bind_unix(path),
    };
    let socket = bound.map_err(|source| RestartError::Listen {
        name: wanted.name.clone(),
        address: wanted.address.clone(),
        source,
    })?;
    Ok(Open {
        name: wanted.name.clone(),
        origin: Origin::Bound(wanted.address.clone()),
        socket,
    })
}

fn bind_tcp(address: SocketAddr) -> io::Result<Listening> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Else it would depend on what else there is, and so could not be handed over as it is.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Listening::Tcp(socket.into()))
}

/// A file that nobody listens behind is left over from a process that was killed.
fn bind_unix(path: &Path) -> io::Result<Listening> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Where somebody listens, but is too busy, it would wait.
    probe.set_nonblocking(true)?;
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    // Any other file refuses too.
    if identity(path).is_some() && probe.connect(&SockAddr::unix(path)?).is_err_and(refused) {
        fs::remove_file(path)?;
    }
    let socket = UnixListener::bind(path)?;
    SockRef::from(&socket).listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(Listening::Unix(socket))
}

/// The descriptors that were passed to this process (sd_listen_fds(3)), with their names.
struct Passed {
    descriptors: ListenFd,
    names: Vec<String>,
    /// As the environment has it, for people to read.
    count: String,
}

impl Passed {
    fn of_environment() -> Result<Self, RestartError> {
        let count = env::var("LISTEN_FDS").unwrap_or_default();
        if !count.is_empty() && count.parse::<u16>().is_err() {
            let wrong = format!("LISTEN_FDS={count}: not a number of sockets");
            return Err(RestartError::Passed(wrong));
        }
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let descriptors = ListenFd::from_env();
        let mut names: Vec<_> = names.split(':').map(str::to_owned).collect();
        names.resize(descriptors.len(), String::new());
        Ok(Self {
            descriptors,
            names,
            count,
        })
    }

    fn numbers(&self, named: impl Fn(&str) -> bool) -> Vec<usize> {
        let numbers = self.names.iter().enumerate();
        numbers
            .filter_map(|(number, name)| named(name).then_some(number))
            .collect()
    }

    /// Those that lead to other processes.
    fn streams(&mut self, named: &str) -> Result<Vec<UnixStream>, RestartError> {
        let mut streams = Vec::new();
        for number in self.numbers(|name| name == named) {
            let (family, kind) = (libc::AF_UNIX, libc::SOCK_STREAM);
            let hint = "Unix stream socket";
            let taken = self.descriptors.take_custom(number, family, kind, hint);
            streams.extend(taken.map_err(|error| self.wrong(&error))?);
        }
        Ok(streams)
    }

    /// Those of systemd, which gives names, and has bound them itself.
    fn by_systemd(&self) -> Hello {
        let names = self.names.iter().cloned();
        Hello {
            sockets: names
                .map(|name| (name.clone(), Origin::Passed(name)))
                .collect(),
            ticket_keys: None,
        }
    }

    /// Takes the listening sockets, of which the names and origins are known.
    fn listening(&mut self, known: Vec<(String, Origin)>) -> Result<Vec<Open>, RestartError> {
        let numbers = self.numbers(|name| name != CONTROL && name != OLDER);
        if numbers.len() != known.len() {
            return Err(RestartError::Predecessor(format!(
                "{} sockets are here, and {} were to be",
                numbers.len(),
                known.len()
            )));
        }
        let take = |(number, (name, origin))| {
            let taken = self.take(number).map_err(|error| self.wrong(&error));
            taken.map(|socket| Open {
                name,
                origin,
                socket,
            })
        };
        numbers.into_iter().zip(known).map(take).collect()
    }

    fn take(&mut self, number: usize) -> io::Result<Listening> {
        let taken = || io::Error::other("taken already");
        let unix = self.descriptors.take_unix_listener(number);
        let socket = match unix {
            Ok(socket) => Listening::Unix(socket.ok_or_else(taken)?),
            Err(_) => {
                let socket = self.descriptors.take_tcp_listener(number)?;
                Listening::Tcp(socket.ok_or_else(taken)?)
            }
        };
        let wrong = |error| io::Error::other(format!("descriptor {number} of them {error}"));
        socket.check().map_err(wrong)?;
        Ok(socket)
    }

    fn wrong(&self, error: &io::Error) -> RestartError {
        RestartError::Passed(format!(
            "LISTEN_FDS={}: {error}: pass listening TCP or Unix sockets only, from descriptor 3 on",
            self.count
        ))
    }
}
