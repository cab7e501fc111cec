use super::*;
use crate::rows::tests::{ending, run};
use crate::scenarios;
use crate::shutdown;

const FAULTS: [Verdict; 3] = [Verdict::Lost, Verdict::Untrue, Verdict::Hang];

/// An ending of every scenario, with this verdict.
fn every(verdict: Verdict) -> Vec<Ending> {
    let all = scenarios::all(true).into_iter();
    let all = all.map(|(group, scenario)| Ending {
        group,
        http: scenario.http.name().map(String::from),
        ..ending(scenario.id, Some("1.3"), verdict)
    });
    let shutdowns = shutdown::TABLE.iter().map(|scenario| Ending {
        group: Group::Shutdown,
        ..ending(scenario.id, Some("1.3"), verdict)
    });
    all.chain(shutdowns).collect()
}

#[test]
fn every_fault_has_advice_and_nothing_else_has() {
    for verdict in FAULTS {
        for ending in every(verdict) {
            let advice = advice(&ending).unwrap();
            for text in [advice.title, advice.any, advice.ours] {
                assert!(!text.is_empty() && !text.contains("  "), "{text:?}");
            }
            for text in [advice.any, advice.ours] {
                assert!(text.ends_with('.'), "{text:?}");
            }
        }
    }
    for verdict in [Verdict::Skipped, Verdict::Proper, Verdict::Allowed] {
        assert!(every(verdict).iter().all(|ending| advice(ending).is_none()));
    }
}

#[test]
fn advice_fits_the_fault() {
    use Verdict::*;
    let of = |verdict, scenario| ending(scenario, Some("1.3"), verdict);
    let rule = |rule: &str, ending| Ending {
        rule: rule.into(),
        ..ending
    };
    let reset = |ending| Ending {
        rst_ms: Some(1.0),
        ..ending
    };
    let shutdown = |ending| Ending {
        group: Group::Shutdown,
        ..ending
    };
    let plain = |ending| Ending {
        tls: None,
        http: None,
        ..ending
    };
    for (ending, expected) in [
        (plain(of(Hang, "silent-tcp")), &BOUND_HANDSHAKE),
        (of(Hang, "keep-alive-idle"), &BOUND_REQUESTS),
        (of(Hang, "h2-keep-alive-idle"), &BOUND_REQUESTS),
        (of(Hang, "stuck-reader"), &BOUND_WRITES),
        (of(Hang, "silent-peer"), &LET_GO),
        (
            plain(shutdown(of(Hang, "sigterm-handshake"))),
            &BOUND_SHUTDOWN,
        ),
        (of(Untrue, "close-delimited-panic"), &WITHHOLD_NOTIFY),
        (of(Untrue, "length-error"), &WITHHOLD_FRAMING),
        (rule("", of(Lost, "fin")), &BE_THERE),
        (rule("", shutdown(of(Lost, "sigterm-idle"))), &BE_THERE),
        (shutdown(of(Lost, "sigterm-racing")), &SHUT_DOWN_GENTLY),
        (reset(of(Lost, "unread-upload")), &LINGER),
        (rule("RFC 9112 9.8", of(Lost, "http-1-0")), &NOTIFY),
        (of(Lost, "h2-half-close"), &ANSWER_HALF_CLOSED),
        (of(Lost, "connection-close"), &FINISH),
    ] {
        assert_eq!(advice(&ending), Some(expected), "{}", ending.scenario);
    }
}

#[test]
fn each_is_said_once_with_the_faults_it_is_for() {
    use Verdict::*;
    let first = run(vec![
        ending("half-head", Some("1.3"), Hang),
        ending("half-head", Some("1.2"), Hang),
        ending("silent-client", Some("1.3"), Hang),
        ending("connection-close", Some("1.3"), Lost),
        ending("pipelined", Some("1.3"), Proper),
    ]);
    let second = run(vec![
        ending("half-head", Some("1.2"), Hang),
        ending("half-head", Some("1.3"), Hang),
    ]);
    let runs = [first, second];
    let todos = todos(&runs);
    let told = |todo: &Todo<'_>| -> Vec<_> {
        let each = todo.faults.iter();
        each.map(|f| (f.endings.len(), f.servers.len())).collect()
    };
    let told: Vec<_> = todos
        .iter()
        .map(|todo| (todo.verdict, told(todo)))
        .collect();
    assert_eq!(told, [(Lost, vec![(1, 1)]), (Hang, vec![(2, 2), (1, 1)])]);
}
