//! Requests a second to bare, as bars with their spread.

use plotters::prelude::*;

use crate::{
    SERVERS,
    chart::{self, Area, COLORS, Error},
    stats::{Round, Row},
};

const BAR: i32 = 16;
const ROW: i32 = 3 * BAR + 26;
/// Where the bars begin, and how long one of the length 1 is.
const LEFT: i32 = 330;
const ONE: f64 = 380.0;

pub fn write(rows: &[Row], command: &str) -> Result<(), Error> {
    let lines: Vec<String> = rows.iter().flat_map(lines).collect();
    let head = "scenario,server,requests_per_second_to_bare,min,max,lost,rst";
    chart::csv("throughput", command, head, &lines)?;
    let size = (900, 100 + ROW as u32 * rows.len() as u32);
    chart::svg(
        "throughput",
        size,
        "Requests a second, to bare hyper-util",
        |area| draw(area, rows),
    )
}

fn lines(row: &Row) -> Vec<String> {
    let line = |kind| {
        let ratio = row.to_bare(kind, Round::per_second);
        format!(
            "\"{}\",{},{:.4},{:.4},{:.4},{},{}",
            row.name,
            kind.name(),
            ratio.median,
            ratio.min,
            ratio.max,
            row.sum(kind, |done| done.lost),
            row.sum(kind, |done| done.reset),
        )
    };
    SERVERS.map(line).into()
}

fn draw(area: &Area<'_>, rows: &[Row]) -> Result<(), Error> {
    chart::legend(area, &SERVERS.map(|kind| kind.name()))?;
    let text = ("sans-serif", 14);
    let x = |ratio: f64| LEFT + (ratio.min(1.25) * ONE) as i32;
    for (i, row) in rows.iter().enumerate() {
        let top = 40 + i as i32 * ROW;
        area.draw(&Text::new(row.name, (16, top + BAR), text))?;
        for (j, kind) in SERVERS.into_iter().enumerate() {
            let ratio = row.to_bare(kind, Round::per_second);
            let y = top + j as i32 * BAR;
            let bar = [(LEFT, y), (x(ratio.median), y + BAR - 2)];
            area.draw(&Rectangle::new(bar, COLORS[j].filled()))?;
            let middle = y + BAR / 2 - 1;
            let spread = vec![(x(ratio.min), middle), (x(ratio.max), middle)];
            area.draw(&PathElement::new(spread, BLACK))?;
            let lost = row.sum(kind, |done| done.lost);
            let label = match lost {
                0 => format!("{:.2}", ratio.median),
                _ => format!("{:.2}, {lost} answers lost", ratio.median),
            };
            area.draw(&Text::new(
                label,
                (x(ratio.max.max(ratio.median)) + 8, y),
                text,
            ))?;
        }
    }
    Ok(())
}
