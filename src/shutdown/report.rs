//! What a shutdown says when it is over.

use std::{fmt, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

#[cfg(doc)]
use crate::ending::Outcome;
use crate::{
    observe::Cut,
    tally::{Counts, Tally},
};

/// How a shutdown went. [`Display`](fmt::Display) gives it as one line.
///
/// The counts are of connections that ended after the shutdown began.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
    /// Connections that had not ended when the shutdown gave up on them: tasks hold them that nobody
    /// polls, or the runtime has gone. They are in none of the other counts.
    pub given_up: u64,
    /// The same for each listener with an address that there has been, in the order in which they were
    /// opened. It is told apart by [`Builder::name`](crate::Builder::name) and its address. Listeners
    /// without one (Unix sockets, channels, in memory) have one place for each name, which is there only if
    /// there were connections, and which those share that were accepted elsewhere.
    pub listeners: Vec<ListenerReport>,
    /// Those of [`truncated`](Self::truncated) from which something was lost only before the shutdown began: an
    /// HTTP/2 connection outlives an answer that its handler breaks off.
    pub truncated_before: u64,
    /// Which were cut short in the shutdown: the first 1,000 of the others that [`truncated`](Self::truncated)
    /// counts.
    pub cut: Arc<[Cut]>,
}

/// How the connections of one listener ended after the shutdown began.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ListenerReport {
    /// Of its server: see [`Builder::name`](crate::Builder::name).
    pub name: Option<Arc<str>>,
    /// Its own, if it has one: see [`Accept::local_addr`](crate::Accept::local_addr).
    pub address: Option<SocketAddr>,
    /// See [`Outcome::Clean`].
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

impl ListenerReport {
    pub(crate) fn new(of: &Tally, ended: Counts) -> Self {
        let [clean, peer_silent, drain_cut, truncated, aborted] = ended.0;
        Self {
            name: of.name.clone(),
            address: of.address,
            clean,
            peer_silent,
            drain_cut,
            truncated,
            aborted,
        }
    }

    /// All connections that ended after the shutdown began.
    pub fn connections(&self) -> u64 {
        self.counts().0.iter().sum()
    }

    fn counts(&self) -> Counts {
        Counts([
            self.clean,
            self.peer_silent,
            self.drain_cut,
            self.truncated,
            self.aborted,
        ])
    }
}

impl Report {
    /// All connections that ended after the shutdown began.
    pub fn connections(&self) -> u64 {
        self.counts().0.iter().sum()
    }

    /// Whether nothing was cut short: every answer that had begun and every upload in use was
    /// completed, but for what peers themselves brought about: see [`Outcome::Aborted`]. What was lost
    /// [before](Self::truncated_before) the shutdown began does not count. Of what was
    /// [given up on](Self::given_up) nobody knows, so it is `false` then. It is about TLS connections: of what
    /// was cut [alongside](crate::GracefulTls::alongside) them that says so itself.
    ///
    /// `ExitCode::from(report)` is success where this is so, and failure where not.
    pub fn is_clean(&self) -> bool {
        self.truncated <= self.truncated_before && self.given_up == 0
    }

    fn counts(&self) -> Counts {
        Counts([
            self.clean,
            self.peer_silent,
            self.drain_cut,
            self.truncated,
            self.aborted,
        ])
    }

