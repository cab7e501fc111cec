//! The roles of clients that do not behave: they stop in the middle, take nothing, or never end.

use fastrand::Rng;

use super::{
    choice::{any, large, quick, slow},
    plan::{Control, Plan, Reading, Step},
    roles::{ms, rate},
};
use crate::{endpoints::Endpoint, settings::Settings};

pub fn stuck_reader(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
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

pub fn half_upload(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    let endpoint = *rng
        .choice(&[
            Endpoint::Echo,
            Endpoint::EchoLen,
            Endpoint::Unread(10),
            Endpoint::Unread(200_000),
        ])
        .unwrap();
    if endpoint == Endpoint::Unread(200_000) {
        (plan.http2, plan.wide) = (true, true);
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

pub fn resetter(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    for _ in 0..rng.usize(0..3) {
        let endpoint = any(rng);
        plan.ask_whole(endpoint, rng);
    }
    if rng.u8(..4) == 0 {
        // What the RST comes behind.
        plan.then(Step::Read(Reading::Never));
        let endpoint = large(rng);
        plan.ask_whole(endpoint, rng);
        plan.then(Step::Notify);
    }
    plan.then(Step::Pause(ms(rng.u64(0..500))));
    plan.then(if rng.bool() { Step::Rst } else { Step::Close });
}

pub fn aborted_handshake(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    plan.handshake_cut = Some(rng.usize(0..180));
}

/// Idle but for frames that ask for nothing.
pub fn flooder(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    plan.http2 = true;
    let slow = rng.u8(..3) == 0;
    if slow {
        // Then what is answered holds up what is read.
        plan.then(Step::Read(rate(rng, settings)));
    }
    let what = *rng
        .choice(&[Control::Pings, Control::Settings, Control::Updates])
        .unwrap();
    // A few, or as many as the link can take.
    let many = rng.bool();
    let n = match many {
        true => rng.usize(500..4000),
        false => rng.usize(1..30),
    };
    plan.flood = Some((ms(rng.u64(100..900)), n, what));
    // What would be asked waits behind what is too much.
    if !slow && !many && rng.bool() {
        let endpoint = quick(rng);
        plan.ask_whole(endpoint, rng);
    }
}

pub fn stalled_beside_live(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
    plan.http2 = true;
    plan.window = 8000;
    plan.stalled = vec![0];
    // Others may take all that the socket gives, without end.
    let busy = rng.u8(..3) == 0;
    if busy {
        // What the kernel holds for it is read in a quarter of the write time-out: then windows are opened.
        let every = ms(50);
        let at_least = (128 << 10) * 4 * every.as_millis() / settings.write_timeout.as_millis();
        let rate = Reading::Rate(at_least as usize + rng.usize(..10_000), every);
        plan.then(Step::Read(rate));
    }
    plan.ask_whole(Endpoint::Bytes(100_000), rng);
    if busy {
        plan.wide = true;
        for _ in 0..rng.usize(8..20) {
            plan.ask_whole(Endpoint::Bytes(400_000), rng);
        }
    }
    for _ in 0..rng.usize(1..6) {
        let endpoint = if rng.bool() { slow(rng) } else { quick(rng) };
        plan.ask_whole(endpoint, rng);
        plan.then(Step::Pause(ms(rng.u64(0..1500))));
    }
    if rng.bool() {
        let pause = settings.keep_alive.min(settings.write_timeout) / 4;
        plan.dribble(Endpoint::Early(0), rng.u64(3..20), 500, pause);
    }
}

pub fn bare_fin(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    let endpoint = any(rng);
    plan.ask_whole(endpoint, rng);
    if rng.bool() {
        plan.then(Step::Answers);
    }
    plan.then(Step::Fin);
}

/// A head that never comes to its end, in pieces that come soon enough.
pub fn dribbled_head(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
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

pub fn plain(plan: &mut Plan, _: &mut Rng, _: &Settings) {
    plan.plain = true;
}

/// Ends its direction, or is told to go, and goes on sending all the same.
pub fn babbler(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
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

/// Opens the windows of its streams again and again, and never that of the connection.
pub fn stream_updates(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    plan.http2 = true;
    plan.window = 1 << 20;
    plan.never_opens = true;
    plan.flood = Some((ms(rng.u64(100..900)), 1, Control::StreamUpdates));
    plan.ask_whole(Endpoint::Bytes(rng.u64(100_000..400_000)), rng);
}

/// Half a head before draining begins, and the rest after.
pub fn half_a_head(plan: &mut Plan, rng: &mut Rng, settings: &Settings) {
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

/// Shakes hands, and that is all.
pub fn silent(plan: &mut Plan, rng: &mut Rng, _: &Settings) {
    if rng.bool() {
        plan.then(Step::Pause(ms(rng.u64(0..9000))));
        plan.leave(rng);
    }
}
