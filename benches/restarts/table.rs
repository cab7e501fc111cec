//! The time line of the load generator, with the restarts in it.

use std::{fmt::Write, time::Duration};

use serde_json::Value;

use crate::run::Run;

/// The length of a step.
pub const STEP: Duration = Duration::from_millis(100);

/// What ended in one step.
pub struct Step {
    /// Since the load began.
    pub seconds: f64,
    pub requests: u64,
    pub lost: u64,
    pub refused: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub open: u64,
    pub restarting: bool,
}

pub fn steps(run: &Run) -> Vec<Step> {
    let timeline = run.totals.json["timeline"].as_array();
    timeline
        .into_iter()
        .flatten()
        .map(|value| step(run, value))
        .collect()
}

fn step(run: &Run, value: &Value) -> Step {
    let count = |what: &str| value[what].as_u64().unwrap_or(0);
    let number = |what: &str| value[what].as_f64().unwrap_or(0.0);
    let at = Duration::from_millis(count("at_unix_ms"));
    Step {
        seconds: at.saturating_sub(run.begun()).as_secs_f64(),
        requests: count("requests"),
        lost: count("lost"),
        refused: count("refused"),
        p50_ms: number("p50_ms"),
        p99_ms: number("p99_ms"),
        open: count("open"),
        restarting: run.is_restarting(at, at + STEP),
    }
}

pub fn csv(runs: &[Run]) -> String {
    let mut text = String::from(
        "server,seconds,requests,lost,refused,p50_ms,p99_ms,open_connections,restarting\n",
    );
    for run in runs {
        for step in steps(run) {
            let _ = writeln!(
                text,
                "{},{:.1},{},{},{},{:.2},{:.2},{},{}",
                run.name,
                step.seconds,
                step.requests,
                step.lost,
                step.refused,
                step.p50_ms,
                step.p99_ms,
                step.open,
                u8::from(step.restarting),
            );
        }
    }
    text
}
