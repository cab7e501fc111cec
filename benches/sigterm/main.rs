//! A SIGTERM under load, second by second: `cargo bench --bench sigterm`.
//!
//! The testbed, bare hyper-util, axum-server and nginx, each as a process of its own, get SIGTERM while
//! the load generator (the example `load`) is at work from 20 ms away, and a successor takes the
//! port as soon as it is free. Shown are the open connections and the requests lost in each 100 ms
//! around the signal, in `benches/results/sigterm.svg` and `.csv`. A request that finds nobody
//! listening is sent again, and not lost. Printed besides are p99 and p99.9 of the requests that were under way
//! between the signal and the end, where the old server had gone and the new one was there, and those of the rest.
//!
//! `-- --help` says how to give them another load, or more than one SIGTERM each: latencies and counts are of all of
//! them, the picture is of the first.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use benches::{chart, latency::Latencies};
use chart::{Area, COLORS, Error};
use clap::Parser;
use plotters::prelude::*;
use processes::load::{Load, now};

/// What it is called, and how it is run.
const SERVERS: [(&str, &str, &[&str]); 4] = [
    ("graceful-tls", "testbed", &[]),
    ("bare hyper-util", "peers", &["--server=bare-hyper"]),
    ("axum-server", "peers", &["--server=axum-server"]),
    ("nginx", "peers", &["--server=nginx"]),
];

/// How long a server may take to end.
const LIMIT: Duration = Duration::from_secs(30);

/// One tenth of a second, counted from the signal.
struct Step {
    seconds: f64,
    requests: u64,
    lost: u64,
    open: u64,
}

struct Run {
    name: &'static str,
    steps: Vec<Step>,
    /// From the signal to the exit.
    took: Duration,
    requests: u64,
    lost: u64,
    resets: u64,
    latencies: Latencies,
}

/// Sends servers a SIGTERM under load, and says what clients saw of it.
#[derive(Debug, Parser)]
#[command(name = "sigterm")]
struct Options {
    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 600)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// How long the load goes on before the signal, and again after the end
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = chart::seconds)]
    seconds: Duration,

    /// How many signals each server gets, one life after another
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    times: u16,

    /// Where to write the results, from the repository's folder on [default: benches/results]
    // `chart::results` reads it.
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,

    /// cargo passes it
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Error> {
    let options = Options::parse();
    let (rate, before, times) = (options.rate, options.seconds, options.times);
    for example in ["load", "testbed", "peers"] {
        processes::build(&["--example", example]);
    }
    let mut runs = Vec::new();
    for (name, example, options) in SERVERS {
        eprintln!("{name} …");
        let mut first = match run(name, example, options, rate, before, Latencies::default()) {
            // nginx may not be installed.
            Err(error) if example == "peers" => {
                println!("{name} is left out: {error}");
                continue;
            }
            run => run?,
        };
        let [mut requests, mut lost, mut resets] = [first.requests, first.lost, first.resets];
        for _ in 1..times {
            let next = run(name, example, options, rate, before, first.latencies)?;
            requests += next.requests;
            lost += next.lost;
            resets += next.resets;
            first.latencies = next.latencies;
        }
        println!(
            "{name:<16} {requests} requests, {lost} lost, {resets} RST; it exited {:.2} s after SIGTERM\n\
             {:16} during it and without: {}",
            first.took.as_secs_f64(),
            "",
            first.latencies,
        );
        runs.push(first);
    }
    let command = format!(
        "cargo bench --bench sigterm -- --times {times} --rate {rate} --seconds {}",
        before.as_secs_f64()
    );
    let rows: Vec<String> = runs.iter().flat_map(rows).collect();
    let head = "server,seconds_from_sigterm,requests,lost,open_connections";
    chart::csv("sigterm", &command, head, &rows)?;
    let title = "SIGTERM under load: open connections, and requests lost";
    chart::svg("sigterm", (900, 720), title, |area| draw(area, &runs))
}

