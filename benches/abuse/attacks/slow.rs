//! slowhttptest, in its four modes.
//!
//! It takes any certificate. From time to time it looks by itself whether the server answers: that
//! is one connection more, mostly too short to be seen.

use std::process::Stdio;

use tokio::{process::Command, time::Instant};

use super::Target;
use crate::rig::Error;

#[derive(Clone, Copy, Debug)]
pub struct Mode {
    options: &'static str,
    path: &'static str,
}

pub const MODES: [(&str, &str, Mode); 4] = [
    (
        "slow-headers",
        "slowhttptest: slow headers",
        Mode {
            options: "-H -i 5 -x 24 -t GET",
            path: "/",
        },
    ),
    (
        "slow-body",
        "slowhttptest: slow body",
        Mode {
            options: "-B -i 5 -x 10 -s 8192 -t POST",
            path: "/echo-len",
        },
    ),
    (
        "slow-read",
        "slowhttptest: slow read",
        Mode {
            options: "-X -w 512 -y 1024 -n 5 -z 32 -k 3",
            path: "/bytes/1048576",
        },
    ),
    (
        "slow-range",
        "slowhttptest: ranges (Apache killer)",
        Mode {
            options: "-R -t GET -a 10 -b 3000",
            path: "/bytes/1048576",
        },
    ),
];

/// Whether it is there.
pub fn is_installed() -> bool {
    std::process::Command::new("slowhttptest")
        .arg("-h")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

pub async fn run(mode: Mode, target: Target) -> Result<(), Error> {
    let Target {
        addr, connections, ..
    } = target;
    let seconds = target.until.duration_since(Instant::now()).as_secs() + 2;
    let mut tool = Command::new("slowhttptest")
        .args(mode.options.split(' '))
        .args(["-c", &connections.to_string(), "-r", "100", "-p", "3"])
        .args(["-l", &seconds.to_string()])
        .args(["-u", &format!("https://{addr}{}", mode.path)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    // 0 is that its time was over, or that the server has ended all connections.
    match tool.wait().await? {
        status if status.success() => Ok(()),
        status => Err(format!("slowhttptest ended with {status}").into()),
    }
}
