//! The story of a connection: what happened, in order, with times.
//!
//! It exists for the reader of a failed assertion, and for whoever draws a time line of it.  Repeated transfers are tallied on one line, so
//! that a long download does not bury the three lines which matter.

use std::fmt;
use std::time::{Duration, Instant};

/// What happened on one connection since it was made.
#[derive(Clone)]
pub struct Story {
    origin: Instant,
    lines: Vec<Line>,
}

/// Something that happened, or a burst of transfers.
///
/// Its text begins with `<` for what the server did, `>` for what this client did, and `#` for
/// remarks.
#[derive(Clone)]
pub struct Line {
    pub first: Duration,
    pub last: Duration,
    pub text: String,
    /// How often, and how many bytes in all, if this line counts transfers.
    pub tally: Option<(usize, usize)>,
}

impl Story {
    /// Starts the clock.
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            lines: Vec::new(),
        }
    }

    /// The time since the connection was made.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Adds a line and returns its time.
    pub fn note(&mut self, text: impl Into<String>) -> Duration {
        self.push(text.into(), None)
    }

    /// Counts one transfer of `bytes`, joining it to a recent line if that tells the same.
    ///
    /// Only lines of the same burst are joined, and never across anything but other transfers.
    pub fn tally(&mut self, text: &str, bytes: usize) -> Duration {
        const BURST: Duration = Duration::from_millis(20);
        let now = self.now();
        let mut burst = self.lines.iter_mut().rev().take(6);
        let joined = burst
            .by_ref()
            .take_while(|line| line.tally.is_some() && now - line.last < BURST)
            .find(|line| line.text == text);
        if let Some(line) = joined
            && let Some((count, total)) = &mut line.tally
        {
            *count += 1;
            *total += bytes;
            line.last = now;
            return now;
        }
        self.push(text.into(), Some((1, bytes)))
    }

    /// Whether there is a line that says just this.
    pub fn has(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.text == text)
    }

    /// All lines, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn push(&mut self, text: String, tally: Option<(usize, usize)>) -> Duration {
        let now = self.now();
        self.lines.push(Line {
            first: now,
            last: now,
            text,
            tally,
        });
        now
    }
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 150;
        let skipped = self.lines.len().saturating_sub(2 * SHOWN);
        for (n, line) in self.lines.iter().enumerate() {
            match n.checked_sub(SHOWN) {
                Some(0) if skipped > 0 => writeln!(f, "    … {skipped} lines …")?,
                Some(past) if past < skipped => {}
                _ => writeln!(f, "    {line}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>11} {}", millis(self.first), self.text)?;
        let Some((count, bytes)) = self.tally else {
            return Ok(());
        };
        write!(f, ": {bytes} bytes")?;
        if count > 1 {
            write!(f, " in {count}, until {}", millis(self.last))?;
        }
        Ok(())
    }
}

/// A time as the story prints it.
pub(super) fn millis(at: Duration) -> String {
    format!("+{:.3}ms", at.as_secs_f64() * 1e3)
}

/// The first bytes of a text, printable, for messages.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    const MOST: usize = 160;
    let shown = bytes[..bytes.len().min(MOST)].escape_ascii();
    let more = if bytes.len() > MOST { "…" } else { "" };
    format!("{} bytes \"{shown}{more}\"", bytes.len())
}
