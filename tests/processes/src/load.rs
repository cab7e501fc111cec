//! The load generator, and what it has counted.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{example, kill};

/// Clients at work; they are told to stop by [`finish`](Self::finish).
pub struct Load {
    child: Child,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// One load at a time: latencies of seconds say nothing of a server.
static TURN: Mutex<()> = Mutex::new(());

/// What became of the requests.
pub struct Totals {
    pub json: Value,
    /// The requests that were answered.
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub struct Sample {
    pub kind: String,
    /// When it ended, since the epoch.
    pub at: Duration,
    pub took: Duration,
}

impl Load {
    pub fn start(addr: SocketAddr, options: &[&str]) -> Self {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(example("load"))
            .arg(format!("https://{addr}"))
            .args(["--seconds", "86400", "--quiet", "--json"])
            .arg(folder.path().join("totals.json"))
            .arg("--samples")
            .arg(folder.path().join("samples.csv"))
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Connections are made, and the first requests sent.
        sleep(Duration::from_millis(300));
        Self {
            child,
            folder,
            _turn,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends no more requests, and waits for what is in flight.
    pub fn finish(mut self) -> Totals {
        kill("TERM", self.child.id());
        self.child.wait().unwrap();
        let json = fs::read_to_string(self.path("totals.json")).expect("the load has totals");
        let samples = fs::read_to_string(self.path("samples.csv")).unwrap();
        Totals {
            json: serde_json::from_str(&json).unwrap(),
            samples: samples.lines().skip(1).filter_map(sample).collect(),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Totals {
    pub fn count(&self, what: &str) -> u64 {
        self.json[what].as_u64().unwrap()
    }

    /// Everything was answered whole, and every connection ended properly.
    pub fn is_lossless(&self) -> bool {
        self.count("lost") == 0
            && self.count("resets") == 0
            && self.count("without_close_notify") == 0
            && self.count("requests") > 0
    }

    /// What went wrong, without the time line.
    pub fn story(&self) -> String {
        let mut json = self.json.clone();
        if let Some(object) = json.as_object_mut() {
            object.remove("timeline");
            object.remove("kinds");
        }
        format!("{json:#}")
    }
}

fn sample(line: &str) -> Option<Sample> {
    let fields: Vec<_> = line.splitn(4, ',').collect();
    let [at, took, "0", kind] = fields[..] else {
        return None;
    };
    Some(Sample {
        kind: kind.to_owned(),
        at: Duration::from_millis(at.parse().ok()?),
        took: Duration::from_micros(took.parse().ok()?),
    })
}

/// The time, on the clock of the samples.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
