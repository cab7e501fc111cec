//! What is wrong, and what to do about it: the beginning of the page, and on a phone most of it.

use maud::{Markup, html};

use super::words::badge;
use crate::advice::{Fault, Todo, todos};
use crate::rows::{notes, versions};
use crate::run::Run;

pub fn render(runs: &[Run]) -> Markup {
    let todos = todos(runs);
    html! {
        section aria-labelledby="faults" {
            h2 #faults { "What is wrong, and what to do about it" }
            @if todos.is_empty() {
                p { "Nothing is lost, untrue, or hangs." }
            }
            div.todos { @for todo in &todos { (card(todo, runs.len() > 1)) } }
        }
    }
}

fn card(todo: &Todo<'_>, many: bool) -> Markup {
    html! {
        article.card.todo {
            h3 { (badge(todo.verdict)) " " (todo.advice.title) }
            ul { @for fault in &todo.faults { li { (item(fault, many)) } } }
            dl {
                dt { "Any server" } dd { (marked(todo.advice.any)) }
                dt { "With graceful-tls" } dd { (marked(todo.advice.ours)) }
            }
        }
    }
}

/// What the client did, and whose fault it is; or what came of it, if there is one server alone.
fn item(fault: &Fault<'_>, many: bool) -> Markup {
    let (first, tls) = (fault.endings[0], versions(&fault.endings));
    html! {
        (first.title)
        @if let Some(http) = &first.http { " " span.http { "HTTP/" (http) } }
        @if !tls.is_empty() { " " span.http { "TLS " (tls) } }
        @if many {
            span.small { (fault.servers.join("; ")) }
        } @else {
            @for note in notes(&fault.endings) { span.small { (note) } }
        }
    }
}

/// Names in backquotes become code.
fn marked(text: &str) -> Markup {
    html! {
        @for (n, part) in text.split('`').enumerate() {
            @if n % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
