//! The table in `benches/README.md`, between its two marks: what each group of scenarios came to, and those
//! scenarios that tell most.

use std::fmt::Write;

use benches::chart;

use crate::{
    Error,
    run::{Ending, Group, Run, Verdict},
};

const GROUPS: [(Group, &str); 3] = [
    (Group::BlackBox, "any client, any server"),
    (Group::Testbed, "answers that fail or take their time"),
    (Group::Shutdown, "shutdowns"),
];

/// Scenarios that differ most from server to server, with the words of a reader.
const TELLING: [(&str, &str); 8] = [
    ("half-close", "close_notify behind a request"),
    (
        "unread-upload-4-mib",
        "4 MiB in answer to an upload that is not read",
    ),
    ("close-delimited-error", "HTTP/1.0 answer that breaks off"),
    ("silent-client", "a handshake, then nothing"),
    ("h2-keep-alive-idle", "an HTTP/2 exchange, then nothing"),
    ("stuck-reader", "a client that stops reading"),
    ("sigterm-in-flight", "a shutdown, with a handler at work"),
    (
        "sigterm-endless",
        "a shutdown, and an answer that never ends",
    ),
];

/// Puts the table where the last one was.
pub fn write(runs: &[Run]) -> Result<(), Error> {
    chart::readme("endings", &render(runs))
}

fn render(runs: &[Run]) -> String {
    let mut out = String::new();
    row(&mut out, "", runs.iter().map(name));
    row(&mut out, "---", runs.iter().map(|_| "---".into()));
    for (group, title) in GROUPS {
        row(&mut out, title, runs.iter().map(|run| counts(run, group)));
    }
    for (scenario, title) in TELLING {
        row(&mut out, title, runs.iter().map(|run| worst(run, scenario)));
    }
    let _ = writeln!(out, "\n{}", versions(runs));
    out
}

fn row(out: &mut String, title: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells.collect();
    let _ = writeln!(out, "| {title} | {} |", cells.join(" | "));
}

fn name(run: &Run) -> String {
    run.server.name.replace(", ", ",<br>")
}

/// How often which verdict was earned in a group.
fn counts(run: &Run, group: Group) -> String {
    let words = [
        (Verdict::Proper, "✓"),
        (Verdict::Allowed, "~"),
        (Verdict::Lost, "lost"),
        (Verdict::Untrue, "untrue"),
        (Verdict::Hang, "hang"),
    ];
    let counts = words.iter().filter_map(|(verdict, word)| {
        let of = |ending: &&Ending| ending.group == group && ending.verdict == *verdict;
        match (run.endings.iter().filter(of).count(), verdict) {
            (0, _) => None,
            (count, Verdict::Proper | Verdict::Allowed) => Some(format!("{count} {word}")),
            (count, _) => Some(format!("**{count} {word}**")),
        }
    });
    counts.collect::<Vec<_>>().join(", ")
}

/// The worst that came of a scenario, over all versions of TLS and HTTP.
fn worst(run: &Run, scenario: &str) -> String {
    let of = |ending: &&Ending| ending.scenario == scenario;
    let verdicts = run.endings.iter().filter(of).map(|ending| ending.verdict);
    match verdicts.max() {
        Some(Verdict::Proper) => "✓",
        Some(Verdict::Allowed) => "~",
        Some(Verdict::Lost) => "**lost**",
        Some(Verdict::Untrue) => "**untrue**",
        Some(Verdict::Hang) => "**hangs**",
        Some(Verdict::Skipped) | None => "",
    }
    .into()
}

/// What was probed, and when.
fn versions(runs: &[Run]) -> String {
    let crates = [
        "hyper",
        "hyper-util",
        "tokio-rustls",
        "axum",
        "axum-server",
        "tls-listener",
    ];
    let crates = crates
        .iter()
        .filter_map(|name| Some(format!("{name} {}", locked(name)?)));
    let headers = runs.iter().filter_map(|run| run.server.software.clone());
    let mut days: Vec<_> = runs
        .iter()
        .filter_map(|run| run.started.get(..10))
        .collect();
    days.sort_unstable();
    days.dedup();
    let software: Vec<_> = crates.chain(headers).collect();
    format!("{}; {}.", software.join(", "), days.join(", "))
}

/// The version of a crate in Cargo.lock.
fn locked(name: &str) -> Option<&'static str> {
    const LOCK: &str = include_str!("../../Cargo.lock");
    let (_, after) = LOCK.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(after.split_once('"')?.0)
}
