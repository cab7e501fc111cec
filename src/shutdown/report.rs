//! What a shutdown says when it is over.

use std::{fmt, process::ExitCode, time::Duration};

#[cfg(doc)]
use crate::ending::Outcome;
use crate::register::Counts;

/// How a shutdown went. [`Display`](fmt::Display) gives it as one line.
///
/// The counts are of connections that ended after the shutdown began.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// From the first trigger to the last closed descriptor.
    pub took: Duration,
    /// Whether the deadline passed, or was skipped to, before every connection had finished.
    pub deadline_reached: bool,
    /// Connections that ended as they should: see [`Outcome::Clean`].
    pub clean: u64,
    /// See [`Outcome::PeerSilent`].
    pub peer_silent: u64,
    /// See [`Outcome::DrainCut`].
    pub drain_cut: u64,
    /// See [`Outcome::Truncated`].
    pub truncated: u64,
    /// See [`Outcome::Aborted`].
    pub aborted: u64,
}

impl Report {
    /// All connections that ended after the shutdown began.
    pub fn connections(&self) -> u64 {
        self.clean + self.peer_silent + self.drain_cut + self.truncated + self.aborted
    }

    /// Whether nothing was cut short: every answer that had begun and every upload in use was
    /// completed, but for those whose peer reset the connection or took no more bytes.
    ///
    /// `ExitCode::from(report)` is success where this is so, and failure where not.
    pub fn is_clean(&self) -> bool {
        self.truncated == 0
    }

    pub(crate) fn new(took: Duration, deadline_reached: bool, ended: Counts) -> Self {
        let [clean, peer_silent, drain_cut, truncated, aborted] = ended.0;
        Self {
            took,
            deadline_reached,
            clean,
            peer_silent,
            drain_cut,
            truncated,
            aborted,
        }
    }
}

impl From<Report> for ExitCode {
    fn from(report: Report) -> Self {
        match report.is_clean() {
            true => Self::SUCCESS,
            false => Self::FAILURE,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "shutdown took {:.3} s{}: {} connections ended: {} clean, {} peer silent, \
             {} drain cut, {} truncated, {} aborted",
            self.took.as_secs_f64(),
            match self.deadline_reached {
                true => " (deadline reached)",
                false => "",
            },
            self.connections(),
            self.clean,
            self.peer_silent,
            self.drain_cut,
            self.truncated,
            self.aborted,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_one_line() {
        let report = Report::new(Duration::from_millis(1500), true, Counts([7, 1, 2, 3, 4]));
        assert_eq!(report.connections(), 17);
        assert_eq!(
            report.to_string(),
            "shutdown took 1.500 s (deadline reached): 17 connections ended: 7 clean, \
             1 peer silent, 2 drain cut, 3 truncated, 4 aborted"
        );
    }

    #[test]
    fn is_clean_unless_something_was_cut() {
        let ended = |counts| Report::new(Duration::ZERO, true, Counts(counts));
        let code = |counts| format!("{:?}", ExitCode::from(ended(counts)));
        assert!(ended([7, 1, 2, 0, 4]).is_clean());
        assert!(!ended([7, 1, 2, 1, 4]).is_clean());
        assert_eq!(code([7, 1, 2, 0, 4]), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code([0, 0, 0, 1, 0]), format!("{:?}", ExitCode::FAILURE));
    }
}
