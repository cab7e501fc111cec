//! The runs side by side: a row for each scenario, a cell for each server.

use crate::run::{Ending, Group, Run, Verdict};

/// A scenario in one version of HTTP.
pub struct Row<'a> {
    pub scenario: &'a str,
    pub title: &'a str,
    pub http: Option<&'a str>,
    /// For each run, the endings in one or more versions of TLS.
    pub cells: Vec<Vec<&'a Ending>>,
}

impl Row<'_> {
    /// Whether something is worse than allowed.
    pub fn is_bad(&self) -> bool {
        let mut endings = self.cells.iter().flatten();
        endings.any(|ending| ending.verdict > Verdict::Allowed)
    }

    fn has(&self, ending: &Ending) -> bool {
        self.scenario == ending.scenario && self.http == ending.http.as_deref()
    }
}

/// The rows of a group, each where the first run that has it does.
pub fn rows(runs: &[Run], group: Group) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (column, run) in runs.iter().enumerate() {
        for ending in run.endings.iter().filter(|ending| ending.group == group) {
            let place = rows.iter().position(|row| row.has(ending));
            let place = place.unwrap_or_else(|| {
                rows.push(blank(ending, runs.len()));
                rows.len() - 1
            });
            rows[place].cells[column].push(ending);
        }
    }
    for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
        cell.sort_by(|a, b| a.tls.cmp(&b.tls));
    }
    rows
}

fn blank(ending: &Ending, columns: usize) -> Row<'_> {
    Row {
        scenario: &ending.scenario,
        title: &ending.title,
        http: ending.http.as_deref(),
        cells: vec![Vec::new(); columns],
    }
}
