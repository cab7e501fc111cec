//! Verdicts on connections that nobody made.

use std::time::Duration;

use super::*;
use crate::run::Answer;
use crate::seen::Held;

const MS: Duration = Duration::from_millis(1);

/// close_notify and FIN, let go, and no answer.
fn proper() -> Seen {
    Seen {
        answer: None,
        close_delimited: false,
        close_notify: Some(MS),
        alert: None,
        end: End::Fin(MS),
        late_reset: None,
        client_ended: false,
        goaway: false,
        declined: false,
        held: Held::Until(MS),
        ended: MS,
        too_much: false,
        remark: None,
        events: Vec::new(),
    }
}

fn answered(whole: bool) -> Seen {
    Seen {
        answer: Some(Answer {
            status: 200,
            bytes: 5,
            whole,
        }),
        ..proper()
    }
}

fn close_delimited(whole: bool) -> Seen {
    Seen {
        close_delimited: true,
        ..answered(whole)
    }
}

fn bare_fin(seen: Seen) -> Seen {
    Seen {
        close_notify: None,
        ..seen
    }
}

fn reset(seen: Seen) -> Seen {
    Seen {
        end: End::Reset(MS),
        ..seen
    }
}

fn late_reset(seen: Seen) -> Seen {
    Seen {
        late_reset: Some(MS),
        ..seen
    }
}

/// Nothing ended it.
fn open(seen: Seen) -> Seen {
    Seen {
        end: End::StillOpen,
        held: Held::Still,
        ..bare_fin(seen)
    }
}

/// It ended, but the descriptor was kept.
fn kept(seen: Seen) -> Seen {
    Seen {
        held: Held::Still,
        ..seen
    }
}

fn alerted(seen: Seen) -> Seen {
    Seen {
        alert: Some("BadRecordMac".into()),
        ..bare_fin(seen)
    }
}

fn check(cases: &[(&str, Expect, Seen, Verdict, &str)]) {
    for (name, expect, seen, verdict, rule) in cases {
        let judgement = judge(seen, *expect, "the scenario's", false);
        let got = (judgement.verdict, judgement.rule.as_str());
        assert_eq!(got, (*verdict, *rule), "{name}: {judgement:?}");
        assert!(judgement.note.ends_with('.'), "{name}: {judgement:?}");
    }
}

const OWN: &str = "the scenario's";

#[test]
fn answers() {
    let expect = Expect::Answer;
    check(&[
        ("whole", expect, answered(true), Proper, OWN),
        ("none", expect, proper(), Lost, OWN),
        ("none, RST", expect, reset(bare_fin(proper())), Lost, OWN),
        (
            "whole, bare FIN",
            expect,
            bare_fin(answered(true)),
            Allowed,
            TLS_CLOSURE,
        ),
        (
            "whole, RST",
            expect,
            reset(bare_fin(answered(true))),
            Allowed,
            TLS_CLOSURE,
        ),
        (
            "whole, RST behind",
            expect,
            late_reset(answered(true)),
            Allowed,
            TEARDOWN,
        ),
        (
            "cut, RST",
            expect,
            reset(bare_fin(answered(false))),
            Lost,
            TEARDOWN,
        ),
        (
            "cut, RST behind",
            expect,
            late_reset(answered(false)),
            Lost,
            TEARDOWN,
        ),
        (
            "cut, close_notify",
            expect,
            answered(false),
            Lost,
            COMPLETENESS,
        ),
        (
            "cut, bare FIN",
            expect,
            bare_fin(answered(false)),
            Lost,
            COMPLETENESS,
        ),
        ("never ended", expect, open(answered(true)), Hang, TIMEOUTS),
        ("never answered", expect, open(proper()), Hang, TIMEOUTS),
        ("never let go", expect, kept(answered(true)), Hang, TIMEOUTS),
        (
            "cut, never let go",
            expect,
            kept(answered(false)),
            Lost,
            COMPLETENESS,
        ),
    ]);
}

#[test]
fn answers_that_the_end_ends() {
    let expect = Expect::Answer;
    let unsure = bare_fin(close_delimited(false));
    check(&[
        ("whole", expect, close_delimited(true), Proper, OWN),
        (
            "no close_notify",
            expect,
            unsure.clone(),
            Lost,
            TLS_COMPLETENESS,
        ),
        ("RST", expect, reset(unsure.clone()), Lost, TEARDOWN),
        (
            "cut and shown",
            Expect::Cut,
            unsure.clone(),
            Proper,
            TLS_COMPLETENESS,
        ),
        (
            "cut, but held",
            Expect::Cut,
            kept(unsure.clone()),
            Hang,
            TIMEOUTS,
        ),
        ("cut, RST", Expect::Cut, reset(unsure), Allowed, TLS_CLOSURE),
        (
            "untrue",
            Expect::Cut,
            close_delimited(true),
            Untrue,
            TLS_COMPLETENESS,
        ),
    ]);
}

