//! What a bench measured, as a picture and as numbers, in `benches/results/`.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use plotters::{
    coord::{Shift, ranged1d::ValueFormatter},
    prelude::*,
};

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The color of each server, told apart by those who see no red or no green too.
pub const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(120, 120, 120),
    RGBColor(86, 180, 233),
];
pub const GREY: RGBColor = RGBColor(120, 120, 120);

/// Where the results go: behind `--results`, from the repository's folder on, or where it keeps them.
pub fn results() -> PathBuf {
    processes::root().join(option("--results").unwrap_or("benches/results".into()))
}

/// The word behind `name` on the command line, or behind its `=`. `cargo bench` adds words of its own: the rest
/// is passed over.
pub fn option(name: &str) -> Option<String> {
    let is_it = |word: &String| word.split('=').next() == Some(name);
    let mut words = std::env::args().skip_while(|word| !is_it(word));
    match words.next()?.split_once('=') {
        Some((_, value)) => Some(value.to_owned()),
        None => words.next(),
    }
}

/// A time on the command line, of as many seconds as can be waited for.
pub fn seconds(word: &str) -> Result<Duration, String> {
    let seconds = word.parse::<f64>().ok();
    let sane = seconds.filter(|seconds| (0.05..=3600.0).contains(seconds));
    let wanted = || "seconds, from 0.05 to 3600, are wanted".to_owned();
    sane.map(Duration::from_secs_f64).ok_or_else(wanted)
}

/// When and on what it was measured.
pub fn stamp() -> String {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let online = said("getconf", &["_NPROCESSORS_ONLN"]).unwrap_or_default();
    format!(
        "{}, {online} cores, {}{}",
        said("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
        said("uname", &["-sr"]).unwrap_or_default(),
        congestion_control().map_or(String::new(), |name| format!(", TCP {name}")),
    )
}

/// TCP's congestion control, where it can be asked for.
fn congestion_control() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    Some(name.ok()?.trim().to_owned())
}

/// BBR has a timer for each burst (it *paces*), which on loopback costs more than all that is compared: large
/// answers of bare came to 2.5 times as many a second without it.
pub fn warn_of_pacing() {
    if congestion_control().is_some_and(|name| name == "bbr") {
        eprintln!(
            "TCP's congestion control is bbr, and its pacing is most of what is measured: \
             sysctl -w net.ipv4.tcp_congestion_control=cubic"
        );
    }
}

/// What stands above every table: the command that repeats it, and the stamp.
pub fn heading(command: &str) -> String {
    format!("# {command}\n# {}\n", stamp())
}

/// The command that runs this very bench again.
pub fn command(bench: &str) -> String {
    let words = std::env::args().skip(1).filter(|word| word != "--bench");
    let words: Vec<_> = words.collect();
    match words.is_empty() {
        true => format!("cargo bench --bench {bench}"),
        false => format!("cargo bench --bench {bench} -- {}", words.join(" ")),
    }
}

/// Writes `rows` under `head`, with the command that repeats them.
pub fn csv(name: &str, command: &str, head: &str, rows: &[String]) -> Result<(), Error> {
    let path = results().join(format!("{name}.csv"));
    let text = format!("{}{head}\n{}\n", heading(command), rows.join("\n"));
    fs::create_dir_all(results())?;
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

/// Puts `table` into `benches/README.md`, between the marks of `name`, where the last one was.
pub fn readme(name: &str, table: &str) -> Result<(), Error> {
    let path = processes::root().join("benches/README.md");
    let text = fs::read_to_string(&path)?;
    let [begin, end] = ["begin", "end"].map(|mark| format!("<!-- {name}:{mark} -->"));
    let marks = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) = marks.ok_or_else(|| {
        format!("benches/README.md: the lines {begin} and {end} are missing: add them")
    })?;
    fs::write(&path, format!("{before}{begin}\n{table}{end}{after}"))?;
    Ok(())
}

/// Draws a picture of `size` with `title` and the stamp above what `draw` draws.
pub fn svg(
    name: &str,
    size: (u32, u32),
    title: &str,
    draw: impl FnOnce(&Area<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let path = results().join(format!("{name}.svg"));
    fs::create_dir_all(results())?;
    let root = SVGBackend::new(&path, size).into_drawing_area();
    root.fill(&WHITE)?;
    root.draw(&Text::new(title, (16, 12), ("sans-serif", 20)))?;
    let font = ("sans-serif", 13).into_font().color(&GREY);
    root.draw(&Text::new(stamp(), (16, 38), font))?;
    let (_, below) = root.split_vertically(60);
    draw(&below)?;
    root.present()?;
    println!("wrote {}", path.display());
    Ok(())
}

/// Names beside their colors, in a row.
pub fn legend(area: &Area<'_>, names: &[&str]) -> Result<(), Error> {
    let mut x = 16;
    for (name, color) in names.iter().zip(COLORS) {
        area.draw(&Rectangle::new([(x, 4), (x + 14, 18)], color.filled()))?;
        area.draw(&Text::new(*name, (x + 20, 4), ("sans-serif", 15)))?;
        x += 50 + 8 * name.len() as i32;
    }
    Ok(())
}

/// Lines over `x`, one for each server.
pub struct Lines<'a> {
    pub x: &'a str,
    pub y: &'a str,
    pub names: Vec<&'a str>,
    pub lines: Vec<Vec<(f64, f64)>>,
}

impl Lines<'_> {
    pub fn draw(&self, area: &Area<'_>) -> Result<(), Error> {
        let (top, area) = area.split_vertically(26);
        legend(&top, &self.names)?;
        let points = || self.lines.iter().flatten();
        let span = |of: fn(&(f64, f64)) -> f64| {
            let low = points().map(of).fold(f64::INFINITY, f64::min);
            let high = points().map(of).fold(f64::NEG_INFINITY, f64::max);
            (low, high)
        };
        let (first, last) = span(|p| p.0);
        let (_, highest) = span(|p| p.1);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(first..last, 0.0..(highest * 1.08).max(1.0))?;
        mesh(&mut chart, self.x, self.y)?;
        for (line, color) in self.lines.iter().zip(COLORS) {
            chart.draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(2)))?;
        }
        Ok(())
    }
}

fn mesh<X, Y>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<X, Y>>,
    x: &str,
    y: &str,
) -> Result<(), Error>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_desc(x)
        .y_desc(y)
        .label_style(("sans-serif", 13))
        .draw()?;
    Ok(())
}
