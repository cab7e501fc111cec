//! A server that replaces itself, with the feature `restart`: the example `restart_testbed`.
//!
//! It runs from a copy in a folder of its own, so that a test can put something else in
//! its place before it restarts, as a deployment does.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{SOON, example, kill, lives};

/// On a busy machine a client may take longer than the default of 250 ms between two requests. A
/// POST that it sends when the lame duck is over is in doubt: HTTP/1.1 can't do better.
pub const PATIENT: [&str; 1] = ["--lame-duck-ms=1000"];

/// A server, by whichever process it is run; every one of them is killed when this is dropped.
pub struct Site {
    pub folder: TempDir,
    pub addr: SocketAddr,
    first: Child,
}

impl Site {
    /// Starts a server with the given options and waits until it listens.
    pub fn start(options: &[&str]) -> Self {
        Self::start_with(options, |command| command)
    }

    /// The same, with a hand on how the process is started.
    pub fn start_with(
        options: &[&str],
        prepare: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let folder = installed();
        let mut command = Command::new(folder.path().join("server"));
        command
            .args(["--listen", "127.0.0.1:0", "--pid-file"])
            .arg(folder.path().join("pid"))
            .args(PATIENT)
            .args(options)
            .stdout(output(folder.path()))
            .stderr(output(folder.path()));
        let first = prepare(&mut command).spawn().unwrap();
        let addr = ([127, 0, 0, 1], 0).into();
        let mut site = Self {
            folder,
            addr,
            first,
        };
        let said = site.wait_for("listening on ");
        site.addr = words_after(&said, "listening on ")[0].parse().unwrap();
        site
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// All that every process of it has said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.path("output")).unwrap_or_default()
    }

    /// Waits until something has been said; gives all of it.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_times(text, 1)
    }

    pub fn wait_for_times(&self, text: &str, times: usize) -> String {
        let begun = Instant::now();
        loop {
            let said = self.said();
            if said.matches(text).count() >= times {
                return said;
            }
            assert!(begun.elapsed() < SOON, "no {text:?} in:\n{said}");
            sleep(Duration::from_millis(10));
        }
    }

    /// The process that serves.
    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.path("pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// Sends a signal, such as `USR2`, to the process that serves.
    pub fn signal(&self, signal: &str) {
        kill(signal, self.pid());
    }

    /// Waits until it has been replaced so many times, and everybody knows.
    pub fn is_replaced(&self, times: usize) {
        self.wait_for_times("the new process serves", times);
        self.wait_for_times("listening on ", times + 1);
    }

    /// Restarts, and waits until the old process has gone; its number and the new one's.
    pub fn restart(&self) -> (u32, u32) {
        let old = self.pid();
        let ready = self.said().matches("listening on ").count();
        kill("USR2", old);
        self.wait_for_times("listening on ", ready + 1);
        self.wait_gone(old);
        (old, self.pid())
    }

    /// Waits until a process has exited.
    pub fn wait_gone(&self, pid: u32) {
        let begun = Instant::now();
        while lives(pid) {
            assert!(begun.elapsed() < SOON, "{pid} lives on:\n{}", self.said());
            sleep(Duration::from_millis(10));
        }
    }

    /// Puts a shell script in the server's place. It passes the check, and runs `body` as the new
    /// process, where `$0.real` is the server.
    pub fn replace(&self, body: &str) {
        let script =
            format!("#!/bin/sh\n[ \"$GRACEFUL_TLS_CHECK\" ] && exit 0\ncd \"${{0%/*}}\"\n{body}\n");
        self.replace_by(script.as_bytes(), 0o755);
    }

    /// Puts a file in the server's place.
    ///
    /// Another process writes it: a file that this one has open for writing could not be run, as
    /// long as the child of another test inherits it.
    pub fn replace_by(&self, content: &[u8], mode: u32) {
        let script = format!("cat > new && chmod {mode:o} new && mv -f new server");
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(content).unwrap();
        assert!(shell.wait().unwrap().success());
    }

    /// Puts the server back in its place.
    pub fn repair(&self) {
        fs::hard_link(self.path("server.real"), self.path("new")).unwrap();
        fs::rename(self.path("new"), self.path("server")).unwrap();
    }

    /// A restart that fails for the reason given; the process that serves is still the same.
    pub fn fails_to_restart(&self, why: &str) {
        let pid = self.pid();
        let failed = self.said().matches("restart failed").count();
        kill("USR2", pid);
        let said = self.wait_for_times("restart failed, this process goes on serving", failed + 1);
        let line = said.lines().rfind(|line| line.contains("restart failed"));
        assert!(line.unwrap().contains(why), "{said}");
        assert_eq!(self.pid(), pid, "{said}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let said = self.said();
        let pids = words_after(&said, "(pid ");
        for pid in pids
            .iter()
            .filter_map(|pid| pid.trim_end_matches(')').parse().ok())
        {
            if lives(pid) {
                kill("KILL", pid);
            }
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

/// The word behind each occurrence of `text`.
pub fn words_after(said: &str, text: &str) -> Vec<String> {
    let rests = said.split(text).skip(1);
    rests
        .filter_map(|rest| Some(rest.split_whitespace().next()?.to_owned()))
        .collect()
}

/// A folder with the server in it, as `server` and as `server.real`.
pub fn installed() -> TempDir {
    // On the disk of the example, so that a link is enough.
    let restart = example("restart_testbed");
    let folder = tempfile::tempdir_in(restart.parent().unwrap()).unwrap();
    for name in ["server", "server.real"] {
        fs::hard_link(&restart, folder.path().join(name)).unwrap();
    }
    folder
}

/// What all the processes of a site write to.
pub fn output(folder: &Path) -> File {
    let path = folder.join("output");
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
}
