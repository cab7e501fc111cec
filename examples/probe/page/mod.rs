//! The page: what several runs found, side by side.

use crate::run::Run;

/// One self-contained HTML page.
pub fn render(runs: &[Run]) -> String {
    let rows: String = runs.iter().flat_map(|run| &run.endings).map(row).collect();
    format!("<!doctype html><meta charset=utf-8><title>probe</title><table>{rows}</table>\n")
}

fn row(ending: &crate::run::Ending) -> String {
    format!("<tr><td>{}<td>{:?}", ending.scenario, ending.verdict)
}
