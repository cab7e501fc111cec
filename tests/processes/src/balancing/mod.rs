//! Runs two servers behind a balancer, all as processes of their own: the testbed (or the bare
//! server of the example `restart`, to compare with) behind HAProxy or nginx, with the very
//! configuration files of `examples/behind_a_balancer`.
//!
//! `backend` is one of the two servers; `balancer` the process in front, and what it says of them.

pub mod backend;
pub mod balancer;
mod haproxy;
mod nginx;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::atomic::{AtomicU16, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::SOON;
use backend::{Backend, Server};
use balancer::{Balancer, Kind};

/// Two servers and what is in front of them.
pub struct Farm {
    pub addr: SocketAddr,
    backends: [Backend; 2],
    balancer: Balancer,
    folder: TempDir,
}

impl Farm {
    /// Starts all three and waits until they serve.
    pub fn start(kind: Kind, server: Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path());
        let ports = [free_port(), free_port(), free_port()];
        let [front, a, b] = ports;
        let backends = [("a", a), ("b", b)]
            .map(|(name, port)| Backend::start(name, server, port, folder.path()));
        let balancer = Balancer::start(kind, folder.path(), &ports);
        let addr = ([127, 0, 0, 1], front).into();
        let farm = Self {
            addr,
            backends,
            balancer,
            folder,
        };
        farm.wait_until_used("a");
        farm.wait_until_used("b");
        farm
    }

    /// Restarts the one or the other server, in turn, and waits until the balancer uses it again.
    pub fn restart(&mut self, number: usize) {
        let backend = &mut self.backends[number % 2];
        backend.restart(self.folder.path());
        let name = backend.name;
        self.wait_until_used(name);
    }

    /// How often the balancer has sent a request, or tried to, to more than one server.
    pub fn retries(&self) -> u64 {
        self.balancer.retries(self.folder.path())
    }

    /// What all of them have said.
    pub fn said(&self) -> String {
        ["a.log", "b.log", "balancer.log", "error.log"]
            .map(|name| {
                let said = fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
                let tail: Vec<_> = said.lines().rev().take(20).collect();
                let tail: Vec<_> = tail.into_iter().rev().collect();
                format!("--- {name}\n{}\n", tail.join("\n"))
            })
            .concat()
    }

    fn wait_until_used(&self, server: &str) {
        wait(
            || self.balancer.uses(self.folder.path(), server),
            || format!("{server} is not used:\n{}", self.said()),
        );
    }
}

/// Waits until something is so.
fn wait(is_so: impl Fn() -> bool, why: impl Fn() -> String) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "{}", why());
        sleep(Duration::from_millis(20));
    }
}

/// A certificate for all three, which they also verify.
fn certify(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    fs::write(folder.join("server.crt"), made.cert.pem()).unwrap();
    fs::write(folder.join("server.key"), made.signing_key.serialize_pem()).unwrap();
}

/// A port that no connection gets by chance while the server on it is restarted: one below those
/// that Linux gives away.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 100) as u16 * 100;
    let mut ports = std::iter::repeat_with(|| base + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000);
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.expect("some port is free")
}
