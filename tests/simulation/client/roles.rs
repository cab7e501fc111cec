//! Makes clients up: each plays a role, with everything else left to chance.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::{
    choice::{any, large, quick, slow},
    plan::{Control, Plan, Reading, Step},
    seen::Ask,
};
use crate::{endpoints::Endpoint, settings::Settings};

type Role = fn(&mut Plan, &mut Rng, &Settings);

const ROLES: &[(&str, Role)] = &[
    ("polite", polite),
    ("polite", polite),
    ("pipelining", pipelining),
    ("half-closing", half_closing),
    ("slow reader", slow_reader),
    ("stuck reader", stuck_reader),
    ("HTTP/1.0", http10),
    ("half an upload", half_upload),
    ("dribbled upload", dribbled_upload),
    ("resetter", resetter),
    ("silent", silent),
    ("aborted handshake", aborted_handshake),
    ("dribbled head", dribbled_head),
    ("plain HTTP", plain),
    ("flooder", flooder),
    ("small window", small_window),
    ("stalled beside live", stalled_beside_live),
    ("at the keep-alive edge", keep_alive_edge),
    ("at the shutdown", at_the_shutdown),
    ("bare FIN", bare_fin),
    ("tunnel", tunnel),
    ("babbler", babbler),
    ("half a head", half_a_head),
    ("stream updates", stream_updates),
];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client of a random role.
pub fn random(rng: &mut Rng, settings: &Settings, start: Instant) -> Plan {
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
    plan
}

impl Plan {
    /// Adds a request; its number.
    fn ask(&mut self, endpoint: Endpoint, upload: u64) -> usize {
        let upload = if endpoint.takes_upload() { upload } else { 0 };
        self.asks.push(Ask::new(endpoint, upload, false));
        self.asks.len() - 1
    }

    /// Adds a request that is written whole, at once.
    fn ask_whole(&mut self, endpoint: Endpoint, rng: &mut Rng) -> usize {
        // All uploads of one connection together fit into the windows of HTTP/2.
        let n = self.ask(endpoint, rng.u64(0..8000));
        self.steps.push(Step::Head(n));
        self.steps.push(Step::Body(n, u64::MAX));
        n
    }

