//! A server that the probe starts itself, and of which nothing is left behind: neither when the
//! probe is done nor when it is interrupted, panics or is killed.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// How long a server may take until it accepts connections.
const START: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

/// A process group with a server in it; killed when dropped.
#[derive(Debug)]
pub struct Process {
    shell: Child,
    /// Kills the group as soon as the probe's end of its standard input is closed, whatever closes
    /// it.
    watchdog: Child,
    last_words: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts a server and waits until it accepts connections on `addr`.
    pub fn start(command: &str, addr: SocketAddr) -> Result<Self, String> {
        let named = |what: &str| format!("--start '{command}': {what}");
        if is_listening(addr) {
            return Err(named(&format!("something listens on {addr} already")));
        }
        let command = command.replace("{port}", &addr.port().to_string());
        let mut process = Self::spawn(&command).map_err(|error| named(&error.to_string()))?;
        let begun = Instant::now();
        while !is_listening(addr) {
            if let Ok(Some(status)) = process.shell.try_wait() {
                let words = process.last_words();
                return Err(named(&format!(
                    "that ended, {status}, instead of staying in the \
                                           foreground and listening on {addr}{words}"
                )));
            }
            if begun.elapsed() > START {
                let seconds = START.as_secs();
                return Err(named(&format!(
                    "nothing listens on {addr} after {seconds} s"
                )));
            }
            sleep(LOOK);
        }
        Ok(process)
    }

    fn spawn(command: &str) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let last_words = shell
            .stderr
            .take()
            .map(|stderr| spawn(move || last_line(stderr)));
        let guard = format!("read _; kill -s KILL -- -{}", shell.id());
        let watchdog = Command::new("sh")
            .args(["-c", &guard])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match watchdog {
            Ok(watchdog) => Ok(Self {
                shell,
                watchdog,
                last_words,
            }),
            Err(error) => {
                let _ = kill("KILL", &format!("-{}", shell.id()));
                Err(error)
            }
        }
    }

    /// Sends a signal to the server, not to the shell that may stand before it.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        kill(name, &self.pid().to_string())
    }

    /// The server's process, not that of the shell that may stand before it.
    pub fn pid(&self) -> u32 {
        below_shells(self.shell.id())
    }

    /// Waits for the exit, so long at most.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            match self.shell.try_wait() {
                Ok(Some(status)) => return Some(status),
                _ if begun.elapsed() >= limit => return None,
                _ => sleep(LOOK),
            }
        }
    }

    fn last_words(&mut self) -> String {
        let words = self.last_words.take().and_then(|thread| thread.join().ok());
        words
            .filter(|words| !words.is_empty())
            .map_or(String::new(), |words| format!(": {words}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The server first, so that its shell can still see to its remains.
        let _ = self.signal("KILL");
        self.wait(Duration::from_millis(500));
        let _ = kill("KILL", &format!("-{}", self.shell.id()));
        let _ = self.shell.wait();
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

/// Whether something accepts connections there.
pub fn is_listening(addr: SocketAddr) -> bool {
    let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(2));
    // A client whose own port is the one it asks for meets itself.
    stream.is_ok_and(|stream| stream.local_addr().is_ok_and(|local| local != addr))
}

/// A port that nothing listens on, another one each time, and no other probe's.
///
/// It is none of those that the kernel gives to clients: one of those may be taken by the time the
/// server wants it, and whoever looks whether anything listens there may meet itself.
pub fn free_port(like: SocketAddr) -> Result<u16, String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let ports = (0..PORTS.len()).map(|_| NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u16);
    let mut free = ports
        .map(|port| PORTS.start + port)
        .filter(|port| reserve(*port) && TcpListener::bind((like.ip(), *port)).is_ok());
    let none = || format!("no free port from {} to {}", PORTS.start, PORTS.end);
    free.next().ok_or_else(none)
}

const PORTS: Range<u16> = 10_000..30_000;

/// Takes a port for this probe, for as long as it runs: a socket's name is there for one process
/// only, on all of this machine.
#[cfg(target_os = "linux")]
fn reserve(port: u16) -> bool {
    use std::os::{linux::net::SocketAddrExt, unix::net};

    static RESERVED: Mutex<Vec<net::UnixListener>> = Mutex::new(Vec::new());
    let name = format!("graceful-tls probe, port {port}");
    let addr = net::SocketAddr::from_abstract_name(name);
    let reserved = addr.and_then(|addr| net::UnixListener::bind_addr(&addr));
    let mut all = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
    reserved.map(|socket| all.push(socket)).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn reserve(_: u16) -> bool {
    true
}

fn kill(signal: &str, whom: &str) -> io::Result<()> {
    let script = format!("kill -s {signal} -- {whom}");
    let output = Command::new("sh").args(["-c", &script]).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).trim().to_string(),
        )),
    }
}

/// The process below this one, as long as this is a shell that only waits for it.
fn below_shells(pid: u32) -> u32 {
    let read = |file: String| fs::read_to_string(file).unwrap_or_default();
    let name = read(format!("/proc/{pid}/comm"));
    let children = read(format!("/proc/{pid}/task/{pid}/children"));
    let mut children = children.split_whitespace();
    match (name.trim(), children.next(), children.next()) {
        ("sh" | "dash" | "bash", Some(child), None) => child.parse().map_or(pid, below_shells),
        _ => pid,
    }
}

/// The last line of what a server writes until it is gone. It is read all the time, so that the
/// server is never held up.
fn last_line(stderr: ChildStderr) -> String {
    let mut last = String::new();
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim().to_string();
        if !line.is_empty() {
            last = line;
        }
    }
    last
}
