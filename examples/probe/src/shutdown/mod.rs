//! Shutdowns of a server that the probe has started: each scenario has one of its own, with a
//! client for every version of TLS and HTTP that it speaks.

mod link;
mod scenarios;

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::crew::Job;
use crate::judge::Expect;
use crate::label::Label;
use crate::process::{Process, free_port};
use crate::run::{Ending, Group, Verdict};
use crate::scenarios::{Http, takes};
use crate::seen::Seen;
use crate::stage::Stage;
use crate::target::{Facts, Target};
use wire::Version;

pub use scenarios::TABLE;

/// One way to meet a shutdown.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub id: &'static str,
    pub title: &'static str,
    pub expect: Expect,
    pub rule: &'static str,
    /// What has to be known for it.
    pub needs: Needs,
    pub play: fn(&mut Scene<'_>) -> Played,
}

/// What was seen of each connection.
pub type Played = io::Result<Vec<(Variant, Seen)>>;

/// What a scenario needs beside a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Needs {
    Nothing,
    /// A path that takes its time.
    SlowPath,
    /// An answer that never ends.
    Testbed,
}

/// The versions that a client speaks; `None` if it never gets as far.
pub type Variant = (Option<Version>, Http);

/// A server in its last moments, and how it is met.
pub struct Scene<'a> {
    pub stage: Stage,
    pub variants: Vec<(Version, Http)>,
    /// An answer that takes more than a second.
    pub slow_path: String,
    /// An answer that comes in small parts, or at least not at once.
    pub stream_path: String,
    args: &'a Args,
    process: Process,
    signalled: Option<Instant>,
}

impl Scene<'_> {
    /// Sends the signal; from now on the server has so long to be gone.
    pub fn signal(&mut self) -> io::Result<()> {
        self.process.signal(&self.args.signal)?;
        let now = Instant::now();
        self.signalled.get_or_insert(now);
        self.stage.deadline = now + self.args.grace;
        Ok(())
    }

    pub fn signal_name(&self) -> &str {
        &self.args.signal
    }

    /// How the process ended, and how long that took.
    fn exit(&mut self) -> Option<(ExitStatus, Duration)> {
        let signalled = self.signalled?;
        let limit = self.args.grace.saturating_sub(signalled.elapsed());
        let status = self.process.wait(limit)?;
        Some((status, signalled.elapsed()))
    }
}

/// A job for each scenario that the command line names.
pub fn jobs<'a>(args: &'a Args, target: &'a Target, facts: &'a Facts) -> Vec<Job<'a>> {
    let wanted = TABLE.iter().filter(|scenario| args.wants(scenario.id));
    let jobs = wanted.filter(|scenario| args.testbed || scenario.needs != Needs::Testbed);
    jobs.map(|scenario| Job {
        name: scenario.id.into(),
        takes: takes(scenario.id, args.grace),
        work: Box::new(move || play(scenario, args, target, facts)),
    })
    .collect()
}

fn play(scenario: &Scenario, args: &Args, target: &Target, facts: &Facts) -> Vec<Ending> {
    let general = label(scenario, (None, Http::None));
    if scenario.needs == Needs::SlowPath && !args.testbed && args.slow_path.is_none() {
        return vec![general.skipped("Name a path that takes a second or more: --slow-path.")];
    }
    let mut scene = match set(args, target, facts) {
        Ok(scene) => scene,
        Err(error) => return vec![general.failed(&io::Error::other(error))],
    };
    let seen = match (scenario.play)(&mut scene) {
        Ok(seen) => seen,
        Err(error) => return vec![general.failed(&error)],
    };
    let exit = scene.exit();
    seen.into_iter()
        .map(|(variant, seen)| {
            let goaway = variant.1 == Http::V2 && scenario.expect == Expect::Answer;
            let label = label(scenario, variant);
            let ending = label.ending(seen, scenario.expect, scenario.rule, goaway);
            with_exit(ending, exit, args.grace)
        })
        .collect()
}

/// Adds how the process ended. One that does not end is worse than what is merely allowed.
fn with_exit(mut ending: Ending, exit: Option<(ExitStatus, Duration)>, grace: Duration) -> Ending {
    let Some((status, took)) = exit else {
        let seconds = grace.as_secs();
        let still = format!("The process was still there {seconds} s after the signal.");
        if ending.verdict <= Verdict::Allowed {
            ending.verdict = Verdict::Hang;
            ending.rule = "RFC 9112 9.5".into();
            ending.note = still;
        } else {
            ending.note = format!("{} {still}", ending.note);
        }
        return ending;
    };
    let took = took.as_secs_f64();
    ending.note = format!(
        "{} The process was gone after {took:.1} s, {status}.",
        ending.note
    );
    ending
}

fn label(scenario: &Scenario, (version, http): Variant) -> Label {
    Label {
        id: scenario.id,
        title: scenario.title,
        group: Group::Shutdown,
        http,
        version,
    }
}

/// Starts a server, on a port of its own if the command lets it have one.
fn set<'a>(args: &'a Args, target: &Target, facts: &Facts) -> Result<Scene<'a>, String> {
    let command = args.start.as_deref().unwrap_or_default();
    let mut stage = target.stage(args, facts);
    if command.contains("{port}") {
        let target = target.on_port(free_port(target.addr)?);
        (stage.authority, stage.addr) = (target.authority, target.addr);
    }
    let process = Process::start(command, stage.addr)?;
    let slow_path = args.slow_path.clone().unwrap_or("/sleep/1500".into());
    let stream_path = match args.testbed {
        true => "/slow/15/100".into(),
        false => args.path.clone(),
    };
    Ok(Scene {
        stage: stage.for_another(args.grace),
        variants: variants(facts),
        slow_path,
        stream_path,
        args,
        process,
        signalled: None,
    })
}

fn variants(facts: &Facts) -> Vec<(Version, Http)> {
    let speaks = [(facts.http1, Http::V1_1), (facts.http2, Http::V2)];
    let versions = facts.versions.iter();
    versions
        .flat_map(|version| {
            let spoken = speaks.iter().filter(|(spoken, _)| *spoken);
            spoken.map(|(_, http)| (*version, *http))
        })
        .collect()
}
