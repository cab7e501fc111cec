//! An HTTP/2 tunnel through which nothing goes is let go in time, whatever goes beside it.

mod testbed;

use std::{thread, time::Duration};

use testbed::Testbed;
use wire::{H2, H2Options, Options, Version};

const TIMEOUT: Duration = Duration::from_millis(1000);
const LONG: Duration = Duration::from_secs(8);

fn beside(path: &str) {
    let bed = Testbed::start("hyper", &["--tunnel-timeout-ms", "1000"]);
    let options = Options::new().version(Version::Tls13).h2();
    let mut h2 = H2::connect_with(bed.addr, &options, H2Options::default()).unwrap();
    let tunnel = h2.connect_tunnel("localhost:443").unwrap();
    h2.data(tunnel, b"ping", false).unwrap();
    assert!(h2.pump_until(LONG, |h2| h2.stream(tunnel).body == b"ping"));
    let since = h2.conn.now();
    while h2.conn.now() - since < LONG && !h2.stream(tunnel).is_over() {
        assert!(h2.h2_get(path).unwrap().is_complete(), "{h2:?}");
        thread::sleep(Duration::from_millis(30));
    }
    let reset = h2.stream(tunnel).reset.map(|(_, at)| at - since);
    assert!(reset.is_some_and(|after| after < 3 * TIMEOUT), "{reset:?}");
}

#[test]
fn answers_with_a_body() {
    beside("/");
}

#[test]
fn answers_without_one() {
    beside("/status/204");
}
