//! What HTTP/2 writes goes to the socket in large pieces: no answer is late or cut for that, and how far each has
//! come is what has gone out of it.

#[path = "testbed/judge.rs"]
mod judge;
mod testbed;

use std::{thread, time::Duration};

use judge::{Then, alone, ends_properly_h2, is_whole_h2};
use testbed::Testbed;
use wire::{Frame, H2, H2Options, Options, Version, setting};

const LONG: Duration = Duration::from_secs(30);
/// How often a slow reader reads.
const BEAT: Duration = Duration::from_millis(50);
const LARGEST_WINDOW: u32 = (1 << 31) - 1;

/// A client with all of flow control wide open, that reads so much at once, at most.
fn wide_open(bed: &Testbed, version: Version, chunk: usize) -> H2 {
    let tls = Options::new().version(version).h2().timeout(LONG);
    let tls = tls.recv_buffer(4 * chunk).read_chunk(chunk);
    let options = H2Options {
        auto_window_update: false,
        settings: vec![(setting::INITIAL_WINDOW_SIZE, LARGEST_WINDOW)],
        ..H2Options::default()
    };
    let mut h2 = H2::connect_with(bed.addr, &tls, options).unwrap();
    let more = LARGEST_WINDOW - 65_535;
    h2.send_frame(&Frame::window_update(0, more)).unwrap();
    h2
}

/// Reads at its own pace for so long, or until the stream is over.
fn reads_slowly(h2: &mut H2, stream: u32, until: Duration) {
    while !h2.stream(stream).is_over() && h2.conn.now() < until {
        h2.pump_until(Duration::ZERO, |_| false);
        thread::sleep(BEAT);
    }
}

/// Around the sizes of a frame, of the first window, and of what is held at most.
#[test]
fn answers_of_all_sizes_are_whole() {
    let sizes = [0, 1, 16_384, 65_535, 65_536, 65_537, 131_072, 300_001];
    let paths = ["full", "bytes", "chunked"].map(|path| (path, path));
    alone(&[], &paths, |bed, version, path| {
        let mut h2 = wide_open(&bed, version, 16 << 10);
        let streams = sizes.map(|size| h2.get(&format!("/{path}/{size}")).unwrap());
        for (stream, size) in streams.into_iter().zip(sizes) {
            let answer = h2.wait_stream(stream, LONG);
            assert!(is_whole_h2(&answer, size), "{size}: {h2:?}");
        }
        bed.terminate();
        ends_properly_h2(&mut h2, Then::Closes);
    });
}

/// What TLS holds takes more than a write time-out to go out, at 20 KB/s.
#[test]
fn a_slow_reader_is_not_cut() {
    let options = ["--write-timeout-ms", "2000", "--no-ping"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = wide_open(&bed, version, 1000);
        let stream = h2.get("/bytes/4000000").unwrap();
        let until = h2.conn.now() + Duration::from_secs(8);
        reads_slowly(&mut h2, stream, until);
        assert!(h2.conn.ending().is_still_open(), "{h2:?}");
        let answer = h2.wait_stream(stream, LONG);
        assert!(is_whole_h2(&answer, 4_000_000), "{h2:?}");
    });
}

/// It has said close_notify amid its upload, and whether it is owed anything only what goes out says.
#[test]
fn nor_is_one_that_half_closed_amid_its_upload() {
    let options = ["--write-timeout-ms", "2000", "--no-ping"];
    alone(&options, &[("", ())], |bed, version, ()| {
        if version == Version::Tls12 {
            return;
        }
        let mut h2 = wide_open(&bed, version, 1000);
        let stream = h2.post("/unread/300000").unwrap();
        h2.data(stream, b"half", false).unwrap();
        h2.conn.send_close_notify().unwrap();
        let until = h2.conn.now() + LONG;
        reads_slowly(&mut h2, stream, until);
        assert!(is_whole_h2(&h2.stream(stream), 300_000), "{h2:?}");
    });
}

/// Small answers and PINGs beside a large answer, which has no end meanwhile.
#[test]
fn nothing_waits_for_a_large_answer() {
    alone(&[], &[("", ())], |bed, version, ()| {
        let mut h2 = wide_open(&bed, version, 64 << 10);
        let large = h2.get("/slow/400/10").unwrap();
        let larger = h2.get("/bytes/3000000").unwrap();
        for beat in 0..20 {
            let begun = h2.conn.now();
            let small = h2.h2_get("/").unwrap();
            assert_eq!(small.text(), "hello\n", "{h2:?}");
            let pong = h2.ping([beat; 8], LONG).unwrap();
            assert!(pong.is_some(), "{h2:?}");
            let took = h2.conn.now() - begun;
            assert!(took < Duration::from_millis(1000), "{took:?}: {h2:?}");
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!h2.stream(large).is_over(), "{h2:?}");
        assert!(is_whole_h2(&h2.wait_stream(larger, LONG), 3_000_000));
        assert!(is_whole_h2(&h2.wait_stream(large, LONG), 400 * 1024));
    });
}

/// A shutdown amid an answer that TLS holds a part of.
#[test]
fn a_shutdown_waits_for_what_is_held() {
    let options = ["--shutdown-timeout-ms", "30000"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut h2 = wide_open(&bed, version, 4000);
        let stream = h2.get("/bytes/600000").unwrap();
        let until = h2.conn.now() + Duration::from_secs(1);
        reads_slowly(&mut h2, stream, until);
        bed.terminate();
        let until = h2.conn.now() + LONG;
        reads_slowly(&mut h2, stream, until);
        assert!(is_whole_h2(&h2.stream(stream), 600_000), "{h2:?}");
        ends_properly_h2(&mut h2, Then::Closes);
        assert!(h2.goaway_received().is_some(), "{h2:?}");
        let exit = bed.wait(LONG);
        assert_eq!(exit.count("clean"), 1, "{exit:?}");
    });
}
