//! Ratios over rounds.

/// What one server did in one round.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub per_second: f64,
    /// Seconds.
    pub cpu_per_request: f64,
}

/// Ours over bare, a value a round.
#[derive(Debug, Default)]
pub struct Ratios {
    per_second: Vec<f64>,
    cpu: Vec<f64>,
}

impl Ratios {
    pub fn push(&mut self, ours: Sample, bare: Sample) {
        self.per_second.push(ours.per_second / bare.per_second);
        self.cpu.push(ours.cpu_per_request / bare.cpu_per_request);
    }

    pub fn per_second(&self) -> String {
        spread(&self.per_second)
    }

    pub fn cpu(&self) -> String {
        spread(&self.cpu)
    }
}

fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.as_slice() {
        [] => "-".into(),
        [min, ..] => format!(
            "{:.3} ({min:.3} to {:.3})",
            sorted[sorted.len() / 2],
            sorted[sorted.len() - 1]
        ),
    }
}
