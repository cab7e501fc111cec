//! The peers, run as the comparison runs them: each has to answer, and to stop when it is told to.

use std::process::Command;

use processes::{example, probe};
use serde_json::Value;

/// Has the probe start a peer, look at an exchange, and stop it.
fn serves_and_stops(peer: &str) {
    let peers = example("peers");
    let start = format!("'{}' --server {peer} --port {{port}}", peers.display());
    let output = Command::new(probe())
        .args(["https://127.0.0.1:0", "--json", "--start", &start])
        .args(["--only", "connection-close,sigterm-idle"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("is not installed") {
        eprintln!("{peer} was not tested: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    let endings = run["endings"].as_array().unwrap();
    let of = |scenario| {
        endings
            .iter()
            .filter(move |ending| ending["scenario"] == scenario)
    };
    assert_eq!(
        of("connection-close").count(),
        2,
        "TLS 1.2 and 1.3: {run:#}"
    );
    assert_eq!(
        of("sigterm-idle").count(),
        4,
        "HTTP/1.1 and HTTP/2 as well: {run:#}"
    );
    for ending in of("sigterm-idle") {
        let note = ending["note"].as_str().unwrap();
        assert!(note.contains("exit status: 0"), "{ending:#}");
    }
}

#[test]
fn bare_hyper() {
    serves_and_stops("bare-hyper");
}

#[test]
fn axum_server() {
    serves_and_stops("axum-server");
}

#[test]
fn tls_listener() {
    serves_and_stops("tls-listener");
}

#[test]
fn actix_web() {
    serves_and_stops("actix-web");
}

#[test]
fn go() {
    serves_and_stops("go");
}

#[test]
fn nginx() {
    serves_and_stops("nginx");
}

#[test]
fn apache() {
    serves_and_stops("apache");
}

#[test]
fn what_cannot_work_is_one_line() {
    for (options, wrong) in [
        (
            &["--server", "other"][..],
            "invalid value 'other' for '--server",
        ),
        (
            &["--server", "plain", "--port", "x"],
            "invalid value 'x' for '--port",
        ),
        (
            &["--server", "plain", "--cert", "/none"],
            "--key is missing",
        ),
    ] {
        let output = Command::new(example("peers"))
            .args(options)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(wrong) && said.lines().count() == 1, "{said}");
    }
}
