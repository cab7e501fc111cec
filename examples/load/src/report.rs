//! The summary, the time line, and the files of both.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    settings::Settings,
    tally::{Counts, Sample},
};

/// The steps of the time line.
const STEP: Duration = Duration::from_millis(100);

pub(crate) struct Report<'a> {
    counts: &'a Counts,
    sent_for: Duration,
}

impl<'a> Report<'a> {
    pub(crate) fn new(counts: &'a Counts, sent_for: Duration) -> Self {
        Self { counts, sent_for }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.counts.lost()
    }

    /// The summary to standard output, and the files that were asked for.
    pub(crate) fn print(&self, settings: &Settings) -> Result<(), String> {
        if let Some(path) = &settings.samples {
            write(path, &self.samples(), "--samples")?;
        }
        match &settings.json {
            Some(path) if path == Path::new("-") => println!("{:#}", self.json()),
            Some(path) => {
                write(path, &format!("{:#}\n", self.json()), "--json")?;
                print!("{}", self.summary());
            }
            None => print!("{}", self.summary()),
        }
        Ok(())
    }

    fn answered(&self) -> u64 {
        self.counts.samples.len() as u64 - self.lost()
    }

    fn summary(&self) -> String {
        let counts = self.counts;
        let latency = Latencies::of(&counts.samples);
        let mut text = format!(
            "{} requests in {:.1} s ({:.0}/s): {} answered, {} lost; {} refused and sent again\n\
             {} connections: {} RST, {} without close_notify\n\
             latency: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms\n",
            counts.samples.len(),
            self.sent_for.as_secs_f64(),
            counts.samples.len() as f64 / self.sent_for.as_secs_f64(),
            self.answered(),
            self.lost(),
            counts.refused(),
            counts.opened.len(),
            counts.resets,
            counts.without_close_notify,
            latency.ms(0.5),
            latency.ms(0.9),
            latency.ms(0.99),
            latency.ms(0.999),
            latency.ms(1.0),
        );
        for (refusal, times) in &counts.refused {
            let _ = writeln!(text, "  refused {times} times: {}", refusal.name());
        }
        for (why, times) in &counts.lost {
            let _ = writeln!(text, "  LOST {times} times: {why}");
        }
        text
    }

    fn json(&self) -> Value {
        let counts = self.counts;
        let refused: BTreeMap<_, _> = counts.refused.iter().map(|(r, n)| (r.name(), n)).collect();
        let kinds: BTreeMap<_, _> = counts
            .kinds
            .iter()
            .map(|(kind, (requests, lost))| {
                (&**kind, json!({ "requests": requests, "lost": lost }))
            })
            .collect();
        json!({
            "begun_unix_ms": counts.begun.as_millis() as u64,
            "seconds": self.sent_for.as_secs_f64(),
            "requests": counts.samples.len(),
            "answered": self.answered(),
            "lost": self.lost(),
            "refused_and_retried": counts.refused(),
            "connections": counts.opened.len(),
            "resets": counts.resets,
            "without_close_notify": counts.without_close_notify,
            "latency_ms": Latencies::of(&counts.samples).json(),
            "lost_because": counts.lost,
            "refused_because": refused,
            "kinds": kinds,
            "timeline": self.timeline(),
        })
    }

    /// What ended in each step; connections as they were at its end.
    fn timeline(&self) -> Vec<Value> {
        let counts = self.counts;
        let step = |at: &Duration| (at.as_millis() / STEP.as_millis()) as usize;
        let last = counts.samples.iter().map(|sample| step(&sample.at)).max();
        let mut steps = vec![Step::default(); last.map_or(0, |last| last + 1)];
        for sample in &counts.samples {
            steps[step(&sample.at)].samples.push(sample.clone());
        }
        let within =
            |times: &[Duration], number| times.iter().filter(|at| step(at) == number).count();
        let mut open = 0;
        let mut values = Vec::with_capacity(steps.len());
        for (number, of_step) in steps.iter().enumerate() {
            open += within(&counts.opened, number);
            open -= within(&counts.closed, number);
            let at = counts.begun + STEP * number as u32;
            let refused = within(&counts.refused_at, number);
            values.push(of_step.json(at, refused, open));
        }
        values
    }

    fn samples(&self) -> String {
        let mut text = String::from("ended_unix_ms,took_us,lost,kind\n");
        for Sample {
            kind,
            at,
            took,
            lost,
        } in &self.counts.samples
        {
            let at = (self.counts.begun + *at).as_millis();
            let lost = u8::from(*lost);
            let _ = writeln!(text, "{at},{},{lost},{kind}", took.as_micros());
        }
        text
    }
}

#[derive(Clone, Debug, Default)]
struct Step {
    samples: Vec<Sample>,
}

impl Step {
    fn json(&self, at: Duration, refused: usize, open: usize) -> Value {
        let latency = Latencies::of(&self.samples);
        json!({
            "at_unix_ms": at.as_millis() as u64,
            "requests": self.samples.len(),
            "lost": self.samples.iter().filter(|sample| sample.lost).count(),
            "refused": refused,
            "p50_ms": latency.ms(0.5),
            "p99_ms": latency.ms(0.99),
            "open": open,
        })
    }
}

/// Latencies of what was answered, the shortest first.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn of(samples: &[Sample]) -> Self {
        let answered = samples.iter().filter(|sample| !sample.lost);
        let mut sorted: Vec<_> = answered.map(|sample| sample.took).collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    /// The smallest latency that this part of all requests did not exceed.
    fn ms(&self, part: f64) -> f64 {
        let rank = (part * self.0.len() as f64).ceil() as usize;
        let latency = self.0.get(rank.max(1) - 1);
        latency.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }

    fn json(&self) -> Value {
        json!({
            "p50": self.ms(0.5),
            "p90": self.ms(0.9),
            "p99": self.ms(0.99),
            "p999": self.ms(0.999),
            "max": self.ms(1.0),
        })
    }
}

fn write(path: &Path, text: &str, setting: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| {
        let path = path.display();
        format!("{setting} {path}: {error}: give a file that can be written")
    })
}
