//! Requests a second to bare, as bars with their spread.

use plotters::prelude::*;

use crate::{
    chart::{self, Area, COLORS, Error},
    stats::{FIGURES, Round, Row, Seen},
};

const BAR: i32 = 16;
const GAP: i32 = 26;
/// Where the bars begin, and how long one of the length 1 is.
const LEFT: i32 = 330;
const ONE: f64 = 190.0;
/// The longest.
const MOST: f64 = 2.4;
const TEXT: (&str, u32) = ("sans-serif", 14);

pub fn write(rows: &[Row], command: &str) -> Result<(), Error> {
    let lines: Vec<String> = rows.iter().flat_map(lines).collect();
    let head = "scenario,server,figure,to_bare,min,max,of_server,calls_per_request,lost,rst";
    chart::csv("throughput", command, head, &lines)?;
    let size = (900, 100 + (height(rows) * rows.len() as i32) as u32);
    chart::svg(
        "throughput",
        size,
        "Requests a second, to bare hyper-util",
        |area| draw(area, rows),
    )
}

fn lines(row: &Row) -> Vec<String> {
    let of = |seen| FIGURES.map(|(name, figure)| line(row, seen, name, figure));
    row.servers.iter().flat_map(of).collect()
}

fn line(row: &Row, seen: &Seen, name: &str, figure: fn(&Round) -> f64) -> String {
    let ratio = row.to_bare(seen, figure);
    format!(
        "\"{}\",{},{name},{:.4},{:.4},{:.4},{:.6},{},{},{}",
        row.name,
        seen.server,
        ratio.median,
        ratio.min,
        ratio.max,
        seen.median(figure),
        seen.calls
            .map_or(String::new(), |calls| format!("{calls:.2}")),
        seen.sum(|round| round.lost),
        seen.sum(|round| round.reset),
    )
}

/// Of one scenario.
fn height(rows: &[Row]) -> i32 {
    BAR * rows.first().map_or(0, |row| row.servers.len() as i32) + GAP
}

fn draw(area: &Area<'_>, rows: &[Row]) -> Result<(), Error> {
    let servers = rows.iter().take(1).flat_map(|row| &row.servers);
    chart::legend(area, &servers.map(|seen| seen.server).collect::<Vec<_>>())?;
    for (i, row) in rows.iter().enumerate() {
        let top = 40 + i as i32 * height(rows);
        area.draw(&Text::new(row.name, (16, top + BAR), TEXT))?;
        for (j, seen) in row.servers.iter().enumerate() {
            let color = COLORS[j % COLORS.len()];
            bar(area, row, seen, top + j as i32 * BAR, color)?;
        }
    }
    Ok(())
}

fn bar(area: &Area<'_>, row: &Row, seen: &Seen, y: i32, color: RGBColor) -> Result<(), Error> {
    let x = |ratio: f64| LEFT + (ratio.min(MOST) * ONE) as i32;
    let ratio = row.to_bare(seen, |round| round.per_second);
    let bar = [(LEFT, y), (x(ratio.median), y + BAR - 2)];
    area.draw(&Rectangle::new(bar, color.filled()))?;
    let middle = y + BAR / 2 - 1;
    let spread = vec![(x(ratio.min), middle), (x(ratio.max), middle)];
    area.draw(&PathElement::new(spread, BLACK))?;
    let label = match seen.sum(|round| round.lost) {
        0 => format!("{:.2}", ratio.median),
        lost => format!("{:.2}, {lost} answers lost", ratio.median),
    };
    let at = (x(ratio.max.max(ratio.median)) + 8, y);
    area.draw(&Text::new(label, at, TEXT))?;
    Ok(())
}
