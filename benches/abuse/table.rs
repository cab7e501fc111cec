//! What was seen, side by side, and as CSV.

use std::{fmt::Write, time::Duration};

use crate::{attacks::Kind, good::Good, run::Outcome, watch::Held};

/// A row for each attack, and a column for each server.
pub fn of(outcomes: &[Outcome]) -> String {
    let servers = distinct(outcomes.iter().map(|outcome| outcome.server), |s| s.id);
    let attacks = distinct(outcomes.iter().map(|outcome| outcome.attack), |a| a.id);
    let mut out = String::new();
    let names = servers.iter().map(|s| s.name.replace(", ", ",<br>"));
    row(&mut out, "", names);
    row(&mut out, "---", servers.iter().map(|_| "---".into()));
    for attack in &attacks {
        let cells = servers.iter().map(|server| {
            let of = |o: &&Outcome| o.attack.id == attack.id && o.server.id == server.id;
            outcomes.iter().find(of).map_or(String::new(), cell)
        });
        row(&mut out, attack.title, cells);
    }
    out
}

/// In the order in which they come first.
fn distinct<T: Copy>(all: impl Iterator<Item = T>, id: fn(&T) -> &'static str) -> Vec<T> {
    let mut distinct: Vec<T> = Vec::new();
    for one in all {
        if !distinct.iter().any(|other| id(other) == id(&one)) {
            distinct.push(one);
        }
    }
    distinct
}

fn row(out: &mut String, title: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<_> = cells.collect();
    let _ = writeln!(out, "| {title} | {} |", cells.join(" | "));
}

fn cell(outcome: &Outcome) -> String {
    let mut lines = match outcome.attack.kind {
        Kind::Descriptors => vec![newcomers(&outcome.seen.beside)],
        Kind::Flood(_) => vec![held(outcome), memory(outcome)],
        _ => vec![held(outcome), format!("{} at once", outcome.seen.most_held)],
    };
    lines.push(good(outcome));
    lines.extend(faults(outcome));
    lines.join("<br>")
}

/// The connection in the middle, and the one that was held longest.
fn held(outcome: &Outcome) -> String {
    match (outcome.seen.median(), outcome.seen.longest()) {
        // Those that were never let go differ in when they came.
        (Some(Held { ended: false, .. }), Some(longest)) => time(longest),
        (Some(median), Some(longest)) => match (time(median), time(longest)) {
            (median, longest) if median == longest => median,
            (median, longest) => format!("{median}, longest {longest}"),
        },
        _ => "not held".into(),
    }
}

fn time(held: Held) -> String {
    let seconds = held.time.as_secs_f64();
    match held.ended {
        true if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        true if seconds < 10.0 => format!("{seconds:.1} s"),
        true => format!("{seconds:.0} s"),
        false => format!("**> {} s**", held.time.as_secs()),
    }
}

fn newcomers(good: &Good) -> String {
    let (served, asked) = (good.latencies.len(), good.asked());
    match served == asked {
        true => format!("{served} of {asked}"),
        false => format!("**{served} of {asked}**"),
    }
}

fn memory(outcome: &Outcome) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (before, peak) = (mib(outcome.seen.before), mib(outcome.seen.peak));
    format!("{before:.0}, {peak:.0}, {:.0} MiB", mib(outcome.after))
}

/// The median beside the attack, that without it in brackets, and how many failed.
fn good(outcome: &Outcome) -> String {
    let (alone, beside) = (&outcome.seen.alone, &outcome.seen.beside);
    let mut out = format!("{} ({}) ms", ms(beside.median()), ms(alone.median()));
    if beside.failures > 0 && !matches!(outcome.attack.kind, Kind::Descriptors) {
        let _ = write!(out, ", **{} of {} fail**", beside.failures, beside.asked());
    }
    out
}

fn ms(latency: Option<Duration>) -> String {
    latency.map_or("–".into(), |latency| {
        let ms = latency.as_secs_f64() * 1e3;
        match ms < 10.0 {
            true => format!("{ms:.1}"),
            false => format!("{ms:.0}"),
        }
    })
}

/// What should not be said of any server.
fn faults(outcome: &Outcome) -> Vec<String> {
    let left = format!("**{} never let go**", outcome.left);
    let faults = [
        (outcome.left > 0, left),
        (!outcome.answers, "**no answer afterwards**".into()),
        (!outcome.goes, "**does not go when told**".into()),
    ];
    let faults = faults.into_iter().filter(|(is, _)| *is);
    faults.map(|(_, what)| what).collect()
}

pub const HEAD: &str = "attack,server,connections,held_median_s,median_ended,held_longest_s,\
    longest_ended,most_held,asked_alone,failed_alone,median_alone_ms,asked,failed,median_ms,\
    memory_before,memory_peak,memory_after,left,answers,goes";

pub fn csv(outcome: &Outcome) -> String {
    let seen = &outcome.seen;
    let held = |held: Option<Held>| match held {
        Some(held) => format!("{:.2},{}", held.time.as_secs_f64(), held.ended),
        None => ",".into(),
    };
    let good = |good: &Good| {
        let median = good.median().map_or(f64::NAN, |m| m.as_secs_f64() * 1e3);
        format!("{},{},{median:.2}", good.asked(), good.failures)
    };
    [
        outcome.attack.id.into(),
        outcome.server.id.into(),
        seen.held.len().to_string(),
        held(seen.median()),
        held(seen.longest()),
        seen.most_held.to_string(),
        good(&seen.alone),
        good(&seen.beside),
        format!("{},{},{}", seen.before, seen.peak, outcome.after),
        format!("{},{},{}", outcome.left, outcome.answers, outcome.goes),
    ]
    .join(",")
}

/// A line for whoever waits.
pub fn line(outcome: &Outcome) -> String {
    let what = cell(outcome).replace("<br>", "; ").replace("**", "");
    let Outcome { attack, server, .. } = outcome;
    let why = outcome.seen.beside.why.as_ref();
    let why = why.map_or(String::new(), |why| format!(" ({why})"));
    format!("{:<22} {:<26} {what}{why}", attack.id, server.name)
}
