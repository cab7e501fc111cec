//! A load generator that knows of every request whether it was answered, refused or lost.
//!
//! ```sh
//! cargo run --release --example load -- https://127.0.0.1:8443 --seconds 10 --rate 1000
//! ```
//!
//! Every request ends in one of two ways, and none is left out:
//!
//! * **answered**: the whole answer came, and it was the right one. On the way there it may have
//!   been *refused*, before the server processed any of it and where HTTP allows to send it again;
//!   then it was sent again.
//! * **lost**: cut short, reset, timed out, wrong, or in doubt. See `verdict` for the rules.
//!
//! It also counts the connections that ended with an RST, or without close_notify. The exit status
//! is 1 if a request was lost, and 2 if nothing could be sent at all. SIGTERM and Ctrl-C end the
//! load early; what is in flight is waited for, and the summary is printed as ever.
//!
//! It is a process and one thread of its own, so that it shows what clients see, and is light.
//!
//! `settings` has the options and `mix` the kinds of requests. `worker` sends them one after the
//! other when `schedule` says so, over the connection that its `lane` has; `connect` makes those,
//! `distance` makes the server farther away, and `wire` watches how they end. `exchange` is one
//! attempt and `verdict` says what it came to. `tally` counts, `report` prints.

mod connect;
mod distance;
mod exchange;
mod lane;
mod mix;
mod report;
mod schedule;
mod settings;
mod tally;
mod verdict;
mod wire;
mod worker;

use std::{process::ExitCode, sync::Arc, time::Duration};

use app::command_line::{self, UNUSABLE};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{interval, timeout},
};

use connect::Connector;
use report::Report;
use schedule::Schedule;
use settings::Settings;
use tally::Tally;

/// How long connections get to end, once the last request has.
const GOODBYE: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match command_line::parse::<Settings>() {
        Ok(settings) => settings,
        Err(status) => return status,
    };
    match run(&settings).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            UNUSABLE.into()
        }
    }
}

/// Runs the load and prints the report; how many requests were lost.
async fn run(settings: &Settings) -> Result<u64, String> {
    let connector = Arc::new(Connector::new(settings)?);
    connector.try_once().await?;
    let schedule = Arc::new(Schedule::new(settings.time(), settings.rate));
    let tally = Arc::new(Tally::new(schedule.begun()));
    stop_on_signal(schedule.clone())?;

    let mut workers = JoinSet::new();
    for lane in lane::spread(settings, &connector, &tally) {
        for _ in 0..lane.streams(settings.streams) {
            workers.spawn(worker::run(lane.clone(), schedule.clone(), tally.clone()));
        }
    }
    let finished = async { while workers.join_next().await.is_some() {} };
    tokio::select! {
        () = finished => {}
        never = progress(&tally, settings.quiet) => never,
    }
    let sent_for = schedule.elapsed();
    // The lanes are gone: their connections end now.
    let _ = timeout(GOODBYE, tally.all_closed()).await;
    let counts = tally.counts();
    let report = Report::new(&counts, sent_for);
    report.print(settings)?;
    Ok(report.lost())
}

fn stop_on_signal(schedule: Arc<Schedule>) -> Result<(), String> {
    let unable = |error| format!("no signal handler could be installed: {error}");
    let mut term = signal(SignalKind::terminate()).map_err(unable)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unable)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        schedule.stop();
    });
    Ok(())
}

/// A line each second.
async fn progress(tally: &Tally, quiet: bool) {
    let mut every = interval(Duration::from_secs(1));
    every.tick().await;
    loop {
        every.tick().await;
        if !quiet {
            eprintln!("{}", tally.progress());
        }
    }
}
