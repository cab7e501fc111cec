//! The drawing of a connection: client and server, and between them who sent what when.
//!
//! Time goes down. What was sent is an arrow with its name on it, and ends in a shape of its own:
//! a head for data, a bar for FIN, a cross for RST. The server's line is thick for as long as it
//! held the connection.

use maud::{Markup, html};

use super::scale::Scale;
use super::words::{size, time};
use crate::run::{Ending, Event, Kind, Side};

const WIDTH: f64 = 368.0;
const CLIENT: f64 = 70.0;
const SERVER: f64 = 336.0;
const MIDDLE: f64 = (CLIENT + SERVER) / 2.0;
/// More letters than this do not fit between the two.
const LETTERS: usize = 42;

pub fn render(ending: &Ending, label: &str) -> Markup {
    let mut events: Vec<&Event> = ending.events.iter().collect();
    events.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let times = events.iter().map(|event| event.ms);
    let scale = Scale::new(times.chain([last(ending, &events)]));
    let height = scale.bottom() + 14.0;
    html! {
        svg.timeline viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" aria-label=(label) {
            text.lane x=(CLIENT) y="18" { "client" }
            text.lane x=(SERVER) y="18" { "server" }
            path.life d=(format!("M{CLIENT} 26V{:.1}", scale.bottom())) {}
            (held(ending, &scale))
            @for wait in scale.waits() { (pause(wait.y, wait.ms)) }
            @for (n, event) in events.iter().enumerate() { (draw(event, scale.row(n))) }
            (end(ending, scale.bottom()))
        }
    }
}

/// When the time line ends.
fn last(ending: &Ending, events: &[&Event]) -> f64 {
    let event = events.last().map_or(0.0, |event| event.ms);
    ending.ended_ms.max(event)
}

/// The server's line, up to where it let go.
fn held(ending: &Ending, scale: &Scale) -> Markup {
    let bottom = ending.held_ms.map_or(scale.bottom(), |ms| scale.at(ms));
    html! {
        path.life d=(format!("M{SERVER} 26V{bottom:.1}")) {}
        path.held d=(format!("M{SERVER} {:.1}V{bottom:.1}", scale.row(0))) {}
        @if ending.held_ms.is_some() {
            path.cap d=(format!("M{} {bottom:.1}h12", SERVER - 6.0)) {}
        }
    }
}

/// The break that stands for a long wait.
fn pause(y: f64, ms: f64) -> Markup {
    let zigzag = |x: f64| format!("M{x} {:.1}l-5 3 10 4 -10 4 5 3", y - 7.0);
    html! {
        path.break-back d=(format!("M{CLIENT} {:.1}v14M{SERVER} {0:.1}v14", y - 7.0)) {}
        path.break d=(format!("{}{}", zigzag(CLIENT), zigzag(SERVER))) {}
        text.wait x=(MIDDLE) y=(format!("{:.1}", y + 4.0)) { "… " (time(ms)) " …" }
    }
}

fn draw(event: &Event, y: f64) -> Markup {
    let class = class(event.kind);
    let words = words(event);
    html! {
        g class=(class) {
            (tick(event.ms, y))
            @match event.kind {
                Kind::Other => (remark(event.from, y, &words)),
                Kind::Sigterm => {
                    path d=(format!("M{CLIENT} {y:.1}H{SERVER}")) {}
                    (caption(y, &words))
                }
                kind => {
                    path d=(arrow(event.from, kind, y)) {}
                    (caption(y, &words))
                }
            }
        }
    }
}

fn tick(ms: f64, y: f64) -> Markup {
    let y = format!("{:.1}", y + 4.0);
    html! { text.tick x=(CLIENT - 12.0) y=(y) { (time(ms)) } }
}

fn caption(y: f64, words: &str) -> Markup {
    html! { text x=(MIDDLE) y=(format!("{:.1}", y - 5.0)) { (short(words)) } }
}

/// What one side did by itself.
fn remark(from: Side, y: f64, words: &str) -> Markup {
    let (x, words_x, anchor) = match from {
        Side::Client => (CLIENT, CLIENT + 8.0, "start"),
        Side::Server => (SERVER, SERVER - 8.0, "end"),
    };
    html! {
        circle cx=(x) cy=(format!("{y:.1}")) r="3" {}
        text x=(words_x) y=(format!("{:.1}", y + 4.0)) style={ "text-anchor:" (anchor) } { (short(words)) }
    }
}

/// Words that fit, and the whole of them for whoever points there.
fn short(words: &str) -> Markup {
    let fits = words.chars().count() <= LETTERS;
    let start: String = words.chars().take(LETTERS - 1).collect();
    html! {
        @if fits { (words) } @else { (start.trim_end()) "…" title { (words) } }
    }
}

/// From one side to the other, with the shape that this kind ends in.
fn arrow(from: Side, kind: Kind, y: f64) -> String {
    let (start, end, back) = match from {
        Side::Client => (CLIENT, SERVER - 4.0, -7),
        Side::Server => (SERVER - 3.0, CLIENT + 1.0, 7),
    };
    let shape = match kind {
        Kind::Rst => format!("m{back} -5l{0} 10m0 -10l{back} 10", -back),
        Kind::Fin => format!("m0 -6v12m0 -6m{back} -4l{0} 4 {back} 4", -back),
        _ => format!("m{back} -4l{0} 4 {back} 4", -back),
    };
    format!("M{start} {y:.1}H{end}{shape}")
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Connect | Kind::Handshake => "setup",
        Kind::Request => "request",
        Kind::Answer => "answer",
        Kind::CloseNotify => "notify",
        Kind::Alert => "alert",
        Kind::Fin => "fin",
        Kind::Rst => "rst",
        Kind::Goaway => "goaway",
        Kind::Sigterm => "signal",
        Kind::Other => "other",
    }
}

fn words(event: &Event) -> String {
    let name = match event.kind {
        Kind::Connect => "TCP connection",
        Kind::Handshake => "TLS handshake",
        Kind::Request | Kind::Other => "",
        Kind::Answer => "answer",
        Kind::CloseNotify => "close_notify",
        Kind::Alert => "alert",
        Kind::Fin => "FIN",
        Kind::Rst => "RST",
        Kind::Goaway => "GOAWAY",
        Kind::Sigterm => "signal",
    };
    let mut words: Vec<String> = vec![name.into(), event.detail.clone()];
    if event.bytes > 0 {
        words.push(size(event.bytes));
    }
    words.retain(|word| !word.is_empty());
    words.join(" ").replace(" ,", ",")
}

/// What the probe saw last, unless that was the server letting go.
fn end(ending: &Ending, bottom: f64) -> Markup {
    let words = match (ending.held_ms, ending.rst_ms.or(ending.fin_ms)) {
        (Some(_), _) => return html! {},
        (None, Some(_)) => "the probe looks no further",
        (None, None) => "still open: the probe gives up",
    };
    html! {
        g.other {
            (tick(ending.ended_ms, bottom))
            text x=(MIDDLE) y=(format!("{:.1}", bottom + 4.0)) { (words) }
        }
    }
}
