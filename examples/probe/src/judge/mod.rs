//! What an ending is worth: what was seen, against what the RFCs ask for.
//!
//! Nothing here does any I/O. What an RFC merely permits is allowed; lost is what somebody was
//! promised and did not get.

use crate::run::Verdict;
use crate::seen::Seen;
use wire::End;

use Verdict::*;

/// What a server owes in a scenario.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expect {
    /// A whole answer.
    Answer,
    /// A whole answer, if any: an RFC asks for one in words short of MUST.
    AnswerAdvised,
    /// An answer or none: the client has given up its claim.
    AnswerOrNot,
    /// No answer, but an end in time; if there is an answer all the same, a whole one.
    End,
    /// A fatal alert.
    Alert,
    /// An end, of which nothing has to be said: there is no TLS yet, or no more.
    Silence,
    /// An answer, unless the request crossed the end of the connection.
    Race,
    /// To be let go, however: the client does not read what it is told.
    LetGo,
    /// Word that this port does not speak plain HTTP, as an answer or as an alert.
    PlainHttp,
    /// An answer that broke off, and shows it.
    Cut,
}

/// A verdict with its reasons.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub rule: String,
    pub note: String,
}

const TLS_CLOSURE: &str = "RFC 9846 6.1";
const TLS_ERRORS: &str = "RFC 9846 6.2";
const COMPLETENESS: &str = "RFC 9112 8";
const TLS_COMPLETENESS: &str = "RFC 9112 9.8";
const TEARDOWN: &str = "RFC 9112 9.6";
const TIMEOUTS: &str = "RFC 9112 9.5";
const GOAWAY: &str = "RFC 9113 6.8";

/// Judges one connection. `rule` is where the RFCs speak of the scenario as such; `goaway`, whether
/// the server should say GOAWAY.
pub fn judge(seen: &Seen, expect: Expect, rule: &str, goaway: bool) -> Judgement {
    let mut judgement = verdict(seen, expect, rule, goaway);
    if let Some(remark) = &seen.remark {
        judgement.note = format!("{} {remark}", judgement.note);
    }
    judgement
}

fn verdict(seen: &Seen, expect: Expect, rule: &str, goaway: bool) -> Judgement {
    if seen.too_much && expect != Expect::LetGo {
        let note = "More came than the probe cares to receive: choose a smaller answer.";
        return say(Skipped, rule, note);
    }
    if seen.hangs() && seen.end == End::StillOpen {
        return hang(seen);
    }
    let judged = match expect {
        Expect::Cut => cut(seen),
        Expect::LetGo => None,
        _ => answer(seen, expect, rule),
    };
    // What was lost is worse than a descriptor that is held.
    match judged {
        Some(judged) if judged.verdict != Proper => judged,
        _ if seen.hangs() => hang(seen),
        Some(judged) => judged,
        None => match end(seen, expect, rule) {
            judged if judged.verdict == Proper && goaway && !seen.goaway => say(
                Allowed,
                GOAWAY,
                "No GOAWAY: the client can't know which requests it may safely repeat.",
            ),
            judged => judged,
        },
    }
}

fn say(verdict: Verdict, rule: &str, note: impl Into<String>) -> Judgement {
    Judgement {
        verdict,
        rule: rule.into(),
        note: note.into(),
    }
}

fn hang(seen: &Seen) -> Judgement {
    let still = match seen.end {
        End::StillOpen => "neither ended the connection nor let go of it",
        _ => "ended the connection but never let go of it",
    };
    let seconds = seen.ended.as_secs_f64();
    let note = format!(
        "After {seconds:.0} s the server had {still}: enough such clients exhaust its descriptors."
    );
    say(Hang, TIMEOUTS, note)
}

/// What there is to say of the answer; `None` if that is as it should be.
fn answer(seen: &Seen, expect: Expect, rule: &str) -> Option<Judgement> {
    let Some(answer) = &seen.answer else {
        return no_answer(seen, expect, rule);
    };
    if answer.whole {
        return None;
    }
    let bytes = answer.bytes;
    if seen.close_delimited && seen.close_notify.is_none() && seen.reset().is_none() {
        let note = "No close_notify behind an answer that only the end of the connection ends: \
                    the client can't tell whether it is whole.";
        return Some(say(lost_or_given_up(expect), TLS_COMPLETENESS, note));
    }
    let (rule, note) = match (seen.reset(), seen.close_notify) {
        (Some(_), _) => (
            TEARDOWN,
            format!("A RST destroyed the answer after {bytes} bytes: `connection reset by peer`."),
        ),
        (_, Some(_)) => (
            COMPLETENESS,
            format!("close_notify came before the answer was whole, after {bytes} bytes."),
        ),
        _ => (
            COMPLETENESS,
            format!("The answer broke off after {bytes} bytes."),
        ),
    };
    Some(say(lost_or_given_up(expect), rule, note))
}

fn lost_or_given_up(expect: Expect) -> Verdict {
    match expect {
        Expect::AnswerOrNot => Allowed,
        _ => Lost,
    }
}