fn run(
    name: &'static str,
    example: &str,
    options: &[&str],
    rate: u32,
    before: Duration,
    mut latencies: Latencies,
) -> Result<Run, Error> {
    let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let start = || Server::start(example, options, addr);
    let mut server = start()?.ok_or("the server does not start")?;
    let rate = format!("--rate={rate}");
    let load = Load::start(addr, &[&rate, "--connections=64", "--rtt-ms=20"]);
    sleep(before);
    let signalled = now();
    processes::kill("TERM", server.child.id());
    let begun = Instant::now();
    let mut successor = None;
    let mut took = None;
    while successor.is_none() || took.is_none() {
        if begun.elapsed() > LIMIT {
            return Err(format!("{name} does not end").into());
        }
        if successor.is_none() {
            // It fails at once as long as the port is taken.
            successor = start()?;
        }
        if took.is_none() && server.child.try_wait()?.is_some() {
            took = Some(begun.elapsed());
        }
        sleep(Duration::from_millis(10));
    }
    let over = now();
    sleep(before);
    let totals = load.finish();
    drop(successor);
    latencies.add(&totals.samples, |from, to| from <= over && to >= signalled);
    let steps = totals.json["timeline"].as_array();
    Ok(Run {
        name,
        steps: steps
            .into_iter()
            .flatten()
            .map(|step| {
                let count = |what: &str| step[what].as_u64().unwrap_or(0);
                let at = count("at_unix_ms") as f64 / 1e3;
                Step {
                    seconds: at - signalled.as_secs_f64(),
                    requests: count("requests"),
                    lost: count("lost"),
                    open: count("open"),
                }
            })
            .collect(),
        took: took.unwrap_or_default(),
        requests: totals.count("requests"),
        lost: totals.count("lost"),
        resets: totals.count("resets"),
        latencies,
    })
}

/// A server in a process of its own; killed when dropped.
struct Server {
    child: Child,
}

impl Server {
    /// `None` where the port is taken.
    fn start(example: &str, options: &[&str], addr: SocketAddr) -> Result<Option<Self>, Error> {
        let child = Command::new(processes::example(example))
            .args(options)
            .args(["--port", &addr.port().to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { child };
        let mut line = String::new();
        if let Some(stdout) = server.child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        Ok(line.starts_with("listening on ").then_some(server))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rows(run: &Run) -> Vec<String> {
    let row = |step: &Step| {
        let Step {
            seconds,
            requests,
            lost,
            open,
        } = step;
        format!("{},{seconds:.1},{requests},{lost},{open}", run.name)
    };
    run.steps.iter().map(row).collect()
}

const LOST: RGBColor = RGBColor(213, 0, 50);

fn draw(area: &Area<'_>, runs: &[Run]) -> Result<(), Error> {
    let steps = || runs.iter().flat_map(|run| &run.steps);
    let span = |of: fn(&Step) -> f64, worst: f64, pick: fn(f64, f64) -> f64| {
        steps().map(of).fold(worst, pick)
    };
    let first = span(|step| step.seconds, 0.0, f64::min);
    let last = span(|step| step.seconds, 0.0, f64::max);
    let highest = span(|step| step.open.max(step.lost) as f64, 1.0, f64::max) * 1.1;
    for ((run, area), color) in runs
        .iter()
        .zip(area.split_evenly((runs.len(), 1)))
        .zip(COLORS)
    {
        let caption = format!(
            "{}: {} of {} requests lost (red, a tenth of a second each), {} RST; gone after {:.2} s",
            run.name,
            run.lost,
            run.requests,
            run.resets,
            run.took.as_secs_f64()
        );
        let mut chart = ChartBuilder::on(&area)
            .caption(caption, ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(34)
            .y_label_area_size(50)
            .build_cartesian_2d(first..last, 0.0..highest)?;
        let gone = run.took.as_secs_f64();
        let shade = RGBColor(235, 235, 235).filled();
        chart.draw_series([Rectangle::new([(0.0, 0.0), (gone, highest)], shade)])?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_desc("seconds from SIGTERM; grey until the process has gone")
            .y_desc("open connections")
            .draw()?;
        let open = run
            .steps
            .iter()
            .map(|step| (step.seconds, step.open as f64));
        chart.draw_series(LineSeries::new(open, color.stroke_width(2)))?;
        let lost = run.steps.iter().filter(|step| step.lost > 0).map(|step| {
            let bar = [(step.seconds, 0.0), (step.seconds + 0.08, step.lost as f64)];
            Rectangle::new(bar, LOST.filled())
        });
        chart.draw_series(lost)?;
    }
    Ok(())
}
