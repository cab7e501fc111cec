//! What became of the requests, and what a restart did to their latency.

use std::fmt::Write;

use benches::latency::Latencies;
use processes::load::Sample;

use crate::run::Run;

/// What is answered at once: a stall shows in it first.
const FAST: [&str; 3] = ["h1 GET /", "h1-close GET /", "h2 GET /"];

pub fn is_lossless(run: &Run) -> bool {
    run.totals.is_lossless()
}

pub fn heading() -> String {
    format!(
        "{:<16} {:>8} {:>8} {:>6} {:>6} {:>8} {:>9}",
        "", "restarts", "requests", "lost", "RST", "unclean", "refused",
    )
}

pub fn line(run: &Run) -> String {
    let totals = &run.totals;
    format!(
        "{:<16} {:>8} {:>8} {:>6} {:>6} {:>8} {:>9}",
        run.name,
        run.restarts.len(),
        totals.count("requests"),
        totals.count("lost"),
        totals.count("resets"),
        totals.count("without_close_notify"),
        totals.count("refused_and_retried"),
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

/// Latencies of requests of which any part was in a restart, of the others, and the ratios.
pub fn latencies(run: &Run) -> String {
    let of = |counts: fn(&&Sample) -> bool| {
        let mut seen = Latencies::default();
        let samples = run.totals.samples.iter().filter(counts);
        seen.add(samples, |from, to| run.is_restarting(from, to));
        seen
    };
    format!(
        "{}, in and out of restarts: {}; of GET / alone: {}",
        run.name,
        of(|_| true),
        of(|sample| FAST.contains(&sample.kind.as_str())),
    )
}
