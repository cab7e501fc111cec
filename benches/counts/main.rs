//! Instructions and system calls per request: `cargo bench --bench counts`. Needs valgrind, and strace.
//!
//! Time on a shared machine is noise; what callgrind counts is the same at every run, but for large answers,
//! of which a socket takes now more at once, now less. One thread runs server and client over loopback TLS.
//! Callgrind stops counting while the client is polled (see `poll_uncounted`), so that what is left is the server, tokio's scheduler and its epoll.
//! Every scenario runs twice, with few and with many requests: the difference is what the requests
//! cost, without the start. `calls` counts system calls, in two processes and by strace.
//!
//! `-- --check` compares with the limits below and fails where one is passed. They leave 1 to 4 %
//! for another processor and other versions of dependencies: noise they need not bear. `-- --calls` counts
//! system calls alone.

mod calls;
mod client;

use std::{
    process::{Command, ExitCode},
    task::Poll,
    thread,
    time::Duration,
};

use benches::{apart, rig};
use clap::Parser;
use client::Work;
use rig::{Certificate, Error, Kind};
use tokio::net::TcpListener;

struct Scenario {
    name: &'static str,
    title: &'static str,
    work: Work,
    /// Requests of the short run and of the long one. Small ones need a run-up, for hyper's first
    /// buffer lasts for some hundred heads.
    requests: [u64; 2],
    /// How many instructions, ours over bare, a request may cost.
    limit: f64,
    /// How many system calls of ours a request may cost; `None` where they are not counted.
    calls: Option<f64>,
    /// The log is kept at `info`.
    logs: bool,
}

const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "http1-small",
        title: "HTTP/1.1 keep-alive, 6 bytes",
        work: Work::keep_alive("http/1.1", "/"),
        requests: [400, 1400],
        // Reading along costs about 1,000; bare reads no framing, and has a timer a request instead.
        // Time-outs, noise and when a connection became idle cost 0.4 %, and bare hyper varies by 0.2 %
        // from one build to the next. That it can be parked costs 30, a tenth of a percent.
        limit: 1.035,
        calls: Some(3.1),
        logs: false,
    },
    Scenario {
        name: "http1-mib",
        title: "HTTP/1.1 keep-alive, 1 MiB",
        work: Work::keep_alive("http/1.1", "/bytes/1048576"),
        requests: [4, 24],
        limit: 1.02,
        calls: Some(19.6),
        logs: false,
    },
    Scenario {
        name: "http2-small",
        title: "HTTP/2, 6 bytes",
        work: Work::keep_alive("h2", "/"),
        requests: [400, 1400],
        // The stream has no task, and the connection is polled once.
        limit: 1.00,
        calls: Some(3.1),
        logs: false,
    },
    Scenario {
        name: "http2-waits",
        title: "HTTP/2, 6 bytes after 1 ms",
        work: Work::keep_alive("h2", "/sleep/1"),
        requests: [400, 1400],
        // It has one, after a poll that was in vain.
        limit: 1.09,
        calls: None,
        logs: false,
    },
    Scenario {
        name: "http2-mib",
        title: "HTTP/2, 1 MiB",
        work: Work::keep_alive("h2", "/bytes/1048576"),
        requests: [4, 24],
        limit: 1.02,
        calls: Some(21.0),
        logs: false,
    },
    Scenario {
        name: "full-handshake",
        title: "one request a connection, full handshake",
        work: Work::one_per_connection(false),
        requests: [10, 60],
        limit: 1.025,
        // It is 27 to 29 where nobody else is at work. How often it waits, and is woken for a timer, depends on who is
        // faster.
        calls: Some(30.0),
        logs: false,
    },
    Scenario {
        name: "resumed",
        title: "one request a connection, resumed",
        work: Work::one_per_connection(true),
        requests: [10, 60],
        limit: 1.025,
        // 26 to 27, as above.
        calls: Some(29.0),
        logs: false,
    },
    Scenario {
        name: "http1-logged",
        title: "HTTP/1.1, 6 bytes, log at info",
        work: Work::keep_alive("http/1.1", "/"),
        requests: [400, 1400],
        // What handlers say would fall under a span, which is entered at each poll.
        limit: 1.09,
        calls: None,
        logs: true,
    },
    Scenario {
        name: "http2-logged",
        title: "HTTP/2, 6 bytes, log at info",
        work: Work::keep_alive("h2", "/"),
        requests: [400, 1400],
        limit: 1.03,
        calls: None,
        logs: true,
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let served = apart::is_server().map(|served| served.map(|()| true));
    let result = served.unwrap_or_else(|| match words.split_first() {
        Some((word, words)) if word == "--run" => run(words).map(|()| true),
        _ => compare(),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::from(2)
        }
    }
}

