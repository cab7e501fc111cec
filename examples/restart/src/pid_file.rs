//! The file with the process id of the one that serves.
//!
//! A process that can't write it does not take over: the file would go on naming the old one.

use std::{io::Write, path::Path, process};

use tempfile::NamedTempFile;

use crate::settings::Settings;

/// Whether the file could be written, without doing so.
pub(crate) fn check(settings: &Settings) -> Result<(), String> {
    match &settings.pid_file {
        Some(path) => prepare(path).map(drop),
        None => Ok(()),
    }
}

/// Replaces the file at once: whoever reads it sees the old number or the new one.
pub(crate) fn write(settings: &Settings) -> Result<(), String> {
    match &settings.pid_file {
        Some(path) => prepare(path)?
            .persist(path)
            .map(drop)
            .map_err(|error| unwritable(path, &error.error)),
        None => Ok(()),
    }
}

/// Removes the file when the server stops, unless another process has taken over.
pub(crate) fn remove(settings: &Settings) {
    if let Some(path) = &settings.pid_file {
        let named = std::fs::read_to_string(path).unwrap_or_default();
        if named.trim() == process::id().to_string() {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn prepare(path: &Path) -> Result<NamedTempFile, String> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let file = NamedTempFile::new_in(folder).and_then(|mut file| {
        writeln!(file, "{}", process::id())?;
        file.as_file().sync_all()?;
        Ok(file)
    });
    file.map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> String {
    let path = path.display();
    format!("--pid-file {path}: {error}: give a file that can be written, on a disk with room")
}
