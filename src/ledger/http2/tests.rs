//! Every rule as a table, any split, any bytes, and a model to compare with.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::frame::Side::{Client, Server};
use super::frame::{DATA, END_HEADERS, PREFACE, PUSH_PROMISE};
use super::*;

const BOTH: u8 = END_STREAM | END_HEADERS;
const CONTINUATION: u8 = 9;
const WHOLE: u32 = 65_535;

/// One frame on the wire.
#[derive(Clone, Debug)]
struct Frame {
    side: Side,
    kind: u8,
    flags: u8,
    id: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = (self.payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    fn word(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn frame(side: Side, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Frame {
    let payload = payload.to_vec();
    Frame {
        side,
        kind,
        flags,
        id,
        payload,
    }
}

fn headers(side: Side, flags: u8, id: u32) -> Frame {
    frame(side, HEADERS, flags, id, b"block")
}

fn continuation(side: Side, flags: u8, id: u32) -> Frame {
    frame(side, CONTINUATION, flags, id, b"more")
}

fn data(side: Side, flags: u8, id: u32, len: u32) -> Frame {
    frame(side, DATA, flags, id, &vec![7; len as usize])
}

fn rst(side: Side, id: u32, code: u32) -> Frame {
    frame(side, RST_STREAM, 0, id, &code.to_be_bytes())
}

fn update(id: u32, n: u32) -> Frame {
    frame(Client, WINDOW_UPDATE, 0, id, &n.to_be_bytes())
}

fn setting(key: u16, value: u32) -> Vec<u8> {
    [&key.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

fn initial(value: u32) -> Frame {
    let settings = [setting(1, 9), setting(4, value), setting(3, 8)].concat();
    frame(Client, SETTINGS, 0, 0, &settings)
}

fn away(last: u32) -> Frame {
    let payload = [last.to_be_bytes(), [0; 4], *b"late"].concat();
    frame(Server, GOAWAY, 0, 0, &payload)
}

fn tell(http2: &mut Http2, side: Side, bytes: &[u8]) {
    match side {
        Client => drop(http2.received(bytes)),
        Server => http2.sent(bytes),
    }
}

fn say(http2: &mut Http2, frame: &Frame) {
    tell(http2, frame.side, &frame.bytes());
}

/// A connection on which both have said hello.
fn greeted() -> Http2 {
    let mut http2 = Http2::new();
    http2.received(PREFACE);
    for side in [Client, Server] {
        say(&mut http2, &frame(side, SETTINGS, 0, 0, &[]));
    }
    http2
}

fn after(frames: &[Frame]) -> Http2 {
    let mut http2 = greeted();
    frames.iter().for_each(|frame| say(&mut http2, frame));
    http2
}

/// Begun, in flight, uploads, complete, held.
fn counts(http2: &Http2) -> [u32; 5] {
    [
        http2.begun(),
        http2.in_flight(),
        http2.uploads(),
        http2.complete(),
        http2.held(),
    ]
}

/// Everything that can be asked, and every window.
#[derive(Debug, Eq, PartialEq)]
struct Seen {
    counts: [u32; 5],
    followed: bool,
    cut: bool,
    last_stream: u32,
    goaway: Option<u32>,
    received_body: u64,
    may: [bool; 2],
    windows: Vec<(u32, i64)>,
    window: i64,
}

fn seen(http2: &Http2) -> Seen {
    let window = |s: &Stream| (s.id, http2.initial + s.granted - s.sent);
    Seen {
        counts: counts(http2),
        followed: http2.is_followed(),
        cut: is_cut(http2),
        last_stream: http2.last_stream(),
        goaway: http2.goaway_said(),
        received_body: http2.received_body(),
        may: [http2.may_speak(), http2.may_inject()],
        windows: http2.streams.iter().map(window).collect(),
        window: http2.window,
    }
}

#[test]
#[rustfmt::skip] // a rule a line
fn what_is_counted() {
    let ask = || headers(Client, END_HEADERS, 1);
    let get = |id| headers(Client, BOTH, id);
    let answer = |id| headers(Server, END_HEADERS, id);
    let done = |id| headers(Server, BOTH, id);
    for (what, frames, want) in [
        ("nothing", vec![], [0; 5]),
        ("a request", vec![get(1)], [1, 1, 0, 1, 0]),
        ("one with a body", vec![ask()], [1, 1, 1, 0, 0]),
        ("its last DATA", vec![ask(), data(Client, END_STREAM, 1, 3)], [1, 1, 0, 1, 0]),
        ("its DATA, empty and last", vec![ask(), data(Client, END_STREAM, 1, 0)], [1, 1, 0, 1, 0]),
        ("DATA that is not", vec![ask(), data(Client, 0, 1, 3)], [1, 1, 1, 0, 0]),
        ("its trailers", vec![ask(), get(1)], [1, 1, 0, 1, 0]),
        ("trailers that are not", vec![ask(), ask()], [1, 1, 1, 0, 0]),
        ("trailers after the end", vec![get(1), get(1)], [1, 1, 0, 1, 0]),
        ("several", vec![get(1), get(5), get(9)], [3, 3, 0, 3, 0]),
        ("an id below", vec![get(5), get(3)], [1, 1, 0, 1, 0]),
        ("a closed one's id", vec![get(1), done(1), get(1)], [1, 0, 0, 0, 0]),
        ("half a block", vec![headers(Client, END_STREAM, 1)], [0; 5]),
        ("a block in three",
            vec![headers(Client, END_STREAM, 1), continuation(Client, 0, 1), continuation(Client, END_HEADERS, 1)], [1, 1, 0, 1, 0]),
        ("END_STREAM is no flag of CONTINUATION",
            vec![headers(Client, 0, 1), continuation(Client, BOTH, 1)], [1, 1, 1, 0, 0]),
        ("an answer begins", vec![get(1), answer(1)], [1, 1, 0, 1, 0]),
        ("half its block is enough", vec![get(1), headers(Server, 0, 1)], [1, 1, 0, 1, 0]),
        ("half its only block is not the end", vec![get(1), headers(Server, END_STREAM, 1)], [1, 1, 0, 1, 0]),
        ("the other half is",
            vec![get(1), headers(Server, END_STREAM, 1), continuation(Server, END_HEADERS, 1)], [1, 0, 0, 0, 0]),
        ("an answer in one", vec![get(1), done(1)], [1, 0, 0, 0, 0]),
        ("an answer's DATA", vec![get(1), answer(1), data(Server, 0, 1, 9)], [1, 1, 0, 1, 0]),
        ("an answer's last", vec![get(1), answer(1), data(Server, END_STREAM, 1, 9)], [1, 0, 0, 0, 0]),
        ("an answer's trailers", vec![get(1), answer(1), done(1)], [1, 0, 0, 0, 0]),
        ("the answer is first", vec![ask(), done(1)], [1, 0, 1, 0, 0]),
        ("then the upload", vec![ask(), done(1), data(Client, END_STREAM, 1, 0)], [1, 0, 0, 0, 0]),
        ("the client resets", vec![ask(), rst(Client, 1, 8)], [1, 0, 0, 0, 0]),
        ("the server resets", vec![ask(), answer(1), rst(Server, 1, 0)], [1, 0, 0, 0, 0]),
        ("after the answer", vec![ask(), done(1), rst(Server, 1, 0)], [1, 0, 0, 0, 0]),
        ("of another stream", vec![get(3), rst(Client, 1, 8), rst(Server, 5, 8)], [1, 1, 0, 1, 0]),
        ("an answer to none", vec![get(3), done(1), done(5)], [1, 1, 0, 1, 0]),
        ("a promise", vec![get(1), frame(Server, PUSH_PROMISE, BOTH, 1, &[0; 9])], [1, 1, 0, 1, 0]),
        ("what is promised", vec![get(1), answer(2), done(2)], [1, 1, 0, 1, 0]),
        ("above GOAWAY", vec![away(1), get(1), get(3)], [1, 1, 0, 1, 0]),
        ("above GOAWAY, then below", vec![away(5), get(7), get(5)], [1, 1, 0, 1, 0]),
        ("before GOAWAY and above", vec![get(1), get(3), get(5), away(3)], [2, 2, 0, 2, 0]),
        ("answered above", vec![get(1), get(3), done(3), away(1)], [2, 1, 0, 1, 0]),
        ("a client's GOAWAY", vec![get(1), Frame { side: Client, ..away(0) }, get(3)], [2, 2, 0, 2, 0]),
        ("others",
            vec![get(1), frame(Client, 2, 1, 1, &[0; 5]), frame(Server, 77, 1, 1, &[1])], [1, 1, 0, 1, 0]),
    ] {
        let http2 = after(&frames);
        assert_eq!(counts(&http2), want, "{what}");
        assert!(http2.is_followed(), "{what}");
    }
}

#[test]
#[rustfmt::skip] // a rule a line
fn what_is_held() {
    let get = |id| headers(Client, BOTH, id);
    let send = |id, n| data(Server, 0, id, n);
    for (what, frames, want) in [
        ("a byte is left", vec![get(1), send(1, WHOLE - 1)], 0),
        ("none is left", vec![get(1), send(1, WHOLE)], 1),
        ("nor for DATA that is empty", vec![update(0, 1), get(1), send(1, WHOLE), send(1, 0)], 1),
        ("of the connection's", vec![get(1), get(3), send(1, WHOLE)], 2),
        ("of its own", vec![update(0, 1), get(1), get(3), send(1, WHOLE)], 1),
        ("of the connection's alone", vec![update(1, 9), get(1), update(1, 9), send(1, WHOLE)], 1),
        ("both are updated", vec![get(1), send(1, WHOLE), update(0, 1), update(1, 1)], 0),
        ("reserved bits are not", vec![get(1), send(1, WHOLE), update(0, 1), update(1, 1 << 31)], 1),
        ("the stream is not", vec![get(1), send(1, WHOLE), update(0, 1)], 1),
        ("the connection is not", vec![get(1), send(1, WHOLE), update(1, 1)], 1),
        ("another is", vec![get(1), get(3), send(1, WHOLE), update(0, 1), update(3, 1)], 1),
        ("padding counts", vec![update(0, 1), get(1), data(Server, 8, 1, WHOLE)], 1),
        ("the answer is out", vec![get(1), data(Server, END_STREAM, 1, WHOLE)], 0),
        ("an upload is left", vec![headers(Client, END_HEADERS, 1), data(Server, END_STREAM, 1, WHOLE)], 0),
        ("no window at first", vec![initial(0), get(1)], 1),
        ("none any more", vec![get(1), initial(0)], 1),
        ("some again", vec![initial(0), get(1), initial(1)], 0),
        ("below nothing", vec![update(0, 9), get(1), send(1, 3), initial(2)], 1),
        ("up to nothing", vec![update(0, 9), get(1), send(1, 3), initial(2), update(1, 1)], 1),
        ("above it", vec![update(0, 9), get(1), send(1, 3), initial(2), update(1, 2)], 0),
        ("SETTINGS spare the connection", vec![initial(0), initial(WHOLE * 2), get(1), send(1, WHOLE)], 1),
        ("DATA on no stream", vec![get(1), send(2, WHOLE), get(3)], 2),
        ("DATA on a closed one", vec![get(1), rst(Client, 1, 8), get(3), send(1, WHOLE)], 1),
        ("the client's DATA", vec![headers(Client, END_HEADERS, 1), data(Client, 0, 1, WHOLE)], 0),
        ("the server's own", vec![get(1), Frame { side: Server, ..initial(0) }], 0),
        ("the server's update",
            vec![get(1), send(1, WHOLE), Frame { side: Server, ..update(0, 9) }, Frame {side: Server, ..update(1, 9) }], 1),
    ] {
        let http2 = after(&frames);
        assert_eq!(http2.held(), want, "{what}");
        assert!(http2.is_followed(), "{what}");
    }
}

#[test]
fn the_last_initial_window_of_a_frame_counts_once_it_is_whole() {
    let two = [setting(4, 0), setting(4, 1)].concat();
    let bytes = frame(Client, SETTINGS, 0, 0, &two).bytes();
    let mut http2 = after(&[initial(0), headers(Client, BOTH, 1)]);
    http2.received(&bytes[..20]);
    assert_eq!(http2.held(), 1);
    http2.received(&bytes[20..]);
    assert_eq!(http2.held(), 0);
    http2.received(&initial(MAX_31_BITS).bytes());
    assert!(http2.is_followed());
    http2.received(&initial(MAX_31_BITS + 1).bytes());
    assert!(!http2.is_followed());
}

#[test]
fn windows_do_not_overflow() {
    let mut http2 = after(&[headers(Client, BOTH, 1)]);
    http2.window = i64::MAX;
    http2.streams[0].granted = i64::MAX;
    for id in [0, 1] {
        say(&mut http2, &update(id, MAX_31_BITS));
    }
    assert_eq!(http2.held(), 0);
}

#[test]
#[rustfmt::skip] // a rule a line
fn what_is_not_followed() {
    let get = || headers(Client, BOTH, 1);
    for (what, frames) in [
        ("even", vec![headers(Client, BOTH, 2)]),
        ("even, in two", vec![headers(Client, END_STREAM, 2)]),
        ("zero", vec![headers(Client, BOTH, 0)]),
        ("a promise of the client's", vec![frame(Client, PUSH_PROMISE, BOTH, 1, &[0; 9])]),
        ("CONTINUATION of nothing", vec![get(), continuation(Client, END_HEADERS, 1)]),
        ("of another", vec![headers(Client, 0, 1), continuation(Client, END_HEADERS, 3)]),
        ("DATA in a block", vec![headers(Client, 0, 1), data(Client, 0, 1, 1)]),
        ("in the server's", vec![get(), headers(Server, 0, 1), data(Server, 0, 1, 1)]),
        ("in a promise", vec![get(), frame(Server, PUSH_PROMISE, 0, 1, &[0; 9]), data(Server, 0, 1, 1)]),
        ("short SETTINGS", vec![frame(Client, SETTINGS, 0, 0, &[0; 5])]),
        ("short SETTINGS of the server's", vec![frame(Server, SETTINGS, 0, 0, &[0; 5])]),
        ("short RST_STREAM", vec![get(), frame(Server, RST_STREAM, 0, 1, &[0; 3])]),
    ] {
        assert!(!after(&frames).is_followed(), "{what}");
    }
    for first in [
        frame(Server, SETTINGS, ACK, 0, &[]),
        away(0),
        headers(Server, BOTH, 1),
    ] {
        let mut http2 = Http2::new();
        say(&mut http2, &first);
        assert!(!http2.is_followed(), "{first:?}");
    }
    let mut http2 = Http2::new();
    http2.received(b"GET / HTTP/1.1\r\n");
    assert!(!http2.is_followed());
}

#[test]
fn nothing_changes_once_it_is_not_followed() {
    let mut http2 = after(&[headers(Client, END_HEADERS, 1), initial(0)]);
    let (now, timeout) = (Instant::now(), Duration::from_secs(1));
    assert!(
        http2
            .stalled(now, timeout, Rate(0), &Progress::default())
            .next
            .is_some()
    );
    http2.sent(&continuation(Server, 0, 1).bytes());
    let before = seen(&http2);
    assert_eq!(before.counts, [1, 1, 1, 0, 1]);
    assert_eq!((before.followed, before.may), (false, [false; 2]));
    for frame in [
        headers(Client, BOTH, 3),
        data(Client, END_STREAM, 1, 5),
        headers(Server, BOTH, 1),
        away(0),
        rst(Server, 1, 8),
        update(1, 9),
    ] {
        say(&mut http2, &frame);
        assert_eq!(seen(&http2), before, "{frame:?}");
    }
    assert_eq!(
        http2.stalled(now + 2 * timeout, timeout, Rate(0), &Progress::default()),
        Stalled::default()
    );
}

#[test]
fn streams_that_are_over_need_no_room() {
    let mut http2 = greeted();
    let ids: Vec<u32> = (0..100).map(|n| 2 * n + 1).collect();
    ids.iter()
        .for_each(|id| say(&mut http2, &headers(Client, BOTH, *id)));
    ids[1..]
        .iter()
        .for_each(|id| say(&mut http2, &headers(Server, BOTH, *id)));
    let before = seen(&http2);
    http2.trim();
    assert_eq!((seen(&http2), http2.streams.capacity()), (before, 1));
    say(&mut http2, &headers(Server, BOTH, 1));
    http2.trim();
    assert_eq!((http2.open_streams(), http2.streams.capacity()), (0, 0));
}

#[test]
fn too_many_streams_are_not_followed() {
    let mut http2 = greeted();
    let most = MAX_STREAMS as u32;
    for n in 0..most {
        say(&mut http2, &headers(Client, BOTH, 2 * n + 1));
    }
    assert_eq!((http2.in_flight(), http2.is_followed()), (most, true));
    say(&mut http2, &headers(Server, BOTH, 1));
    say(&mut http2, &headers(Client, BOTH, 2 * most + 1));
    assert_eq!((http2.in_flight(), http2.is_followed()), (most, true));
    say(&mut http2, &headers(Client, BOTH, 2 * most + 3));
    assert_eq!((http2.in_flight(), http2.is_followed()), (most, false));
    assert_eq!(http2.begun(), most + 1);
}

#[test]
fn header_blocks_count_when_they_are_whole() {
    let mut http2 = greeted();
    for (side, frames, want) in [
        (Client, vec![headers(Client, BOTH, 1)], [1, 1]),
        (
            Client,
            vec![
                headers(Client, END_STREAM, 3),
                continuation(Client, END_HEADERS, 3),
            ],
            [2, 2],
        ),
        (Server, vec![headers(Server, BOTH, 1)], [2, 1]),
        (
            Server,
            vec![
                headers(Server, END_STREAM, 3),
                continuation(Server, END_HEADERS, 3),
            ],
            [2, 0],
        ),
    ] {
        let before = [http2.begun(), http2.in_flight()];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
        for byte in bytes {
            assert_eq!([http2.begun(), http2.in_flight()], before, "{frames:?}");
            tell(&mut http2, side, &[byte]);
        }
        assert_eq!([http2.begun(), http2.in_flight()], want, "{frames:?}");
    }
}

#[test]
fn bodies_count_as_they_come_and_ends_when_they_are_whole() {
    let mut http2 = after(&[headers(Client, END_HEADERS, 1)]);
    let body = data(Client, END_STREAM, 1, 10).bytes();
    http2.received(&body[..9]);
    assert_eq!((http2.received_body(), http2.uploads()), (0, 1));
    http2.received(&body[9..18]);
    assert_eq!((http2.received_body(), http2.uploads()), (9, 1));
    http2.received(&body[18..]);
    assert_eq!((http2.received_body(), http2.uploads()), (10, 0));
    http2.received(&body);
    assert_eq!(http2.received_body(), 10, "after the end");

    let body = data(Server, END_STREAM, 1, 10).bytes();
    http2.sent(&body[..18]);
    assert_eq!((http2.window, http2.in_flight()), (65_526, 1));
    http2.sent(&body[18..]);
    assert_eq!((http2.window, http2.in_flight()), (65_525, 0));
    http2.sent(&body);
    assert_eq!(http2.window, 65_515, "on a closed stream");
}

#[test]
fn where_a_frame_could_be_put() {
    let mut http2 = Http2::new();
    assert!(!http2.may_inject() && !http2.may_speak());
    http2.received(&PREFACE[..23]);
    assert!(!http2.may_inject());
    http2.received(&PREFACE[23..]);
    assert!(http2.may_inject());
    let settings = frame(Server, SETTINGS, 0, 0, &setting(4, 0)).bytes();
    http2.sent(&settings[..14]);
    assert!(!http2.may_speak());
    http2.sent(&settings[14..]);
    assert!(http2.may_speak());

    for (side, may) in [
        (Client, Http2::may_inject as fn(&Http2) -> bool),
        (Server, Http2::may_speak),
    ] {
        let block = [
            headers(side, 0, 1).bytes(),
            continuation(side, 0, 1).bytes(),
        ]
        .concat();
        let rest = [
            continuation(side, END_HEADERS, 1).bytes(),
            data(side, 0, 1, 3).bytes(),
        ]
        .concat();
        block.iter().for_each(|&byte| {
            tell(&mut http2, side, &[byte]);
            assert!(!may(&http2));
        });
        for (n, &byte) in (1..).zip(&rest) {
            tell(&mut http2, side, &[byte]);
            assert_eq!(may(&http2), n == 13 || n == 25, "{side:?} {n}");
        }
    }
}

/// In one piece and byte by byte, with more behind the code.
#[test]
fn errors_of_the_connection() {
    let goodbye = |code: u32| [&goaway(code, 9)[..], b"why"].concat();
    for (code, error) in [(NO_ERROR, None), (PROTOCOL_ERROR, Some(1)), (11, Some(11))] {
        let mut bytes = goodbye(code);
        bytes[2] += 3;
        for size in [bytes.len(), 1] {
            let mut http2 = greeted();
            bytes.chunks(size).for_each(|part| http2.sent(part));
            assert_eq!((http2.error(), http2.goaway_said()), (error, Some(9)));
        }
    }
    let mut broken = greeted();
    broken.received(&data(Client, 0, 0, 1).bytes());
    assert_eq!((broken.error(), broken.is_followed()), (Some(1), false));
}

#[test]
fn goaways() {
    let mut http2 = after(&[away(9)]);
    assert_eq!(http2.goaway_said(), Some(9));
    let bytes = away(5).bytes();
    http2.sent(&bytes[..bytes.len() - 1]);
    assert_eq!(http2.goaway_said(), Some(9));
    http2.sent(&bytes[bytes.len() - 1..]);
    assert_eq!(http2.goaway_said(), Some(5));
    say(&mut http2, &away(7));
    assert_eq!(http2.goaway_said(), Some(5));
    http2.sent(&goaway(NO_ERROR, 3));
    assert_eq!(
        (http2.goaway_said(), greeted().goaway_said()),
        (Some(3), None)
    );
    let masked = after(&[away(1 << 31 | 1)]);
    assert_eq!(masked.goaway_said(), Some(1));
    let late = after(&[headers(Client, BOTH, 1), headers(Client, BOTH, 3), away(1)]);
    assert_eq!((late.last_stream(), late.was_cut()), (3, false));
    let ignored = after(&[headers(Client, BOTH, 1), away(1), headers(Client, BOTH, 3)]);
    assert_eq!(ignored.last_stream(), 1);
}

/// What a server says of itself or of an answer is a failure of its own; the others blame the client.
#[test]
fn who_has_failed() {
    let ask = headers(Client, END_HEADERS, 1);
    let resets = |code: &u32| after(&[ask.clone(), rst(Server, 1, *code)]).resets();
    let own: Vec<_> = (0..20).filter(|code| resets(code).failed == 1).collect();
    assert_eq!(own, [0, 2, 8, 10, 14, 15, 16, 17, 18, 19]);
    let others: Vec<_> = (0..20).filter(|code| resets(code).protocol == 1).collect();
    assert_eq!(others, [1, 3, 4, 5, 6, 9, 11, 12, 13]);
}

/// Of a client that has asked, and has sent nothing more, a server can only repeat what another has said.
#[test]
#[rustfmt::skip] // a case a line
fn who_can_have_failed() {
    let (get, ask) = (headers(Client, BOTH, 1), headers(Client, END_HEADERS, 1));
    let (answer, rest) = (headers(Server, END_HEADERS, 1), data(Client, END_STREAM, 1, 5));
    let (wide, none) = (update(1, 9), update(1, 0));
    for (what, frames, code, want) in [
        ("all in", vec![&get, &answer], 1, [1, 0]),
        ("it is refused by another", vec![&get, &answer], 7, [1, 0]),
        ("it is refused", vec![&get], 7, [0, 0]),
        ("before its answer", vec![&get], 1, [0, 1]),
        ("answered before it was all in", vec![&ask, &answer, &rest], 1, [0, 1]),
        ("all in after a while", vec![&ask, &rest, &answer], 1, [1, 0]),
        ("a window", vec![&get, &answer, &wide], 1, [1, 0]),
        ("a window opened too far", vec![&get, &answer, &wide], 3, [0, 1]),
        ("a window opened by nothing", vec![&get, &answer, &none], 1, [0, 1]),
        ("or by less", vec![&get, &answer, &update(1, 1 << 31)], 1, [0, 1]),
        ("more, before the answer", vec![&get, &rest, &answer], 5, [0, 1]),
        ("a weight", vec![&get, &answer, &frame(Client, PRIORITY, 0, 1, &[0; 5])], 1, [0, 1]),
        ("what nobody knows", vec![&get, &answer, &frame(Client, UNKNOWN_TYPE, 0, 1, &[0; 5])], 1, [1, 0]),
        ("more", vec![&get, &answer, &rest], 5, [0, 1]),
        ("more, behind an interim answer", vec![&get, &answer, &rest, &answer], 5, [0, 1]),
        ("another head", vec![&get, &answer, &get], 5, [0, 1]),
    ] {
        let mut frames: Vec<_> = frames.into_iter().cloned().collect();
        frames.push(rst(Server, 1, code));
        let resets = after(&frames).resets();
        assert_eq!([resets.failed, resets.protocol], want, "{what}");
    }
}

/// Through a tunnel that ends for its silence nothing went.
#[test]
fn what_a_client_has_cut_itself() {
    for (cause, cut) in [
        (Cause::Stalled, true),
        (Cause::BodyTimeout, true),
        (Cause::TunnelTimeout, false),
    ] {
        let mut http2 = after(&[headers(Client, END_HEADERS, 1)]);
        http2.break_off(1, cause);
        assert_eq!(http2.was_cut(), cut, "{cause}");
    }
}

/// What it answers still is in flight. Nothing else is, unless the server has seen no breach.
#[test]
#[rustfmt::skip] // a case a line
fn behind_a_breach_answers_are_followed() {
    let (ask, answer) = (headers(Client, BOTH, 1), headers(Server, BOTH, 1));
    let breach = frame(Client, SETTINGS, 0, 0, &setting(4, u32::MAX));
    let (gives_up, garbage) = (away(1), frame(Server, PING, 0, 1, &[0; 8]));
    for (what, frames, known, in_flight) in [
        ("behind an answer", vec![&ask, &answer, &breach], true, 0),
        ("amid an answer", vec![&ask, &breach], true, 1),
        ("it is answered", vec![&ask, &breach, &answer, &gives_up], true, 0),
        ("the server can't be read", vec![&ask, &answer, &garbage], false, 0),
        ("nor behind it", vec![&ask, &answer, &breach, &garbage], false, 0),
        ("another is answered", vec![&ask, &answer, &breach, &headers(Server, END_HEADERS, 3)], false, 0),
        ("and goes on", vec![&ask, &answer, &breach, &data(Server, 0, 3, 5)], false, 0),
    ] {
        let frames: Vec<_> = frames.into_iter().cloned().collect();
        let http2 = after(&frames);
        assert_eq!((http2.answers_are_followed(), http2.in_flight()), (known, in_flight), "{what}");
    }
}

/// Those whose answers are out lose nothing by it but the rest of what they send.
#[test]
fn what_is_broken_off_is_counted_by_why() {
    let ask = |id| headers(Client, END_HEADERS, id);
    let mut http2 = after(&[ask(1), ask(3), ask(5), ask(7), headers(Server, BOTH, 7)]);
    for (id, cause) in [
        (1, Cause::Stalled),
        (1, Cause::Stalled),
        (3, Cause::BodyTimeout),
        (5, Cause::TunnelTimeout),
        (7, Cause::BodyTimeout),
        (9, Cause::Stalled),
    ] {
        http2.break_off(id, cause);
    }
    let each = Resets {
        failed: 0,
        stalled: 1,
        body: 1,
        tunnel: 1,
        protocol: 0,
    };
    assert_eq!((http2.resets(), http2.was_cut()), (each, true));
}

/// Whoever it was.
fn is_cut(http2: &Http2) -> bool {
    http2.was_cut() || http2.resets().failed > 0
}

#[test]
#[rustfmt::skip] // a rule a line
fn what_is_a_cut() {
    let ask = || headers(Client, END_HEADERS, 1);
    for (what, frames, want) in [
        ("NO_ERROR", vec![ask(), headers(Server, END_HEADERS, 1), rst(Server, 1, 0)], true),
        ("NO_ERROR after the answer", vec![ask(), headers(Server, BOTH, 1), rst(Server, 1, 0)], false),
        ("REFUSED_STREAM", vec![ask(), rst(Server, 1, 7)], false),
        ("PROTOCOL_ERROR", vec![ask(), rst(Server, 1, 1)], true),
        ("CANCEL", vec![ask(), headers(Server, END_HEADERS, 1), rst(Server, 1, 8)], true),
        ("after the answer", vec![ask(), headers(Server, BOTH, 1), rst(Server, 1, 8)], false),
        ("after the client did", vec![ask(), rst(Client, 1, 8), rst(Server, 1, 8)], false),
        ("the client did", vec![ask(), rst(Client, 1, 8)], false),
        ("no stream", vec![ask(), rst(Server, 3, 8)], false),
    ] {
        assert_eq!(is_cut(&after(&frames)), want, "{what}");
    }
    for (what, frames, id, want) in [
        ("reset", vec![ask()], 1, true),
        ("after the answer", vec![ask(), headers(Server, BOTH, 1)], 1, false),
        ("no stream", vec![ask()], 3, false),
        ("zero", vec![ask()], 0, false),
    ] {
        let mut http2 = after(&frames);
        http2.reset(id, 8);
        assert_eq!(is_cut(&http2), want, "{what}");
        if id > 0 {
            http2.sent(&rst_stream(id, 8));
            http2.received(&rst_stream(id, 8));
        }
        let open = u32::from(id != 1);
        assert_eq!(counts(&http2), [1, open, open, 0, 0], "{what}");
    }
}

#[test]
#[rustfmt::skip] // a rule a line
fn stalls() {
    let (start, timeout) = (Instant::now(), Duration::from_secs(10));
    let at = |s| start + Duration::from_secs(s);
    let mut http2 = after(&[update(0, WHOLE), initial(5)]);
    for id in [1, 3, 5] {
        say(&mut http2, &headers(Client, BOTH, id));
        say(&mut http2, &headers(Server, END_HEADERS, id));
    }
    for (s, frames, streams, next) in [
        (0, vec![], vec![], None),
        (1, vec![data(Server, 0, 1, 5)], vec![], Some(11)),
        (4, vec![data(Server, 0, 3, 5)], vec![], Some(11)),
        (10, vec![], vec![], Some(11)),
        (11, vec![], vec![1], Some(14)),
        // An update without DATA is no progress as long as nobody looks.
        (12, vec![update(3, 1), initial(4)], vec![1], Some(14)),
        // One that is no longer held forgets.
        (13, vec![update(1, 2)], vec![], Some(14)),
        (14, vec![initial(0)], vec![3], Some(24)),
        // DATA is progress, and so is the end.
        (15, vec![data(Server, 0, 3, 1), data(Server, BOTH, 5, 0)], vec![], Some(24)),
        (25, vec![], vec![1, 3], None),
        (26, vec![rst(Client, 3, 8), update(1, 4)], vec![], None),
    ] {
        frames.iter().for_each(|frame| say(&mut http2, frame));
        let want = Stalled {
            tunnels: vec![],
            streams,
            outlived: false,
            next: next.map(at),
        };
        assert_eq!(http2.stalled(at(s), timeout, Rate(0), &Progress::default()), want, "{s}");
    }
}

/// An answer that is made slowly beside one that takes all of the connection's window, as often as the
/// client opens it.
#[test]
fn a_connection_s_window_that_moves_stalls_nobody() {
    let (start, timeout) = (Instant::now(), Duration::from_secs(10));
    let mut http2 = after(&[
        initial(2 * WHOLE),
        headers(Client, BOTH, 1),
        headers(Client, BOTH, 3),
        headers(Server, END_HEADERS, 1),
        headers(Server, END_HEADERS, 3),
        data(Server, 0, 3, WHOLE),
    ]);
    let mut stalled = |seconds| {
        let now = start + Duration::from_secs(seconds);
        let stalled = http2
            .stalled(now, timeout, Rate(0), &Progress::default())
            .streams;
        say(&mut http2, &update(0, 5));
        say(&mut http2, &data(Server, 0, 3, 5));
        stalled
    };
    for seconds in (0..50).step_by(5) {
        assert_eq!(stalled(seconds), [0; 0], "{seconds}");
    }
    stalled(50);
    // From now on nothing moves.
    let mut stalled = |seconds| {
        let now = start + Duration::from_secs(seconds);
        http2
            .stalled(now, timeout, Rate(0), &Progress::default())
            .streams
    };
    assert_eq!(stalled(51), [0; 0]);
    assert_eq!(stalled(61), [1, 3]);
}

#[test]
fn the_connection_s_window_stalls_all() {
    let (now, timeout) = (Instant::now(), Duration::from_secs(1));
    let mut http2 = after(&[
        headers(Client, END_HEADERS, 1),
        headers(Client, BOTH, 3),
        headers(Client, BOTH, 5),
        headers(Server, BOTH, 1),
        headers(Server, END_HEADERS, 3),
        headers(Server, END_HEADERS, 5),
        data(Server, 0, 7, WHOLE),
    ]);
    let none = Stalled {
        tunnels: vec![],
        streams: vec![],
        outlived: false,
        next: Some(now + timeout),
    };
    assert_eq!(
        http2.stalled(now, timeout, Rate(0), &Progress::default()),
        none
    );
    assert_eq!(
        http2
            .stalled(now + timeout, timeout, Rate(0), &Progress::default())
            .streams,
        [3, 5]
    );
    assert_eq!(
        http2.stalled(now + timeout, Duration::MAX, Rate(0), &Progress::default()),
        Stalled::default()
    );
    assert_eq!(
        http2
            .stalled(now, Duration::ZERO, Rate(0), &Progress::default())
            .streams,
        [3, 5]
    );
    say(&mut http2, &update(0, 1));
    assert_eq!(
        http2.stalled(now + timeout, Duration::ZERO, Rate(0), &Progress::default()),
        Stalled::default()
    );
}

/// What a reader of whole frames would know.
#[derive(Default)]
struct Model {
    streams: BTreeMap<u32, Known>,
    closed: BTreeMap<u32, Known>,
    initial: i64,
    window: i64,
    block: Option<Frame>,
    cut: bool,
    goaway: Option<u32>,
    received_body: u64,
}

#[derive(Clone, Default)]
struct Known {
    window: i64,
    received: bool,
    answering: bool,
    answered: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            initial: 65_535,
            window: 65_535,
            ..Self::default()
        }
    }

    fn apply(&mut self, frame: &Frame) {
        let first = match frame.kind {
            CONTINUATION => self.block.take().unwrap(),
            _ => frame.clone(),
        };
        if matches!(frame.kind, HEADERS | PUSH_PROMISE | CONTINUATION) && !frame.has(END_HEADERS) {
            self.block = Some(first);
            return;
        }
        match frame.side {
            Client => self.receive(&first),
            Server => self.send(&first),
        }
        let closed = |s: &Known| s.received && s.answered;
        let (gone, open) = std::mem::take(&mut self.streams)
            .into_iter()
            .partition(|(_, s)| closed(s));
        self.streams = open;
        self.closed.extend::<BTreeMap<_, _>>(gone);
    }

    fn receive(&mut self, frame: &Frame) {
        let last = self.last();
        let end = frame.has(END_STREAM);
        let n = frame.payload.len() as u64;
        match (frame.kind, self.streams.get_mut(&frame.id)) {
            (DATA, Some(stream)) => {
                self.received_body += if stream.received { 0 } else { n };
                stream.received |= end;
            }
            (HEADERS, Some(stream)) => stream.received |= end,
            (HEADERS, None)
                if frame.id > last && self.goaway.is_none_or(|said| frame.id <= said) =>
            {
                let known = Known {
                    window: self.initial,
                    received: end,
                    ..Known::default()
                };
                self.streams.insert(frame.id, known);
            }
            (RST_STREAM, Some(stream)) => (stream.received, stream.answered) = (true, true),
            (WINDOW_UPDATE, None) if frame.id == 0 => self.window += i64::from(frame.word()),
            (WINDOW_UPDATE, Some(stream)) => stream.window += i64::from(frame.word()),
            (SETTINGS, _) => frame.payload.chunks(6).for_each(|s| self.set(s)),
            _ => {}
        }
    }

    fn set(&mut self, setting: &[u8]) {
        if setting[..2] == [0, 4] {
            let value = i64::from(u32::from_be_bytes(setting[2..].try_into().unwrap()));
            let by = value - self.initial;
            self.initial = value;
            self.streams.values_mut().for_each(|s| s.window += by);
        }
    }

    fn send(&mut self, frame: &Frame) {
        let end = frame.has(END_STREAM);
        let n = frame.payload.len() as u64;
        if frame.kind == DATA {
            self.window -= n as i64;
        }
        match (frame.kind, self.streams.get_mut(&frame.id)) {
            (DATA, Some(stream)) if !stream.answered => {
                stream.window -= n as i64;
                stream.answered |= end;
            }
            (HEADERS, Some(stream)) => {
                (stream.answering, stream.answered) = (true, stream.answered || end);
            }
            (RST_STREAM, Some(stream)) => {
                self.cut |= !stream.answered && (frame.word() != 7 || stream.answering);
                (stream.received, stream.answered) = (true, true);
            }
            (GOAWAY, _) => {
                let said = frame.word();
                self.goaway = Some(self.goaway.map_or(said, |before| before.min(said)));
                let above = self.streams.split_off(&(said + 1));
                self.closed.extend(above);
            }
            _ => {}
        }
    }

    fn last(&self) -> u32 {
        self.streams
            .keys()
            .chain(self.closed.keys())
            .copied()
            .max()
            .unwrap_or(0)
    }

    fn seen(&self, side: Side) -> Seen {
        let count = |which: &dyn Fn(&Known) -> bool| {
            self.streams.values().filter(|s| which(s)).count() as u32
        };
        let may = |other| self.block.is_none() || side == other;
        Seen {
            counts: [
                (self.streams.len() + self.closed.values().filter(|s| s.answered).count()) as u32,
                count(&|s| !s.answered),
                count(&|s| !s.received),
                count(&|s| !s.answered && s.received),
                count(&|s| !s.answered && (s.window <= 0 || self.window <= 0)),
            ],
            followed: true,
            cut: self.cut,
            last_stream: self.last(),
            goaway: self.goaway,
            received_body: self.received_body,
            may: [may(Client), may(Server)],
            windows: self.streams.iter().map(|(&id, s)| (id, s.window)).collect(),
            window: self.window,
        }
    }
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Client), Just(Server)]
}

fn odd() -> impl Strategy<Value = u32> {
    (0..8_u32).prop_map(|n| 2 * n + 1)
}

/// A header block in one to three frames.
fn block() -> impl Strategy<Value = Vec<Frame>> {
    (side(), odd(), any::<bool>(), 1..=3_usize, 0..6_usize).prop_map(|(side, id, end, n, len)| {
        let mut frames = vec![continuation(side, 0, id); n];
        frames[0] = frame(side, HEADERS, u8::from(end), id, &vec![0; len]);
        frames[n - 1].flags |= END_HEADERS;
        frames
    })
}

fn other() -> impl Strategy<Value = Frame> {
    let len = prop_oneof![4 => 0..300_u32, 1 => Just(20_000)];
    let data = (side(), prop_oneof![9 => odd(), 1 => Just(2)], len, 0..9_u8)
        .prop_map(|(side, id, len, flags)| data(side, flags & !4, id, len));
    prop_oneof![
        6 => data,
        1 => (side(), odd(), 0..10_u32).prop_map(|(side, id, code)| rst(side, id, code)),
        2 => (side(), prop_oneof![Just(0), odd()], 0..400_u32).prop_map(|(side, id, n)| Frame { side, ..update(id, n) }),
        1 => (0..30_000_u32).prop_map(|n| update(0, n)),
        2 => (side(), prop::collection::vec((3..6_u16, 0..400_u32), 0..4)).prop_map(|(side, all)| {
            let all: Vec<_> = all.into_iter().map(|(key, value)| setting(key, value)).collect();
            frame(side, SETTINGS, 0, 0, &all.concat())
        }),
        1 => side().prop_map(|side| frame(side, SETTINGS, ACK, 0, &[])),
        1 => (side(), 5..30_u32).prop_map(|(side, last)| Frame { side, ..away(last) }),
        1 => side().prop_map(|side| frame(side, 6, 0, 0, &[0; 8])),
        1 => (side(), odd()).prop_map(|(side, id)| frame(side, 2, 1, id, &[0; 5])),
        1 => (side(), 10..=255_u8, any::<u8>(), 0..9_u32).prop_map(|(side, kind, flags, id)| frame(side, kind, flags, id, b"?")),
        1 => odd().prop_map(|id| frame(Server, PUSH_PROMISE, BOTH, id, &[0; 9])),
    ]
}

/// Valid frames both ways, each header block in one piece.
fn conversation() -> impl Strategy<Value = Vec<Frame>> {
    let one = prop_oneof![2 => block(), 3 => other().prop_map(|frame| vec![frame])];
    prop::collection::vec(one, 0..80).prop_map(|all| all.concat())
}

fn check_invariants(http2: &Http2) {
    let [begun, in_flight, uploads, complete, held] = counts(http2);
    assert!(complete <= in_flight && held <= in_flight);
    assert!(in_flight <= begun && uploads <= begun && in_flight - complete <= uploads);
    assert!(http2.streams.len() <= MAX_STREAMS && http2.streams.len() as u32 <= begun);
    assert!(http2.streams.iter().is_sorted_by(|a, b| a.id < b.id));
    assert!(
        http2
            .streams
            .iter()
            .all(|s| !s.is_closed() && s.id <= http2.last_stream())
    );
    let mut tally = Tally::default();
    http2
        .streams
        .iter()
        .for_each(|s| tally += s.tally(http2.initial));
    assert_eq!(tally, http2.tally);
}

proptest! {
    #[test]
    fn agrees_with_the_model(frames in conversation()) {
        let (mut http2, mut model) = (greeted(), Model::new());
        for frame in &frames {
            say(&mut http2, frame);
            model.apply(frame);
            prop_assert_eq!(seen(&http2), model.seen(frame.side), "{:?}", frame);
            check_invariants(&http2);
        }
    }

    #[test]
    fn any_split_is_the_same(frames in conversation(), sizes in prop::collection::vec(1..40_usize, 1..20)) {
        let [mut whole, mut single, mut split] = [greeted(), greeted(), greeted()];
        let mut sizes = sizes.into_iter().cycle();
        for run in frames.chunk_by(|a, b| a.side == b.side) {
            run.iter().for_each(|frame| say(&mut whole, frame));
            let bytes: Vec<u8> = run.iter().flat_map(Frame::bytes).collect();
            bytes.chunks(1).for_each(|byte| tell(&mut single, run[0].side, byte));
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                tell(&mut split, run[0].side, now);
                rest = later;
            }
            prop_assert_eq!(seen(&whole), seen(&single));
            prop_assert_eq!(seen(&whole), seen(&split));
        }
    }
}

/// Anything, more or less like frames.
fn anything() -> impl Strategy<Value = (Side, Vec<u8>)> {
    let framed = (
        side(),
        0..12_u8,
        any::<u8>(),
        0..6_u32,
        prop::collection::vec(any::<u8>(), 0..14),
    )
        .prop_map(|(side, kind, flags, id, payload)| {
            (side, frame(side, kind, flags, id, &payload).bytes())
        });
    prop_oneof![
        20 => block().prop_map(|all| (all[0].side, all.iter().flat_map(Frame::bytes).collect())),
        40 => other().prop_map(|frame| (frame.side, frame.bytes())),
        2 => framed,
        1 => (side(), prop::collection::vec(any::<u8>(), 0..40)),
    ]
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(
        hello in prop::bool::weighted(0.9),
        said in prop::collection::vec((anything(), 1..30_usize, prop::bool::weighted(0.05)), 0..60),
    ) {
        let mut http2 = if hello { greeted() } else { Http2::new() };
        let mut now = Instant::now();
        for ((side, bytes), size, reset) in said {
            for bytes in bytes.chunks(size) {
                let before = (http2.is_followed(), http2.last_stream(), http2.streams.len());
                tell(&mut http2, side, bytes);
                check_invariants(&http2);
                if !before.0 {
                    prop_assert!(!http2.is_followed() && http2.last_stream() == before.1);
                    prop_assert!(http2.streams.len() <= before.2);
                }
            }
            if reset {
                http2.reset(size as u32, 8);
            }
            now += Duration::from_secs(1);
            let found = http2.stalled(now, Duration::from_secs(3), Rate(0), &Progress::default());
            prop_assert!(found.streams.len() as u32 <= http2.held());
            prop_assert!(found.next.is_none_or(|next| next > now));
            check_invariants(&http2);
        }
    }
}

/// Who has yet to get the bytes can't be waiting for them: the wait begins when they have arrived.
#[test]
fn nobody_stalls_before_all_has_arrived() {
    let (start, timeout) = (Instant::now(), Duration::from_secs(10));
    let at = |seconds| start + Duration::from_secs(seconds);
    // Second, written, held, acknowledged, whether stalled; when it may be.
    for looks in [
        vec![
            (0, [100, 0, 99], false, 10),
            (20, [100, 0, 99], false, 30),
            // More of the connection's has gone out since: it is none of this stream's.
            (30, [200, 0, 100], false, 40),
            (39, [300, 100, 100], false, 40),
            (40, [300, 100, 100], true, 40),
        ],
        vec![
            // TLS holds some of it, and of others all the time.
            (0, [100, 50, 100], false, 10),
            (20, [150, 50, 149], false, 30),
            (30, [200, 50, 150], false, 40),
            (39, [300, 50, 150], false, 40),
            (40, [300, 50, 200], true, 40),
        ],
        vec![
            // That was less than it could be.
            (0, [100, 50, 100], false, 10),
            (20, [140, 0, 139], false, 30),
            (30, [140, 0, 140], false, 40),
            (40, [140, 0, 140], true, 40),
        ],
    ] {
        let mut http2 = after(&[
            headers(Client, BOTH, 1),
            headers(Server, END_HEADERS, 1),
            initial(0),
        ]);
        for (s, [written, held, acknowledged], stalled, next) in looks {
            let progress = Progress {
                written,
                held,
                acknowledged,
            };
            let found = http2.stalled(at(s), timeout, Rate(0), &progress);
            assert_eq!(found.streams.len(), usize::from(stalled), "{s}");
            assert_eq!(found.next, (!stalled).then(|| at(next)), "{s}");
        }
    }
}

/// A client that goes on asking lives, and has given up no more than the stream.
#[test]
fn who_outlives_a_stalled_stream() {
    let get = |id| headers(Client, BOTH, id);
    let answer = |id| headers(Server, END_HEADERS, id);
    let (now, timeout) = (Instant::now(), Duration::from_secs(8));
    let all = Progress::default();
    let small = frame(Client, SETTINGS, 0, 0, &setting(4, 5));
    for (between, outlived) in [
        (vec![], false),
        (vec![headers(Server, BOTH, 1)], false),
        (vec![get(5)], true),
        (vec![get(5), headers(Server, BOTH, 5)], true),
    ] {
        let begun = [
            small.clone(),
            get(1),
            get(3),
            answer(3),
            data(Server, 0, 3, 5),
        ];
        let mut http2 = after(&begun);
        http2.stalled(now, timeout, Rate(0), &all);
        http2.stalled(now, timeout, Rate(0), &all);
        between.iter().for_each(|frame| say(&mut http2, frame));
        let found = http2.stalled(now + timeout, timeout, Rate(0), &all);
        assert_eq!(
            (found.streams, found.outlived),
            (vec![3], outlived),
            "{between:?}"
        );
    }
}

/// No window holds up an answer that has not begun: its handler is at work.
#[test]
fn a_slow_handler_does_not_stall() {
    let (start, timeout) = (Instant::now(), Duration::from_secs(10));
    let at = |seconds| start + Duration::from_secs(seconds);
    for shut in [initial(0), data(Server, 0, 1, WHOLE)] {
        let mut http2 = after(&[
            headers(Client, BOTH, 1),
            headers(Server, END_HEADERS, 1),
            headers(Client, BOTH, 3),
            shut,
        ]);
        for s in [0, 10, 20, 99] {
            let stalled = http2
                .stalled(at(s), timeout, Rate(0), &Progress::default())
                .streams;
            assert_eq!(stalled, if s == 0 { vec![] } else { vec![1] }, "{s}");
        }
        say(&mut http2, &headers(Server, END_HEADERS, 3));
        for (s, want) in [(100, vec![1]), (110, vec![1, 3])] {
            let stalled = http2
                .stalled(at(s), timeout, Rate(0), &Progress::default())
                .streams;
            assert_eq!(stalled, want, "{s}");
        }
    }
}

#[test]
fn pings_that_nobody_answered() {
    let ping = |side, flags, payload: u64| Frame {
        side,
        kind: 6,
        flags,
        id: 0,
        payload: payload.to_be_bytes().to_vec(),
    };
    let mut http2 = after(&[]);
    assert_eq!(http2.take_ping(), None);
    for frame in [
        ping(Server, 0, 1),
        ping(Server, 0, 2),
        ping(Server, 0, 3),
        ping(Server, 1, 9),
        ping(Client, 0, 3),
        ping(Client, 1, 2),
    ] {
        say(&mut http2, &frame);
    }
    // Not the first, which is one too many, nor the answered one.
    assert_eq!(http2.take_ping(), Some(3_u64.to_be_bytes()));
    assert_eq!(http2.take_ping(), None);
}

fn ping(side: Side, flags: u8, payload: [u8; 8]) -> Frame {
    frame(side, 6, flags, 0, &payload)
}

/// What stands behind a GOAWAY that names no stream asks for more than life.
#[test]
fn which_pings_ask_for_life() {
    let goaway = |last: u32| away(last);
    for (said, asks) in [
        (vec![], true),
        (vec![goaway(MAX_31_BITS)], false),
        (
            vec![goaway(MAX_31_BITS), ping(Server, ACK, *b"12345678")],
            false,
        ),
        (
            vec![goaway(MAX_31_BITS), ping(Server, 0, *b"12345678")],
            true,
        ),
        (vec![goaway(MAX_31_BITS), ping(Server, 0, HEARD)], true),
        (vec![goaway(MAX_31_BITS), goaway(1)], true),
    ] {
        let mut http2 = after(&said);
        http2.asks_for_life();
        let (first, second) = (*b"87654321", *b"22222222");
        say(&mut http2, &ping(Server, 0, first));
        assert_eq!(http2.asks_for_life(), asks.then_some(first), "{said:?}");
        say(&mut http2, &ping(Server, 0, second));
        assert_eq!(http2.asks_for_life(), Some(second));
        assert_eq!(http2.asks_for_life(), None);
    }
}

/// An acknowledgement that the server has been given already is one too many.
#[test]
fn pings_answered_for_the_peer_are_forgotten() {
    let (one, other) = (*b"12345678", *b"87654321");
    let mut http2 = after(&[ping(Server, 0, one), ping(Server, 0, other)]);
    http2.forget_ping(other);
    assert_eq!(http2.take_ping(), Some(one));
    assert_eq!(http2.take_ping(), None);
}

#[test]
fn settings_are_heard_when_they_are_acknowledged() {
    let mut http2 = greeted();
    for (said, heard) in [
        (frame(Client, SETTINGS, 0, 0, &[]), false),
        (frame(Server, SETTINGS, ACK, 0, &[]), false),
        (initial(9), false),
        (frame(Client, SETTINGS, ACK, 0, &[]), true),
        (initial(8), true),
    ] {
        say(&mut http2, &said);
        assert_eq!(http2.settings_heard(), heard, "{said:?}");
    }
}

/// The server is not told of answers to what it did not ask.
#[test]
fn whose_pong_it_is() {
    let (asked, other) = (*b"12345678", *b"87654321");
    let mut http2 = after(&[ping(Server, 0, asked), ping(Server, 0, HEARD)]);
    assert_eq!(http2.asks_for_life(), Some(asked));
    assert_eq!(http2.asks_for_life(), None);
    assert!(http2.awaits_pong());
    let pong = |payload| ping(Client, ACK, payload).bytes();
    let before = headers(Client, BOTH, 1).bytes();
    for (bytes, stray, awaits) in [
        (pong(asked), None, true),
        (pong(asked), Some(3), true),
        (pong(other), Some(3), true),
        (
            [&before[..], &pong(HEARD)].concat(),
            Some(before.len() + 3),
            false,
        ),
        (
            [pong(other), pong(HEARD), ping(Client, 0, other).bytes()].concat(),
            Some(20),
            false,
        ),
    ] {
        assert_eq!(http2.received(&bytes), stray, "{bytes:?}");
        assert_eq!(http2.awaits_pong(), awaits, "{bytes:?}");
    }
    assert_eq!(
        http2.take_ping(),
        None,
        "nor is the stream's own the server's"
    );
    // It may have got the beginning already.
    let pong = pong(other);
    for at in 1..pong.len() {
        assert_eq!(http2.received(&pong[..at]), None);
        assert_eq!(http2.received(&pong[at..]), 3_usize.checked_sub(at));
    }
}

/// An upload whose window is used up waits for the server.
#[test]
fn whose_turn_an_upload_is() {
    let update = |id, n: u32| frame(Server, 8, 0, id, &n.to_be_bytes());
    let mut http2 = after(&[
        headers(Client, END_HEADERS, 1),
        headers(Client, END_HEADERS, 3),
    ]);
    let data = |id, n: usize| frame(Client, 0, 0, id, &vec![0; n]);
    let small = frame(Server, SETTINGS, 0, 0, &setting(4, 10));
    for (name, said, awaits) in [
        ("the least that there is", data(1, 16_384), false),
        ("which may be less, and used up by one", small, true),
        ("not by the other", data(3, 9), true),
        ("by both", data(3, 1), true),
        ("one is opened", update(1, 16_376), true),
        ("the other", update(3, 50_000), false),
        ("one is used", data(1, 2), true),
        ("and opened", update(1, 9), false),
        ("the connection's", data(3, 65_535 - 16_384 - 12), true),
        ("of which there is more", update(0, 9), false),
        ("one is used again", data(1, 9), true),
        ("and ends", frame(Client, 0, END_STREAM, 1, b""), true),
        ("of which there is more", update(0, 1), false),
        ("the last ends", frame(Client, 0, END_STREAM, 3, b""), false),
    ] {
        say(&mut http2, &said);
        assert_eq!(http2.awaits_window(), awaits, "{name}");
    }
}

/// What a stream is late for, at which second, having had these frames: a body has 10 s, a tunnel 20.
#[test]
fn uploads_that_do_not_come_on() {
    let start = Instant::now();
    let at = |second| start + Duration::from_secs(second);
    let asks = [headers(Client, END_HEADERS, 1), data(Client, 0, 1, 5)];
    let answers = headers(Server, END_HEADERS, 1);
    let ours = |id, n| frame(Server, WINDOW_UPDATE, 0, id, &u32::to_be_bytes(n));
    let no_window = frame(Server, SETTINGS, 0, 0, &setting(4, 5));
    let (nothing, held_up, nobody) = ((true, false), (true, true), (false, false));
    for (name, steps) in [
        (
            "it stops",
            vec![
                (0, nothing, vec![], None),
                (9, nothing, vec![], None),
                (10, nothing, vec![], Some(1)),
            ],
        ),
        (
            "it drips",
            vec![
                (0, nothing, vec![], None),
                (9, nothing, vec![data(Client, 0, 1, 2)], None),
                (11, nothing, vec![], Some(1)),
            ],
        ),
        (
            "it comes",
            vec![
                (0, nothing, vec![], None),
                (9, nothing, vec![data(Client, 0, 1, 90)], None),
                (18, nothing, vec![], None),
            ],
        ),
        (
            "it is in",
            vec![
                (0, nothing, vec![], None),
                (9, nothing, vec![data(Client, END_STREAM, 1, 0)], None),
                (99, nothing, vec![], None),
            ],
        ),
        (
            "nobody has asked",
            vec![
                (0, nothing, vec![], None),
                (9, nobody, vec![], None),
                (18, nothing, vec![], None),
                (28, nothing, vec![], Some(1)),
            ],
        ),
        (
            "there is more that nobody has read",
            vec![
                (0, nothing, vec![], None),
                (5, held_up, vec![], None),
                (14, nothing, vec![], None),
                (15, nothing, vec![], Some(1)),
            ],
        ),
        (
            "it has no window",
            vec![
                (0, nothing, vec![no_window.clone()], None),
                (99, nothing, vec![], None),
                (99, nothing, vec![ours(1, 1)], None),
                (109, nothing, vec![], Some(1)),
            ],
        ),
        (
            "answered, and not in",
            vec![
                (0, nothing, vec![headers(Server, BOTH, 1)], None),
                (10, nothing, vec![], Some(1)),
            ],
        ),
        (
            "a tunnel",
            vec![
                (0, nothing, vec![answers.clone()], None),
                (19, nothing, vec![data(Client, 0, 1, 1)], None),
                (38, nothing, vec![], None),
                (39, nothing, vec![], Some(1)),
            ],
        ),
        (
            "the other way",
            vec![
                (0, nothing, vec![answers.clone()], None),
                (19, nothing, vec![data(Server, 0, 1, 1)], None),
                (38, nothing, vec![], None),
                (39, nothing, vec![], Some(1)),
            ],
        ),
        (
            "a tunnel from now on",
            vec![
                (0, nothing, vec![], None),
                (9, nothing, vec![answers.clone()], None),
                (28, nothing, vec![], None),
                (29, nothing, vec![], Some(1)),
            ],
        ),
        (
            "a tunnel no more",
            vec![
                (0, nothing, vec![answers.clone()], None),
                (19, nothing, vec![data(Server, END_STREAM, 1, 0)], None),
                (28, nothing, vec![], None),
                (29, nothing, vec![], Some(1)),
            ],
        ),
        (
            "another comes",
            vec![
                (0, nothing, vec![headers(Client, END_HEADERS, 3)], None),
                (9, nothing, vec![data(Client, 0, 3, 90)], None),
                (10, nothing, vec![], Some(1)),
            ],
        ),
    ] {
        let mut http2 = after(&asks);
        for (second, (asked, held_up), frames, late) in steps {
            frames.iter().for_each(|frame| say(&mut http2, frame));
            let patience = Patience {
                body: Duration::from_secs(10),
                tunnel: Some(Duration::from_secs(20)),
                rate: Rate(10),
                beside: 0,
                asked,
                held_up,
                progress: Progress::default(),
            };
            let found = http2.late_uploads(at(second), &patience);
            let found = [found.streams, found.tunnels].concat();
            assert_eq!(found, Vec::from_iter(late), "{name}, {second}");
        }
    }
}

/// Through a tunnel something goes as long as what it was given is on its way.
#[test]
fn tunnels_whose_bytes_have_not_arrived() {
    let start = Instant::now();
    let mut http2 = after(&[
        headers(Client, END_HEADERS, 1),
        headers(Server, END_HEADERS, 1),
        headers(Client, BOTH, 3),
        data(Server, 0, 1, 900),
        data(Server, 0, 3, 900),
    ]);
    let limit = Duration::from_secs(20);
    for (second, written, acknowledged, late) in [
        (0, 1800, 0, None),
        (19, 1800, 100, None),
        (38, 1800, 1799, None),
        // What goes beside it is none of its bytes.
        (57, 2700, 1800, None),
        (76, 3600, 2699, Some(1)),
    ] {
        let patience = Patience {
            body: Duration::from_secs(10),
            tunnel: Some(limit),
            rate: Rate(0),
            beside: 0,
            asked: true,
            held_up: false,
            progress: Progress {
                written,
                held: 0,
                acknowledged,
            },
        };
        let found = http2.late_uploads(start + Duration::from_secs(second), &patience);
        assert_eq!(found.tunnels, Vec::from_iter(late), "{second}");
    }
}

/// What TLS holds has not gone out.
#[test]
fn a_window_is_not_waited_for_while_tls_holds() {
    let timeout = Duration::from_secs(10);
    let start = Instant::now();
    let mut http2 = after(&[
        initial(100),
        headers(Client, BOTH, 1),
        headers(Server, END_HEADERS, 1),
        data(Server, 0, 1, 100),
    ]);
    for (second, written, held, stalled) in [
        (0, 50, 150, false),
        (30, 50, 150, false),
        (60, 200, 0, false),
        (69, 200, 0, false),
        (70, 200, 0, true),
    ] {
        let progress = Progress {
            written,
            held,
            acknowledged: written,
        };
        let now = start + Duration::from_secs(second);
        let found = http2.stalled(now, timeout, Rate(0), &progress);
        assert_eq!(found.streams.len(), usize::from(stalled), "{second}");
    }
}

/// The connection's window is one for all.
#[test]
fn uploads_without_a_window_are_not_late() {
    let start = Instant::now();
    let mut http2 = after(&[
        headers(Client, END_HEADERS, 1),
        headers(Client, END_HEADERS, 3),
    ]);
    say(
        &mut http2,
        &frame(Server, SETTINGS, 0, 0, &setting(4, 2 * WHOLE)),
    );
    say(&mut http2, &data(Client, 0, 1, WHOLE));
    let patience = Patience {
        body: Duration::from_secs(10),
        tunnel: None,
        rate: Rate(10),
        beside: 0,
        asked: true,
        held_up: false,
        progress: Progress::default(),
    };
    assert_eq!(http2.late_uploads(start, &patience), Stalled::default());
    let update = frame(Server, WINDOW_UPDATE, 0, 0, &u32::to_be_bytes(1));
    say(&mut http2, &update);
    let found = http2.late_uploads(start, &patience);
    assert_eq!(found.next, Some(start + patience.body));
    let found = http2.late_uploads(start + patience.body, &patience);
    assert_eq!((found.streams, found.next), (vec![1, 3], None));
}

/// A window that drips is as good as shut; one that opens by more is not.
#[test]
fn windows_that_drip() {
    let timeout = Duration::from_secs(10);
    for (name, by, every, rate, lives) in [
        ("a byte each second", 1, 1, 100, Some(11)),
        ("half of the rate", 50, 1, 100, Some(20)),
        ("the rate", 100, 1, 100, None),
        ("much, in pauses", 900, 9, 100, None),
        ("a byte is enough", 1, 9, 0, None),
    ] {
        let start = Instant::now();
        let mut http2 = after(&[
            initial(1),
            headers(Client, BOTH, 1),
            headers(Server, END_HEADERS, 1),
            data(Server, 0, 1, 1),
        ]);
        let stalls = (0..100_u64).find(|second| {
            if *second > 0 && second % every == 0 {
                say(&mut http2, &update(1, by));
                say(&mut http2, &data(Server, 0, 1, by));
            }
            let now = start + Duration::from_secs(*second);
            let found = http2.stalled(now, timeout, Rate(rate), &Progress::default());
            !found.streams.is_empty()
        });
        assert_eq!(stalls, lives, "{name}");
    }
}

/// Whoever changes which window holds a stream has not brought it on.
#[test]
fn windows_that_change_places() {
    let (start, timeout) = (Instant::now(), Duration::from_secs(10));
    let mut http2 = after(&[
        initial(2 * WHOLE),
        headers(Client, BOTH, 1),
        headers(Server, END_HEADERS, 1),
        data(Server, 0, 1, 10_000),
        headers(Client, BOTH, 3),
        headers(Server, END_HEADERS, 3),
        data(Server, 0, 3, WHOLE - 10_000),
    ]);
    let stalls = (0..100_u64).find(|second| {
        let window = if second % 2 == 0 { 2 * WHOLE } else { 1000 };
        say(&mut http2, &initial(window));
        let now = start + Duration::from_secs(*second);
        let found = http2.stalled(now, timeout, Rate(100), &Progress::default());
        !found.streams.is_empty()
    });
    assert_eq!(stalls, Some(10));
}

#[test]
fn what_is_noise() {
    let ping = |flags, payload: &[u8; 8]| frame(Client, PING, flags, 0, payload);
    let ours = frame(Server, PING, 0, 0, b"12345678");
    let asked = [headers(Client, BOTH, 1)];
    let asks = [headers(Client, END_HEADERS, 1)];
    let settings = frame(Client, SETTINGS, 0, 0, &[]);
    for (name, before, frames, noise) in [
        ("a request", vec![], vec![headers(Client, BOTH, 1)], 0),
        (
            "in parts",
            vec![],
            vec![
                headers(Client, END_STREAM, 1),
                continuation(Client, END_HEADERS, 1),
            ],
            1,
        ),
        (
            "a body",
            asks.to_vec(),
            vec![data(Client, 0, 1, 1), data(Client, END_STREAM, 1, 0)],
            0,
        ),
        ("of nothing", asks.to_vec(), vec![data(Client, 0, 1, 0)], 1),
        ("trailers", asks.to_vec(), vec![headers(Client, BOTH, 1)], 1),
        (
            "control frames",
            vec![],
            vec![ping(0, b"87654321"), settings, update(0, 1)],
            3,
        ),
        (
            "others",
            vec![],
            vec![
                frame(Client, 2, 0, 1, &[0; 5]),
                frame(Client, 0xbe, 0, 0, &[]),
            ],
            2,
        ),
        (
            "a PING answered",
            vec![ours.clone()],
            vec![ping(ACK, b"12345678")],
            0,
        ),
        (
            "that nobody sent",
            vec![ours],
            vec![ping(ACK, b"87654321")],
            1,
        ),
        ("given up", asked.to_vec(), vec![rst(Client, 1, 8)], 1),
        ("refused", asked.to_vec(), vec![rst(Server, 1, 7)], 1),
        ("broken off", asked.to_vec(), vec![rst(Server, 1, 1)], 1),
        (
            "after GOAWAY",
            vec![away(0)],
            vec![headers(Client, BOTH, 1)],
            1,
        ),
    ] {
        let mut http2 = after(&before);
        let settled = http2.noise();
        frames.iter().for_each(|frame| say(&mut http2, frame));
        assert_eq!(http2.noise() - settled, noise, "{name}");
    }
    let mut http2 = after(&[headers(Client, BOTH, 1), headers(Client, BOTH, 3)]);
    (0..100).for_each(|_| say(&mut http2, &update(0, 1)));
    let noise = http2.noise();
    say(&mut http2, &headers(Server, END_HEADERS, 1));
    say(&mut http2, &data(Server, 0, 1, 9));
    assert_eq!(http2.noise(), noise - BY_DATA);
    say(&mut http2, &headers(Server, BOTH, 3));
    assert_eq!(http2.noise(), noise - BY_DATA - BY_ANSWER);
    // What it is due it may send later.
    let mut http2 = after(&[headers(Client, BOTH, 1), headers(Server, END_HEADERS, 1)]);
    (0..9).for_each(|_| say(&mut http2, &data(Server, 0, 1, 1)));
    assert!(http2.noise() < 0);
    (0..20_000).for_each(|_| say(&mut http2, &data(Server, 0, 1, 1)));
    assert_eq!(http2.noise(), -MOST_DUE);
}

#[test]
fn a_flood_is_what_comes_in_a_short_time() {
    let begun = Instant::now();
    let after_the_window = begun + NOISE_WINDOW;
    let almost = after_the_window - Duration::from_millis(1);
    let mut http2 = after(&[update(0, 1)]);
    assert!(http2.is_flood(almost, begun));
    assert!(!http2.is_flood(after_the_window, begun) && http2.noise() == 0);
    assert!(http2.is_flood(almost + NOISE_WINDOW, begun));
    assert!(!http2.is_flood(after_the_window + NOISE_WINDOW, begun));
}

#[test]
fn header_blocks_that_are_not_all_in() {
    let head = headers(Client, END_STREAM, 1).bytes();
    let more = continuation(Client, 0, 1).bytes();
    for (name, bytes, block) in [
        ("nothing", vec![], None),
        ("a frame's head", head[..9].to_vec(), Some(0)),
        ("half a frame", head[..11].to_vec(), Some(2)),
        ("a frame", head.clone(), Some(5)),
        (
            "and half another",
            [&head[..], &more[..11]].concat(),
            Some(7),
        ),
        ("and all of it", [&head[..], &more[..]].concat(), Some(9)),
    ] {
        let mut http2 = greeted();
        http2.received(&bytes);
        assert_eq!(http2.header_block(), block, "{name}");
        let end = continuation(Client, END_HEADERS, 1);
        if bytes.len() >= head.len() && bytes.len() != head.len() + 11 {
            say(&mut http2, &end);
            assert_eq!(http2.header_block(), None, "{name}, ended");
        }
    }
    let mut http2 = Http2::new();
    assert_eq!(http2.header_block(), None);
    http2.received(&PREFACE[..7]);
    assert_eq!(http2.header_block(), Some(7));
    http2.received(&PREFACE[7..]);
    assert_eq!(http2.header_block(), None);
    let mut busy = after(&[headers(Client, BOTH, 1)]);
    busy.received(&headers(Client, END_STREAM, 3).bytes());
    assert_eq!(busy.header_block(), None, "others are in flight");
}
