//! When connections have to go, once a shutdown wants their clients elsewhere.
//!
//! A client that has an idle connection may be writing a request to it at any moment, so that
//! ending one can lose a request. HTTP/1 has one way to end without that: an answer that says
//! `Connection: close` (RFC 9112 9.6). HTTP/2 has GOAWAY (RFC 9113 6.8), which names what was not
//! processed; but some clients give up every open stream at it, or the request that crosses it. So
//! each kind has a time until which it may be *held*, in the hope of a better moment: the answer to
//! one more request, which tells an HTTP/1 client itself, and an HTTP/2 client by the GOAWAY behind it,
//! unless that client's requests do not wait for its answers: one may be crossing. Then it counts as at
//! work.
//!
//! ```text
//!  lame duck                 draining                                          deadline
//!  ├─────────────────────────┼───────────────────────────────────────────────────┤
//!                            ├── idle_grace ──▶ HTTP/1 ends, told or not
//!                            ▶ HTTP/2 gets its GOAWAY
//!                            (handover: both ───────────────────────────▶ )
//!  ▶ (lame_duck_goaway)      ├── patient_goaway, if at work: at most half ──▶
//!                               each of these + its share of close_spread
//! ```
//!
//! It is only arithmetic: a table of moments, one for each shutdown.

use std::time::Duration;

use tokio::time::Instant;

use crate::settings::Settings;

/// Why a server is shut down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Occasion {
    /// Its clients have to wait for another, or go without.
    Stop,
    /// Another process has taken over its listeners: holding idle connections costs memory only.
    Handover,
}

/// How one shutdown is to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) occasion: Occasion,
    /// How long the server goes on accepting, and can be called back.
    pub(crate) lame_duck: Duration,
    /// How long what is in flight may go on after that.
    pub(crate) timeout: Duration,
}

impl Plan {
    /// As the settings say.
    pub(crate) fn new(occasion: Occasion, settings: &Settings) -> Self {
        Self {
            occasion,
            lame_duck: settings.lame_duck,
            timeout: settings.shutdown_timeout,
        }
    }
}

/// The moments of one shutdown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departures {
    /// When the shutdown began, which tells it from one that was called off.
    pub(crate) begun: Instant,
    /// Idle HTTP/1 connections that were not told end from here on.
    untold: Instant,
    /// Idle HTTP/2 connections get their GOAWAY from here on.
    goaway: Instant,
    /// Those that are at work all the time get it all the same.
    goaway_at_work: Instant,
    /// HTTP/2 connections go in the lame duck already.
    pub(crate) in_lame_duck: bool,
    /// Over so long they go, one after the other.
    spread: Duration,
    /// Whoever goes later would not have gone in order when the deadline comes.
    last: Instant,
}

impl Departures {
    /// Of a shutdown that begins now.
    ///
    /// Nobody is held for longer than the settings' time-out, also where what is in flight has more.
    pub(crate) fn new(now: Instant, settings: &Settings, plan: &Plan) -> Self {
        let handover = plan.occasion == Occasion::Handover;
        let draining = now + plan.lame_duck;
        let timeout = plan.timeout.min(settings.shutdown_timeout);
        let deadline = draining + timeout;
        // A peer that says nothing is let go so long after its close_notify.
        let last = (deadline - settings.drain.idle_timeout.min(timeout)).max(draining);
        let in_lame_duck = settings.lame_duck_goaway || handover;
        let told = if in_lame_duck { now } else { draining };
        let patient = settings.patient_goaway || handover;
        let untold = match handover {
            true => last,
            false => draining + settings.idle_grace,
        };
        let goaway = if handover { last } else { told };
        let goaway_at_work = match patient {
            true => told + (deadline - told) / 2,
            false => told,
        };
        // The spread begins earlier where it would not be over in time, but not before anybody goes.
        let in_time = |due: Instant, earliest: Instant| {
            let latest = last.checked_sub(settings.close_spread);
            due.min(latest.map_or(earliest, |latest| latest.max(earliest)))
        };
        Self {
            begun: now,
            untold: in_time(untold, draining),
            goaway: in_time(goaway, told),
            goaway_at_work: in_time(goaway_at_work, told),
            in_lame_duck,
            spread: settings.close_spread,
            last,
        }
    }

    /// When a connection has to go. `share` is its place in the spread, from 0 to 1.
    pub(crate) fn of(&self, http2: bool, at_work: bool, share: f32) -> Instant {
        let due = match (http2, at_work) {
            (false, _) => self.untold,
            (true, false) => self.goaway,
            (true, true) => self.goaway_at_work,
        };
        let spread = self.spread.min(self.last.saturating_duration_since(due));
        due + spread.mul_f32(share)
    }
}

