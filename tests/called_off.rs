//! A shutdown that follows one that was called off, at once, names what it cuts.

#[path = "support/served.rs"]
mod served;
mod support;
#[path = "support/within.rs"]
mod within;

use std::{thread, time::Duration};

use served::{PATIENCE, SERVERS, Served, app, ask, until};
use wire::Version;

#[test]
fn the_next_shutdown_names_what_it_cuts() {
    for round in 0..3 {
        let served = Served::start(SERVERS[0], Version::Tls13, app(), |of| {
            of.lame_duck(PATIENCE).track_requests(true)
        });
        let mut client = served.client();
        ask(&mut client, "/silent");
        until(|| served.tls().stats(), |of| of.requests_in_flight == 1);
        served.tls().shutdown();
        thread::sleep(Duration::from_millis(50));
        assert!(served.tls().resume());
        served.tls().shutdown_now();
        let report = served.within.closed(PATIENCE);
        assert_eq!(report.truncated, 1, "{round}: {report:?}");
        assert_eq!(report.cut.len(), 1, "{round}: {report:?}");
    }
}