#[test]
fn answers_that_break_off() {
    let expect = Expect::Cut;
    check(&[
        ("framed", expect, answered(false), Proper, OWN),
        (
            "framed, bare FIN",
            expect,
            bare_fin(answered(false)),
            Allowed,
            TLS_CLOSURE,
        ),
        (
            "framed, untrue",
            expect,
            answered(true),
            Untrue,
            COMPLETENESS,
        ),
        ("nothing came", expect, proper(), Proper, OWN),
    ]);
}

#[test]
fn answers_that_are_not_owed() {
    let cut = bare_fin(answered(false));
    check(&[
        ("advised", Expect::AnswerAdvised, proper(), Allowed, OWN),
        (
            "advised, cut",
            Expect::AnswerAdvised,
            cut.clone(),
            Lost,
            COMPLETENESS,
        ),
        ("given up", Expect::AnswerOrNot, proper(), Proper, OWN),
        (
            "given up, cut",
            Expect::AnswerOrNot,
            cut.clone(),
            Allowed,
            COMPLETENESS,
        ),
        ("raced", Expect::Race, proper(), Allowed, OWN),
        ("raced, cut", Expect::Race, cut.clone(), Lost, COMPLETENESS),
        ("time-out", Expect::End, proper(), Proper, OWN),
        (
            "time-out, bare FIN",
            Expect::End,
            bare_fin(proper()),
            Allowed,
            TLS_CLOSURE,
        ),
        ("time-out, half a 408", Expect::End, cut, Lost, COMPLETENESS),
        ("no time-out", Expect::End, open(proper()), Hang, TIMEOUTS),
    ]);
    let declined = Seen {
        declined: true,
        ..proper()
    };
    check(&[
        (
            "declined in a race",
            Expect::Race,
            declined.clone(),
            Proper,
            OWN,
        ),
        ("declined", Expect::Answer, declined, Allowed, GOAWAY),
    ]);
}

#[test]
fn alerts() {
    let expect = Expect::Alert;
    let silence = Expect::Silence;
    check(&[
        ("alert", expect, alerted(proper()), Proper, OWN),
        (
            "alert, RST",
            expect,
            late_reset(alerted(proper())),
            Allowed,
            TLS_ERRORS,
        ),
        ("none", expect, bare_fin(proper()), Allowed, TLS_ERRORS),
        ("close_notify", expect, proper(), Allowed, OWN),
        (
            "plain HTTP, alert",
            Expect::PlainHttp,
            alerted(proper()),
            Proper,
            OWN,
        ),
        (
            "plain HTTP, answer",
            Expect::PlainHttp,
            answered(true),
            Proper,
            OWN,
        ),
        (
            "plain HTTP, nothing",
            Expect::PlainHttp,
            bare_fin(proper()),
            Allowed,
            OWN,
        ),
        ("nothing to say", silence, bare_fin(proper()), Proper, OWN),
        (
            "nothing to say, RST",
            silence,
            reset(bare_fin(proper())),
            Allowed,
            OWN,
        ),
        (
            "let go",
            Expect::LetGo,
            reset(bare_fin(answered(false))),
            Proper,
            OWN,
        ),
        (
            "not let go",
            Expect::LetGo,
            kept(answered(false)),
            Hang,
            TIMEOUTS,
        ),
    ]);
}

#[test]
fn more_than_the_client_receives() {
    let seen = Seen {
        too_much: true,
        ..open(answered(false))
    };
    check(&[("held", Expect::LetGo, seen.clone(), Hang, TIMEOUTS)]);
    check(&[("not read on", Expect::Answer, seen, Skipped, OWN)]);
}

#[test]
fn goaway() {
    let without = judge(&answered(true), Expect::Answer, OWN, true);
    assert_eq!((without.verdict, without.rule.as_str()), (Allowed, GOAWAY));
    let seen = Seen {
        goaway: true,
        ..answered(true)
    };
    assert_eq!(judge(&seen, Expect::Answer, OWN, true).verdict, Proper);
}

#[test]
fn a_descriptor_that_nobody_sees() {
    let seen = Seen {
        held: Held::Unknown,
        ..answered(true)
    };
    assert_eq!(judge(&seen, Expect::Answer, OWN, false).verdict, Proper);
    let seen = Seen {
        end: End::StillOpen,
        ..seen
    };
    assert_eq!(judge(&seen, Expect::Answer, OWN, false).verdict, Hang);
}
