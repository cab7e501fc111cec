//! The tables in `benches/README.md`: a scenario or a crowd a line, a server a column.

use crate::{
    server::BARE,
    stats::{Beside, FIGURES, Row, Seen, Spread},
};

/// As ratios to bare; of bare itself, what it is.
pub fn of(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let mut table = head(first.servers.iter().map(|seen| seen.server));
    for row in rows {
        table += &line(row.name, row.servers.iter().map(|seen| cell(row, seen)));
    }
    table
}

/// The names of the servers.
pub fn head(servers: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<_> = servers.map(str::to_owned).collect();
    let rule = names.iter().map(|_| "---".to_owned());
    line("", names.iter().cloned()) + &line("---", rule)
}

fn line(title: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("| {title} | {} |\n", cells.join(" | "))
}

fn cell(row: &Row, seen: &Seen) -> String {
    // It has no such endpoint.
    if seen.median(|round| round.per_second) == 0.0 {
        return "–".into();
    }
    let mut lines = match seen.server == BARE {
        true => itself(seen),
        false => FIGURES
            .map(|(name, figure)| format!("{name} {}", row.to_bare(seen, figure)))
            .to_vec(),
    };
    lines.extend(seen.calls.map(|calls| format!("calls {calls:.1}")));
    let (lost, reset) = (seen.sum(|round| round.lost), seen.sum(|round| round.reset));
    if lost + reset > 0 {
        lines.push(format!("**{lost} lost**, {reset} RST"));
    }
    lines.join("<br>")
}

fn itself(seen: &Seen) -> Vec<String> {
    let micros = |micros: f64| format!("{:.2} ms", micros / 1e3);
    vec![
        format!("{:.0} requests/s", seen.median(|round| round.per_second)),
        format!("CPU {:.0} µs", seen.median(|round| round.cpu) * 1e6),
        format!("p50 {}", micros(seen.median(|round| round.p50))),
        format!("p99 {}", micros(seen.median(|round| round.p99))),
        format!("p99.9 {}", micros(seen.median(|round| round.p999))),
    ]
}

/// What good clients still get of each server beside a crowd.
pub fn crowd_row(name: &str, servers: &[Vec<Beside>]) -> String {
    let cell = |rounds: &Vec<Beside>| {
        let of = |figure: fn(&Beside) -> f64| Spread::of(rounds.iter().map(figure));
        let taken = of(|beside| beside.taken).median * 100.0;
        format!(
            "requests/s {}<br>p99 {}<br>the crowd alone takes {taken:.0} %",
            of(|beside| beside.requests),
            of(|beside| beside.p99)
        )
    };
    line(name, servers.iter().map(cell))
}
