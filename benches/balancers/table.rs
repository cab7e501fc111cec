//! The runs side by side, and as CSV.

use std::fmt::Write;

use crate::run::Run;

/// The counters of the load generator, and what the table calls them.
const COUNTERS: [(&str, &str); 5] = [
    ("requests", "requests"),
    ("lost", "lost"),
    ("resets", "RST"),
    ("without_close_notify", "unclean"),
    ("refused_and_retried", "by client"),
];

/// Why requests were lost is below the table.
pub fn of(runs: &[Run]) -> String {
    let mut text = format!("{:<11} {:<32} {:>8}", "", "", "restarts");
    for (_, heading) in COUNTERS {
        let _ = write!(text, " {heading:>9}");
    }
    text.push_str("  by balancer   p50, p99 in ms\n");
    for run in runs {
        let server = run.server.to_string();
        let _ = write!(
            text,
            "{:<11} {server:<32} {:>8}",
            run.balancer, run.restarts
        );
        for (counter, _) in COUNTERS {
            let _ = write!(text, " {:>9}", run.totals.count(counter));
        }
        let (p50, p99) = (latency(run, "p50"), latency(run, "p99"));
        let _ = writeln!(text, " {:>12}   {p50:.1}, {p99:.1}", run.retries);
    }
    text.push_str("by client, by balancer: requests that it has sent again, because it may\n");
    runs.iter().for_each(|run| text.push_str(&losses(run)));
    text
}

fn losses(run: &Run) -> String {
    let mut text = String::new();
    let losses = run.totals.json["lost_because"].as_object();
    for (why, times) in losses.into_iter().flatten() {
        let (balancer, server) = (run.balancer, run.server);
        let _ = writeln!(text, "{balancer}, {server}: lost {times} times: {why}");
    }
    text
}

pub fn csv(runs: &[Run]) -> String {
    let mut text = String::from(
        "balancer,server,restarts,requests,lost,rst,without_close_notify,sent_again_by_client,\
         sent_again_by_balancer,p50_ms,p99_ms\n",
    );
    for run in runs {
        let _ = write!(text, "{},{},{}", run.balancer, run.server, run.restarts);
        for (counter, _) in COUNTERS {
            let _ = write!(text, ",{}", run.totals.count(counter));
        }
        let (p50, p99) = (latency(run, "p50"), latency(run, "p99"));
        let _ = writeln!(text, ",{},{p50:.2},{p99:.2}", run.retries);
    }
    text
}

/// In milliseconds, of all that was answered.
fn latency(run: &Run, what: &str) -> f64 {
    run.totals.json["latency_ms"][what]
        .as_f64()
        .unwrap_or(f64::NAN)
}
