//! Servers in processes of their own, and what they spend.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use benches::{apart, strace};

use crate::rig::{Error, FILES, Kind};

/// Who is measured.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub name: &'static str,
    start: Start,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    /// This program, once more.
    Rig(Kind),
    /// The example `peers`.
    Peer(&'static str),
}

/// What the others are compared with.
pub const BARE: &str = Kind::Bare.name();

/// The first [`CROWDED`] of them are measured beside crowds too.
pub const SERVERS: [Who; 7] = [
    Who::rig(Kind::Graceful),
    Who::rig(Kind::Bare),
    Who::rig(Kind::AxumServer),
    Who::peer("actix-web", "actix-web"),
    Who::peer("nginx", "nginx"),
    Who::peer("Go", "go"),
    Who::rig(Kind::Drained),
];

/// It is only measured where `--servers` names it.
pub const ASKED_FOR: &str = Kind::Drained.name();

pub const CROWDED: usize = 3;

/// So long it has to have used next to nothing of its processor.
const SETTLED: Duration = Duration::from_millis(100);

impl Who {
    const fn rig(kind: Kind) -> Self {
        let (name, start) = (kind.name(), Start::Rig(kind));
        Self { name, start }
    }

    const fn peer(name: &'static str, option: &'static str) -> Self {
        let start = Start::Peer(option);
        Self { name, start }
    }
}

/// It ends when this is dropped.
pub struct Server {
    pub name: &'static str,
    pub addr: SocketAddr,
    process: Child,
}

impl Server {
    /// Starts `who` with the certificate in `folder`: with one worker on the first processor where there are
    /// two, or with so many `workers` on all of them.
    pub fn start(who: Who, folder: &Path, workers: Option<usize>) -> Result<Self, Error> {
        let mut command = match workers {
            Some(_) => Command::new("env"),
            None => on_processor(0),
        };
        match who.start {
            Start::Rig(kind) => command.arg(std::env::current_exe()?).args(apart::words(
                kind,
                folder,
                workers.unwrap_or(1),
            )?),
            Start::Peer(_) if workers.is_some() => return Err("it has one worker".into()),
            Start::Peer(name) => {
                let [cert, key] = FILES.map(|file| folder.join(file));
                let peers = command.arg(processes::example("peers"));
                let peers = peers.args(["--port", "0", "--server", name]);
                // The others close no connection that is in use.
                let peers = peers.args(["--keepalive-requests", "1000000000"]);
                peers.arg("--cert").arg(cert).arg("--key").arg(key)
            }
        };
        let (process, addr) = apart::start(command)?;
        let name = who.name;
        Ok(Self {
            name,
            addr,
            process,
        })
    }

    /// What its processes have used of a processor so far, in the kernel too.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in tasks(self.process.id())? {
            // A thread may be gone by now.
            let text = fs::read_to_string(task + "/schedstat").unwrap_or_default();
            nanos += text.split(' ').next().map_or(0, |n| n.parse().unwrap_or(0));
        }
        Ok(Duration::from_nanos(nanos))
    }

    /// Waits until it has nothing to do, or for some seconds.
    pub fn settle(&self) -> io::Result<()> {
        let mut before = self.cpu()?;
        for _ in 0..50 {
            std::thread::sleep(SETTLED);
            let now = self.cpu()?;
            if now - before < SETTLED / 50 {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// The system calls that it makes while `load` runs.
    pub fn calls<T>(&self, load: impl FnOnce() -> Result<T, Error>) -> Result<(f64, T), Error> {
        let summary = tempfile::NamedTempFile::new()?;
        let family = family(self.process.id())?;
        let mut command = strace::command(summary.path());
        command.args(
            family
                .iter()
                .flat_map(|pid| ["-p".to_owned(), pid.to_string()]),
        );
        let mut tracer = command.stderr(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(tracer.stderr.take().ok_or("no output")?).lines();
        for _ in family {
            let line = said.next().ok_or("strace says nothing")??;
            if !line.contains(" attached") {
                tracer.wait()?;
                return Err(line.into());
            }
        }
        let done = load();
        processes::kill("INT", tracer.id());
        tracer.wait()?;
        Ok((strace::read(summary.path())?.values().sum(), done?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ours end with their input, the others at this.
        drop(self.process.stdin.take());
        processes::kill("TERM", self.process.id());
        let _ = self.process.wait();
    }
}

/// `command` on that processor alone, where there are several.
fn on_processor(number: usize) -> Command {
    let several = std::fs::exists("/usr/bin/taskset").unwrap_or(false) && processors() > 1;
    let mut command = Command::new(if several { "taskset" } else { "env" });
    if several {
        command.args(["-c", &number.to_string()]);
    }
    command
}

/// Leaves the first processor to the servers: before this process has other threads.
pub fn make_way() -> io::Result<()> {
    let (last, own) = (processors() - 1, std::process::id().to_string());
    if last > 0 {
        let mut command = Command::new("taskset");
        let said = command.args(["-cp", &format!("1-{last}"), &own]).output()?;
        if !said.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&said.stderr)));
        }
    }
    Ok(())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A process and those that it has started.
fn family(pid: u32) -> io::Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(pid) = all.get(at) {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let children = fs::read_to_string(task?.path().join("children"))?;
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
        at += 1;
    }
    Ok(all)
}

/// The folders of all their threads.
fn tasks(pid: u32) -> io::Result<Vec<String>> {
    let mut tasks = Vec::new();
    for pid in family(pid)? {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            tasks.push(task?.path().display().to_string());
        }
    }
    Ok(tasks)
}
