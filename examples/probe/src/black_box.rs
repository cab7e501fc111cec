//! The scenarios that need nothing but a running server, as jobs.

use std::time::Duration;

use crate::args::Args;
use crate::crew::Job;
use crate::label::Label;
use crate::run::{Ending, Group};
use crate::scenarios::{self, Http, Scenario, Tls};
use crate::stage::Stage;
use crate::target::{Facts, Target};

/// A job for each scenario that the command line names, in each version of TLS.
pub fn jobs<'a>(args: &'a Args, target: &Target, facts: &'a Facts) -> Vec<Job<'a>> {
    let mut jobs = Vec::new();
    for (group, scenario) in scenarios::all(args.testbed) {
        if !args.wants(scenario.id) {
            continue;
        }
        for version in scenario.tls.of(&facts.versions) {
            let stage = Stage {
                version,
                ..target.stage(args, facts)
            };
            let play = move || play(&scenario, group, &stage, args.patience(), facts);
            jobs.push(Job {
                name: scenario.id.into(),
                takes: scenarios::takes(scenario.id, args.patience()),
                work: Box::new(move || vec![play()]),
            });
        }
    }
    jobs
}

fn play(
    scenario: &Scenario,
    group: Group,
    stage: &Stage,
    patience: Duration,
    facts: &Facts,
) -> Ending {
    let label = Label {
        id: scenario.id,
        title: scenario.title,
        group,
        http: scenario.http,
        version: (scenario.tls != Tls::None).then_some(stage.version),
    };
    let lacks = match scenario.http {
        Http::V2 if !facts.http2 => Some("The server does not speak HTTP/2."),
        Http::V1_0 | Http::V1_1 if !facts.http1 => Some("The server does not speak HTTP/1.1."),
        _ => None,
    };
    if let Some(lacks) = lacks {
        return label.skipped(lacks);
    }
    match (scenario.play)(&stage.for_another(patience)) {
        Ok(seen) => label.ending(
            seen,
            scenario.expect,
            scenario.rule,
            scenario.wants_goaway(),
        ),
        Err(error) => label.failed(&error),
    }
}
