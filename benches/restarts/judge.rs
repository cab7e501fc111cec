//! What became of the requests, and what a restart did to their latency.

use std::{fmt::Write, time::Duration};

use processes::load::Sample;

use crate::run::Run;

/// What is answered at once: a stall shows in it first.
const FAST: [&str; 3] = ["h1 GET /", "h1-close GET /", "h2 GET /"];

pub fn is_lossless(run: &Run) -> bool {
    run.totals.is_lossless()
}

pub fn heading() -> String {
    format!(
        "{:<16} {:>8} {:>8} {:>6} {:>6} {:>8} {:>9}   {:>24} {:>24}",
        "",
        "restarts",
        "requests",
        "lost",
        "RST",
        "unclean",
        "refused",
        "p99 in / out of restarts",
        "the same, of GET / alone",
    )
}

pub fn line(run: &Run) -> String {
    let totals = &run.totals;
    format!(
        "{:<16} {:>8} {:>8} {:>6} {:>6} {:>8} {:>9}   {:>24} {:>24}",
        run.name,
        run.restarts.len(),
        totals.count("requests"),
        totals.count("lost"),
        totals.count("resets"),
        totals.count("without_close_notify"),
        totals.count("refused_and_retried"),
        p99s(run, |_| true),
        p99s(run, |sample| FAST.contains(&sample.kind.as_str())),
    )
}

/// Why requests were lost, and how often.
pub fn losses(run: &Run) -> String {
    let mut text = String::new();
    let losses = run.totals.json["lost_because"].as_object();
    for (why, times) in losses.into_iter().flatten() {
        let _ = writeln!(text, "{}: lost {times} times: {why}", run.name);
    }
    text
}

/// p99 of requests of which any part was in a restart, of the others, and the ratio.
fn p99s(run: &Run, counts: impl Fn(&Sample) -> bool) -> String {
    let samples = run.totals.samples.iter().filter(|sample| counts(sample));
    let (during, without): (Vec<_>, Vec<_>) =
        samples.partition(|sample| run.is_restarting(sample.at - sample.took, sample.at));
    let (during, without) = (p99(&during), p99(&without));
    format!("{during:.1} / {without:.1} ms = {:.2}", during / without)
}

/// In milliseconds.
fn p99(samples: &[&Sample]) -> f64 {
    let mut sorted: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    sorted.sort_unstable();
    let rank = (sorted.len() * 99).div_ceil(100);
    let latency = sorted.get(rank.saturating_sub(1));
    latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
}
