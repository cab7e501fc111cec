//! What was seen, as lines, as a picture, and as tables for the README.

use std::fmt;

use crate::{
    Seen, chart,
    client::{Ends, Protocol},
    many,
    rig::Error,
    server::Server,
};

/// Medians of one server with so many connections.
pub struct Row {
    server: Server,
    protocol: Protocol,
    connections: usize,
    idle: f64,
    draining: f64,
    told_ms: f64,
    exit_ms: f64,
    ends: Ends,
    /// `idle` to bare's.
    to_bare: f64,
}

impl Row {
    pub fn of(server: Server, protocol: Protocol, connections: usize, seen: &[Seen]) -> Self {
        let ends = seen
            .iter()
            .fold(Ends::default(), |sum, seen| sum + seen.ends);
        Self {
            server,
            protocol,
            connections,
            idle: median(seen, |of| of.idle),
            draining: median(seen, |of| of.draining),
            told_ms: median(seen, |of| of.told.as_secs_f64() * 1e3),
            exit_ms: median(seen, |of| of.exit.as_secs_f64() * 1e3),
            ends,
            to_bare: f64::NAN,
        }
    }
}

fn median(seen: &[Seen], figure: fn(&Seen) -> f64) -> f64 {
    let mut figures: Vec<f64> = seen.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Sees how those that were measured together stand to bare.
pub fn compare(rows: &mut [Row]) {
    let bare = rows.iter().find(|row| row.server == Server::Bare);
    let bare = bare.map_or(f64::NAN, |row| row.idle);
    rows.iter_mut()
        .for_each(|row| row.to_bare = row.idle / bare);
}

pub fn print_head() {
    println!(
        "{:<8} {:>11} {:<13} {:>9} {:>6} {:>9} {:>9} {:>9} {:>8} {:>7} {:>6}",
        "protocol",
        "connections",
        "server",
        "B idle",
        "ratio",
        "draining",
        "told ms",
        "exit ms",
        "notified",
        "bare",
        "RST"
    );
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ends {
            notified,
            bare,
            reset,
        } = self.ends;
        write!(
            f,
            "{:<8} {:>11} {:<13} {:>9.0} {:>6.3} {:>9.0} {:>9.1} {:>9.1} {notified:>8} {bare:>7} {reset:>6}",
            self.protocol.to_string(),
            self.connections,
            self.server.name(),
            self.idle,
            self.to_bare,
            self.draining,
            self.told_ms,
            self.exit_ms,
        )
    }
}

const HEAD: &str =
    "protocol,connections,server,bytes_idle,bytes_draining,told_ms,exit_ms,notified,bare_fin,rst";

/// All numbers, and HTTP/1's time as a picture.
pub fn write(rows: &[Row], command: &str) -> Result<(), Error> {
    let numbers = |row: &Row| {
        let Ends {
            notified,
            bare,
            reset,
        } = row.ends;
        format!(
            "{},{},{},{:.0},{:.0},{:.1},{:.1},{notified},{bare},{reset}",
            row.protocol,
            row.connections,
            row.server.name(),
            row.idle,
            row.draining,
            row.told_ms,
            row.exit_ms,
        )
    };
    let lines: Vec<_> = rows.iter().map(numbers).collect();
    chart::csv("idle", command, HEAD, &lines)?;
    let title = "From SIGTERM to the last connection that was told to go";
    let of = |server| of(rows, Protocol::Http1, server);
    let point = |row: &Row| (row.connections as f64, row.told_ms);
    let line = |server| of(server).map(point).collect();
    chart::svg("idle", (900, 460), title, |area| {
        let lines = chart::Lines {
            x: "idle connections",
            y: "milliseconds",
            names: Server::ALL.map(Server::name).into(),
            lines: Server::ALL.map(line).into(),
        };
        lines.draw(area)
    })
}

fn of(rows: &[Row], protocol: Protocol, server: Server) -> impl Iterator<Item = &Row> {
    let is = move |row: &&Row| row.protocol == protocol && row.server == server;
    rows.iter().filter(is)
}

/// Bytes with the most connections, and milliseconds with each number of them.
pub fn beside(rows: &[Row]) -> String {
    let mut numbers: Vec<_> = rows.iter().map(|row| row.connections).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let told = numbers.iter().map(|n| format!("{n} told, ms"));
    let mut table = table(
        ["", "bytes resident, idle", "to bare", "while draining"],
        told.chain(["close_notify".into(), "bare FIN".into(), "RST".into()]),
    );
    for protocol in Protocol::ALL {
        for server in Server::of(protocol) {
            let Some(most) = of(rows, protocol, server).last() else {
                continue;
            };
            let told = of(rows, protocol, server).map(|row| format!("{:.0}", row.told_ms));
            let ends = of(rows, protocol, server).fold(Ends::default(), |sum, row| sum + row.ends);
            let first = [
                format!("{protocol}, {}", server.name()),
                format!("{:.0}", most.idle),
                format!("{:.3}", most.to_bare),
                // Where the process was gone sooner nothing was seen.
                if most.draining > 0.0 {
                    format!("{:.0}", most.draining)
                } else {
                    String::new()
                },
            ];
            let ends = [ends.notified, ends.bare, ends.reset].map(|n| n.to_string());
            table += &line(first.into_iter().chain(told).chain(ends));
        }
    }
    table
}

/// What grows with the connections, and how.
pub fn many(seen: &[(Protocol, usize, many::Seen)]) -> String {
    let mut table = table(
        [
            "",
            "bytes, both ends",
            "a snapshot of all, ms",
            "the same, ns a connection",
        ],
        [
            "a newcomer is answered, ms",
            "one for whom another gives way, ms",
            "shutdown, ms",
            "the same, µs a connection",
            "close_notify",
        ]
        .map(String::from),
    );
    for (protocol, n, seen) in seen {
        let each = |time: std::time::Duration| time.as_secs_f64() / *n as f64;
        let ms = |time: std::time::Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
        table += &line([
            format!("{protocol}, {n}"),
            format!("{:.0}", seen.bytes),
            ms(seen.snapshot),
            format!("{:.0}", each(seen.snapshot) * 1e9),
            ms(seen.welcomed),
            ms(seen.made_room),
            ms(seen.shutdown),
            format!("{:.1}", each(seen.shutdown) * 1e6),
            match seen.unnotified {
                0 => "all".into(),
                some => format!("**{some} have none**"),
            },
        ]);
    }
    table
}

fn table<const N: usize>(first: [&str; N], rest: impl IntoIterator<Item = String>) -> String {
    let names: Vec<_> = first.map(String::from).into_iter().chain(rest).collect();
    let rule = names.iter().map(|_| "---".into());
    line(names.clone()) + &line(rule)
}

fn line(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<_> = cells.into_iter().collect();
    format!("| {} |\n", cells.join(" | "))
}
