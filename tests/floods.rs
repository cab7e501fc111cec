//! HTTP/2 clients that send frames by the thousand which neither ask nor answer anything: they are told
//! to calm down, and the connection ends. Whoever has reason for its frames is served.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::time::Duration;

use judge::{everywhere, is_whole_h2, start_h2};
use wire::{Frame, H2, flag, kind};

const LONG: Duration = Duration::from_secs(10);
const ENHANCE_YOUR_CALM: u32 = 11;
const LIMIT: [&str; 3] = ["--no-ping", "--max-control-frames", "1000"];

type Flood = fn(&mut H2, u32) -> Vec<Frame>;

/// Frames that any number may come of. The server's own limits are above ours, or there are none.
const FLOODS: [(&str, Flood); 9] = [
    ("PING", |_, n| vec![Frame::ping(u64::from(n).to_be_bytes())]),
    ("PING acknowledged that nobody sent", |_, n| {
        vec![Frame::ping_ack(u64::from(n).to_be_bytes())]
    }),
    ("SETTINGS", |_, _| vec![Frame::settings(&[])]),
    ("PRIORITY", |_, _| {
        vec![Frame::new(2, 0, 1, vec![0, 0, 0, 0, 9])]
    }),
    ("WINDOW_UPDATE", |_, _| vec![Frame::window_update(0, 1)]),
    ("unknown", |_, _| vec![Frame::new(0xbe, 0, 0, vec![])]),
    ("empty DATA", |h2, n| {
        let head = (n == 0).then(|| h2.request(&judge::fields("POST", "/echo-len"), false));
        head.into_iter()
            .chain([Frame::data(1, vec![], false)])
            .collect()
    }),
    ("rapid reset", |h2, _| {
        let request = h2.request(&judge::fields("GET", "/sleep/20000"), true);
        let reset = Frame::rst_stream(request.stream, 8);
        vec![request, reset]
    }),
    ("CONTINUATION", |h2, n| {
        let mut frame = h2.request(&judge::fields("GET", "/"), true);
        frame.flags &= !flag::END_HEADERS;
        match n {
            0 => vec![frame],
            _ => vec![Frame::new(9, 0, 1, vec![])],
        }
    }),
];

#[test]
fn a_flood_is_told_to_calm_down() {
    everywhere(&LIMIT, &FLOODS, |bed, version, flood| {
        let mut h2 = start_h2(bed, version);
        for round in 0..100 {
            let frames: Vec<_> = (0..50)
                .flat_map(|n| flood(&mut h2, 50 * round + n))
                .collect();
            let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            if h2.conn.send(bytes).is_err() || h2.goaway_received().is_some() {
                break;
            }
            h2.pump_until(Duration::from_millis(1), |h2| {
                h2.goaway_received().is_some()
            });
        }
        let goaway = h2.wait_goaway(LONG);
        let calm = goaway.is_some_and(|(_, code)| code == ENHANCE_YOUR_CALM);
        assert!(calm, "{goaway:?}: {h2:?}");
        let ending = h2.read_until_end(LONG);
        assert!(ending.close_notify.is_some(), "{ending:?}");
    });
}

/// Each request with as much around it as a lively client may send.
#[test]
fn a_lively_client_is_served() {
    everywhere(&LIMIT, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        for n in 0..500_u64 {
            h2.send_frames(&[
                Frame::ping(n.to_be_bytes()),
                Frame::window_update(0, 1),
                Frame::settings(&[]),
                Frame::new(2, 0, 1, vec![0, 0, 0, 0, 9]),
            ])
            .unwrap();
            assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
        }
        let stream = h2.get("/bytes/20000000").unwrap();
        let answer = h2.wait_stream(stream, LONG);
        assert!(is_whole_h2(&answer, 20_000_000), "{h2:?}");
        let updates = h2.frames().iter().filter(|(_, f)| f.is(kind::SETTINGS));
        assert!(updates.count() > 500, "they were not answered");
    });
}

/// Below the limit nobody minds.
#[test]
fn who_gives_up_now_and_then_is_served() {
    everywhere(&LIMIT, &[("", ())], |bed, version, ()| {
        let mut h2 = start_h2(bed, version);
        for _ in 0..300 {
            let stream = h2.get("/sleep/20000").unwrap();
            h2.send_frame(&Frame::rst_stream(stream, 8)).unwrap();
            assert!(h2.ping([1; 8], LONG).unwrap().is_some(), "{h2:?}");
        }
        assert_eq!(h2.h2_get("/").unwrap().text(), "hello\n", "{h2:?}");
    });
}