/// A connection's place in the spread, by its number: whichever of them are still there, each next
/// one falls into the widest gap (Weyl's sequence of the golden ratio).
pub(crate) fn share(number: u32) -> f32 {
    const GOLDEN: u32 = 0x9e37_79b9; // 2^32 times the golden ratio's fraction
    #[expect(clippy::cast_precision_loss, reason = "24 bits of a moment are enough")]
    let share = (number.wrapping_mul(GOLDEN) >> 8) as f32;
    share / (1_u32 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn settings() -> Settings {
        Settings {
            lame_duck: s(10),
            shutdown_timeout: s(100),
            ..Settings::default()
        }
    }

    /// Seconds after the shutdown began: HTTP/1, HTTP/2 idle, HTTP/2 at work.
    fn moments(settings: &Settings, occasion: Occasion, share: f32) -> [f32; 3] {
        let now = Instant::now();
        let departures = Departures::new(now, settings, &Plan::new(occasion, settings));
        [(false, false), (true, false), (true, true)]
            .map(|(http2, at_work)| (departures.of(http2, at_work, share) - now).as_secs_f32())
    }

    #[test]
    fn every_mode_has_its_moments() {
        use Occasion::{Handover, Stop};
        let grace = |idle_grace| Settings {
            idle_grace,
            ..settings()
        };
        let spread = Settings {
            close_spread: s(20),
            ..settings()
        };
        let early = Settings {
            lame_duck_goaway: true,
            ..settings()
        };
        let patient = Settings {
            patient_goaway: true,
            ..settings()
        };
        let all = Settings {
            close_spread: s(1000),
            ..settings()
        };
        let short = Settings {
            shutdown_timeout: s(1),
            idle_grace: s(30),
            ..settings()
        };
        // With the defaults a silent peer is let go 2 s after its close_notify.
        for (name, settings, occasion, share, expected) in [
            ("all at once", settings(), Stop, 0.5, [10.0, 10.0, 10.0]),
            ("held", grace(s(30)), Stop, 0.0, [40.0, 10.0, 10.0]),
            (
                "not to the deadline",
                grace(s(300)),
                Stop,
                0.0,
                [108.0, 10.0, 10.0],
            ),
            ("spread", spread.clone(), Stop, 0.5, [20.0, 20.0, 20.0]),
            ("early", early, Stop, 0.0, [10.0, 0.0, 0.0]),
            ("patient", patient, Stop, 0.0, [10.0, 10.0, 60.0]),
            (
                "handed over",
                settings(),
                Handover,
                0.0,
                [108.0, 108.0, 55.0],
            ),
            (
                "and spread",
                spread.clone(),
                Handover,
                0.5,
                [98.0, 98.0, 65.0],
            ),
            ("to its end", spread, Handover, 1.0, [108.0, 108.0, 75.0]),
            ("over all there is", all, Stop, 0.5, [59.0, 59.0, 59.0]),
            ("no time to hold", short, Stop, 0.9, [10.0, 10.0, 10.0]),
        ] {
            let moments = moments(&settings, occasion, share);
            let close = moments
                .iter()
                .zip(&expected)
                .all(|(a, b): (&f32, &f32)| (a - b).abs() < 0.01);
            assert!(close, "{name}: {moments:?} instead of {expected:?}");
        }
    }

    #[test]
    fn who_is_held_goes_long_before_a_deadline_of_hours() {
        let (now, settings) = (Instant::now(), settings());
        let plan = Plan {
            occasion: Occasion::Handover,
            lame_duck: s(20),
            timeout: s(7200),
        };
        let departures = Departures::new(now, &settings, &plan);
        assert_eq!(departures.of(false, false, 0.0) - now, s(118));
        assert_eq!(departures.of(true, true, 0.0) - now, s(60));
    }

    #[test]
    fn shares_are_spread_evenly_whoever_is_left() {
        for step in [1, 2, 3, 10] {
            let mut tenths = [0; 10];
            for number in (0..1000).step_by(step) {
                tenths[(share(number) * 10.0) as usize] += 1;
            }
            let mean = 1000 / step / 10;
            for count in tenths {
                assert!(
                    count >= mean * 8 / 10 && count <= mean * 12 / 10,
                    "{step}: {tenths:?}"
                );
            }
        }
    }
}
