//! Restarts in a row, under load.

use std::{
    error::Error,
    thread::sleep,
    time::{Duration, Instant},
};

use processes::{
    load::{Load, Totals, now},
    restarting::Site,
};

/// What one server did.
pub struct Run {
    pub name: &'static str,
    pub totals: Totals,
    /// From the signal to the end of the old process, since the epoch.
    pub restarts: Vec<(Duration, Duration)>,
}

impl Run {
    pub fn of(
        name: &'static str,
        server: &str,
        restarts: u32,
        every: Duration,
        load: &[String],
    ) -> Result<Self, Box<dyn Error>> {
        let settings = [
            "--server",
            server,
            "--lame-duck-ms=250",
            "--shutdown-timeout-ms=10000",
        ];
        let site = Site::start(&settings);
        let load: Vec<_> = load.iter().map(String::as_str).collect();
        let load = Load::start(site.addr, &load);
        let mut windows = Vec::new();
        sleep(every);
        for number in 1..=restarts {
            let begun = Instant::now();
            let since = now();
            site.restart();
            windows.push((since, now()));
            eprint!("\r{name}: {number} of {restarts} restarts");
            sleep(every.saturating_sub(begun.elapsed()));
        }
        eprintln!();
        Ok(Self {
            name,
            totals: load.finish(),
            restarts: windows,
        })
    }

    /// Since the epoch.
    pub fn begun(&self) -> Duration {
        Duration::from_millis(self.totals.count("begun_unix_ms"))
    }

    /// Whether any of this time was in a restart.
    pub fn is_restarting(&self, from: Duration, to: Duration) -> bool {
        let mut restarts = self.restarts.iter();
        restarts.any(|(begin, end)| from <= *end && to >= *begin)
    }
}
