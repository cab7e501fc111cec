//! Makes clients up: each plays a role, with everything else left to chance. Those that do not behave
//! are in `rude`.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::{
    choice::{any, large, quick},
    plan::{Plan, Reading, Step},
    rude,
    seen::Ask,
};
use crate::{
    endpoints::Endpoint,
    servers::{Driver, Kind},
    settings::Settings,
};

type Role = fn(&mut Plan, &mut Rng, &Settings);

const ROLES: &[(&str, Role)] = &[
    ("polite", polite),
    ("polite", polite),
    ("pipelining", pipelining),
    ("half-closing", half_closing),
    ("slow reader", slow_reader),
    ("stuck reader", rude::stuck_reader),
    ("HTTP/1.0", http10),
    ("half an upload", rude::half_upload),
    ("dribbled upload", dribbled_upload),
    ("resetter", rude::resetter),
    ("silent", rude::silent),
    ("aborted handshake", rude::aborted_handshake),
    ("dribbled head", rude::dribbled_head),
    ("plain HTTP", rude::plain),
    ("flooder", rude::flooder),
    ("small window", small_window),
    ("stalled beside live", rude::stalled_beside_live),
    ("at the keep-alive edge", keep_alive_edge),
    ("at the shutdown", at_the_shutdown),
    ("bare FIN", rude::bare_fin),
    ("upload at the window", upload_at_the_window),
    ("tunnel", tunnel),
    ("babbler", rude::babbler),
    ("half a head", rude::half_a_head),
    ("stream updates", rude::stream_updates),
];

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client of a random role.
pub fn random(rng: &mut Rng, settings: &Settings, kind: &Kind, start: Instant) -> Plan {
    let (name, role) = *rng.choice(ROLES).unwrap();
    let latest = settings
        .shutdown_at
        .as_millis()
        .try_into()
        .unwrap_or(u64::MAX);
    let mut plan = Plan {
        role: name,
        start,
        connects: ms(rng.u64(0..3000.min(latest + 100))),
        tls12: rng.u8(..8) == 0,
        http2: rng.bool(),
        lies: false,
        asks: Vec::new(),
        steps: Vec::new(),
        chunked: rng.bool(),
        window: 65_535,
        window_tick: None,
        never_opens: false,
        wide: false,
        stalled: Vec::new(),
        flood: None,
        deaf_to_pings: false,
        handshake_cut: None,
        plain: false,
        mute: false,
        holds: rng.u8(..6) == 0,
    };
    role(&mut plan, rng, settings);
    plan.lies = kind.driver == Driver::Auto && !plan.http2 && rng.u8(..8) == 0;
    plan
}

impl Plan {
    /// Adds a request; its number.
    pub(super) fn ask(&mut self, endpoint: Endpoint, upload: u64) -> usize {
        let upload = if endpoint.takes_upload() { upload } else { 0 };
        self.asks.push(Ask::new(endpoint, upload, false));
        self.asks.len() - 1
    }

    /// Adds a request that is written whole, at once.
    pub(super) fn ask_whole(&mut self, endpoint: Endpoint, rng: &mut Rng) -> usize {
        // All uploads of one connection together fit into the windows of HTTP/2.
        let n = self.ask(endpoint, rng.u64(0..8000));
        self.steps.push(Step::Head(n));
        self.steps.push(Step::Body(n, u64::MAX));
        n
    }

    /// Adds a request whose upload comes in pieces.
    pub(super) fn dribble(&mut self, endpoint: Endpoint, pieces: u64, size: u64, pause: Duration) {
        let n = self.ask(endpoint, pieces * size);
        self.then(Step::Head(n));
        for _ in 0..pieces {
            self.then(Step::Pause(pause));
            self.then(Step::Body(n, size));
        }
    }

