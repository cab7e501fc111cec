//! The page: what one or more runs found, in one HTML file that needs nothing else.
//!
//! `faults` begins it: what is wrong, and what to do about it. `totals` has a line for each server,
//! `matrix` a row for each scenario that opens in place, `card` what there is to know of one
//! connection, and `timeline` its drawing, whose rows `scale` places. `legend` explains all of it, and
//! `words` has what things are called. Everything is escaped by maud.

mod card;
mod faults;
mod legend;
mod matrix;
mod scale;
#[cfg(test)]
mod tests;
mod timeline;
mod totals;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::run::Run;

const STYLE: &str = include_str!("style.css");
/// A click anywhere on a row opens it. Without script the row's title does.
const SCRIPT: &str = include_str!("script.js");

/// One self-contained HTML page.
pub fn render(runs: &[Run]) -> String {
    let title = match runs {
        [run] => format!("How {} ends its connections", run.server.name),
        _ => "How HTTPS servers end their connections".into(),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (title) }
                    (introduction(runs))
                }
                main {
                    (faults::render(runs))
                    (totals::render(runs))
                    (legend::render())
                    (matrix::render(runs))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

fn introduction(runs: &[Run]) -> Markup {
    let connections: usize = runs.iter().map(|run| run.endings.len()).sum();
    let mut days: Vec<_> = runs.iter().map(|run| day(&run.started)).collect();
    days.sort_unstable();
    days.dedup();
    html! {
        p.small { (connections) " endings, " (days.join(", ")) "." }
    }
}

/// The date of an RFC 3339 time.
fn day(started: &str) -> &str {
    started.split('T').next().unwrap_or(started)
}
