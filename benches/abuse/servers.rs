//! A server in a process of its own, fresh for each attack, and what it weighs.
//!
//! Who there is says `endings`, which has the same servers; all get the same certificate.

use std::{fs, time::Duration};

use graceful_tls_probe::process::{Process, free_port};
use tempfile::TempDir;

use crate::{known::Server, rig::Error};

/// What all servers of a bench need.
#[derive(Debug)]
pub struct Yard {
    folder: TempDir,
}

/// A server at work; killed when dropped.
#[derive(Debug)]
pub struct Running {
    pub addr: std::net::SocketAddr,
    process: Process,
}

impl Yard {
    /// Builds the servers, which takes no time where they are up to date, and makes a certificate.
    pub fn new() -> Result<Self, Error> {
        processes::build(&["--example", "testbed", "--example", "peers"]);
        let folder = tempfile::tempdir()?;
        let made =
            rcgen::generate_simple_self_signed(["localhost", "127.0.0.1"].map(String::from))?;
        fs::write(folder.path().join("cert.pem"), made.cert.pem())?;
        fs::write(
            folder.path().join("key.pem"),
            made.signing_key.serialize_pem(),
        )?;
        Ok(Self { folder })
    }

    /// Starts a server, with so many descriptors for each of its processes; one of ours is told
    /// `ours` as well.
    pub fn start(&self, server: &Server, descriptors: u64, ours: &str) -> Result<Running, Error> {
        let command = self.command(server, descriptors, ours);
        // Somebody else may take the port that was free.
        let started = start(&command).or_else(|_| start(&command));
        Ok(started?)
    }

    fn command(&self, server: &Server, descriptors: u64, ours: &str) -> String {
        let Server {
            example, options, ..
        } = server;
        let ours = if *example == "testbed" { ours } else { "" };
        let program = processes::example(example);
        let (program, folder) = (program.display(), self.folder.path().display());
        format!(
            "prlimit --nofile={descriptors} '{program}' {options} {ours} \
             --port {{port}} --cert '{folder}/cert.pem' --key '{folder}/key.pem'"
        )
    }
}

fn start(command: &str) -> Result<Running, String> {
    let host = [127, 0, 0, 1];
    let addr = (host, free_port((host, 0).into())?).into();
    let process = Process::start(command, addr)?;
    Ok(Running { addr, process })
}

impl Running {
    /// Bytes resident, of all its processes, where what several share is shared out.
    pub fn memory(&self) -> u64 {
        family(self.process.pid()).into_iter().map(resident).sum()
    }

    /// Tells it to go, and gives whether it did so, by itself and in peace.
    pub fn stop(mut self, limit: Duration) -> bool {
        let told = self.process.signal("TERM").is_ok();
        let status = self.process.wait(limit);
        told && status.is_some_and(|status| status.success())
    }
}

/// A process and all below it.
fn family(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let children = tasks.flat_map(|task| {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = children.split_whitespace().flat_map(str::parse);
        pids.collect::<Vec<u32>>()
    });
    let mut all = vec![pid];
    all.extend(children.flat_map(family));
    all
}

fn resident(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse().ok())
        .map_or(0, |kib: u64| kib * 1024)
}