    pub(crate) fn new(
        took: Duration,
        deadline_reached: bool,
        given_up: u64,
        listeners: impl Iterator<Item = ListenerReport>,
    ) -> Self {
        // Connections that are accepted elsewhere have a place only where there are some.
        let listeners: Vec<_> = listeners
            .filter(|of| of.address.is_some() || of.connections() > 0)
            .collect();
        let all = listeners.iter().map(ListenerReport::counts);
        let [clean, peer_silent, drain_cut, truncated, aborted] =
            all.fold(Counts::default(), Counts::plus).0;
        Self {
            took,
            deadline_reached,
            clean,
            peer_silent,
            drain_cut,
            truncated,
            aborted,
            given_up,
            listeners,
            truncated_before: 0,
            cut: Arc::default(),
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
            "shutdown took {:.3} s{}: {}",
            self.took.as_secs_f64(),
            match self.deadline_reached {
                true => " (deadline reached)",
                false => "",
            },
            Ended(&self.counts()),
        )?;
        if self.truncated_before > 0 {
            let before = self.truncated_before;
            write!(f, " ({before} of the truncated before the shutdown)")?;
        }
        if self.given_up > 0 {
            write!(f, ", {} given up on", self.given_up)?;
        }
        match &*self.listeners {
            [] | [_] => Ok(()),
            several => several.iter().try_for_each(|of| write!(f, "; {of}")),
        }
    }
}

/// `public 192.0.2.1:443: ` and the counts; `elsewhere` is where connections come from without a listener
/// that has an address.
impl fmt::Display for ListenerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} ")?;
        }
        match self.address {
            Some(address) => write!(f, "{address}: ")?,
            None => write!(f, "elsewhere: ")?,
        }
        Ended(&self.counts()).fmt(f)
    }
}

struct Ended<'a>(&'a Counts);

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [clean, peer_silent, drain_cut, truncated, aborted] = self.0.0;
        write!(
            f,
            "{} connections ended: {clean} clean, {peer_silent} peer silent, {drain_cut} drain cut, \
             {truncated} truncated, {aborted} aborted",
            self.0.0.iter().sum::<u64>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tallies;

    #[test]
    fn reads_as_one_line() {
        let listener = |ended, port| {
            let address = SocketAddr::from(([192, 0, 2, 1], port));
            let tally = Tallies::default().of(Some(&"public".into()), Some(address));
            ListenerReport::new(&tally, Counts(ended))
        };
        let first = listener([7, 1, 2, 3, 4], 443);
        let took = Duration::from_millis(1500);
        let report = Report::new(took, true, 0, [first.clone()].into_iter());
        assert_eq!(report.connections(), 17);
        assert_eq!(
            report.to_string(),
            "shutdown took 1.500 s (deadline reached): 17 connections ended: 7 clean, \
             1 peer silent, 2 drain cut, 3 truncated, 4 aborted"
        );
        let second = listener([1, 0, 0, 0, 0], 8443);
        let report = Report::new(took, false, 0, [first, second].into_iter());
        assert_eq!((report.connections(), report.clean), (18, 8));
        assert_eq!(
            report.to_string(),
            "shutdown took 1.500 s: 18 connections ended: 8 clean, 1 peer silent, 2 drain cut, \
             3 truncated, 4 aborted; public 192.0.2.1:443: 17 connections ended: 7 clean, \
             1 peer silent, 2 drain cut, 3 truncated, 4 aborted; public 192.0.2.1:8443: \
             1 connections ended: 1 clean, 0 peer silent, 0 drain cut, 0 truncated, 0 aborted"
        );
    }

    #[test]
    fn is_clean_unless_something_was_cut() {
        let ended = |truncated| Report {
            aborted: 4,
            truncated,
            ..Report::default()
        };
        let before = |truncated_before| Report {
            truncated_before,
            ..ended(2)
        };
        assert!(before(2).is_clean() && !before(1).is_clean());
        assert!(
            before(1)
                .to_string()
                .contains("(1 of the truncated before the shutdown)")
        );
        let code = |truncated| format!("{:?}", ExitCode::from(ended(truncated)));
        assert!(ended(0).is_clean());
        assert!(!ended(1).is_clean());
        assert_eq!(code(0), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(1), format!("{:?}", ExitCode::FAILURE));
        let given_up = Report {
            given_up: 1,
            ..Report::default()
        };
        assert!(!given_up.is_clean());
        assert!(given_up.to_string().ends_with(" 0 aborted, 1 given up on"));
    }
}
