use serde_json::{Value, json};

use super::render;
use crate::run::Run;

const NASTY: &str = "</title></svg><script>alert(\"1\")</script> & ' \" <b>";

/// A run with one ending, in which every text is this.
fn run(text: &str, verdict: &str) -> Run {
    let run = json!({
        "format": 1,
        "server": { "name": text, "url": text, "software": text },
        "started": text,
        "took_ms": 1500,
        "endings": [ending(text, verdict)],
    });
    serde_json::from_value(run).unwrap()
}

fn ending(text: &str, verdict: &str) -> Value {
    let kinds = [
        "connect",
        "handshake",
        "request",
        "answer",
        "close_notify",
        "alert",
        "fin",
        "rst",
        "goaway",
        "sigterm",
        "other",
    ];
    let events = kinds
        .iter()
        .zip([0.0, 0.2, 0.2, 5.0, 60_000.0].iter().cycle());
    let events = events.flat_map(|(kind, ms)| {
        ["client", "server"]
            .map(|from| json!({ "ms": ms, "from": from, "kind": kind, "detail": text, "bytes": 7 }))
    });
    json!({
        "scenario": text, "title": text, "group": "black box", "tls": text, "http": text,
        "verdict": verdict, "rule": text, "note": text,
        "answer": { "status": 200, "bytes": 6, "whole": true },
        "close_notify_ms": 12.3, "alert": text, "fin_ms": 12.4, "rst_ms": null,
        "held_ms": 15.0, "ended_ms": 60_001.0,
        "events": events.collect::<Vec<_>>(),
    })
}

/// What stands between each two of these.
fn between<'a>(page: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    let starts = page.split(start).skip(1);
    starts.map(|rest| rest.split(end).next().unwrap()).collect()
}

#[test]
fn what_comes_from_json_is_escaped() {
    let page = render(&[run(NASTY, "lost")]);
    assert_eq!(page.matches("<script").count(), 1, "only the page's own");
    for markup in ["<b>", "</title></svg>", "& ' \" <"] {
        assert!(!page.contains(markup), "{markup}");
    }
}

#[test]
fn each_verdict_has_its_word_and_its_sign() {
    for (verdict, shown) in [
        ("proper", ["✓", "proper"]),
        ("allowed", ["~", "allowed"]),
        ("lost", ["✕", "lost"]),
        ("untrue", ["≠", "untrue"]),
        ("hang", ["∞", "hangs"]),
        ("skipped", ["–", "not seen"]),
    ] {
        let page = render(&[run("x", verdict)]);
        let cell = between(&page, "<table class=\"matrix\"", "</table>")[0];
        let cell = between(cell, "<td>", "</td>")[0];
        assert!(
            shown.iter().all(|text| cell.contains(text)),
            "{verdict}: {cell}"
        );
    }
}

#[test]
fn versions_of_tls_share_a_cell_unless_they_differ() {
    let mut both = run("x", "lost");
    both.endings.push(both.endings[0].clone());
    both.endings[0].tls = Some("1.2".into());
    both.endings[1].tls = Some("1.3".into());
    let badges = |runs: &[Run]| {
        let page = render(runs);
        let table = between(&page, "<table class=\"matrix\"", "</table>")[0];
        between(table, "<td>", "</td>")[0]
            .matches("badge lost")
            .count()
    };
    assert_eq!(badges(&[both.clone()]), 1);
    both.endings[0].verdict = crate::run::Verdict::Proper;
    let page = render(&[both]);
    assert!(page.contains("TLS 1.2") && page.contains("TLS 1.3"));
}

#[test]
fn a_server_that_was_not_asked_has_an_empty_cell() {
    let mut asked = run("asked", "proper");
    asked.endings[0].title = "only here".into();
    let page = render(&[run("first", "proper"), asked]);
    let table = between(&page, "<table class=\"matrix\"", "</table>")[0];
    let rows = between(table, "<tr class=\"scenario", "</tr>");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.matches("<td>").count() == 2));
    assert!(
        rows.iter()
            .all(|row| row.matches("was not asked").count() == 1)
    );
}

#[test]
fn a_rule_leads_to_its_section_and_nowhere_else() {
    let mut run = run("RFC 9846 6.1", "proper");
    let page = render(std::slice::from_ref(&run));
    assert!(page.contains("href=\"https://www.rfc-editor.org/rfc/rfc9846#section-6.1\""));
    for rule in [
        "javascript:alert(1)",
        "RFC 9846\" onclick=\"x",
        "RFC x 1",
        "RFC 1 2 3",
        "RFC ",
    ] {
        run.endings[0].rule = rule.into();
        assert!(
            !render(std::slice::from_ref(&run)).contains("<a "),
            "{rule}"
        );
    }
}

#[test]
fn the_page_needs_nothing_else() {
    let page = render(&[run("RFC 9112 9.8", "untrue"), run("y", "hang")]);
    for outside in [" src=", "@import", "url(", "<link", "<iframe"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let links = between(&page, "href=\"", "\"");
    assert!(
        links
            .iter()
            .all(|link| link.starts_with("https://www.rfc-editor.org/"))
    );
}

#[test]
fn no_id_occurs_twice() {
    let page = render(&[run("x", "untrue"), run("y", "hang")]);
    let mut ids = between(&page, " id=\"", "\"");
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn nobody_probed_is_a_page_too() {
    assert!(render(&[]).ends_with("</html>"));
}

#[test]
fn the_page_begins_with_the_faults_and_what_to_do() {
    let page = render(&[run("x", "lost"), run("x", "hang")]);
    let main = between(&page, "<main>", "</main>")[0];
    let (faults, rest) = main.split_once("</section>").unwrap();
    assert!(rest.contains("id=\"totals\"") && rest.contains("<table class=\"matrix\""));
    for badge in ["badge lost", "badge hang"] {
        assert_eq!(faults.matches(badge).count(), 1, "{badge}: {faults}");
    }
    assert_eq!(faults.matches("Any server").count(), 2, "{faults}");
    assert_eq!(faults.matches("With graceful-tls").count(), 2, "{faults}");
    let proper = render(&[run("x", "proper")]);
    assert!(proper.contains("Nothing is lost, untrue, or hangs."));
}
