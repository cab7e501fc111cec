//! Latency over time, restarts shaded, lost requests marked: one panel a server.

use std::{error::Error, path::Path};

use plotters::{coord::Shift, prelude::*};

use crate::{
    chart,
    run::Run,
    table::{Step, steps},
};

const SIZE: (u32, u32) = (1400, 720);
const P99: RGBColor = RGBColor(31, 119, 180);
const P50: RGBColor = RGBColor(140, 140, 140);
const RESTART: RGBColor = RGBColor(255, 224, 178);
const LOST: RGBColor = RGBColor(214, 39, 40);

pub fn draw(path: &Path, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let runs: Vec<_> = runs.iter().map(|run| (run, steps(run))).collect();
    // One scale for both.
    let latencies = runs
        .iter()
        .flat_map(|(_, steps)| steps)
        .map(|step| step.p99_ms);
    let highest = latencies.fold(10.0, f64::max);
    for ((run, steps), area) in runs.iter().zip(root.split_evenly((runs.len(), 1))) {
        panel(&area, run, steps, highest)?;
    }
    let font = ("sans-serif", 13).into_font().color(&P50);
    root.draw(&Text::new(chart::stamp(), (10, SIZE.1 as i32 - 18), font))?;
    root.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    run: &Run,
    steps: &[Step],
    highest: f64,
) -> Result<(), Box<dyn Error>> {
    let end = steps.last().map_or(1.0, |step| step.seconds);
    let mut chart = ChartBuilder::on(area)
        .caption(title(run), ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(35)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..end, (1.0..highest * 1.2).log_scale())?;
    let shade = |(from, to): &(_, _)| {
        let seconds = |at: &std::time::Duration| at.saturating_sub(run.begun()).as_secs_f64();
        Rectangle::new(
            [(seconds(from), 1.0), (seconds(to), highest * 1.2)],
            RESTART.filled(),
        )
    };
    chart.draw_series(run.restarts.iter().map(shade))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc("seconds")
        .y_desc("latency, ms")
        .draw()?;
    let line = |of: fn(&Step) -> f64, color: RGBColor| {
        let busy = steps.iter().filter(|step| step.requests > step.lost);
        LineSeries::new(
            busy.map(move |step| (step.seconds, of(step).max(1.0))),
            color,
        )
    };
    chart.draw_series(line(|step| step.p50_ms, P50))?;
    chart.draw_series(line(|step| step.p99_ms, P99))?;
    let lost = steps.iter().filter(|step| step.lost > 0);
    chart.draw_series(lost.map(|step| Circle::new((step.seconds, highest), 3, LOST.filled())))?;
    Ok(())
}

fn title(run: &Run) -> String {
    format!(
        "{}: {} restarts (shaded), {} requests, {} lost (red), {} RST; p50 (grey) and p99 (blue) of \
         each 100 ms",
        run.name,
        run.restarts.len(),
        run.totals.count("requests"),
        run.totals.count("lost"),
        run.totals.count("resets"),
    )
}
