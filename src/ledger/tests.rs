//! What the ledger answers, whichever protocol it is, and how it finds that out.

use super::*;
use crate::ending::Cause;

/// What went by, in order.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    In(&'a [u8]),
    Out(&'a [u8]),
    Finish,
}
use Step::*;

/// How many bytes have gone either way, says the transport.
const MOVED: u64 = 77;

const TUNNEL: Use = Use::Tunnel { bytes: MOVED };

/// After the steps, in slices of this size.
fn split(http2: bool, steps: &[Step<'_>], size: usize) -> Ledger {
    let mut ledger = Ledger::new(http2, true);
    for step in steps {
        match step {
            In(bytes) => bytes.chunks(size).for_each(|part| {
                let _ = ledger.received(part);
            }),
            Out(bytes) => bytes.chunks(size).for_each(|part| ledger.sent(part)),
            Finish => ledger.finish(),
        }
    }
    ledger
}

/// Everything that can be asked.
#[derive(Debug, Eq, PartialEq)]
struct Seen {
    protocol: Option<u8>,
    requests: Requests,
    usage: Use,
    owed: Owed,
    end: End,
    cut_short: bool,
    head_begun: bool,
    tunnel: bool,
    goodbye: Option<Vec<u8>>,
}

fn seen(ledger: &mut Ledger) -> Seen {
    Seen {
        protocol: match ledger {
            Ledger::Undecided { .. } => None,
            Ledger::Http1(_) => Some(1),
            Ledger::Http2(_) => Some(2),
        },
        requests: ledger.requests(),
        usage: ledger.usage(|| MOVED),
        owed: ledger.owed(),
        end: ledger.end(),
        cut_short: ledger.is_cut_short() || ledger.was_cut() || ledger.resets().failed > 0,
        head_begun: ledger.head_begun(),
        tunnel: ledger.is_tunnel(),
        goodbye: ledger.goodbye(false),
    }
}

/// What is seen after the steps, which must not depend on how they are split.
fn after(http2: bool, steps: &[Step<'_>]) -> Seen {
    let whole = seen(&mut split(http2, steps, usize::MAX));
    for size in [1, 2, 23, 24, 25] {
        let parts = seen(&mut split(http2, steps, size));
        assert_eq!(parts, whole, "{steps:?} in slices of {size}");
    }
    whole
}

const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nabc";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no";
const UNTIL_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nok";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
const REFUSAL: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 2\r\n\r\nn";

fn frame(kind: u8, flags: u8, id: u8, payload: &[u8]) -> Vec<u8> {
    let head = [0, 0, payload.len() as u8, kind, flags, 0, 0, 0, id];
    [&head[..], payload].concat()
}

fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[])
}

/// HEADERS with END_HEADERS.
fn headers(id: u8) -> Vec<u8> {
    frame(1, 4, id, b"block")
}

/// HEADERS that end their direction, too.
fn whole(id: u8) -> Vec<u8> {
    frame(1, 5, id, b"block")
}

