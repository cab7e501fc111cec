//! Attacks, side by side: `cargo bench --bench abuse`.
//!
//! What becomes of our servers, of bare hyper-util, of nginx and of Apache httpd when clients are
//! malicious, and of a good client beside them. For each attack and server the table says how long
//! each of the attacker's connections was held (the median and the longest), how many were held at
//! the peak, and what a good client got: the median latency of a new connection with one request,
//! that without the attack in brackets, and how many failed.
//!
//! It takes a quarter of an hour. `-- --attacks drip,flood --servers nginx` makes some of it,
//! `-- --short` is for CI and judges, `-- --help` has the rest. It wants Linux, prlimit, and
//! slowhttptest, nginx and Apache httpd, which are left out where they are not installed.
//!
//! Every server is at its own defaults (ours at the crate's: the testbed without its PINGs), as
//! `peers` sets it up; all have the same certificate, and are started anew for each attack.
//! Attacks that only hold connections are made a few at a time, on all servers at once, or it would
//! take two hours; all others by themselves, one after the other.
//!
//! `attacks` has the attacks, `plan` the options and who and how long, `servers` starts a server,
//! `run` runs one attack on one of them, `good` is the good client, `watch` asks the kernel how long
//! connections are held, `table` shows it, `claims` says what must hold, `h2` is what the attackers
//! know of HTTP/2.

mod attacks;
mod claims;
mod good;
mod h2;
#[path = "../endings/servers.rs"]
mod known;
mod plan;
mod run;
mod servers;
mod table;
mod watch;

use std::{process::ExitCode, thread};

use benches::{chart, rig};
use clap::Parser;

use attacks::{Attack, Kind, slow};
use known::Server;
use plan::Plan;
use rig::Error;
use run::Outcome;
use servers::Yard;
use watch::Watch;

/// Descriptors for this process and for each server.
const ROOMY: u64 = 16_384;

fn main() -> Result<ExitCode, Error> {
    let plan = Plan::parse();
    let (attacks, servers) = (plan.attacks(), plan.servers());
    if attacks.is_empty() || servers.is_empty() {
        return Err("no attack or no server has such a name: see --help".into());
    }
    rlimit::increase_nofile_limit(ROOMY)?;
    eprintln!(
        "{} attacks on {} servers, about {:.0} minutes, and as long as it takes to build them",
        attacks.len(),
        servers.len(),
        plan.duration().as_secs_f64() / 60.0,
    );
    let outcomes = all(&plan, &attacks, &servers)?;
    show(&plan, &outcomes)?;
    Ok(judge(&plan, &outcomes))
}

/// Every attack on every server, in the order of the table.
fn all(
    plan: &Plan,
    attacks: &[Attack],
    servers: &[&'static Server],
) -> Result<Vec<Outcome>, Error> {
    let (yard, watch) = (Yard::new()?, Watch::start());
    let possible = attacks.iter().copied().filter(is_possible);
    let (holding, others): (Vec<_>, Vec<_>) = possible.partition(Attack::only_holds);
    let run = |attack, server| one(attack, server, &yard, &watch, plan);
    let mut outcomes = Vec::new();
    for wave in plan.waves(&holding) {
        let run = &run;
        outcomes.extend(thread::scope(|scope| {
            let pairs = pairs(&wave, servers);
            let threads = pairs.map(|(attack, server)| scope.spawn(move || run(attack, server)));
            let threads: Vec<_> = threads.collect();
            let joined = threads.into_iter().filter_map(|thread| thread.join().ok());
            joined.flatten().collect::<Vec<_>>()
        }));
    }
    outcomes.extend(pairs(&others, servers).filter_map(|(attack, server)| run(attack, server)));
    outcomes.sort_by_key(|outcome| attacks.iter().position(|a| a.id == outcome.attack.id));
    Ok(outcomes)
}

fn is_possible(attack: &Attack) -> bool {
    let missing = matches!(attack.kind, Kind::Slow(_)) && !slow::is_installed();
    if missing {
        eprintln!("{}: left out: apt-get install slowhttptest", attack.id);
    }
    !missing
}

fn pairs<'a>(
    attacks: &'a [Attack],
    servers: &'a [&'static Server],
) -> impl Iterator<Item = (Attack, &'static Server)> + 'a {
    let pairs = attacks
        .iter()
        .flat_map(|attack| servers.iter().map(|server| (*attack, *server)));
    pairs.filter(|(attack, server)| attack.applies_to(server))
}

/// One attack on one server, and a line that says what came of it.
fn one(
    attack: Attack,
    server: &'static Server,
    yard: &Yard,
    watch: &Watch,
    plan: &Plan,
) -> Option<Outcome> {
    let outcome = run::run(attack, server, yard, watch, plan);
    match &outcome {
        Ok(outcome) => eprintln!("{}", table::line(outcome)),
        Err(error) => eprintln!("{:<22} {:<26} left out: {error}", attack.id, server.name),
    }
    outcome.ok()
}

fn show(plan: &Plan, outcomes: &[Outcome]) -> Result<(), Error> {
    let command = chart::command("abuse");
    let table = format!(
        "{}\n`{command}`; {}.\n",
        table::of(outcomes),
        chart::stamp()
    );
    print!("{table}");
    let rows: Vec<_> = outcomes.iter().map(table::csv).collect();
    chart::csv("abuse", &command, table::HEAD, &rows)?;
    if plan.is_whole() {
        chart::readme("abuse", &table)?;
    }
    Ok(())
}

/// The short form is a test.
fn judge(plan: &Plan, outcomes: &[Outcome]) -> ExitCode {
    if !plan.short {
        return ExitCode::SUCCESS;
    }
    let broken = claims::broken(outcomes);
    broken.iter().for_each(|claim| eprintln!("{claim}"));
    match broken.is_empty() && !outcomes.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
