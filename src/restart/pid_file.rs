//! The file with the number of the process that serves.
//!
//! A process that can't write it does not take over: the file would go on naming the old one.

use std::{
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
};

use tempfile::NamedTempFile;

use super::RestartError;

#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Whether it could be written, without doing so.
    pub(super) fn check(&self) -> Result<(), RestartError> {
        self.prepare().map(drop)
    }

    /// Replaces the file at once: whoever reads it sees the old number or the new one.
    pub(super) fn write(&self) -> Result<(), RestartError> {
        self.put(self.prepare()?)
    }

    /// Puts in place what was prepared: all that can go wrong then has gone wrong before.
    pub(super) fn put(&self, prepared: NamedTempFile) -> Result<(), RestartError> {
        let put = prepared.persist(&self.0);
        put.map(drop).map_err(|error| self.wrong(error.error))
    }

    /// Removes the file, unless it names another process.
    pub(super) fn remove(&self) {
        let named = std::fs::read_to_string(&self.0).unwrap_or_default();
        if named.trim() == process::id().to_string() {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    pub(super) fn prepare(&self) -> Result<NamedTempFile, RestartError> {
        self.written().map_err(|error| self.wrong(error))
    }

    fn written(&self) -> io::Result<NamedTempFile> {
        if self.0.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let folder = self.0.parent().filter(|path| !path.as_os_str().is_empty());
        let mut file = tempfile::Builder::new()
            // Who watches the server reads it, too.
            .permissions(Permissions::from_mode(0o644))
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        writeln!(file, "{}", process::id())?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    fn wrong(&self, source: io::Error) -> RestartError {
        RestartError::PidFile {
            path: self.0.clone(),
            source,
        }
    }
}
