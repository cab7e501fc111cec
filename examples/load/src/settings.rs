//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::mix::{self, Kind};

/// Sends requests, and tells what became of every one.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Settings {
    /// The server, as in https://127.0.0.1:8443
    #[arg(value_parser = server)]
    pub(crate) url: Server,

    /// How long to send requests for
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = positive)]
    #[arg(allow_negative_numbers = true)]
    seconds: f64,

    /// How many connections to keep busy
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = count)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) connections: usize,

    /// How many requests at once on an HTTP/2 connection
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = count)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) streams: usize,

    /// Requests a second, whatever the answers take: latencies count from when a request was due
    /// [default: each connection as fast as it is answered]
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) rate: Option<f64>,

    /// The kinds of requests: PROTOCOL:METHOD:PATH[:UPLOAD][@WEIGHT], commas between them, where
    /// PROTOCOL is h1, h1-close (one request a connection), h1.0 or h2, and UPLOAD is BYTES or
    /// BYTES/MS to send them over so long
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = mix::kind)]
    #[arg(default_value = mix::DEFAULT)]
    pub(crate) mix: Vec<Kind>,

    /// How long an answer may take
    #[arg(long = "timeout-ms", value_name = "MS", default_value_t = 10_000, value_parser = ms)]
    #[arg(allow_negative_numbers = true)]
    timeout: u64,

    /// How far away the server is made to be, there and back
    #[arg(long = "rtt-ms", value_name = "MS", default_value_t = 0, value_parser = distance)]
    #[arg(allow_negative_numbers = true)]
    round_trip: u64,

    /// Writes totals and the time line, in steps of 100 ms, as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Writes a line of CSV for every request: when it ended, what it took, what became of it
    #[arg(long, value_name = "FILE")]
    pub(crate) samples: Option<PathBuf>,

    /// Prints no progress
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Where the requests go.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Settings {
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_millis(self.round_trip)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout)
    }
}

fn server(text: &str) -> Result<Server, String> {
    let wrong = || "give https:// with a host and a port, as in https://127.0.0.1:8443".to_owned();
    let url: http::Uri = text.parse().map_err(|_| wrong())?;
    match (url.scheme_str(), url.host(), url.path()) {
        (Some("https"), Some(host), "/") if !host.is_empty() => Ok(Server {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port_u16().unwrap_or(443),
        }),
        (Some("https"), Some(_), _) => Err("leave the path out: --mix has the paths".into()),
        _ => Err(wrong()),
    }
}

const DAY: f64 = 24.0 * 60.0 * 60.0;

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && number <= DAY => Ok(number),
        _ => Err(format!("give a number above 0, at most {DAY}")),
    }
}

fn ms(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(ms @ 1..=86_400_000) => Ok(ms),
        _ => Err("give milliseconds, 1 to 86400000 (a day)".into()),
    }
}

fn distance(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(ms @ 0..=10_000) => Ok(ms),
        _ => Err("give milliseconds, 0 to 10000".into()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=10_000) => Ok(count),
        _ => Err("give a number, 1 to 10000".into()),
    }
}
