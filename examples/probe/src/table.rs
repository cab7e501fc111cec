//! The table: a line for what a client does, in both versions of TLS where they end alike, with what there
//! is to say of those that are not as they should be, and below it what to do about the faults.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use crate::advice::todos;
use crate::rows::{alike, notes, rows, versions};
use crate::run::{Ending, Group, Run, Verdict};

/// What a verdict is called, and its colour.
fn verdict(verdict: Verdict) -> (&'static str, Style) {
    let (name, colour) = match verdict {
        Verdict::Skipped => ("skipped", AnsiColor::BrightBlack),
        Verdict::Proper => ("proper", AnsiColor::Green),
        Verdict::Allowed => ("allowed", AnsiColor::Yellow),
        Verdict::Lost => ("LOST", AnsiColor::Red),
        Verdict::Untrue => ("UNTRUE", AnsiColor::Magenta),
        Verdict::Hang => ("HANG", AnsiColor::Red),
    };
    (name, colour.on_default())
}

const DIM: Style = AnsiColor::BrightBlack.on_default();
const BOLD: Style = Style::new().bold();

/// The whole table, coloured.
pub fn render(run: &Run) -> String {
    let mut out = String::new();
    for (group, title) in
        Group::ALL
            .into_iter()
            .zip(["Black box", "With the testbed's endpoints", "Shutdown"])
    {
        let rows = rows(std::slice::from_ref(run), group);
        if !rows.is_empty() {
            let _ = writeln!(out, "\n{BOLD}{title}{BOLD:#}");
        }
        for cell in rows.iter().flat_map(|row| &row.cells) {
            alike(cell)
                .iter()
                .for_each(|endings| line(&mut out, endings));
        }
    }
    what_to_do(&mut out, run);
    summary(&mut out, run);
    out
}

/// A line for one connection, or for two in which TLS makes no difference.
fn line(out: &mut String, endings: &[&Ending]) {
    let Some(newest) = endings.last() else {
        return;
    };
    let (name, style) = verdict(newest.verdict);
    let (tls, title) = (versions(endings), title(newest));
    let wire = match newest.verdict {
        Verdict::Skipped => String::new(),
        _ => wire(newest),
    };
    let _ = writeln!(
        out,
        "{style}{name:>8}{style:#} {tls:>8}  {title:<60} {wire}"
    );
    if newest.verdict != Verdict::Proper {
        for note in notes(endings) {
            let _ = writeln!(out, "{:19}{DIM}{note}{DIM:#}", "");
        }
    }
}

fn title(ending: &Ending) -> String {
    match ending.http.as_deref() {
        Some("2") => format!("HTTP/2: {}", ending.title),
        _ => ending.title.clone(),
    }
}

/// What helps against the faults, below all of them: there a terminal stops scrolling.
fn what_to_do(out: &mut String, run: &Run) {
    let todos = todos(std::slice::from_ref(run));
    if !todos.is_empty() {
        let _ = writeln!(out, "\n{BOLD}What to do about it{BOLD:#}");
    }
    for todo in todos {
        let (name, style) = verdict(todo.verdict);
        let title = todo.advice.title;
        let _ = writeln!(out, "{style}{name:>8}{style:#}  {BOLD}{title}{BOLD:#}");
        for fault in &todo.faults {
            let tls = match versions(&fault.endings).as_str() {
                "" => String::new(),
                tls => format!(" (TLS {tls})"),
            };
            let _ = writeln!(
                out,
                "{:10}{DIM}{}{tls}{DIM:#}",
                "",
                self::title(fault.endings[0])
            );
        }
        paragraph(out, "any server: ", todo.advice.any);
        paragraph(out, "graceful-tls: ", todo.advice.ours);
    }
}

/// A text behind its label, in lines of a width that can be read.
fn paragraph(out: &mut String, label: &str, text: &str) {
    const WIDTH: usize = 76;
    let mut line = String::from(label);
    for word in text.split(' ') {
        if line.len() + word.len() > WIDTH {
            let _ = writeln!(out, "{:10}{}", "", line.trim_end());
            line = "  ".into();
        }
        line += word;
        line += " ";
    }
    let _ = writeln!(out, "{:10}{}", "", line.trim_end());
}

/// What was on the wire, in a few words; the newest TLS speaks for both.
fn wire(ending: &Ending) -> String {
    let mut parts = Vec::new();
    parts.push(match &ending.answer {
        Some(answer) => {
            let whole = if answer.whole { "whole" } else { "cut" };
            format!("{} {} B {whole}", answer.status, answer.bytes)
        }
        None => "no answer".into(),
    });
    parts.extend(ending.alert.clone());
    parts.extend(
        ending
            .close_notify_ms
            .map(|ms| format!("close_notify {}", time(ms))),
    );
    parts.extend(ending.fin_ms.map(|ms| format!("FIN {}", time(ms))));
    parts.extend(ending.rst_ms.map(|ms| format!("RST {}", time(ms))));
    parts.extend(ending.held_ms.map(|ms| format!("held {}", time(ms))));
    parts.join(" · ")
}

fn time(ms: f64) -> String {
    match ms {
        ..100.0 => format!("{ms:.1} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

fn summary(out: &mut String, run: &Run) {
    let all = [
        Verdict::Proper,
        Verdict::Allowed,
        Verdict::Lost,
        Verdict::Untrue,
        Verdict::Hang,
        Verdict::Skipped,
    ];
    let counts = all.iter().filter_map(|kind| {
        let count = run.endings.iter().filter(|e| e.verdict == *kind).count();
        let (name, style) = verdict(*kind);
        (count > 0).then(|| format!("{style}{count} {name}{style:#}"))
    });
    let counts = counts.collect::<Vec<_>>().join(", ");
    let seconds = run.took_ms as f64 / 1000.0;
    let _ = writeln!(out, "\n{}: {counts}; {seconds:.1} s", run.server.name);
}

#[cfg(test)]
mod tests;
