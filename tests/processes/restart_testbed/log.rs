//! The log. A disk that is full must not stop a server: it says so once, and goes on.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::settings::Settings;

/// Starts the log, where the settings say.
pub(crate) fn start(settings: &Settings) -> Result<(), String> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let Some(path) = &settings.log_file else {
        settings.log.start(filter);
        return Ok(());
    };
    let file = OpenOptions::new().append(true).create(true).open(path);
    let file = file.map_err(|error| {
        format!(
            "--log-file {}: {error}: give a file that can be written",
            path.display()
        )
    })?;
    let name = path.display().to_string();
    let failed = AtomicBool::new(false);
    let file = LogFile(Arc::new(Inner { file, name, failed }));
    settings.log.start_on(file, false, filter);
    Ok(())
}

#[derive(Clone)]
struct LogFile(Arc<Inner>);

struct Inner {
    file: File,
    name: String,
    failed: AtomicBool,
}

impl Write for LogFile {
    /// What can't be written goes to standard error instead.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Inner { file, name, failed } = &*self.0;
        if let Err(error) = (&*file).write_all(line) {
            let mut stderr = io::stderr();
            if !failed.swap(true, Ordering::Relaxed) {
                let goes_on = "logging to standard error until it works";
                let _ = writeln!(stderr, "error: --log-file {name}: {error}: {goes_on}");
            }
            return stderr.write_all(line).map(|()| line.len());
        }
        failed.store(false, Ordering::Relaxed);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogFile {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
