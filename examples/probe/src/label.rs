//! From what was seen to what is reported: fills [`Ending`]s.

use std::io;

use crate::judge::{Expect, judge};
use crate::run::{Ending, Group, Verdict};
use crate::scenarios::Http;
use crate::seen::{Held, Seen};
use crate::timeline::millis;
use wire::Version;

/// Which scenario, and in which versions.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    pub id: &'static str,
    pub title: &'static str,
    pub group: Group,
    pub http: Http,
    /// `None` if it never got as far as a version of TLS.
    pub version: Option<Version>,
}

impl Label {
    /// What was seen, with a verdict.
    pub fn ending(&self, seen: Seen, expect: Expect, rule: &str, goaway: bool) -> Ending {
        let judgement = judge(&seen, expect, rule, goaway);
        Ending {
            verdict: judgement.verdict,
            rule: judgement.rule,
            note: judgement.note,
            close_notify_ms: seen.close_notify.map(millis),
            fin_ms: seen.fin().map(millis),
            rst_ms: seen.reset().map(millis),
            held_ms: match seen.held {
                Held::Until(at) => Some(millis(at)),
                Held::Still | Held::Unknown => None,
            },
            ended_ms: millis(seen.ended),
            answer: seen.answer,
            alert: seen.alert,
            events: seen.events,
            ..self.blank()
        }
    }

    /// There was nothing to see.
    pub fn skipped(&self, why: &str) -> Ending {
        Ending {
            note: why.into(),
            ..self.blank()
        }
    }

    /// The client could not even begin, though it could before.
    pub fn failed(&self, error: &io::Error) -> Ending {
        let error = error.to_string();
        let error = error.lines().next().unwrap_or_default();
        Ending {
            verdict: Verdict::Lost,
            note: format!("The server could not be asked at all: {error}."),
            ..self.blank()
        }
    }

    fn blank(&self) -> Ending {
        let tls = self.version.map(|version| match version {
            Version::Tls12 => "1.2".into(),
            Version::Tls13 => "1.3".into(),
        });
        Ending {
            scenario: self.id.into(),
            title: self.title.into(),
            group: self.group,
            tls,
            http: self.http.name().map(String::from),
            verdict: Verdict::Skipped,
            rule: String::new(),
            note: String::new(),
            answer: None,
            close_notify_ms: None,
            alert: None,
            fin_ms: None,
            rst_ms: None,
            held_ms: None,
            ended_ms: 0.0,
            events: Vec::new(),
        }
    }
}
