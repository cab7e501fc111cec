//! Latencies while something went on, beside those of the rest of the same run.

use std::{fmt, time::Duration};

use processes::load::Sample;

/// The percentiles that are shown, and how many in a million are at most so slow.
const PERCENTILES: [(&str, usize); 2] = [("p99", 990_000), ("p99.9", 999_000)];

/// How long requests took: while it went on, and in the rest of the time.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    during: Vec<Duration>,
    without: Vec<Duration>,
}

impl Latencies {
    /// `is_in` says whether it went on in any part of a time, since the epoch.
    pub fn add<'a>(
        &mut self,
        samples: impl IntoIterator<Item = &'a Sample>,
        is_in: impl Fn(Duration, Duration) -> bool,
    ) {
        for sample in samples {
            let side = match is_in(sample.at - sample.took, sample.at) {
                true => &mut self.during,
                false => &mut self.without,
            };
            side.push(sample.took);
        }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sides = [self.during.clone(), self.without.clone()];
        for side in &mut sides {
            side.sort_unstable();
        }
        for (at, (name, millionths)) in PERCENTILES.into_iter().enumerate() {
            let [during, without] = [&sides[0], &sides[1]].map(|side| percentile(side, millionths));
            let comma = if at > 0 { ", " } else { "" };
            let ratio = during / without;
            write!(
                f,
                "{comma}{name} {during:.1} / {without:.1} ms = {ratio:.2}"
            )?;
        }
        Ok(())
    }
}

/// In milliseconds.
fn percentile(sorted: &[Duration], millionths: usize) -> f64 {
    let rank = (sorted.len() * millionths).div_ceil(1_000_000);
    let latency = sorted.get(rank.saturating_sub(1));
    latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
}
