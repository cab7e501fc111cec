//! What the words and the drawings mean, for someone who meets them for the first time.

use maud::{Markup, html};

use super::words::{WORDS, badge};

/// Name, how it is drawn (class and path), and what it is.
const SIGNS: [(&str, &str, &str, &str); 8] = [
    (
        "request, answer",
        "request",
        "M0 8H34m-7 -4l7 4 -7 4",
        "Data inside TLS.",
    ),
    (
        "close_notify",
        "notify",
        "M0 8H34m-7 -4l7 4 -7 4",
        "TLS's own goodbye: nothing follows, and nothing is missing. An attacker can't forge it.",
    ),
    (
        "alert",
        "alert",
        "M0 8H34m-7 -4l7 4 -7 4",
        "TLS says what is wrong, and ends the connection.",
    ),
    (
        "GOAWAY",
        "goaway",
        "M0 8H34m-7 -4l7 4 -7 4",
        "HTTP/2's goodbye: it says which requests were not looked at, and may be repeated.",
    ),
    (
        "FIN",
        "fin",
        "M0 8H34m0 -6v12m0 -6m-7 -4l7 4 -7 4",
        "TCP's goodbye for one direction. Anyone on the way can forge it: without close_notify the \
         client can't tell a whole answer from a cut one, unless the answer says how long it is.",
    ),
    (
        "RST",
        "rst",
        "M0 8H34m-7 -5l7 10m0 -10l-7 10",
        "TCP's rupture: what was sent but not read yet may be thrown away.",
    ),
    (
        "let go",
        "life",
        "M17 0V15m-6 0h12",
        "The server's line is thick for as long as it has the connection's descriptor.",
    ),
    (
        "a long wait",
        "life",
        "M17 0v3l-5 2 10 4 -10 4 5 2v2",
        "Rows keep their distance, however close in time; a long wait is a break in the line.",
    ),
];

pub fn render() -> Markup {
    html! {
        section.legend aria-labelledby="legend" {
            h2 #legend { "How to read this" }
            p.lead {
                "A probe did to each server what clients do, well-behaved and not, and looked at what "
                "was on the wire when the connection ended: was the answer whole, could the client "
                "know it, and did the server let go?"
            }
            dl.verdicts {
                @for word in &WORDS {
                    div { dt { (badge(word.verdict)) } dd { (word.meaning) } }
                }
            }
            details {
                summary { "The time lines, and what FIN, RST and close_notify are" }
                p {
                    "Time goes down, in milliseconds since the connection was made, as the client saw "
                    "it. Left is the client, right the server."
                }
                dl.signs {
                    @for (name, class, path, meaning) in SIGNS {
                        div {
                            dt { (sign(class, path)) (name) }
                            dd { (meaning) }
                        }
                    }
                }
            }
        }
    }
}

fn sign(class: &str, path: &str) -> Markup {
    html! {
        svg.timeline.sign viewBox="-2 -2 42 20" aria-hidden="true" {
            g class=(class) { path class=(class) d=(path) {} }
        }
    }
}
