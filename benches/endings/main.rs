//! How servers end their connections, side by side: `cargo bench --bench endings`.
//!
//! The probe looks at the testbed with each of its adapters, at what people write by hand today and
//! at nginx and Apache httpd, where those are installed. It takes ten minutes or so: a server may
//! hold a silent client for 135 s before that counts against it. `-- nginx hyper` looks at those
//! whose names have these words in them, and leaves what was found about the others.
//!
//! What is found lands in `benches/results/endings/`, on a page beside it, and as a table in the
//! `benches/README.md`. `servers` has who is compared, `runs` runs the probe, `table` writes the table.

mod runs;
mod servers;
mod table;

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use graceful_tls_probe::run::{self, Run};
use processes::PROBE;
use servers::{SERVERS, Server};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Where things are.
struct Places {
    results: PathBuf,
    page: PathBuf,
}

fn main() -> Result<ExitCode, Error> {
    let places = Places::find();
    let words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let chosen: Vec<&Server> = SERVERS
        .iter()
        .filter(|server| server.is_named(&words))
        .collect();
    if chosen.is_empty() {
        eprintln!("error: none of the servers is named {}", words.join(" or "));
        return Ok(ExitCode::from(2));
    }
    build();
    fs::create_dir_all(&places.results)?;
    let all_seen = runs::all(&chosen, &places)?;
    let found = found(&places)?;
    page(&places, &found)?;
    table::write(&found)?;
    println!(
        "written: {}, and the table in benches/README.md",
        places.page.display()
    );
    Ok(match all_seen {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

impl Places {
    fn find() -> Self {
        let root = processes::root();
        Self {
            results: root.join("benches/results/endings"),
            page: root.join("benches/results/endings.html"),
        }
    }

    fn result(&self, server: &Server) -> PathBuf {
        self.results.join(format!("{}.json", server.id))
    }
}

/// Brings the executables up to date, which takes no time where they are.
fn build() {
    let servers = ["--example", "testbed", "--example", "peers"];
    processes::build(&[&PROBE[..], &servers].concat());
}

/// Everything that is known by now, from this run and those before it.
fn found(places: &Places) -> Result<Vec<Run>, Error> {
    let files = SERVERS.iter().map(|server| places.result(server));
    let runs = files.filter(|file| file.exists()).map(|file| {
        let text = fs::read_to_string(&file)?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()).into())
    });
    runs.collect()
}

fn page(places: &Places, found: &[Run]) -> Result<(), Error> {
    if found.is_empty() {
        return Err("nothing was found out: see above".into());
    }
    let files = SERVERS.iter().map(|server| places.result(server));
    let status = Command::new(processes::probe())
        .arg("--html")
        .arg(&places.page)
        .arg("--from")
        .args(files.filter(|file| file.exists()))
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err("the page can't be made: see above".into()),
    }
}