    pub(super) fn then(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Says goodbye, or waits for the server to.
    pub(super) fn leave(&mut self, rng: &mut Rng) {
        if rng.bool() {
            self.then(Step::Notify);
            self.then(Step::Fin);
        }
    }
}

fn polite(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    for _ in 0..rng.usize(1..5) {
        let endpoint = any(rng);
        plan.ask_whole(endpoint, rng);
        plan.then(Step::Answers);
        if rng.bool() {
            plan.then(Step::Pause(ms(rng.u64(0..2000))));
        }
    }
    plan.leave(rng);
}

fn pipelining(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    for _ in 0..rng.usize(1..3) {
        for _ in 0..rng.usize(2..5) {
            let endpoint = match rng.u8(..20) {
                0 => Endpoint::Sleep(100_000),
                _ => any(rng),
            };
            plan.ask_whole(endpoint, rng);
        }
        if rng.bool() {
            plan.then(Step::Answers);
        }
    }
    plan.then(Step::Answers);
    plan.leave(rng);
}

fn half_closing(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    for _ in 0..rng.usize(1..4) {
        let endpoint = any(rng);
        plan.ask_whole(endpoint, rng);
    }
    if rng.u8(..4) == 0 {
        plan.then(Step::Pause(ms(rng.u64(0..300))));
    }
    plan.then(Step::Notify);
}

pub(super) fn rate(rng: &mut Rng, settings: &Settings) -> Reading {
    // Something moves at least each quarter of the write time-out, and 2 KiB each second.
    let every = rng.u64(20..=settings.write_timeout.as_millis() as u64 / 5);
    let bytes = (2048 * every / 1000).max(64) + rng.u64(0..4096);
    Reading::Rate(bytes as usize, ms(every))
}

fn slow_reader(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    plan.then(Step::Read(rate(rng, settings)));
    if plan.http2 && rng.bool() {
        plan.wide = true;
        plan.window = 1 << 20;
    }
    let endpoint = large(rng);
    plan.ask_whole(endpoint, rng);
    plan.then(Step::Answers);
}

fn http10(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    plan.http2 = false;
    for _ in 0..rng.usize(1..3) {
        let endpoint = any(rng);
        let n = plan.ask_whole(endpoint, rng);
        plan.asks[n].http10 = true;
    }
    if rng.u8(..4) == 0 {
        plan.then(Step::Notify);
    }
}

fn dribbled_upload(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    let endpoint = *rng
        .choice(&[
            Endpoint::Echo,
            Endpoint::EchoLen,
            Endpoint::Sleep(100),
            Endpoint::Early(0),
        ])
        .unwrap();
    let pieces = rng.u64(3..12);
    let size = rng.u64(1000..4000);
    let pause = rng.u64(50..=settings.keep_alive.as_millis() as u64 / 4);
    plan.dribble(endpoint, pieces, size, ms(pause));
    plan.then(Step::Answers);
    plan.leave(rng);
}

/// More than the server's window lets through, for a handler that takes its time with it.
fn upload_at_the_window(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    plan.http2 = true;
    let pause = rng.u64(0..2 * settings.keep_alive.as_millis() as u64);
    let window = settings.http2.window.map_or(20_000, u64::from);
    let n = plan.ask(Endpoint::Early(pause), rng.u64(window..window * 4));
    plan.then(Step::Head(n));
    plan.then(Step::Body(n, u64::MAX));
    plan.then(Step::Answers);
    plan.leave(rng);
}

fn small_window(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    plan.http2 = true;
    plan.window = rng.u32(0..5000);
    let every = rng.u64(20..=settings.write_timeout.as_millis() as u64 / 5);
    let bytes = (2048 * every / 1000).max(64) + rng.u64(0..4096);
    plan.window_tick = Some((ms(every), bytes as u32));
    for _ in 0..rng.usize(1..3) {
        let endpoint = if rng.bool() { large(rng) } else { quick(rng) };
        plan.ask_whole(endpoint, rng);
    }
    plan.then(Step::Answers);
    plan.leave(rng);
}

fn keep_alive_edge(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    let endpoint = quick(rng);
    plan.ask_whole(endpoint, rng);
    plan.then(Step::Answers);
    let early = rng.u64(0..4) + *rng.choice(&[0, 1, 2, 20, 40, 300, 600]).unwrap();
    plan.then(Step::Edge(
        (settings.keep_alive + ms(2)).saturating_sub(ms(early)),
    ));
    let endpoint = quick(rng);
    plan.ask_whole(endpoint, rng);
    plan.then(Step::Answers);
}

fn at_the_shutdown(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    let moment = settings.shutdown_at + settings.lame_duck;
    plan.connects = plan.connects.min(moment);
    if rng.u8(..4) == 0 {
        plan.connects = moment.saturating_sub(ms(rng.u64(0..700)));
    } else if rng.bool() {
        let endpoint = any(rng);
        plan.ask_whole(endpoint, rng);
    }
    let at = (moment + ms(rng.u64(0..10))).saturating_sub(ms(rng.u64(0..320)));
    plan.then(Step::At(at));
    for _ in 0..rng.usize(1..4) {
        let endpoint = any(rng);
        plan.ask_whole(endpoint, rng);
    }
    plan.then(Step::Answers);
}

fn tunnel(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    let endpoint = match plan.http2 {
        true => Endpoint::Connect,
        false => *rng
            .choice(&[
                Endpoint::Connect,
                Endpoint::Upgrade(true),
                Endpoint::Upgrade(false),
            ])
            .unwrap(),
    };
    let pieces = rng.u64(1..5);
    let n = plan.ask(endpoint, 0);
    plan.asks[n].upload = pieces * 1500;
    plan.then(Step::Head(n));
    plan.then(Step::Begun(n));
    for _ in 0..pieces {
        plan.then(Step::Body(n, 1500));
        plan.then(Step::Pause(ms(
            rng.u64(0..settings.keep_alive.as_millis() as u64 * 2)
        )));
    }
    if rng.u8(..4) > 0 {
        plan.then(Step::Notify);
    }
}