/// Counts instructions and system calls per request.
#[derive(Debug, Parser)]
#[command(name = "counts")]
struct Options {
    /// The exit status is 1 where a limit is passed
    #[arg(long)]
    check: bool,

    /// System calls alone
    #[arg(long)]
    calls: bool,

    /// cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

/// Prints the tables; whether every limit was kept, where that was asked for.
fn compare() -> Result<bool, Error> {
    let options = Options::parse();
    let counted = options.calls || instructions()?;
    let called = calls::compare()?;
    Ok(counted && called || !options.check)
}

fn instructions() -> Result<bool, Error> {
    println!(
        "{:<42} {:>9} {:>9} {:>7} {:>9} {:>7} {:>6}",
        "instructions per request", "ours", "bare", "ratio", "watched", "ratio", "limit"
    );
    let mut kept = true;
    for scenario in &SCENARIOS {
        let ours = scenario.per_request(Kind::Graceful)?;
        let bare = scenario.per_request(Kind::Bare)?;
        let watched = scenario.per_request(Kind::Watched)?;
        let passed = ours / bare > scenario.limit;
        kept &= !passed;
        println!(
            "{:<42} {ours:>9.0} {bare:>9.0} {:>7.4} {watched:>9.0} {:>7.4} {:>6.2}{}",
            scenario.title,
            ours / bare,
            ours / watched,
            scenario.limit,
            if passed { "  PASSED" } else { "" },
        );
    }
    Ok(kept)
}

impl Scenario {
    fn per_request(&self, kind: Kind) -> Result<f64, Error> {
        let [few, many] = self.requests;
        // At once: who else is at work is not counted.
        let (less, more) = thread::scope(|scope| {
            let less = scope.spawn(|| self.count(kind, few));
            let more = self.count(kind, many);
            (less.join(), more)
        });
        let less = less.map_err(|_| "a run under valgrind was not counted")?;
        Ok((more? - less?) / (many - few) as f64)
    }

    /// The instructions of a whole run.
    fn count(&self, kind: Kind, requests: u64) -> Result<f64, Error> {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            // In this order: the first implies that nothing is counted at the start.
            .args(["--toggle-collect=*poll_uncounted*", "--collect-atstart=yes"])
            .arg(std::env::current_exe()?)
            .args(["--run", self.name, kind.name(), &requests.to_string()])
            // Else malloc gives memory back to the kernel by a history of its own.
            .env("MALLOC_TRIM_THRESHOLD_", (1 << 30).to_string())
            .output()
            .map_err(|error| {
                format!("valgrind can't be run ({error}): install it (apt-get install valgrind)")
            })?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("the run under valgrind failed:\n{said}").into());
        }
        let collected = said
            .lines()
            .find_map(|line| line.split_once("Collected : "))
            .and_then(|(_, count)| count.trim().parse().ok());
        collected.ok_or_else(|| format!("valgrind gave no count:\n{said}").into())
    }
}

/// The work itself, under valgrind: a scenario, who serves, and how many requests.
fn run(words: &[String]) -> Result<(), Error> {
    let [name, kind, requests, ..] = words else {
        return Err("--run SCENARIO KIND REQUESTS".into());
    };
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let &Scenario { work, logs, .. } = scenario.ok_or("there is no such scenario")?;
    let kind = Kind::named(kind).ok_or("there is no such server")?;
    let requests = requests.parse()?;
    if logs {
        // At `info`, as it is by default.
        tracing_subscriber::fmt().with_writer(std::io::sink).init();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let certificate = Certificate::new()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let _serving = certificate.serve(kind, listener)?;
        // Every real service has some timer, and with the first one tokio begins to look at the
        // clock each time it waits.
        tokio::spawn(tokio::time::sleep(Duration::from_secs(3600)));
        client::uncounted(work.run(addr, &certificate, requests)).await
    })
}

/// Callgrind stops counting where it enters this function, and goes on where it leaves it.
#[inline(never)]
fn poll_uncounted(poll: &mut dyn FnMut() -> Poll<()>) -> Poll<()> {
    std::hint::black_box(poll())
}
