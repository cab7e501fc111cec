//! Servers across, scenarios down. Each row opens in place.

use maud::{Markup, html};

use super::card;
use super::words::badge;
use crate::rows::{Row, alike, rows, versions};
use crate::run::{Ending, Group, Run};

const GROUPS: [(Group, &str, &str); 3] = [
    (
        Group::BlackBox,
        "With nothing but a URL",
        "What any client can do to any server.",
    ),
    (
        Group::Testbed,
        "With answers that fail, or take their time",
        "Handlers that panic, bodies that end in an error, answers of which only the end of the \
         connection is the end.",
    ),
    (
        Group::Shutdown,
        "When the server is told to shut down",
        "Each with a server of its own, which gets the signal that it calls graceful.",
    ),
];

pub fn render(runs: &[Run]) -> Markup {
    html! {
        div.filter {
            input #only-bad type="checkbox";
            label for="only-bad" { "Only what is lost, untrue, or hangs" }
        }
        @for (group, title, about) in GROUPS {
            @let rows = rows(runs, group);
            @if !rows.is_empty() { (section(runs, &rows, title, about)) }
        }
    }
}

fn section(runs: &[Run], rows: &[Row<'_>], title: &str, about: &str) -> Markup {
    let id = title.to_lowercase().replace([' ', ','], "-");
    html! {
        section {
            h2 id=(id) { (title) }
            p.small { (about) " A row opens and shows each connection." }
            section.scroll tabindex="0" aria-labelledby=(id) {
                table.matrix style={ "--servers:" (runs.len()) } {
                    thead { tr {
                        th scope="col" { "What the client does" }
                        @for run in runs { th scope="col" { (run.server.name) } }
                    } }
                    tbody { @for row in rows { (scenario(runs, row)) } }
                }
            }
        }
    }
}

/// The verdicts, and below them the row that is seen while the title is open.
fn scenario(runs: &[Run], row: &Row<'_>) -> Markup {
    let class = if row.is_bad() { "bad" } else { "fine" };
    html! {
        tr class={ "scenario " (class) } {
            th scope="row" {
                details { summary {
                    (row.title)
                    @if let Some(http) = row.http { " " span.http { "HTTP/" (http) } }
                } }
            }
            @for cell in &row.cells { td { (verdicts(cell, runs.len() == 1)) } }
        }
        tr class={ "connections " (class) } {
            td colspan=(runs.len() + 1) {
                div.cards {
                    @for (run, cell) in runs.iter().zip(&row.cells) {
                        @if !cell.is_empty() { (card::render(&run.server.name, cell)) }
                    }
                }
            }
        }
    }
}

/// One verdict, or one for each version of TLS where they differ; with the note behind it if there
/// is room.
fn verdicts(cell: &[&Ending], with_notes: bool) -> Markup {
    if cell.is_empty() {
        return html! { span.skipped title="This server was not asked." { "·" } };
    }
    let groups = alike(cell);
    html! {
        @for endings in &groups {
            @let newest = endings[endings.len() - 1];
            div.version {
                (badge(newest.verdict))
                @if groups.len() > 1 && newest.tls.is_some() {
                    span.small.tls { "TLS " (versions(endings)) }
                }
                @if with_notes { span.small { (newest.note) } }
            }
        }
    }
}
