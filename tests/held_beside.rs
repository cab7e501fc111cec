//! A stream that its client's window holds up is let go in time, also while another answer takes all that the socket
//! gives.

#[path = "support/served.rs"]
mod served;
mod support;
#[path = "support/within.rs"]
mod within;

use std::{thread, time::Duration};

use served::{SERVERS, Serve, app};
use tokio::{net::TcpSocket, runtime::Runtime};
use wire::{Frame, H2, H2Options, Options, Version, setting};

const TIMEOUT: Duration = Duration::from_millis(1000);
const LONG: Duration = Duration::from_secs(8);

fn stalled_beside_a_slow_reader((name, serve): (&'static str, Serve), version: Version) {
    let builder = support::pair(support::VERSIONS[version as usize]).0;
    let tls = builder.write_timeout(TIMEOUT).build().unwrap();
    let runtime = Runtime::new().unwrap();
    let inside = runtime.enter();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(16).unwrap();
    let addr = listener.local_addr().unwrap();
    drop(inside);
    runtime.spawn(serve(tls.clone(), listener, app()));

    let options = Options::new().version(version).h2().timeout(LONG);
    let options = options.recv_buffer(8_000).read_chunk(2_000);
    let windows = H2Options {
        auto_window_update: false,
        settings: vec![(setting::INITIAL_WINDOW_SIZE, 100)],
        ..H2Options::default()
    };
    let mut h2 = H2::connect_with(addr, &options, windows).unwrap();
    h2.send_frame(&Frame::window_update(0, 1 << 30)).unwrap();
    let living = h2.get("/large").unwrap();
    h2.send_frame(&Frame::window_update(living, 1 << 30))
        .unwrap();
    let begins = |h2: &H2| h2.stream(living).body.len() > 100_000;
    assert!(h2.pump_until(LONG, begins), "{h2:?}");
    let stalled = h2.get("/large").unwrap();
    while h2.stream(stalled).body.len() < 100 {
        h2.pump_until(Duration::ZERO, |_| false);
        thread::sleep(Duration::from_millis(4));
    }
    let since = h2.conn.now();
    while h2.conn.now() - since < LONG && h2.stream(stalled).reset.is_none() {
        h2.pump_until(Duration::ZERO, |_| false);
        thread::sleep(Duration::from_millis(4));
    }
    let got = h2.stream(living).body.len();
    let reset = h2.stream(stalled).reset.map(|(_, at)| at - since);
    let so_far = format!("{name} {version:?}: {reset:?}, {got} bytes of the other");
    assert!(reset.is_some_and(|after| after < 4 * TIMEOUT), "{so_far}");
    runtime.shutdown_background();
}

#[test]
fn under_serve() {
    stalled_beside_a_slow_reader(SERVERS[0], Version::Tls13);
}

#[test]
fn under_axum_serve() {
    stalled_beside_a_slow_reader(SERVERS[1], Version::Tls13);
}
