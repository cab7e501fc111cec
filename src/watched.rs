//! [`Watched`]: files that are read again when they change.
//!
//! Who needs them says so at each handshake, and that is when they are looked at, no more than once a
//! second: no task has to live for it, nothing is missed while no client comes, and no runtime
//! is needed to make a server. A look is a call to the system for each, and goes through symbolic links: what
//! counts is which file it is in the end, when it was written, and how long it is. So a volume of
//! Kubernetes, whose link is swapped, certbot, which points its links at new files, and a plain copy over the
//! old files are all seen. A notification of the file system would tell of the link, or of the folder, or
//! not at all (NFS), depending on which of these it is.
//!
//! What can't be used is read again at each look until it can be: what stood in the way, such as rights or
//! a want of descriptors, may not show in the files.

use std::{
    fmt::Display,
    fs::{self, Metadata},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// How often the files are looked at, at most.
const LOOKS: Duration = Duration::from_secs(1);

/// So many files that belong together.
#[derive(Debug)]
pub(crate) struct Watched<const N: usize> {
    paths: [PathBuf; N],
    looks: Mutex<Looks<N>>,
}

/// What was seen of the files, and when to look again.
#[derive(Debug)]
struct Looks<const N: usize> {
    /// Of those that are in use.
    seen: Seen<N>,
    next: Instant,
    /// What has kept newer ones from being used.
    failed: Option<String>,
}

impl<const N: usize> Watched<N> {
    /// To be made before they are read for the first time.
    pub(crate) fn new(paths: [PathBuf; N]) -> Self {
        let looks = Mutex::new(Looks {
            seen: seen(&paths),
            next: Instant::now() + LOOKS,
            failed: None,
        });
        Self { paths, looks }
    }

    pub(crate) fn paths(&self) -> &[PathBuf; N] {
        &self.paths
    }

    /// Has the files read if they have changed, and says how that went, an error only once. While one
    /// looks, the others go on with what there is.
    pub(crate) fn look<E: Display>(
        &self,
        read: impl FnOnce(&[PathBuf; N]) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let mut looks = self.looks.try_lock().ok()?;
        if Instant::now() < looks.next {
            return None;
        }
        looks.next = Instant::now() + LOOKS;
        let said = looks.failed.take();
        // Before they are read: what changes meanwhile is seen at the next look.
        let seen = seen(&self.paths);
        if seen == looks.seen {
            return None;
        }
        let result = self.read_seen(&mut looks, seen, read);
        match result.is_err() && looks.failed == said {
            true => None,
            false => Some(result),
        }
    }

    /// Has them read now.
    #[cfg(feature = "pem")]
    pub(crate) fn read_again<E: Display>(
        &self,
        read: impl FnOnce(&[PathBuf; N]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_seen(&mut looks, seen(&self.paths), read)
    }

    /// Only what can be used has been seen: the rest is read again at the next look.
    fn read_seen<E: Display>(
        &self,
        looks: &mut Looks<N>,
        seen: Seen<N>,
        read: impl FnOnce(&[PathBuf; N]) -> Result<(), E>,
    ) -> Result<(), E> {
        let result = read(&self.paths);
        looks.failed = result.as_ref().err().map(E::to_string);
        result?;
        looks.seen = seen;
        Ok(())
    }
}

type Seen<const N: usize> = [Option<Version>; N];

fn seen<const N: usize>(paths: &[PathBuf; N]) -> Seen<N> {
    paths.each_ref().map(|path| Version::of(path))
}

/// What tells a file from what it was before. `None` is one that can't be looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Version {
    file: u64,
    length: u64,
    written: Option<SystemTime>,
}

impl Version {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            file: number(&metadata),
            length: metadata.len(),
            written: metadata.modified().ok(),
        })
    }
}

#[cfg(unix)]
fn number(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_: &Metadata) -> u64 {
    0
}
