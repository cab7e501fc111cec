//! Where on a time line something is drawn.
//!
//! A TLS connection does ten things within a millisecond, and the eleventh a minute later. No
//! linear scale shows both. So each event has a row of its own, and the gap between two rows grows
//! with the logarithm of the time between them; a long wait is marked as a break in the line.

/// The least distance of two rows, such that their words don't touch.
const ROW: f64 = 26.0;
/// What each ten-fold time beyond a millisecond adds.
const DECADE: f64 = 6.0;
/// What a break needs for itself.
const BREAK: f64 = 16.0;
/// From here on a wait is a break, in milliseconds.
const LONG: f64 = 800.0;
const TOP: f64 = 50.0;

/// The places of a time line's rows.
#[derive(Debug)]
pub struct Scale {
    rows: Vec<(f64, f64)>,
}

/// A long wait.
#[derive(Debug, PartialEq)]
pub struct Wait {
    pub y: f64,
    pub ms: f64,
}

impl Scale {
    /// Times in milliseconds, in order.
    pub fn new(times: impl IntoIterator<Item = f64>) -> Self {
        let mut rows: Vec<(f64, f64)> = Vec::new();
        for ms in times {
            let y = rows.last().map_or(TOP, |(before, y)| y + gap(ms - before));
            rows.push((ms, y));
        }
        Self { rows }
    }

    /// Where the nth event is.
    pub fn row(&self, n: usize) -> f64 {
        self.rows.get(n).map_or(TOP, |(_, y)| *y)
    }

    /// Where a moment between two events is.
    pub fn at(&self, ms: f64) -> f64 {
        let later = self.rows.partition_point(|(row, _)| *row <= ms);
        let Some(((from, top), rest)) = self.rows[later.saturating_sub(1)..].split_first() else {
            return TOP;
        };
        match rest.first() {
            Some((to, bottom)) if ms > *from => top + (bottom - top) * (ms - from) / (to - from),
            _ => *top,
        }
    }

    pub fn bottom(&self) -> f64 {
        self.row(self.rows.len().saturating_sub(1))
    }

    pub fn waits(&self) -> Vec<Wait> {
        let pairs = self.rows.windows(2);
        let long = pairs.filter(|pair| pair[1].0 - pair[0].0 >= LONG);
        long.map(|pair| Wait {
            y: pair[0].1 + (pair[1].1 - ROW / 2.0 - pair[0].1) / 2.0 + 2.0,
            ms: pair[1].0 - pair[0].0,
        })
        .collect()
    }
}

fn gap(ms: f64) -> f64 {
    let waited = if ms >= LONG { BREAK } else { 0.0 };
    ROW + waited + DECADE * ms.max(1.0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_distance_and_their_order() {
        let scale = Scale::new([0.0, 0.0, 0.2, 0.3, 12.0, 60_000.0]);
        for n in 1..6 {
            assert!(scale.row(n) - scale.row(n - 1) >= ROW);
        }
        assert!(scale.bottom() < TOP + 5.0 * ROW + 100.0);
    }

    #[test]
    fn only_a_long_wait_is_a_break() {
        let waits = Scale::new([0.0, 500.0, 60_500.0]).waits();
        assert_eq!(waits.len(), 1);
        assert_eq!(waits[0].ms, 60_000.0);
    }

    #[test]
    fn a_moment_is_between_its_neighbours() {
        let scale = Scale::new([0.0, 10.0, 20.0]);
        assert_eq!(scale.at(10.0), scale.row(1));
        assert!(scale.at(15.0) > scale.row(1) && scale.at(15.0) < scale.row(2));
        assert_eq!(scale.at(99.0), scale.row(2));
        assert_eq!(Scale::new([]).at(1.0), TOP);
    }
}
