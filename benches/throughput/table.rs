//! The table in `benches/README.md`: a scenario a line, a server a column.

use crate::{
    server::BARE,
    stats::{FIGURES, Row, Seen},
};

/// As ratios to bare; of bare itself, what it is.
pub fn of(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let names = first.servers.iter().map(|seen| seen.server.to_owned());
    let mut table = line("", names);
    table += &line("---", first.servers.iter().map(|_| "---".to_owned()));
    for row in rows {
        table += &line(row.name, row.servers.iter().map(|seen| cell(row, seen)));
    }
    table
}

fn line(title: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("| {title} | {} |\n", cells.join(" | "))
}

fn cell(row: &Row, seen: &Seen) -> String {
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
