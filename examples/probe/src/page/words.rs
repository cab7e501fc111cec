//! What things are called, and how times, sizes and rules are written.

use maud::{Markup, html};

use crate::run::Verdict;

/// How a verdict is shown. Sign and word tell what the colour does.
#[derive(Debug)]
pub struct Word {
    pub verdict: Verdict,
    pub class: &'static str,
    pub sign: &'static str,
    pub short: &'static str,
    pub meaning: &'static str,
}

/// All verdicts, from good to bad; what there was nothing to see of comes last.
pub const WORDS: [Word; 6] = [
    Word {
        verdict: Verdict::Proper,
        class: "proper",
        sign: "✓",
        short: "proper",
        meaning: "As it should be: the answer came whole, and the client can tell.",
    },
    Word {
        verdict: Verdict::Allowed,
        class: "allowed",
        sign: "~",
        short: "allowed",
        meaning: "Not as it should be, but nobody loses anything that the RFCs promise.",
    },
    Word {
        verdict: Verdict::Lost,
        class: "lost",
        sign: "✕",
        short: "lost",
        meaning: "An answer was lost, or the knowledge that it is complete.",
    },
    Word {
        verdict: Verdict::Untrue,
        class: "untrue",
        sign: "≠",
        short: "untrue",
        meaning: "The answer looks whole, but is not: the client keeps a truncated one.",
    },
    Word {
        verdict: Verdict::Hang,
        class: "hang",
        sign: "∞",
        short: "hangs",
        meaning: "The server held the connection for longer than the probe waits.",
    },
    Word {
        verdict: Verdict::Skipped,
        class: "skipped",
        sign: "–",
        short: "not seen",
        meaning: "There was nothing to see, as where a server does not speak HTTP/2.",
    },
];

pub fn word(verdict: Verdict) -> &'static Word {
    let same = |word: &&Word| word.verdict == verdict;
    WORDS.iter().find(same).unwrap_or(&WORDS[0])
}

/// Sign and word of a verdict.
pub fn badge(verdict: Verdict) -> Markup {
    let word = word(verdict);
    html! {
        span class={ "badge " (word.class) } {
            span.sign aria-hidden="true" { (word.sign) } " " (word.short)
        }
    }
}

pub fn time(ms: f64) -> String {
    match ms {
        ..0.0005 => "0".into(),
        ..10.0 => format!("{ms:.2} ms"),
        ..1000.0 => format!("{ms:.0} ms"),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

pub fn size(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".into(),
        0 | 2..10_240 => format!("{bytes} bytes"),
        10_240..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// The rule, with a link where it is a section of an RFC.
pub fn rule(rule: &str) -> Markup {
    html! {
        @match link(rule) {
            Some(link) => a href=(link) { (rule) },
            None => (rule),
        }
    }
}

/// `RFC 9846 6.1` is at `https://www.rfc-editor.org/rfc/rfc9846#section-6.1`.
fn link(rule: &str) -> Option<String> {
    let mut words = rule.strip_prefix("RFC ")?.split(' ');
    let (number, section) = (words.next()?, words.next());
    let is = |text: &str, also: &str| {
        let fits = |c: char| c.is_ascii_digit() || also.contains(c);
        !text.is_empty() && text.chars().all(fits)
    };
    if words.next().is_some() || !is(number, "") {
        return None;
    }
    let page = format!("https://www.rfc-editor.org/rfc/rfc{number}");
    match section {
        Some(section) if is(section, ".") => Some(format!("{page}#section-{section}")),
        Some(_) => None,
        None => Some(page),
    }
}
