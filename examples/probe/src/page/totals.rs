//! A line for each server: what it is, and how often it earned which verdict.

use maud::{Markup, html};

use super::words::WORDS;
use crate::run::{Run, Verdict};

pub fn render(runs: &[Run]) -> Markup {
    html! {
        section {
            h2 #totals { "Servers" }
            section.scroll tabindex="0" aria-labelledby="totals" {
                table.totals {
                    thead { tr {
                        th scope="col" { "Server" }
                        @for word in &WORDS {
                            th.number scope="col" {
                                span.sign aria-hidden="true" { (word.sign) } " " span.word { (word.short) }
                            }
                        }
                        th.wide scope="col" { "Share" }
                        th.wide scope="col" { "Probed" }
                    } }
                    tbody { @for run in runs { (line(run)) } }
                }
            }
        }
    }
}

fn line(run: &Run) -> Markup {
    let server = &run.server;
    html! { tr {
        th scope="row" {
            (server.name)
            span.small {
                (server.software.as_deref().unwrap_or("no Server header"))
                span.wide { " at " (server.url) }
            }
        }
        @for word in &WORDS {
            @let count = count(run, word.verdict);
            td class={ "number " (if count == 0 { "none" } else { word.class }) } { (count) }
        }
        td.wide { (bar(run)) }
        td.wide.small { (moment(&run.started)) ", in " (run.took_ms / 1000) " s" }
    } }
}

fn count(run: &Run, verdict: Verdict) -> usize {
    let endings = run.endings.iter();
    endings.filter(|ending| ending.verdict == verdict).count()
}

/// The numbers beside it, drawn.
fn bar(run: &Run) -> Markup {
    html! {
        div.bar aria-hidden="true" {
            @for word in &WORDS {
                @let count = count(run, word.verdict);
                @if count > 0 {
                    span class=(word.class) style={ "flex-grow:" (count) } {}
                }
            }
        }
    }
}

/// An RFC 3339 time as people read it, to the minute.
fn moment(started: &str) -> String {
    let (day, time) = started.split_once('T').unwrap_or((started, ""));
    match time.get(..5) {
        Some(minute) => format!("{day} {minute} UTC"),
        None => started.into(),
    }
}
