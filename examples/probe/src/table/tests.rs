use super::*;
use crate::rows::tests::{ending, run};

/// The table without colours.
fn rendered(endings: Vec<Ending>) -> String {
    anstream::adapter::strip_str(&render(&run(endings))).to_string()
}

#[test]
fn one_line_where_tls_makes_no_difference() {
    use Verdict::*;
    for (older, newer, lines) in [
        (Proper, Proper, &["proper 1.2, 1.3"][..]),
        (Hang, Hang, &["HANG 1.2, 1.3"]),
        (Lost, Proper, &["LOST      1.2", "proper      1.3"]),
        (Untrue, Allowed, &["UNTRUE      1.2", "allowed      1.3"]),
    ] {
        // As they come, one after another in no order.
        let table = rendered(vec![
            ending("x", Some("1.3"), newer),
            ending("other", None, Proper),
            ending("x", Some("1.2"), older),
        ]);
        let of_x = table.lines().filter(|line| line.ends_with("no answer"));
        let of_x: Vec<_> = of_x.filter(|line| line.contains(" title of x ")).collect();
        assert_eq!(of_x.len(), lines.len(), "{table}");
        for (line, begins) in of_x.iter().zip(lines) {
            assert!(line.trim_start().starts_with(begins), "{table}");
        }
    }
}

#[test]
fn faults_have_their_advice_below() {
    let table = rendered(vec![
        ending("half-head", Some("1.2"), Verdict::Hang),
        ending("half-head", Some("1.3"), Verdict::Hang),
        ending("silent-client", Some("1.3"), Verdict::Hang),
    ]);
    let (_, below) = table.split_once("What to do about it\n").unwrap();
    for (text, times) in [
        ("HANG  Bound the wait for requests", 1),
        ("title of half-head (TLS 1.2, 1.3)\n", 1),
        ("title of silent-client (TLS 1.3)\n", 1),
        ("any server: ", 1),
        ("graceful-tls: ", 1),
        ("3 HANG", 1),
    ] {
        assert_eq!(below.matches(text).count(), times, "{text:?} in {below}");
    }
    assert!(below.lines().all(|line| line.len() <= 90), "{below}");
}

#[test]
fn nothing_to_do_is_not_mentioned() {
    let table = rendered(vec![ending("x", None, Verdict::Allowed)]);
    assert!(!table.contains("What to do"), "{table}");
}
