//! What there is to know of one server's endings in one scenario.

use maud::{Markup, html};

use super::timeline;
use super::words::{badge, rule, size, time};
use crate::run::{Ending, Verdict};

/// A card for each ending; those that only repeat another in an older TLS are folded up.
pub fn render(server: &str, cell: &[&Ending]) -> Markup {
    let Some((newest, older)) = cell.split_last() else {
        return html! {};
    };
    let alike = |ending: &&&Ending| ending.verdict == newest.verdict && ending.note == newest.note;
    html! {
        article.card {
            h3 { (server) }
            @for ending in older.iter().filter(|ending| !alike(ending)) { (connection(server, ending)) }
            (connection(server, newest))
            @for ending in older.iter().filter(alike) {
                details {
                    summary { "The same over " (versions(ending)) }
                    (connection(server, ending))
                }
            }
        }
    }
}

fn connection(server: &str, ending: &Ending) -> Markup {
    html! {
        div.connection {
            p.verdict { (badge(ending.verdict)) " " span.small { (versions(ending)) } }
            p {
                (ending.note)
                @if !ending.rule.is_empty() { " " span.rule { (rule(&ending.rule)) } }
            }
            @if ending.verdict != Verdict::Skipped { (facts(ending)) }
            @if !ending.events.is_empty() {
                (timeline::render(ending, &format!("Time line: {server}, {}", versions(ending))))
            }
        }
    }
}

fn versions(ending: &Ending) -> String {
    let tls = ending.tls.as_ref().map(|version| format!("TLS {version}"));
    let http = ending
        .http
        .as_ref()
        .map(|version| format!("HTTP/{version}"));
    let both: Vec<_> = [tls, http].into_iter().flatten().collect();
    match both.is_empty() {
        true => "TCP alone".into(),
        false => both.join(", "),
    }
}

/// What was on the wire, in words and numbers.
fn facts(ending: &Ending) -> Markup {
    let at = |ms: Option<f64>| ms.map_or("never".into(), |ms| format!("after {}", time(ms)));
    html! {
        dl.facts {
            div { dt { "answer" } dd { (answer(ending)) } }
            div { dt { "close_notify" } dd { (at(ending.close_notify_ms)) } }
            @if let Some(alert) = &ending.alert { div { dt { "alert" } dd { (alert) } } }
            div { dt { "FIN" } dd { (at(ending.fin_ms)) } }
            div { dt { "RST" } dd { (at(ending.rst_ms)) } }
            div { dt { "let go" } dd { (at(ending.held_ms)) } }
        }
    }
}

fn answer(ending: &Ending) -> String {
    let Some(answer) = &ending.answer else {
        return "none".into();
    };
    let whole = if answer.whole { "whole" } else { "not whole" };
    let bytes = size(answer.bytes);
    match answer.status {
        0 => format!("{bytes}, {whole}"),
        status => format!("{status}, {bytes}, {whole}"),
    }
}
