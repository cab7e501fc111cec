//! What must hold of every run. Each oracle has a name and the rule it stands for, and says what it
//! saw where the rule was broken.
//!
//! The oracles know everything: what the client saw, what the handlers did, which byte was where and
//! when. The server knows less. Where a rule depends on what it can't know, the oracle says so and
//! keeps still. Bounds come from the settings; the slack on top is named.

//!
//! `ends`, `requests`, `streams`, `drain` and `bounds` judge one connection, `report` and `server` the
//! whole; `excuses` is why a request may be lost, `view` how they look at what happened.

mod bounds;
mod drain;
mod ends;
mod excuses;
mod report;
mod requests;
mod server;
mod streams;
mod view;

use self::view::View;
use crate::run::Facts;

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    pub oracle: &'static str,
    pub conn: Option<usize>,
    pub what: String,
}

impl Failure {
    /// The one line that a failing seed prints.
    pub fn line(&self, seed: u64, facts: &Facts) -> String {
        let kind = facts.kind;
        let by = format!(
            "{:?}{}",
            kind.driver,
            if kind.layer { "" } else { " without layer" }
        );
        let whom = self.conn.map_or(String::new(), |conn| {
            let plan = &facts.conns[conn].plan;
            let protocol = if plan.http2 { "HTTP/2" } else { "HTTP/1" };
            format!(
                " #{conn} ({}, {protocol}{})",
                plan.role,
                if plan.tls12 { ", TLS 1.2" } else { "" }
            )
        });
        let Self { oracle, what, .. } = self;
        format!("SEED={seed} [{oracle}] {by}{whom}: {what}")
    }
}

type OfConnection = fn(&View<'_>) -> Option<String>;
type OfServer = fn(&Facts) -> Option<String>;

/// The rules for each connection, and their names.
const OF_CONNECTION: &[(&str, OfConnection)] = &[
    ("notify", ends::notify),
    ("silent after close_notify", ends::silent_after_close_notify),
    ("silent after an alert", ends::silent_after_alert),
    ("never lie", ends::never_lie),
    ("whole", ends::whole),
    ("tunnel", ends::tunnel),
    ("TLS 1.2", ends::tls12_at_once),
    ("drain", drain::drain),
    ("silence", drain::silence),
    ("places", drain::places),
    ("tail", drain::tail),
    ("reset", drain::reset),
    ("bytes", drain::bytes),
    ("lost", requests::lost),
    ("upload", requests::upload),
    ("half a head", requests::half_a_head),
    ("newcomers", requests::newcomers),
    ("says close", requests::says_close),
    ("says last", requests::says_last),
    ("once", requests::once),
    ("queue", requests::queue),
    ("plain HTTP", requests::plain_http),
    ("sense", requests::sense),
    ("goaway", streams::goaway),
    ("exact goaway", streams::exact_goaway),
    ("stalled stream", streams::stalled_stream),
    ("reset stream", streams::reset_stream),
    ("let go", bounds::let_go),
    ("idle", bounds::idle),
    ("too early", bounds::too_early),
    ("held", bounds::held),
    ("prompt", bounds::prompt),
    ("old", bounds::old),
    ("honest", report::honest),
    ("cause", report::cause),
    ("blame", report::blame),
];

/// The rules for the server as a whole.
const OF_SERVER: &[(&str, OfServer)] = &[
    ("closed in time", bounds::closed_in_time),
    ("report counts", report::counts),
    ("report agrees", report::agrees),
    ("report is honest", report::is_honest),
    ("report knows the deadline", report::knows_the_deadline),
    ("identity", server::identity),
    ("observer", server::observer),
    ("stats", server::stats),
    ("nothing left", server::nothing_left),
    ("no panic", server::no_panic),
];

/// Every rule that was broken.
pub fn judge(facts: &Facts) -> Vec<Failure> {
    let mut failures = Vec::new();
    for number in 0..facts.conns.len() {
        let view = View::new(facts, number);
        for (oracle, check) in OF_CONNECTION {
            failures.extend(check(&view).map(|what| Failure {
                oracle,
                conn: Some(number),
                what,
            }));
        }
    }
    for (oracle, check) in OF_SERVER {
        failures.extend(check(facts).map(|what| Failure {
            oracle,
            conn: None,
            what,
        }));
    }
    failures
}