    fn then(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Says goodbye, or waits for the server to.
    fn leave(&mut self, rng: &mut Rng) {
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

/// Half a head before draining begins, and the rest after.
fn half_a_head(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    let moment = settings.shutdown_at + settings.lame_duck;
    plan.connects = plan.connects.min(moment.saturating_sub(ms(1500)));
    if rng.bool() {
        let endpoint = quick(rng);
        plan.ask_whole(endpoint, rng);
        plan.then(Step::Answers);
    }
    let n = plan.ask(Endpoint::Hello, 0);
    plan.then(Step::At(moment.saturating_sub(ms(rng.u64(310..700)))));
    plan.then(Step::HalfHead(n));
    plan.then(Step::Pause(ms(rng.u64(300..1500))));
    plan.then(Step::Head(n));
    plan.then(Step::Answers);
}

/// Opens the windows of its streams again and again, and never that of the connection.
fn stream_updates(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    plan.http2 = true;
    plan.window = 1 << 20;
    plan.never_opens = true;
    plan.flood = Some((ms(rng.u64(100..900)), 1, Control::StreamUpdates));
    plan.ask_whole(Endpoint::Bytes(rng.u64(100_000..400_000)), rng);
}

/// Ends its direction, or is told to go, and goes on sending all the same.
fn babbler(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    let ends = rng.bool();
    let endpoint = match ends {
        true => Endpoint::Sleep(rng.u64(500..9000)),
        false if rng.bool() => Endpoint::Close,
        false => Endpoint::Hello,
    };
    plan.ask_whole(endpoint, rng);
    if ends {
        plan.then(Step::Notify);
    } else {
        plan.then(Step::Answers);
    }
    for _ in 0..rng.usize(5..30) {
        plan.then(Step::Junk(rng.usize(1000..20_000)));
        plan.then(Step::Pause(ms(rng.u64(1..300))));
    }
}

fn rate(rng: &mut Rng, settings: &Settings) -> Reading {
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

fn stuck_reader(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    plan.holds = true;
    if plan.http2 && rng.bool() {
        plan.window = rng.u32(0..20_000);
        plan.never_opens = true;
    } else if rng.bool() {
        plan.then(Step::Read(Reading::Never));
    }
    let endpoint = large(rng);
    plan.ask_whole(endpoint, rng);
    plan.then(Step::Pause(ms(
        rng.u64(0..2 * settings.write_timeout.as_millis() as u64)
    )));
    if !plan.never_opens {
        plan.then(Step::Read(Reading::Never));
    }
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

fn half_upload(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    let endpoint = *rng
        .choice(&[
            Endpoint::Echo,
            Endpoint::EchoLen,
            Endpoint::Unread(10),
            Endpoint::Unread(50_000),
        ])
        .unwrap();
    if endpoint == Endpoint::Unread(50_000) {
        plan.http2 = true;
        plan.window = 1 << 20;
        plan.then(Step::Read(rate(rng, settings)));
    }
    let n = plan.ask(endpoint, 20_000);
    plan.then(Step::Head(n));
    plan.then(Step::Body(n, rng.u64(0..20_000)));
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
    let n = plan.ask(endpoint, pieces * size);
    let pause = rng.u64(50..=settings.keep_alive.as_millis() as u64 / 4);
    plan.then(Step::Head(n));
    for _ in 0..pieces {
        plan.then(Step::Pause(ms(pause)));
        plan.then(Step::Body(n, size));
    }
    plan.then(Step::Answers);
    plan.leave(rng);
}

fn resetter(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    for _ in 0..rng.usize(0..3) {
        let endpoint = any(rng);
        plan.ask_whole(endpoint, rng);
    }
    plan.then(Step::Pause(ms(rng.u64(0..500))));
    plan.then(if rng.bool() { Step::Rst } else { Step::Close });
}

/// Shakes hands, and that is all.
fn silent(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    if rng.bool() {
        plan.then(Step::Pause(ms(rng.u64(0..9000))));
        plan.leave(rng);
    }
}

fn aborted_handshake(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    plan.handshake_cut = Some(rng.usize(0..180));
}

/// Idle but for frames that ask for nothing.
fn flooder(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    plan.http2 = true;
    let what = *rng
        .choice(&[Control::Pings, Control::Settings, Control::Updates])
        .unwrap();
    plan.flood = Some((ms(rng.u64(100..900)), rng.usize(1..30), what));
    if rng.bool() {
        let endpoint = quick(rng);
        plan.ask_whole(endpoint, rng);
    }
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

fn stalled_beside_live(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    plan.http2 = true;
    plan.window = 8000;
    plan.stalled = vec![0];
    plan.ask_whole(Endpoint::Bytes(100_000), rng);
    for _ in 0..rng.usize(1..6) {
        let endpoint = if rng.bool() { slow(rng) } else { quick(rng) };
        plan.ask_whole(endpoint, rng);
        plan.then(Step::Pause(ms(rng.u64(0..1500))));
    }
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

fn bare_fin(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    let endpoint = any(rng);
    plan.ask_whole(endpoint, rng);
    if rng.bool() {
        plan.then(Step::Answers);
    }
    plan.then(Step::Fin);
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

/// A head that never comes to its end, in pieces that come soon enough.
fn dribbled_head(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    if rng.bool() {
        let endpoint = quick(rng);
        plan.ask_whole(endpoint, rng);
        plan.then(Step::Answers);
    }
    let head = match plan.http2 {
        // A frame of 100 bytes that takes its time, of a type that nobody knows.
        true => [&[0, 0, 100, 99, 0, 0, 0, 0, 0][..], &[0; 90]].concat(),
        false => b"GET / HTTP/1.1\r\nhost: s\r\nx-long: ................................".to_vec(),
    };
    let pause = rng.u64(50..=settings.keep_alive.as_millis() as u64 / 2);
    for piece in head.chunks(rng.usize(1..9)) {
        plan.then(Step::Raw(piece.to_vec()));
        plan.then(Step::Pause(ms(pause)));
    }
}

fn plain(plan: &mut Plan, _: &mut Rng, _: &Settings) {
    plan.plain = true;
}
