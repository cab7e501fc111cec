//! What the page shows of one moment, and which of the connections.

use std::{cmp::Reverse, collections::VecDeque, fmt::Display, time::Duration};

use graceful_tls::{ConnectionStats, GracefulTls, Outcome, Phase, State, Stats, TlsConnection};
use serde::{Deserialize, Serialize};

use crate::{
    LAME_DUCK, SHUTDOWN_TIMEOUT,
    timeline::{Sample, Timeline},
};

/// More rows than this are no help to anybody.
const MAX_ROWS: usize = 1000;

#[derive(Serialize)]
pub(crate) struct Snapshot<'a> {
    stats: Stats,
    /// How long it has been in its phase, and how long it may be.
    phase_seconds: u64,
    phase_limit: Option<u64>,
    /// What the shutdown came to.
    report: Option<&'a str>,
    outcomes: &'static [Outcome],
    samples_taken: u64,
    samples: &'a VecDeque<Sample>,
    connections: Connections,
}

#[derive(Serialize)]
struct Connections {
    /// As many are asked for.
    matching: usize,
    /// The first of them.
    rows: Vec<ConnectionStats>,
}

/// Which connections, in which order: the query of the page's requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Wanted {
    /// A state's name, or nothing for all.
    state: String,
    /// A part of what a row says.
    find: String,
    sort: Sort,
    limit: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sort {
    Oldest,
    Newest,
    State,
    Since,
    Bytes,
    Requests,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            state: String::new(),
            find: String::new(),
            sort: Sort::Oldest,
            limit: 100,
        }
    }
}

impl<'a> Snapshot<'a> {
    pub(crate) fn of(tls: &GracefulTls, timeline: &'a Timeline, wanted: &Wanted) -> Self {
        let stats = tls.stats();
        Self {
            phase_limit: limit(stats.phase).as_ref().map(Duration::as_secs),
            phase_seconds: timeline.seconds_in(stats.phase),
            stats,
            report: timeline.report.as_deref(),
            outcomes: Outcome::ALL,
            samples_taken: timeline.taken,
            samples: &timeline.samples,
            connections: Connections::of(tls, wanted),
        }
    }
}

fn limit(phase: Phase) -> Option<Duration> {
    match phase {
        Phase::LameDuck => Some(LAME_DUCK),
        Phase::Draining => Some(SHUTDOWN_TIMEOUT),
        _ => None,
    }
}

impl Connections {
    fn of(tls: &GracefulTls, wanted: &Wanted) -> Self {
        let all = tls.connections();
        let all = all.iter().map(TlsConnection::stats);
        let mut rows: Vec<_> = all.filter(|row| wanted.wants(row)).collect();
        let matching = rows.len();
        rows.sort_unstable_by_key(|row| (wanted.sort.rank(row), row.id));
        rows.truncate(wanted.limit.min(MAX_ROWS));
        Self { matching, rows }
    }
}

impl Wanted {
    fn wants(&self, row: &ConnectionStats) -> bool {
        let state = self.state.is_empty() || self.state == row.state.as_str();
        state && (self.find.is_empty() || words(row).contains(&self.find()))
    }

    /// The page shows names in words.
    fn find(&self) -> String {
        self.find.to_ascii_lowercase().replace('_', " ")
    }
}

/// What one can look for. Names of servers and the rest are of lower case.
fn words(row: &ConnectionStats) -> String {
    fn or_nothing(word: Option<impl Display>) -> String {
        word.map(|word| word.to_string()).unwrap_or_default()
    }
    [
        row.id.to_string(),
        or_nothing(row.peer),
        or_nothing(row.server_name.as_deref()),
        or_nothing(row.protocol),
        row.waits_for.to_string(),
    ]
    .join(" ")
    .replace('_', " ")
}

impl Sort {
    /// Of two, that with the lower one comes first; of equals, the older.
    fn rank(self, row: &ConnectionStats) -> Reverse<u128> {
        Reverse(match self {
            Self::Oldest => 0,
            Self::Newest => row.id.into(),
            // Those that draw attention first.
            Self::State => State::ALL
                .iter()
                .position(|of| *of == row.state)
                .unwrap_or(0) as u128,
            Self::Since => row.since.map_or(0, |since| since.as_nanos() + 1),
            Self::Bytes => (row.received + row.sent).into(),
            Self::Requests => row.requests.into(),
        })
    }
}
