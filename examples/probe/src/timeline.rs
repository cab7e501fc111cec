//! The client's story of a connection, as events that can be drawn.
//!
//! The story has a line for every record; a time line wants to know who did what. One table says
//! which lines are what, and the rest is left out.

use std::time::Duration;

use crate::run::{Event, Kind, Side};
use wire::{Line, Story};

use Kind::*;
use Side::*;

const SHAKEN: &str = "handshake complete: ";

/// How a line begins, and what it is. The first that fits counts.
const TABLE: &[(&str, Side, Kind)] = &[
    ("connected", Client, Connect),
    (SHAKEN, Server, Handshake),
    ("# request ", Client, Request),
    ("# signal ", Client, Sigterm),
    ("# client ", Client, Other),
    ("# server ", Server, Other),
    ("< plaintext", Server, Answer),
    ("< bytes", Server, Answer),
    ("< HEADERS", Server, Answer),
    ("< DATA", Server, Answer),
    ("< close_notify", Server, CloseNotify),
    ("< fatal alert ", Server, Alert),
    ("< FIN", Server, Fin),
    ("< RST_STREAM", Server, Other),
    ("< RST", Server, Rst),
    ("< GOAWAY", Server, Goaway),
    ("< unusable", Server, Other),
    ("> close_notify", Client, CloseNotify),
    ("> FIN", Client, Fin),
    ("> RST_STREAM", Client, Other),
    ("> RST", Client, Rst),
    ("> GOAWAY", Client, Goaway),
    ("> a corrupt record", Client, Other),
    ("> write failed", Client, Other),
];

/// The events in order.
pub fn events(story: &Story) -> Vec<Event> {
    let lines = story.lines();
    // HTTP/2 has frames that belong to no answer: there only those count that do.
    let is_h2 = lines
        .iter()
        .any(|line| line.text.starts_with(SHAKEN) && line.text.contains("h2"));
    let lines = lines
        .iter()
        .filter(|line| !is_h2 || !line.text.starts_with("< plaintext"));
    let mut events: Vec<Event> = Vec::new();
    for event in lines.filter_map(event) {
        match events.last_mut() {
            // An answer comes in many records; what is of interest is that it came.
            Some(last) if last.kind == Answer && event.kind == Answer => {
                last.bytes += event.bytes;
                last.detail = format!("until {:.0} ms", event.ms);
            }
            _ => events.push(event),
        }
    }
    events
}

fn event(line: &Line) -> Option<Event> {
    let fits = |(start, ..): &&(&str, Side, Kind)| line.text.starts_with(start);
    let (start, from, kind) = *TABLE.iter().find(fits)?;
    let detail = match kind {
        Connect | Answer | Fin | CloseNotify => "",
        Rst => line.text[start.len()..].trim_start_matches([',', ' ']),
        Other => line.text.trim_start_matches(['<', '>', '#', ' ']),
        _ => line.text[start.len()..].trim(),
    };
    let (_, bytes) = line.tally.unwrap_or_default();
    Some(Event {
        ms: millis(line.first),
        from,
        kind,
        detail: detail.into(),
        bytes: bytes as u64,
    })
}

/// Milliseconds to the microsecond.
pub fn millis(at: Duration) -> f64 {
    (at.as_secs_f64() * 1e6).round() / 1e3
}
