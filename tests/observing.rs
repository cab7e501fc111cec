//! What an observer is told, in what order, and how often: of connections that end in every way, over both
//! versions of TLS and of HTTP, under three servers.

#[path = "support/served.rs"]
mod served;
mod support;
#[path = "support/within.rs"]
mod within;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

#[allow(unused_imports)]
use graceful_tls::{
    Accept, Admission, Cause, Drain, Ended, GracefulTls, HandshakeFailed, Observer, Outcome, Phase,
    TlsConnection, proxy_protocol,
};
use served::{PATIENCE, SERVERS, Serve, Served, app, ask, everywhere, until};
use tokio::net::TcpListener;
use wire::{Client, RawTcp, Version};
use within::Within;

const MS: Duration = Duration::from_millis(1);

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    /// Of all that have no connection: accepted, failed, phases.
    server: Vec<String>,
    connections: BTreeMap<u64, Vec<String>>,
    ended: Vec<Ended>,
}

impl Notes {
    fn of<T>(&self, look: impl FnOnce(&Written) -> T) -> T {
        look(&self.0.lock().unwrap())
    }

    fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().server.push(line.into());
    }

    fn write_of(&self, connection: &TlsConnection, line: impl Into<String>) {
        let mut written = self.0.lock().unwrap();
        let lines = written.connections.entry(connection.id()).or_default();
        lines.push(line.into());
    }

    fn server(&self) -> Vec<String> {
        self.of(|written| written.server.clone())
    }

    fn phases(&self) -> Vec<String> {
        let mut lines = self.server();
        lines.retain(|line| line.starts_with("phase"));
        lines
    }

    /// Of each connection one line, in the order in which they were accepted.
    fn connections(&self) -> Vec<String> {
        self.of(|written| {
            written
                .connections
                .values()
                .map(|of| of.join(", "))
                .collect()
        })
    }

    /// Waits until just this has been told of connections.
    fn are(&self, expected: &[&str]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|of| of.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let ends = |lines: &Vec<String>| {
            let ended = |line: &&String| line.contains("ended");
            lines.iter().filter(ended).count() == expected.len()
        };
        until(|| self.connections(), ends);
        assert_eq!(self.connections(), expected);
    }

    /// How the only one ended.
    fn ended(&self) -> Ended {
        until(
            || self.of(|written| written.ended.clone()),
            |of| !of.is_empty(),
        )[0]
    }
}

impl Observer for Notes {
    fn accepted(&self, peer: Option<SocketAddr>) {
        assert!(peer.is_some());
        self.write("accepted");
    }

    fn handshake_failed(&self, failed: &HandshakeFailed<'_>) {
        assert!(
            failed.peer.is_some() && failed.took < PATIENCE,
            "{failed:?}"
        );
        self.write(format!("failed {}", failed.error.reason()));
    }

    fn established(&self, connection: &TlsConnection) {
        assert!(connection.handshake_time() > Duration::ZERO);
        self.write_of(connection, "established");
    }

    fn request(&self, connection: &TlsConnection) {
        self.write_of(connection, "request");
    }

    fn closing(&self, connection: &TlsConnection, cause: Cause) {
        self.write_of(connection, format!("closing {cause}"));
    }

    fn ended(&self, connection: &TlsConnection, ended: &Ended) {
        let Ended {
            cause,
            outcome,
            requests,
            requests_in_flight,
            ..
        } = ended;
        let line = format!("ended {cause} {outcome} {requests} {requests_in_flight}");
        self.write_of(connection, line);
        self.0.lock().unwrap().ended.push(*ended);
    }

    fn phase(&self, phase: Phase) {
        self.write(format!("phase {phase:?}"));
    }
}

/// A server that is observed, with a keep-alive time-out and a deadline that come soon.
fn observed(server: (&'static str, Serve), version: Version) -> (Served, Notes) {
    let notes = Notes::default();
    let observer = notes.clone();
    let served = Served::start(server, version, app(), |of| {
        of.observer(observer).shutdown_timeout(500 * MS)
    });
    (served, notes)
}

#[test]
fn an_http2_client_that_leaves_its_answer_behind_has_abandoned_it() {
    everywhere(|server, version| {
        let (served, notes) = observed(server, version);
        let mut h2 = served.h2();
        h2.get("/silent").unwrap();
        until(|| served.tls().stats(), |of| of.requests_in_flight == 1);
        h2.conn.send_close_notify().unwrap();
        h2.conn.close().unwrap();
        notes.are(&["established, request, closing abandoned, ended abandoned aborted 1 1"]);
    });
}
