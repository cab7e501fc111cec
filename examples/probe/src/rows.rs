//! The runs side by side: a row for each scenario, a cell for each server. The table has one server, the
//! page any number.

use crate::run::{Ending, Group, Run};

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
        endings.any(|ending| ending.verdict.is_fault())
    }

    fn has(&self, ending: &Ending) -> bool {
        self.scenario == ending.scenario && self.http == ending.http.as_deref()
    }
}

/// A cell's endings, those of one verdict together: with each two that TLS makes no difference to.
pub fn alike<'a>(cell: &[&'a Ending]) -> Vec<Vec<&'a Ending>> {
    let mut alike: Vec<Vec<&Ending>> = Vec::new();
    for ending in cell {
        match alike.iter_mut().find(|of| of[0].verdict == ending.verdict) {
            Some(of) => of.push(ending),
            None => alike.push(vec![ending]),
        }
    }
    alike
}

/// The versions of TLS that these were seen in: nothing, `1.3`, or `1.2, 1.3`.
pub fn versions(endings: &[&Ending]) -> String {
    let each = endings.iter().filter_map(|ending| ending.tls.as_deref());
    each.collect::<Vec<_>>().join(", ")
}

/// What there is to say of these; if that is not the same of all, of which it is said.
pub fn notes(endings: &[&Ending]) -> Vec<String> {
    let say = |ending: &Ending| match ending.rule.as_str() {
        "" => ending.note.clone(),
        rule => format!("{} ({rule})", ending.note),
    };
    let mut notes: Vec<_> = endings.iter().map(|ending| say(ending)).collect();
    notes.dedup();
    if let [_] = notes[..] {
        return notes;
    }
    let each = endings.iter();
    each.map(|ending| match &ending.tls {
        Some(tls) => format!("TLS {tls}: {}", say(ending)),
        None => say(ending),
    })
    .collect()
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

#[cfg(test)]
pub mod tests;
