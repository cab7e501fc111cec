//! One server, which keeps its port over restarts.

use std::{
    fmt,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::wait;
use crate::{SOON, example, kill};

/// What is behind the balancer.
#[derive(Clone, Copy, Debug)]
pub enum Server {
    /// The testbed, with this lame duck in milliseconds.
    Graceful(u64),
    /// hyper-util and its GracefulShutdown.
    Bare,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Graceful(ms) => write!(f, "graceful-tls (lame duck {ms} ms)"),
            Self::Bare => write!(f, "bare hyper-util"),
        }
    }
}

pub struct Backend {
    pub name: &'static str,
    server: Server,
    port: u16,
    child: Child,
}

impl Backend {
    pub fn start(name: &'static str, server: Server, port: u16, folder: &Path) -> Self {
        let child = start(name, server, port, folder);
        Self {
            name,
            server,
            port,
            child,
        }
    }

    /// Asks it to stop, waits until it has, and starts it anew.
    pub fn restart(&mut self, folder: &Path) {
        kill("TERM", self.child.id());
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < SOON, "{} does not stop", self.name);
            sleep(Duration::from_millis(5));
        }
        self.child = start(self.name, self.server, self.port, folder);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(name: &str, server: Server, port: u16, folder: &Path) -> Child {
    let log = folder.join(format!("{name}.log"));
    let output = File::create(&log).unwrap();
    let mut command = match server {
        Server::Graceful(lame_duck) => {
            let mut command = Command::new(example("testbed"));
            command.arg(format!("--port={port}"));
            command.arg(format!("--lame-duck-ms={lame_duck}"));
            command
        }
        Server::Bare => {
            let mut command = Command::new(example("restart_testbed"));
            command.arg(format!("--listen=127.0.0.1:{port}"));
            command.arg("--server=bare");
            command
        }
    };
    let child = command
        .args(["--shutdown-timeout-ms", "10000", "--cert"])
        .arg(folder.join("server.crt"))
        .arg("--key")
        .arg(folder.join("server.key"))
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(&log).unwrap_or_default();
    wait(
        || said().contains("listening on "),
        || format!("{name} does not listen: {}", said()),
    );
    child
}
