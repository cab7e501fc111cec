//! Chooses what to ask.

use fastrand::Rng;

use crate::endpoints::Endpoint;

/// An answer that takes no time to speak of.
pub fn quick(rng: &mut Rng) -> Endpoint {
    match rng.u8(..14) {
        0..3 => Endpoint::Hello,
        3 => Endpoint::Bytes(size(rng)),
        4 => Endpoint::Full(size(rng)),
        5 => Endpoint::Chunked(size(rng)),
        6 => Endpoint::Channel(rng.u64(1..200), rng.u64(1..64)),
        7 => Endpoint::Trailers(rng.u64(1..2000)),
        8 => Endpoint::Status(*rng.choice(&[200, 204, 304, 404, 500]).unwrap()),
        9 => Endpoint::EchoLen,
        10 => Endpoint::Echo,
        11 => Endpoint::Early(rng.u64(0..50)),
        12 => Endpoint::Close,
        _ => Endpoint::Unread(rng.u64(0..2000)),
    }
}

fn size(rng: &mut Rng) -> u64 {
    match rng.u8(..4) {
        0 => 0,
        1 => rng.u64(1..1000),
        2 => rng.u64(1000..40_000),
        _ => rng.u64(40_000..150_000),
    }
}

/// An answer that takes time in the handler.
pub fn slow(rng: &mut Rng) -> Endpoint {
    match rng.bool() {
        true => Endpoint::Slow(rng.u64(2..6), rng.u64(100..4000)),
        false => Endpoint::Sleep(rng.u64(100..9000)),
    }
}

/// An answer that is more than the buffers on the way hold.
pub fn large(rng: &mut Rng) -> Endpoint {
    let n = rng.u64(100_000..400_000);
    match rng.u8(..4) {
        0 => Endpoint::Bytes(n),
        1 => Endpoint::Full(n),
        2 => Endpoint::Chunked(n),
        _ => Endpoint::Channel(n / 1000, 1000),
    }
}

pub fn any(rng: &mut Rng) -> Endpoint {
    match rng.u8(..12) {
        0 => Endpoint::ErrorMidBody,
        1 => Endpoint::ErrorMidBodyLen,
        2 => Endpoint::Panic,
        3 => Endpoint::PanicMidBody,
        4 | 5 => slow(rng),
        6 if rng.u8(..3) == 0 => Endpoint::Events(rng.u64(50..500)),
        _ => quick(rng),
    }
}