fn no_answer(seen: &Seen, expect: Expect, rule: &str) -> Option<Judgement> {
    let how = match seen.reset() {
        Some(_) => "a RST came instead",
        None => "the connection was closed instead",
    };
    match expect {
        Expect::Answer if seen.declined => {
            let note = "No answer, but GOAWAY says that the request was not processed: the client \
                        may repeat it.";
            Some(say(Allowed, GOAWAY, note))
        }
        Expect::Answer => Some(say(Lost, rule, format!("No answer: {how}."))),
        Expect::Race if seen.declined => None,
        Expect::Race => {
            let note =
                format!("A request went unanswered, {how}: only a safe one may be repeated.");
            Some(say(Allowed, rule, note))
        }
        Expect::AnswerAdvised => {
            let note = format!("The client is not told what is wrong: {how}.");
            Some(say(Allowed, rule, note))
        }
        _ => None,
    }
}

/// An answer that can't be whole.
fn cut(seen: &Seen) -> Option<Judgement> {
    let answer = seen.answer.as_ref()?;
    if answer.whole && seen.close_delimited {
        let note = "close_notify says that the answer is whole, but it broke off: the client keeps \
                    a truncated answer.";
        return Some(say(Untrue, TLS_COMPLETENESS, note));
    }
    if answer.whole {
        let note = "The answer ended as a whole one does, but it broke off: the client keeps a \
                    truncated answer.";
        return Some(say(Untrue, COMPLETENESS, note));
    }
    let visible = seen.close_delimited && seen.fin().is_some() && seen.reset().is_none();
    visible.then(|| {
        let note = "The answer broke off, and the missing close_notify shows it.";
        say(Proper, TLS_COMPLETENESS, note)
    })
}

/// How the connection ended, once the answer is as it should be.
fn end(seen: &Seen, expect: Expect, rule: &str) -> Judgement {
    match expect {
        Expect::Alert => alert(seen, rule),
        Expect::PlainHttp => plain_http(seen, rule),
        Expect::Silence => silence(seen, rule),
        Expect::LetGo => say(Proper, rule, "The server let go of it."),
        _ => closure(seen, expect, rule),
    }
}

fn alert(seen: &Seen, rule: &str) -> Judgement {
    match (&seen.alert, seen.reset()) {
        (Some(alert), None) => say(Proper, rule, format!("The alert {alert} says why.")),
        (Some(alert), Some(_)) => say(
            Allowed,
            TLS_ERRORS,
            format!("{alert}, but a RST that can destroy it before it is read."),
        ),
        (None, _) if seen.close_notify.is_some() => say(
            Allowed,
            rule,
            "close_notify instead of an alert that says why.",
        ),
        (None, Some(_)) => say(
            Allowed,
            TLS_ERRORS,
            "No alert: only `connection reset by peer`.",
        ),
        (None, None) => say(
            Allowed,
            TLS_ERRORS,
            "No alert: the client can't tell why it failed.",
        ),
    }
}

fn silence(seen: &Seen, rule: &str) -> Judgement {
    match seen.reset() {
        None => say(
            Proper,
            rule,
            "The server ended it, and there was nothing to say.",
        ),
        Some(_) => say(
            Allowed,
            rule,
            "The server closed with a RST, which nobody misses anything by.",
        ),
    }
}

fn plain_http(seen: &Seen, rule: &str) -> Judgement {
    let told = match (&seen.answer, &seen.alert) {
        (Some(answer), _) => format!("The client is told, with status {}", answer.status),
        (None, Some(alert)) => format!("The client is told, by the alert {alert}"),
        (None, None) => {
            let note = "The client is not told that this port speaks TLS alone.";
            return say(Allowed, rule, note);
        }
    };
    match seen.reset() {
        None => say(Proper, rule, format!("{told}.")),
        Some(_) => {
            let note = format!("{told}, but a RST follows that can destroy it.");
            say(Allowed, TEARDOWN, note)
        }
    }
}

fn closure(seen: &Seen, expect: Expect, rule: &str) -> Judgement {
    let what = match (&seen.answer, expect) {
        (Some(_), Expect::Cut) => "The answer broke off, and its framing shows it",
        (Some(_), _) => "The answer came whole",
        (None, Expect::AnswerOrNot | Expect::Race) => "No answer came",
        (None, _) => "No answer was due",
    };
    let reset = seen.reset().is_some();
    match (seen.close_notify, &seen.alert) {
        (Some(_), _) if reset => say(
            Allowed,
            TEARDOWN,
            format!("{what}, but a RST follows that destroys, on some systems, what is unread."),
        ),
        (Some(_), _) => say(Proper, rule, format!("{what}, and close_notify ended it.")),
        (None, Some(alert)) => say(
            Allowed,
            rule,
            format!("{what}; the alert {alert} ended it."),
        ),
        (None, None) if reset => say(
            Allowed,
            TLS_CLOSURE,
            format!("{what}, but the end was a RST: `connection reset by peer`."),
        ),
        (None, None) if seen.client_ended => say(
            Allowed,
            TLS_CLOSURE,
            format!("{what}; the client ended the connection, and was not sent close_notify."),
        ),
        (None, None) => say(
            Allowed,
            TLS_CLOSURE,
            format!("{what}, but no close_notify: strict clients report an unexpected end."),
        ),
    }
}

#[cfg(test)]
mod tests;