/// GOAWAY from the server.
fn away(last: u32) -> Vec<u8> {
    frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

/// A client's first bytes.
fn hello() -> Vec<u8> {
    [PREFACE, &settings()[..]].concat()
}

#[test]
fn which_protocol_it_is() {
    let settings = &settings()[..];
    let preface = &PREFACE[..];
    for (name, steps, protocol, head_begun) in [
        ("nothing is known", vec![], None, false),
        ("nor by nothing", vec![In(b""), Out(b"")], None, false),
        ("a letter is not enough", vec![In(b"P")], None, true),
        ("nor are most", vec![In(&preface[..23])], None, true),
        ("the preface is", vec![In(preface)], Some(2), false),
        (
            "frames behind it",
            vec![In(preface), In(settings)],
            Some(2),
            false,
        ),
        (
            "a part of one, which can be refused",
            vec![In(preface), In(&settings[..5])],
            Some(2),
            false,
        ),
        ("a request", vec![In(b"GET /")], Some(1), true),
        (
            "a request that begins like it",
            vec![In(b"POST /")],
            Some(1),
            true,
        ),
        (
            "all but the last letter",
            vec![In(&preface[..22]), In(b"\rX")],
            Some(1),
            true,
        ),
        ("an answer before all", vec![Out(OK)], Some(1), false),
        ("SETTINGS before all", vec![Out(settings)], Some(2), false),
        (
            "SETTINGS amid the preface",
            vec![In(&preface[..9]), Out(settings)],
            Some(2),
            false,
        ),
        (
            "a refusal amid it",
            vec![In(b"P"), Out(REFUSAL)],
            Some(1),
            true,
        ),
    ] {
        let seen = after(false, &steps);
        assert_eq!(
            (seen.protocol, seen.head_begun),
            (protocol, head_begun),
            "{name}"
        );
    }
    for (steps, protocol) in [
        (vec![], None),
        (vec![In(preface)], Some(2)),
        (vec![Out(settings)], Some(2)),
        (vec![In(b"GET /")], Some(1)),
    ] {
        assert_eq!(after(true, &steps).protocol, protocol, "whatever ALPN says");
    }
    let part = [In(&preface[..7])];
    assert!(after(false, &part).head_begun, "it may become a request");
    assert!(!after(true, &part).head_begun, "which can be refused");
}

/// What servers write by themselves shows nothing of a service.
#[test]
fn whether_a_service_has_answered() {
    const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n";
    let (hello, settings) = (&hello()[..], &settings()[..]);
    let (asks, answers, refuses) = (&whole(1)[..], &headers(1)[..], &whole(1)[..]);
    for (name, http2, steps, served) in [
        ("nothing", false, vec![], false),
        ("a request", false, vec![In(GET)], false),
        ("an answer", false, vec![In(GET), Out(OK)], true),
        ("half of one", false, vec![In(GET), Out(HALF)], true),
        ("a refusal", false, vec![In(GET), Out(REFUSAL)], false),
        ("to no request", false, vec![Out(OK)], false),
        ("an interim one", false, vec![In(POST), Out(INTERIM)], false),
        ("a tunnel", false, vec![In(GET), Out(SWITCH)], true),
        (
            "a refusal after an answer",
            false,
            vec![In(GET), Out(OK), In(GET), Out(REFUSAL)],
            true,
        ),
        (
            "HTTP/2: SETTINGS",
            true,
            vec![In(hello), In(asks), Out(settings)],
            false,
        ),
        (
            "HTTP/2: an answer",
            true,
            vec![In(hello), In(asks), Out(settings), Out(answers)],
            true,
        ),
        (
            "HTTP/2: a refusal",
            true,
            vec![In(hello), In(asks), Out(settings), Out(refuses)],
            false,
        ),
    ] {
        for size in [1, 9, usize::MAX] {
            assert_eq!(split(http2, &steps, size).is_served(), served, "{name}");
        }
    }
}

/// What came before the protocol was known is not forgotten.
#[test]
fn no_request_is_missed() {
    let (settings, request) = (settings(), whole(1));
    let rest = [&PREFACE[9..], &settings[..], &request].concat();
    let hello = [&hello()[..], &request].concat();
    let one = Requests {
        begun: 1,
        in_flight: 1,
    };
    for (name, http2, steps, requests) in [
        ("none", false, vec![], Requests::default()),
        ("GET", false, vec![In(GET)], one),
        ("POST", false, vec![In(POST)], one),
        ("HTTP/2", false, vec![In(&hello)], one),
        ("HTTP/2, says ALPN", true, vec![In(&hello)], one),
        (
            "HTTP/2, and the server spoke first",
            false,
            vec![In(&PREFACE[..9]), Out(&settings), In(&rest)],
            one,
        ),
    ] {
        assert_eq!(after(http2, &steps).requests, requests, "{name}");
    }
}

#[test]
#[rustfmt::skip] // a case a line
fn http1() {
    use End::*;
    use Use::*;
    let nothing = |requests| Use::Nothing { requests };
    let unknown = Use::Unknown { bytes: MOVED };
    let switch = |to: &str| format!("HTTP/1.1 101 Switching\r\nupgrade: {to}\r\n\r\n").into_bytes();
    let (websocket, other) = (switch("websocket"), switch("other"));
    let (broken, nonsense) = (&b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"[..], &b"What?"[..]);
    for (name, steps, usage, owed, end, cut_short) in [
        ("not a byte", vec![], nothing(0), Owed::Nothing, Shown, false),
        ("half a head", vec![In(b"GET /")], nothing(0), Owed::Nothing, Shown, false),
        ("a request", vec![In(GET)], Request, Owed::Answers, Shown, true),
        ("half an answer", vec![In(GET), Out(HALF)], Request, Owed::Answers, Shown, true),
        ("an answer", vec![In(GET), Out(OK)], nothing(1), Owed::Nothing, Shown, false),
        ("two, and one answered", vec![In(GET), In(GET), Out(OK)], Request, Owed::Answers, Shown, true),
        ("an upload", vec![In(POST)], Request, Owed::Nothing, Shown, true),
        ("half answered", vec![In(POST), Out(HALF)], Request, Owed::Doubtful, Shown, true),
        ("answered early", vec![In(POST), Out(OK)], Upload { bytes: 3 }, Owed::Nothing, Shown, false),
        ("and then complete", vec![In(POST), Out(OK), In(b"de")], nothing(1), Owed::Nothing, Shown, false),
        ("a request and an upload", vec![In(GET), In(POST)], Request, Owed::Answers, Shown, true),
        ("half a refusal of half a head", vec![In(b"GE"), Out(REFUSAL)], Request, Owed::Answers, Shown, true),
        ("all of it", vec![In(b"GE"), Out(REFUSAL), Out(b"o")], nothing(0), Owed::Nothing, Shown, false),
        ("ended by the close", vec![In(GET), Out(UNTIL_CLOSE)], Request, Owed::Answers, CloseDelimited, true),
        ("and closed", vec![In(GET), Out(UNTIL_CLOSE), Finish], nothing(1), Owed::Nothing, Shown, false),
        ("closed too soon", vec![In(GET), Out(HALF), Finish], Request, Owed::Answers, Shown, true),
        ("a websocket", vec![In(GET), Out(&websocket)], TUNNEL, Owed::Nothing, Shown, false),
        ("another tunnel", vec![In(GET), Out(&other)], TUNNEL, Owed::Nothing, CloseDelimited, false),
        ("and closed", vec![In(GET), Out(&other), Finish], TUNNEL, Owed::Nothing, Shown, false),
        ("a body without an end", vec![In(broken)], unknown, Owed::Doubtful, Shown, true),
        ("refused", vec![In(broken), Out(REFUSAL), Out(b"o")], nothing(1), Owed::Nothing, Shown, false),
        ("answered", vec![In(broken), Out(OK)], unknown, Owed::Doubtful, Shown, false),
        ("or half", vec![In(broken), Out(HALF)], unknown, Owed::Doubtful, Shown, true),
        ("to the close", vec![In(broken), Out(UNTIL_CLOSE)], unknown, Owed::Doubtful, CloseDelimited, true),
        ("asked behind the last answer", vec![In(GET), In(GET), In(GET), Out(LAST)], nothing(1), Owed::Nothing, Shown, false),
        ("no answer", vec![In(GET), Out(nonsense)], unknown, Owed::Doubtful, End::Unknown, true),
        ("nor to a request", vec![Out(b"H"), Out(nonsense)], unknown, Owed::Doubtful, End::Unknown, true),
    ] {
        let seen = after(false, &steps);
        assert_eq!((seen.usage, seen.owed), (usage, owed), "{name}");
        assert_eq!((seen.end, seen.cut_short), (end, cut_short), "{name}");
        assert_eq!((seen.tunnel, seen.goodbye), (usage == TUNNEL, None), "{name}");
    }
}

#[test]
#[rustfmt::skip] // a case a line
fn http2() {
    use Use::*;
    let nothing = |requests| Use::Nothing { requests };
    let (hello, settings) = (&hello()[..], &settings()[..]);
    let (get, get_3, post) = (&whole(1)[..], &whole(3)[..], &headers(1)[..]);
    let (answer, answers) = (&whole(1)[..], &headers(1)[..]);
    let (data, rest) = (&frame(0, 0, 1, b"abc")[..], &frame(0, 1, 1, b"de")[..]);
    let small = &frame(4, 0, 0, &[0, 4, 0, 0, 0, 3])[..];
    let cancel = &frame(3, 0, 1, &[0, 0, 0, 8])[..];
    let refuse = &frame(3, 0, 1, &[0, 0, 0, 7])[..];
    let broken = &frame(0, 0, 0, b"")[..];
    for (name, steps, usage, owed, cut_short) in [
        ("no request", vec![], nothing(0), Owed::Nothing, false),
        ("a request", vec![In(get)], Request, Owed::Answers, true),
        ("half answered", vec![In(get), Out(answers)], Request, Owed::Answers, true),
        ("answered", vec![In(get), Out(answer)], nothing(1), Owed::Nothing, false),
        ("two, and one answered", vec![In(get), In(get_3), Out(answer)], Request, Owed::Answers, true),
        ("an upload", vec![In(post), In(data)], Request, Owed::Doubtful, true),
        ("a request beside it", vec![In(post), In(data), In(get_3)], Request, Owed::Answers, true),
        ("complete", vec![In(post), In(data), In(rest)], Request, Owed::Answers, true),
        ("answered early", vec![In(post), In(data), Out(answer)], Upload { bytes: 3 }, Owed::Nothing, false),
        ("no window is open", vec![Out(small), In(post), In(data), Out(answer)], Request, Owed::Nothing, false),
        ("and then complete", vec![In(post), In(data), Out(answer), In(rest)], nothing(1), Owed::Nothing, false),
        ("broken off by the client", vec![In(get), In(cancel)], nothing(1), Owed::Nothing, false),
        ("by the server", vec![In(get), Out(cancel)], nothing(1), Owed::Nothing, true),
        ("refused", vec![In(get), Out(refuse)], nothing(1), Owed::Nothing, false),
        ("a frame that can't be", vec![In(get), In(broken)], Unknown { bytes: MOVED }, Owed::Doubtful, true),
        ("it can't be after an answer", vec![In(get), Out(answer), In(broken)], Unknown { bytes: MOVED }, Owed::Doubtful, false),
    ] {
        let steps = [&[In(hello), Out(settings)], &steps[..], &[Finish]].concat();
        for http2 in [false, true] {
            let seen = after(http2, &steps);
            assert_eq!((seen.usage, seen.owed, seen.cut_short), (usage, owed, cut_short), "{name}");
            // Frames show truncation by themselves.
            assert_eq!((seen.end, seen.tunnel), (End::Shown, false), "{name}");
        }
    }
}

#[test]
#[rustfmt::skip] // a case a line
fn goodbyes() {
    let (hello, settings) = (&hello()[..], &settings()[..]);
    let (get, get_3, answer) = (&whole(1)[..], &whole(3)[..], &whole(1)[..]);
    let all = &away(u32::MAX >> 1)[..];
    let (first, third) = (&away(1)[..], &away(3)[..]);
    let broken = &frame(0, 0, 0, b"")[..];
    for (name, steps, last) in [
        ("it has", vec![In(hello), Out(settings)], Some(0)),
        ("before the client has", vec![Out(settings)], Some(0)),
        ("the last stream", vec![In(hello), Out(settings), In(get), In(get_3)], Some(3)),
        ("answered or not", vec![In(hello), Out(settings), In(get), Out(answer)], Some(1)),
        ("amid a frame", vec![In(hello), Out(settings), In(get), Out(&answer[..10])], None),
        ("said", vec![In(hello), Out(settings), In(get), Out(first)], None),
        ("a higher one was", vec![In(hello), Out(settings), In(get), Out(third)], Some(1)),
        ("the first of two was", vec![In(hello), Out(settings), Out(all)], Some(0)),
        ("a lower one was", vec![In(hello), Out(settings), In(get), In(get_3), Out(first)], None),
        ("not followed", vec![In(hello), Out(settings), In(broken)], None),
    ] {
        let expected = last.map(|last: u32| http2::goaway(NO_ERROR, last).to_vec());
        assert_eq!(after(true, &steps).goodbye, expected, "{name}");
    }
    // A server that has not said hello does so first, and has not looked at anything.
    for (http2, steps) in [
        (true, vec![]),
        (true, vec![In(&hello[..9])]),
        (true, vec![In(hello)]),
        (true, vec![In(hello), In(get)]),
        (false, vec![In(hello), In(get)]),
    ] {
        let silent = after(http2, &steps).goodbye;
        assert_eq!(silent, Some([settings, &away(0)].concat()), "{steps:?}");
    }
    assert_eq!(after(false, &[In(&hello[..9])]).goodbye, None);
    assert_eq!(after(true, &[In(GET)]).goodbye, None);
    assert_eq!(after(true, &[In(hello), In(broken)]).goodbye, None);
    assert_eq!(after(true, &[In(hello), Out(&settings[..5])]).goodbye, None);
}

#[test]
fn held_streams() {
    let timeout = Duration::from_secs(8);
    let begun = Instant::now();
    let none = Progress::default();
    let shut = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let request = [PREFACE, &shut[..], &whole(1)].concat();
    let (settings, answer) = (settings(), headers(1));
    let steps = [In(&request), Out(&settings), Out(&answer)];

    let mut ledger = split(false, &steps[..2], usize::MAX);
    assert!(ledger.has_held());
    ledger = split(false, &steps, usize::MAX);
    assert!(ledger.has_held());
    for (seconds, streams) in [(0, vec![]), (1, vec![]), (9, vec![1])] {
        let now = begun + Duration::from_secs(seconds);
        assert_eq!(
            ledger.stalled(now, timeout, Rate(0), &none).streams,
            streams
        );
    }
    ledger.http2().unwrap().break_off(1, Cause::Stalled);
    assert!(!ledger.has_held() && ledger.was_cut());

    for steps in [vec![], vec![In(GET)]] {
        let mut ledger = split(false, &steps, usize::MAX);
        assert!(ledger.http2().is_none() && !ledger.has_held());
        assert_eq!(
            ledger.stalled(begun, timeout, Rate(0), &none),
            Stalled::default()
        );
    }
    let mut ledger = split(
        false,
        &[In(&hello()), Out(&settings), In(&whole(1))],
        usize::MAX,
    );
    assert!(!ledger.has_held(), "its window is open");
    assert_eq!(
        ledger.stalled(begun, timeout, Rate(0), &none),
        Stalled::default()
    );
}

/// What of all that is sent is answers: in HTTP/1 all, in HTTP/2 DATA, as long as it can be followed.
#[test]
fn answers_and_what_is_not() {
    let data = frame(0, 0, 1, b"12345");
    let ping = frame(6, 0, 0, b"12345678");
    let broken = frame(0, 0, 0, b"");
    assert!(
        Ledger::new(true, true).has_control_frames()
            && !Ledger::new(false, true).has_control_frames()
    );
    let sent = |http2, steps: &[Step<'_>]| {
        let ledger = split(http2, steps, 3);
        (ledger.has_control_frames(), ledger.sent_body())
    };
    let (hello, settings, get) = (hello(), settings(), whole(1));
    assert_eq!(sent(false, &[In(GET), Out(HALF)]), (false, None));
    let greeted = [In(&hello), Out(&settings), In(&get)];
    assert_eq!(sent(true, &greeted), (true, Some(0)));
    assert_eq!(
        sent(
            true,
            &[&greeted[..], &[Out(&ping), Out(&data), Out(&data)]].concat()
        ),
        (true, Some(10))
    );
    assert_eq!(sent(true, &[In(&hello), In(&broken)]), (false, None));
}

/// What is asked of the server's and the stream's own PINGs, and of its SETTINGS; nothing in HTTP/1.
#[test]
fn control_frames_that_matter() {
    let (ask, own) = (frame(6, 0, 0, b"12345678"), ping(HEARD));
    let heard = frame(4, 1, 0, &[]);
    let (hello, settings) = (hello(), settings());
    let greeted = [In(&hello), Out(&settings)];
    let asked = |http2, more: &[Step<'_>]| {
        let mut ledger = split(http2, &[&greeted[..], more].concat(), 5);
        (
            ledger.asks_for_life(),
            ledger.awaits_pong(),
            ledger.settings_heard(),
        )
    };
    assert_eq!(asked(true, &[]), (None, false, false));
    assert_eq!(
        asked(true, &[Out(&ask)]),
        (Some(*b"12345678"), false, false)
    );
    assert_eq!(asked(true, &[Out(&own)]), (None, true, false));
    assert_eq!(asked(true, &[In(&heard)]), (None, false, true));
    let mut http1 = split(false, &[In(GET), Out(OK)], 5);
    assert_eq!(http1.asks_for_life(), None);
    assert!(!http1.awaits_pong() && !http1.settings_heard());
}

#[test]
fn what_is_coming_in() {
    use Stage::*;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let post = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nbody";
    let chunk = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9;ext\r\nbody";
    let padded = format!(
        "POST / HTTP/1.1\r\nContent-Length:{}9\r\n\r\nbody",
        "x".repeat(60)
    );
    let padded = padded.as_bytes();
    let hello = hello();
    for (name, http2, steps, coming, refusal) in [
        ("nothing", false, vec![], None, false),
        ("a letter", false, vec![In(b"P")], Some((Head, 0, 1)), true),
        (
            "half a head",
            false,
            vec![In(b"GET / HT")],
            Some((Head, 0, 8)),
            true,
        ),
        ("a request", false, vec![In(GET)], None, false),
        (
            "and half another",
            false,
            vec![In(GET), In(b"GET")],
            None,
            false,
        ),
        (
            "which is next",
            false,
            vec![In(GET), In(b"GET"), Out(answer)],
            Some((Head, 1, 3)),
            true,
        ),
        (
            "behind the last",
            false,
            vec![In(GET), Out(last), In(b"GET")],
            Some((Head, 1, 3)),
            false,
        ),
        ("a body", false, vec![In(post)], Some((Body, 1, 4)), true),
        (
            "whose length is too long",
            false,
            vec![In(padded)],
            Some((Body, 1, 4)),
            false,
        ),
        (
            "it is answered already",
            false,
            vec![In(post), Out(answer)],
            Some((Body, 1, 4)),
            false,
        ),
        (
            "its answer has begun",
            false,
            vec![In(post), Out(&answer[..39])],
            Some((Body, 1, 4)),
            false,
        ),
        (
            "behind a request",
            false,
            vec![In(GET), In(post)],
            None,
            false,
        ),
        (
            "in chunks",
            false,
            vec![In(chunk)],
            Some((Body, 1, 4)),
            true,
        ),
        (
            "half a preface",
            true,
            vec![In(&hello[..9])],
            Some((Head, 0, 9)),
            false,
        ),
    ] {
        let ledger = split(http2, &steps, usize::MAX);
        let seen = ledger.coming().map(|it| (it.stage, it.request, it.bytes));
        assert_eq!(seen, coming, "{name}");
        assert_eq!(ledger.refusal().is_some(), refusal, "{name}");
    }
}
