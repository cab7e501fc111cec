//! [`RestartBuilder`]: what is listened on, and how long everything may take.

use std::{env, path::PathBuf, time::Duration};

use super::{
    ListenAddress, Restart, RestartError,
    control::{CONTROL, OLDER},
    pid_file::PidFile,
    sockets::{self, Sockets, Wanted},
    successor::CHECK,
};
use crate::settings::LONGEST;

/// What a [`RestartBuilder`] has been told.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) wanted: Vec<Wanted>,
    pub(super) pid_file: Option<PidFile>,
    pub(super) is_check: bool,
    pub(super) ready_within: Duration,
    pub(super) undo_within: Duration,
    pub(super) old_process_timeout: Option<Duration>,
    pub(super) max_old_processes: usize,
}

/// Sets up a [`Restart`].
#[derive(Debug)]
#[must_use = "nothing is opened without `open`"]
pub struct RestartBuilder {
    settings: Settings,
}

impl RestartBuilder {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings {
                wanted: Vec::new(),
                pid_file: None,
                is_check: env::var_os(CHECK).is_some_and(|check| check == "1"),
                ready_within: Duration::from_secs(30),
                undo_within: Duration::from_secs(10),
                old_process_timeout: None,
                max_old_processes: 8,
            },
        }
    }

    /// A listener. Those of one name are served alike: IPv4, IPv6 and a Unix socket, say.
    ///
    /// IPv6 is IPv6 only, as in nginx: for both there are two, `0.0.0.0:443` and `[::]:443`. Once it is listened on, an
    /// address can't be exchanged by a restart for one that overlaps, such as `127.0.0.1` for `0.0.0.0`: give both, or
    /// stop and start.
    ///
    /// The name tells a listener from the others when they are handed over, and is the `FileDescriptorName=` of
    /// systemd's socket unit. Where all listeners have one name, every socket that systemd passes is of that
    /// name; where it passes some of a name, the addresses given here for that name are not listened on.
    ///
    /// A new process may listen elsewhere: what it does not take over is closed, in order, by the old one.
    pub fn listen(mut self, name: &str, address: ListenAddress) -> Self {
        self.settings.wanted.push(Wanted {
            name: name.into(),
            address,
        });
        self
    }

    /// Keeps the number of the process that serves in this file, which is replaced at once, and removed when the last one
    /// stops. Default: none.
    ///
    /// A process that can't write it does not take over.
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.pid_file = Some(PidFile::new(path.into()));
        self
    }

    /// Whether this process only checks its settings, for a `--check` on a command line. Default: no, or what
    /// the process says that wants to be replaced.
    pub fn check(mut self, check: bool) -> Self {
        self.settings.is_check |= check;
        self
    }

    /// How long a new process may take to check its settings, and then to be ready; after that it is killed.
    /// Default: 30 s.
    pub fn ready_within(mut self, timeout: Duration) -> Self {
        self.settings.ready_within = timeout.min(LONGEST);
        self
    }

    /// How long the old process takes over again if the new one ends and was not told to, by a signal or because its
    /// connections have all ended. Default: 10 s; a day at most. Zero: never.
    ///
    /// So long the old process is a lame duck ([`Builder::lame_duck`](crate::Builder::lame_duck) is for SIGTERM): it
    /// accepts nothing, and tells clients to come back on new connections, but ends none. What the
    /// new process was doing is lost.
    pub fn undo_within(mut self, time: Duration) -> Self {
        self.settings.undo_within = time.min(LONGEST);
        self
    }

    /// How long what is in flight may stay with the old process after that: hours, where there are websockets,
    /// streams of events or of gRPC. Default: as long as
    /// [`Builder::shutdown_timeout`](crate::Builder::shutdown_timeout), within which idle connections end in any
    /// case; a day at most. SIGTERM to the old process leaves it that time, too.
    pub fn old_process_timeout(mut self, timeout: Duration) -> Self {
        self.settings.old_process_timeout = Some(timeout.min(LONGEST));
        self
    }

    /// How many old processes may live beside the one that serves. Once there are more, the oldest skips to its
    /// deadline. Default: 8.
    pub fn max_old_processes(mut self, most: usize) -> Self {
        self.settings.max_old_processes = most;
        self
    }

    /// Takes over the sockets of the process before, takes those of systemd, or binds new ones.
    ///
    /// Call it before there are threads, so before a tokio runtime: it removes variables from the environment,
    /// which the C library lets nobody read at the same time.
    ///
    /// # Errors
    ///
    /// See [`RestartError`]: a name or an address that can't be used, a socket that is not what it is said to be, or a
    /// pid file that can't be written.
    pub fn open(self) -> Result<Restart, RestartError> {
        let settings = self.settings;
        if settings.wanted.is_empty() {
            return Err(RestartError::NoListener);
        }
        settings.wanted.iter().try_for_each(check)?;
        if let Some(pid_file) = &settings.pid_file {
            pid_file.check()?;
        }
        let sockets = match settings.is_check {
            true => Sockets::default(),
            false => sockets::open(&settings.wanted)?,
        };
        Ok(Restart::new(settings, sockets))
    }
}

/// Names and paths go through `LISTEN_FDNAMES` and lines of text.
fn check(wanted: &Wanted) -> Result<(), RestartError> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let name = &wanted.name;
    let is_ours = [CONTROL, OLDER].contains(&name.as_str());
    if is_ours || name.is_empty() || name.len() > 200 || !name.chars().all(fits) {
        return Err(RestartError::Name(name.clone()));
    }
    match &wanted.address {
        ListenAddress::Unix(path)
            if path
                .to_str()
                .is_none_or(|path| path.is_empty() || path.contains('\n')) =>
        {
            Err(RestartError::Path {
                name: name.clone(),
                path: path.clone(),
            })
        }
        _ => Ok(()),
    }
}
