//! Two servers behind a balancer, restarted in turn under load: what clients see of it.
//!
//! Needs HAProxy and nginx; where one is not installed, its tests say so and pass.

use processes::{
    balancing::{Farm, backend::Server, balancer::Kind},
    load::{Load, Totals},
};

/// What goes with the settings of `examples/behind_a_balancer`.
const FOR_HAPROXY: u64 = 3500;
const FOR_NGINX: u64 = 2500;

/// What a small machine can do beside other tests.
const LIGHT: [&str; 4] = ["--rate", "150", "--connections", "16"];

/// Restarts the servers in turn; what clients saw, and how often the balancer had to try again.
fn restart(kind: Kind, lame_duck: u64, times: usize) -> (Totals, u64, String) {
    let mut farm = Farm::start(kind, Server::Graceful(lame_duck));
    let load = Load::start(farm.addr, &LIGHT);
    for number in 0..times {
        farm.restart(number);
    }
    let totals = load.finish();
    (totals, farm.retries(), farm.said())
}

/// No request was lost, and no connection reset.
fn is_lossless(totals: &Totals) -> bool {
    totals.count("requests") > 300 && totals.count("lost") == 0 && totals.count("resets") == 0
}

#[test]
fn haproxy_with_http2_to_the_servers() {
    haproxy(Kind::HaproxyHttp2);
}

#[test]
fn haproxy_with_http1_to_the_servers() {
    haproxy(Kind::HaproxyHttp1);
}

/// It knows of the lame duck, and never sends a request in vain.
fn haproxy(kind: Kind) {
    if !kind.is_installed() {
        return;
    }
    let (totals, retries, said) = restart(kind, FOR_HAPROXY, 3);
    assert!(is_lossless(&totals), "{}\n{said}", totals.story());
    assert_eq!(retries, 0, "{said}");
}

/// Shows that the test above looks: HAProxy learns too late, and has to try again.
#[test]
fn haproxy_and_too_short_a_lame_duck() {
    if !Kind::HaproxyHttp1.is_installed() {
        return;
    }
    let (_, retries, said) = restart(Kind::HaproxyHttp1, 0, 2);
    assert!(retries > 0, "{said}");
}

/// It knows of nothing until a connection is refused: what was not sent, it sends elsewhere.
#[test]
fn nginx() {
    if !Kind::Nginx.is_installed() {
        return;
    }
    let (totals, retries, said) = restart(Kind::Nginx, FOR_NGINX, 4);
    assert!(is_lossless(&totals), "{}\n{said}", totals.story());
    assert!(retries > 0, "nothing was refused: {said}");
}
