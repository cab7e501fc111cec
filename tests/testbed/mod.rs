//! Runs the testbed example as a process of its own, the way any outside judge would.

#![allow(dead_code)]

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

/// The servers that every test of the wire runs against: those that `TESTBED_SERVERS` names, with
/// commas between them, or `hyper`.
pub fn servers() -> Vec<&'static str> {
    static NAMED: OnceLock<String> = OnceLock::new();
    let named = NAMED.get_or_init(|| std::env::var("TESTBED_SERVERS").unwrap_or("hyper".into()));
    named.split(',').collect()
}

/// A running testbed; killed when dropped.
pub struct Testbed {
    pub addr: SocketAddr,
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

/// How a testbed exited.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    /// From the signal, or the call, to the exit.
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
}

impl Exit {
    /// The report: the last line printed.
    pub fn report(&self) -> &str {
        self.stdout.lines().last().unwrap_or("")
    }

    /// A number of the report, such as that before `clean`.
    pub fn count(&self, what: &str) -> u64 {
        let (before, _) = self.report().split_once(&format!(" {what}")).unwrap();
        before.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Testbed {
    /// Starts `server` with the given options and waits until it listens.
    pub fn start(server: &str, options: &[&str]) -> Self {
        Self::start_as(&mut Command::new(executable()), server, options)
    }

    /// The same, and each connection has a line in its log.
    pub fn start_talkative(server: &str, options: &[&str]) -> Self {
        let mut command = Command::new(executable());
        Self::start_as(
            command.env("RUST_LOG", "graceful_tls=debug"),
            server,
            options,
        )
    }

    /// The same with so few descriptors.
    pub fn start_with_descriptors(server: &str, descriptors: usize, options: &[&str]) -> Self {
        let script = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(executable());
        Self::start_as(&mut command, server, options)
    }

    fn start_as(command: &mut Command, server: &str, options: &[&str]) -> Self {
        let mut child = command
            .args(["--port", "0", "--server", server])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the testbed starts");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Some(addr) = line.trim().strip_prefix("listening on ") else {
            let _ = child.wait();
            panic!("the testbed said {line:?} and {}", stderr.join().unwrap());
        };
        let addr = addr.parse().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        });
        Self {
            addr,
            child,
            stdout: Some(stdout),
            stderr: Some(stderr),
        }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Lets the process do nothing, as if the machine were busy elsewhere, until it may go on.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Sends SIGUSR1, which calls a shutdown off.
    pub fn call_off(&self) {
        self.signal("USR1");
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id();
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the exit, at most `limit`.
    pub fn wait(mut self, limit: Duration) -> Exit {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < limit, "no exit within {limit:?}");
            sleep(Duration::from_millis(2));
        };
        Exit {
            status,
            took: begun.elapsed(),
            stdout: self.stdout.take().unwrap().join().unwrap(),
            stderr: self.stderr.take().unwrap().join().unwrap(),
        }
    }

    /// SIGTERM, and the exit.
    pub fn stop(self, limit: Duration) -> Exit {
        self.terminate();
        self.wait(limit)
    }

    /// What the process has used of the processor, in its own code and in the kernel.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name in brackets may contain anything; utime and stime are the 14th and 15th field.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
        // USER_HZ is 100 wherever Linux runs.
        Duration::from_millis(ticks * 10)
    }

    /// Descriptors that the process has open.
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).unwrap().count()
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the testbed with options that can't work; gives its exit and what it said.
pub fn refuse(options: &[&str]) -> (ExitStatus, String) {
    let output = Command::new(executable()).args(options).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status, said)
}

fn executable() -> &'static PathBuf {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    EXECUTABLE.get_or_init(|| processes::example("testbed"))
}
