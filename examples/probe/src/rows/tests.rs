use super::*;
use crate::run::{FORMAT, Server, Verdict};

/// An ending with nothing in it but this.
pub fn ending(scenario: &str, tls: Option<&str>, verdict: Verdict) -> Ending {
    Ending {
        scenario: scenario.into(),
        title: format!("title of {scenario}"),
        group: Group::BlackBox,
        tls: tls.map(String::from),
        http: Some("1.1".into()),
        verdict,
        rule: "RFC 9112 9.5".into(),
        note: "What there is to say.".into(),
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

pub fn run(endings: Vec<Ending>) -> Run {
    Run {
        format: FORMAT,
        server: Server {
            name: "a server".into(),
            url: String::new(),
            software: None,
        },
        started: String::new(),
        took_ms: 0,
        endings,
    }
}

#[test]
fn what_is_alike() {
    use Verdict::*;
    for (cell, expected) in [
        (&[][..], &[][..]),
        (&[("1.3", Proper)], &["1.3"]),
        (&[("1.2", Hang), ("1.3", Hang)], &["1.2, 1.3"]),
        (&[("1.2", Lost), ("1.3", Hang)], &["1.2", "1.3"]),
        (
            &[("1.1", Lost), ("1.2", Hang), ("1.3", Lost)],
            &["1.1, 1.3", "1.2"],
        ),
    ] {
        let cell = cell.iter();
        let cell: Vec<_> = cell
            .map(|(tls, verdict)| ending("x", Some(tls), *verdict))
            .collect();
        let cell: Vec<_> = cell.iter().collect();
        let got: Vec<_> = alike(&cell).iter().map(|of| versions(of)).collect();
        assert_eq!(got, expected);
    }
}

#[test]
fn what_is_said_of_both() {
    let one = ending("x", Some("1.2"), Verdict::Lost);
    let other = Ending {
        tls: Some("1.3".into()),
        note: "Something else.".into(),
        rule: String::new(),
        ..one.clone()
    };
    assert_eq!(
        notes(&[&one, &one]),
        ["What there is to say. (RFC 9112 9.5)"]
    );
    assert_eq!(
        notes(&[&one, &other]),
        [
            "TLS 1.2: What there is to say. (RFC 9112 9.5)",
            "TLS 1.3: Something else.",
        ]
    );
}
