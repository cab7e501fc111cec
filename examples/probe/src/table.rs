//! The table: a line for every connection, and what there is to say of those that are not as they
//! should be.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

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
    for (group, title) in [
        (Group::BlackBox, "Black box"),
        (Group::Testbed, "With the testbed's endpoints"),
        (Group::Shutdown, "Shutdown"),
    ] {
        let endings: Vec<_> = run.endings.iter().filter(|e| e.group == group).collect();
        if !endings.is_empty() {
            let _ = writeln!(out, "\n{BOLD}{title}{BOLD:#}");
            endings.iter().for_each(|ending| line(&mut out, ending));
        }
    }
    summary(&mut out, run);
    out
}

fn line(out: &mut String, ending: &Ending) {
    let (name, style) = verdict(ending.verdict);
    let title = match ending.http.as_deref() {
        Some("2") => format!("HTTP/2: {}", ending.title),
        _ => ending.title.clone(),
    };
    let tls = ending.tls.as_deref().unwrap_or("");
    let wire = match ending.verdict {
        Verdict::Skipped => String::new(),
        _ => wire(ending),
    };
    let _ = writeln!(
        out,
        "{style}{name:>8}{style:#} {tls:>3}  {title:<60} {wire}"
    );
    if !matches!(ending.verdict, Verdict::Proper) {
        let _ = writeln!(
            out,
            "               {DIM}{} {}{DIM:#}",
            ending.note,
            rule(ending)
        );
    }
}

fn rule(ending: &Ending) -> String {
    match ending.rule.as_str() {
        "" => String::new(),
        rule => format!("({rule})"),
    }
}

/// What was on the wire, in a few words.
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
