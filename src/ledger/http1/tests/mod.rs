mod conversation;
mod fuzz;
mod heads;
mod rules;

use super::{Http1, Tunnel};

/// Everything that can be asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Seen {
    followed: bool,
    begun: u32,
    in_flight: u32,
    answering: bool,
    close_delimited: bool,
    tunnel: Option<Tunnel>,
    upload: bool,
    body: u64,
    head_begun: bool,
    last: bool,
    owes_complete: bool,
}

fn seen(http1: &Http1) -> Seen {
    Seen {
        followed: http1.is_followed(),
        begun: http1.begun(),
        in_flight: http1.in_flight(),
        answering: http1.is_answering(),
        close_delimited: http1.is_close_delimited(),
        tunnel: http1.tunnel(),
        upload: http1.has_upload(),
        body: http1.received_body(),
        head_begun: http1.head_begun(),
        last: http1.responses.last,
        owes_complete: http1.owes_complete(),
    }
}

/// What went by, in order.
#[derive(Clone, Debug)]
enum Step {
    In(Vec<u8>),
    Out(Vec<u8>),
    Finish,
}

fn received(bytes: impl AsRef<[u8]>) -> Step {
    Step::In(bytes.as_ref().to_vec())
}

fn sent(bytes: impl AsRef<[u8]>) -> Step {
    Step::Out(bytes.as_ref().to_vec())
}

/// Does a step in slices of the given lengths, round and round.
fn take(http1: &mut Http1, step: &Step, lengths: &[usize]) {
    let (mut bytes, is_in) = match step {
        Step::In(bytes) => (&bytes[..], true),
        Step::Out(bytes) => (&bytes[..], false),
        Step::Finish => return http1.finish(),
    };
    let mut lengths = lengths.iter().cycle();
    while !bytes.is_empty() {
        let len = lengths.next().map_or(bytes.len(), |len| *len);
        let (now, later) = bytes.split_at(len.clamp(1, bytes.len()));
        if is_in {
            http1.received(now);
        } else {
            http1.sent(now);
        }
        assert!(http1.in_flight() <= http1.begun(), "{http1:?}");
        bytes = later;
    }
}

/// What is seen after the steps, which must not depend on how they are split.
fn after(steps: &[Step]) -> Seen {
    let run = |lengths: &[usize]| {
        let mut http1 = Http1::new(true);
        steps
            .iter()
            .for_each(|step| take(&mut http1, step, lengths));
        seen(&http1)
    };
    let whole = run(&[]);
    for lengths in [
        &[1][..],
        &[2],
        &[3],
        &[7],
        &[16],
        &[31, 1],
        &[63],
        &[64],
        &[65, 2],
    ] {
        assert_eq!(run(lengths), whole, "split into {lengths:?}");
    }
    whole
}
