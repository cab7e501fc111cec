//! The settings of one run's server, and when it is shut down.

use std::time::Duration;

use graceful_tls::{Builder, Drain};

/// More than who dribbles a head does, and less than who reads slowly.
const MIN_RATE: u32 = 200;

/// Random, but such as somebody might use.
#[derive(Clone, Debug)]
pub struct Settings {
    pub keep_alive: Duration,
    pub write_timeout: Duration,
    pub handshake_timeout: Duration,
    pub drain: Drain,
    pub lame_duck: Duration,
    pub shutdown_timeout: Duration,
    pub idle_grace: Duration,
    pub close_spread: Duration,
    pub lame_duck_goaway: bool,
    pub patient_goaway: bool,
    pub body_timeout: Duration,
    pub max_age: Option<Duration>,
    pub max_age_grace: Option<Duration>,
    pub max_requests: Option<u32>,
    /// The shutdown is a handover.
    pub handover: bool,
    /// A shutdown before this one is called off, so long before and so soon after it began.
    pub undone: Option<(Duration, Duration)>,
    pub shutdown_at: Duration,
    /// A second trigger, so long after the first.
    pub hurried: Option<Duration>,
    /// hyper writes no answer while a request is in its buffer.
    pub pipeline_flush: bool,
    pub http2: Http2,
}

/// How hyper speaks HTTP/2.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// Its PINGs, and how long it waits for their answers.
    pub pings: Option<(Duration, Duration)>,
    /// What a client may upload before a handler has read of it.
    pub window: Option<u32>,
}

impl Http2 {
    fn random(rng: &mut fastrand::Rng) -> Self {
        Self {
            pings: (rng.u8(..3) == 0).then(|| (ms(rng, 200..=1000), ms(rng, 3000..=4000))),
            window: (rng.u8(..3) == 0).then(|| rng.u32(2000..40_000)),
        }
    }

    /// PINGs are only for those who have a timer.
    pub fn apply<E>(self, builder: &mut hyper::server::conn::http2::Builder<E>, timer: bool) {
        builder
            .auto_date_header(false)
            .initial_stream_window_size(self.window);
        if let (Some((every, timeout)), true) = (self.pings, timer) {
            builder
                .keep_alive_interval(every)
                .keep_alive_timeout(timeout);
        }
    }
}

fn ms(rng: &mut fastrand::Rng, range: std::ops::RangeInclusive<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

/// More often none than some.
fn some(rng: &mut fastrand::Rng, most: u64) -> Duration {
    match rng.u8(..3) {
        0 => ms(rng, 0..=most),
        _ => Duration::ZERO,
    }
}

impl Settings {
    pub fn random(rng: &mut fastrand::Rng) -> Self {
        let mut drain = Drain::default();
        drain.total_timeout = ms(rng, 500..=5000);
        drain.idle_timeout = ms(rng, 200..=2000);
        drain.flush_timeout = ms(rng, 500..=5000);
        drain.max_bytes = *rng.choice(&[20_000, 100_000, 64 << 20]).unwrap();
        if rng.u8(..8) == 0 {
            drain.max_connections = rng.usize(1..3);
        }
        // Late enough for every time-out to have come, or in the middle of things.
        let shutdown_at = match rng.bool() {
            true => ms(rng, 0..=9000),
            false => ms(rng, 60_000..=90_000),
        };
        let lame_duck = ms(rng, 0..=500);
        let handover = rng.u8(..4) == 0;
        let lame_duck_goaway = rng.u8(..4) == 0;
        let seldom = if handover { 2 } else { 8 };
        let max_age = (rng.u8(..4) == 0).then(|| ms(rng, 500..=8000));
        let max_age_grace = max_age.filter(|_| rng.bool()).map(|_| ms(rng, 1..=3000));
        let undone = (rng.u8(..seldom) == 0).then(|| (ms(rng, 600..=3000), lame_duck / 2));
        Self {
            keep_alive: ms(rng, 1000..=5000),
            write_timeout: ms(rng, 1000..=5000),
            handshake_timeout: ms(rng, 1000..=3000),
            drain,
            lame_duck,
            shutdown_timeout: ms(rng, 0..=20_000),
            idle_grace: some(rng, 4000),
            close_spread: some(rng, 3000),
            lame_duck_goaway,
            patient_goaway: rng.u8(..4) == 0,
            body_timeout: ms(rng, 2000..=6000),
            max_age,
            max_age_grace,
            max_requests: (rng.u8(..4) == 0).then(|| rng.u32(1..=4)),
            handover,
            undone,
            shutdown_at,
            hurried: (rng.u8(..10) == 0).then(|| ms(rng, 0..=5000)),
            pipeline_flush: rng.u8(..3) == 0,
            http2: Http2::random(rng),
        }
    }

    /// When idle HTTP/1 connections may be ended although nothing has told their clients: so long
    /// after the shutdown began.
    pub fn held_for(&self) -> Duration {
        let held = if self.handover {
            self.draining()
        } else {
            self.idle_grace.min(self.draining())
        };
        self.lame_duck + held
    }

    /// How long a connection may go on while the server drains, and end in order by the deadline.
    fn draining(&self) -> Duration {
        self.shutdown_timeout
            .saturating_sub(self.drain.idle_timeout)
    }

    /// The same for the first of those that go one after the other: the spread is over in time.
    pub fn held_at_least(&self, http2: bool) -> Duration {
        let last = self.lame_duck + self.draining();
        let earliest = if http2 {
            Duration::ZERO
        } else {
            self.lame_duck
        };
        let latest = last.saturating_sub(self.close_spread).max(earliest);
        self.held_for().min(latest)
    }

    pub fn apply(&self, mut builder: Builder) -> Builder {
        if let Some(age) = self.max_age {
            builder = builder.max_connection_age(age);
        }
        if let Some(grace) = self.max_age_grace {
            builder = builder.max_connection_age_grace(grace);
        }
        if let Some(max) = self.max_requests {
            builder = builder.max_requests(max);
        }
        builder
            .keep_alive_timeout(self.keep_alive)
            .write_timeout(self.write_timeout)
            .header_timeout(self.keep_alive)
            .body_timeout(self.body_timeout)
            .min_rate(MIN_RATE)
            .max_control_frames(u32::MAX)
            .handshake_timeout(self.handshake_timeout)
            .drain(self.drain.clone())
            .lame_duck(self.lame_duck)
            .shutdown_timeout(self.shutdown_timeout)
            .idle_grace(self.idle_grace)
            .close_spread(self.close_spread)
            .lame_duck_goaway(self.lame_duck_goaway)
            .patient_goaway(self.patient_goaway)
            // The real time is of different length each second, in HPACK.
            .http1(|http1| {
                http1.auto_date_header(false);
                http1.pipeline_flush(self.pipeline_flush);
            })
            .http2(|http2| self.http2.apply(http2, true))
    }
}
