//! The process in front.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{haproxy, nginx, wait};
use crate::{SOON, kill, root};

/// The ports in the configuration files: clients, and the two servers.
const PORTS: [&str; 3] = [":8443", ":9441", ":9442"];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// HAProxy, with HTTP/2 to the servers.
    HaproxyHttp2,
    /// HAProxy, with HTTP/1.1 to the servers.
    HaproxyHttp1,
    /// nginx, which has HTTP/1.1 to the servers.
    Nginx,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::HaproxyHttp2, Self::HaproxyHttp1, Self::Nginx];

    pub fn name(self) -> &'static str {
        match self {
            Self::HaproxyHttp2 => "haproxy-h2",
            Self::HaproxyHttp1 => "haproxy-h1",
            Self::Nginx => "nginx",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            _ => "haproxy",
        }
    }

    /// Whether it can be run here; where it can't, says so, also from a test that passes.
    pub fn is_installed(self) -> bool {
        let (program, found) = (self.program(), find(self.program()).is_some());
        if !found {
            let _ = writeln!(io::stderr(), "skipped: {program} is not installed");
        }
        found
    }

    fn config(self) -> (&'static str, String) {
        match self {
            Self::HaproxyHttp2 => ("haproxy.cfg", read("haproxy.cfg")),
            Self::HaproxyHttp1 => {
                let text = read("haproxy.cfg");
                let text = replaced(
                    &text,
                    "sni str(localhost) alpn h2,http/1.1",
                    "sni str(localhost) alpn http/1.1",
                );
                ("haproxy.cfg", text)
            }
            Self::Nginx => ("nginx.conf", read("nginx.conf")),
        }
    }
}

pub struct Balancer {
    kind: Kind,
    child: Child,
}

impl Balancer {
    pub fn start(kind: Kind, folder: &Path, ports: &[u16; 3]) -> Self {
        let (name, mut config) = kind.config();
        for (written, port) in PORTS.iter().zip(ports) {
            config = replaced(&config, written, &format!(":{port}"));
        }
        fs::write(folder.join(name), config).unwrap();
        let output = File::create(folder.join("balancer.log")).unwrap();
        let program = find(kind.program()).expect("it is installed");
        let mut command = Command::new(program);
        match kind {
            Kind::Nginx => nginx::arguments(&mut command, folder),
            _ => haproxy::arguments(&mut command, folder),
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let said = || fs::read_to_string(folder.join("balancer.log")).unwrap_or_default();
        wait(
            || TcpStream::connect(("127.0.0.1", ports[0])).is_ok(),
            || format!("{} does not listen: {}", kind.name(), said()),
        );
        Self { kind, child }
    }

    /// Whether it sends requests to this server.
    pub fn uses(&self, folder: &Path, server: &str) -> bool {
        match self.kind {
            Kind::Nginx => nginx::has_forgotten_failures(),
            _ => haproxy::is_up(folder, server),
        }
    }

    pub fn retries(&self, folder: &Path) -> u64 {
        match self.kind {
            Kind::Nginx => nginx::retries(folder),
            _ => haproxy::retries(folder),
        }
    }
}

impl Drop for Balancer {
    /// nginx has workers, which it ends itself.
    fn drop(&mut self) {
        kill("TERM", self.child.id());
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < SOON {
            sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(name: &str) -> String {
    let folder = root().join("examples/behind_a_balancer");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// What is not there can't be replaced.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in:\n{text}");
    text.replace(from, to)
}

/// Debian keeps both where users don't look.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let mut files = folders.map(|folder| folder.join(program));
    files.find(|file| file.is_file())
}
