//! Runs the probe on each server, a few at a time, and says how far it is.

use std::{
    collections::VecDeque,
    fs,
    io::{self, IsTerminal, Write},
    process::Command,
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Error, Places,
    run::{Run, Verdict},
    servers::Server,
};

/// More at once would have the servers wait for a processor, and not the client for a server.
const AT_ONCE: usize = 2;

/// In seconds: Apache httpd lets go of a silent client after 91 s, 30 of which the kernel holds it.
const PATIENCE: &str = "135";

enum News {
    Begun(&'static str),
    Ended(&'static str, Result<String, String>),
}

/// Probes them all and writes what is found. Gives whether each of them could be probed; one that
/// is not installed need not be.
pub fn all(servers: &[&'static Server], places: &Places) -> Result<bool, Error> {
    let queue: Mutex<VecDeque<_>> = Mutex::new(servers.iter().copied().collect());
    let next = || queue.lock().ok()?.pop_front();
    let (sender, receiver) = mpsc::channel();
    println!(
        "{} servers, {AT_ONCE} at a time, about 140 s each",
        servers.len()
    );
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(server) = next() {
                    let _ = sender.send(News::Begun(server.name));
                    let found = probe(server, places);
                    let _ = sender.send(News::Ended(server.name, found));
                }
            });
        }
        drop(sender);
        Ok(tell(&receiver, servers.len()))
    })
}

/// A line for each that is done, and in a terminal one below that moves.
fn tell(news: &mpsc::Receiver<News>, all: usize) -> bool {
    let (begun, moves) = (Instant::now(), io::stdout().is_terminal());
    let (mut running, mut done, mut fine) = (Vec::new(), 0, true);
    loop {
        match news.recv_timeout(Duration::from_secs(1)) {
            Ok(News::Begun(name)) => running.push(name),
            Ok(News::Ended(name, found)) => {
                running.retain(|other| *other != name);
                done += 1;
                fine &= found
                    .as_ref()
                    .map_or_else(|why| why.contains("not installed"), |_| true);
                let what = found.unwrap_or_else(|why| format!("not probed: {why}"));
                println!("{}{name}: {what}", if moves { "\r\x1b[K" } else { "" });
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return fine,
        }
        if moves {
            let seconds = begun.elapsed().as_secs();
            print!(
                "\r\x1b[K{done} of {all} done, {seconds} s: {}",
                running.join(" and ")
            );
            let _ = io::stdout().flush();
        }
    }
}

/// Probes one server, and gives what to say of it.
fn probe(server: &Server, places: &Places) -> Result<String, String> {
    let example = processes::example(server.example);
    let start = format!("'{}' {} --port {{port}}", example.display(), server.options);
    let output = Command::new(processes::probe())
        .args(["https://127.0.0.1:0", "--json", "--testbed"])
        .args(["--patience", PATIENCE, "--name", server.name])
        .args(["--start", &start])
        .output()
        .map_err(|error| format!("the probe can't be started: {error}"))?;
    // 1 is a verdict on the server; anything else but 0 is that nothing could be seen.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let errors = String::from_utf8_lossy(&output.stderr);
        // What the server says of itself stands behind what the probe says of the server.
        let why = errors.trim().rsplit("error: ").next();
        return Err(why.unwrap_or_default().into());
    }
    let run: Run = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let compact = serde_json::to_string(&run).map_err(|error| error.to_string())?;
    fs::write(places.result(server), compact + "\n").map_err(|error| error.to_string())?;
    Ok(summary(&run))
}

fn summary(run: &Run) -> String {
    let count = |verdict| {
        run.endings
            .iter()
            .filter(|ending| ending.verdict == verdict)
            .count()
    };
    format!(
        "{} proper, {} allowed, {} lost, {} untrue, {} hang, {} not seen; {} s",
        count(Verdict::Proper),
        count(Verdict::Allowed),
        count(Verdict::Lost),
        count(Verdict::Untrue),
        count(Verdict::Hang),
        count(Verdict::Skipped),
        run.took_ms / 1000,
    )
}
