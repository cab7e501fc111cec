//! The command line.

use std::{fs::OpenOptions, path::PathBuf, time::Duration};

use clap::Parser;

use crate::{scenarios, shutdown};

/// See how an HTTPS server ends its connections: what each of them left on the wire, and whether
/// anything was lost.
///
/// Exit status: 0 if nothing is lost, untrue or hangs; 1 if something is; 2 if nothing could be seen.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Args {
    /// The server, as in https://127.0.0.1:8443; port 0 is a free one, for --start
    #[arg(required_unless_present = "from")]
    pub url: Option<String>,

    /// What to GET
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path)]
    pub path: String,

    /// Where to send the upload that need not be read [default: that of --path]
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub upload_path: Option<String>,

    /// What takes a second or more to answer, for requests in flight at a shutdown
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub slow_path: Option<String>,

    /// Start the server with this command, and look at its shutdowns too; `{port}` in it becomes
    /// the port, so that shutdowns can run side by side
    #[arg(long, value_name = "COMMAND")]
    pub start: Option<String>,

    /// The signal that asks the server to shut down
    #[arg(long, value_name = "NAME", default_value = "TERM", value_parser = signal)]
    pub signal: String,

    /// The server has the endpoints of the testbed: look at what needs them too
    #[arg(long)]
    pub testbed: bool,

    /// Leave out what waits for the server's own time-outs: seconds instead of minutes
    ///
    /// That is silent-tcp, half-client-hello, silent-client, half-head, keep-alive-idle,
    /// silent-peer, slow-reader, h2-silent-client, h2-half-preface, h2-bad-preface and
    /// h2-keep-alive-idle; with --testbed stuck-reader, and with --start sigterm-endless,
    /// sigterm-handshake and sigterm-twice. So nothing is said of whether silent clients hold
    /// a connection for ever. In what is left a server counts as hanging after 10 s, unless
    /// --patience says otherwise.
    #[arg(long, conflicts_with = "only", verbatim_doc_comment)]
    pub quick: bool,

    /// Only these scenarios, by name, with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub only: Vec<String>,

    /// What the server is called in the output [default: host and port]
    #[arg(long)]
    pub name: Option<String>,

    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,

    /// Write a page with a time line of each connection
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Probe nothing: make the page of these, written with --json
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "html", conflicts_with = "url")]
    pub from: Vec<PathBuf>,

    /// How long a server may hold a connection before it counts as hanging [default: 130, with --quick 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    #[arg(allow_negative_numbers = true)]
    pub patience: Option<Duration>,

    /// How long a server may take to shut down before it counts as hanging
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    #[arg(allow_negative_numbers = true)]
    pub grace: Duration,

    /// How many scenarios run at once; with fewer it takes longer
    #[arg(long, value_name = "N", default_value = "100", value_parser = count)]
    #[arg(allow_negative_numbers = true)]
    pub at_once: usize,

    /// Trust the certificates in this file, PEM, and no others
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,

    /// Take any certificate, as is done for loopback anyway unless --ca is given
    #[arg(long)]
    pub insecure: bool,

    /// Needed for any host but this one: a run makes about a hundred connections, some broken
    #[arg(long)]
    pub i_may_test_this_host: bool,
}

/// Longer than any server that is known to let go of silent clients takes: graceful-tls has 120 s.
const PATIENCE: Duration = Duration::from_secs(130);
/// Where nothing waits for a time-out of the server's.
const QUICK_PATIENCE: Duration = Duration::from_secs(10);

impl Args {
    /// How long a server may hold a connection.
    pub fn patience(&self) -> Duration {
        self.patience.unwrap_or(match self.quick {
            true => QUICK_PATIENCE,
            false => PATIENCE,
        })
    }

    /// Whether this scenario is to be played.
    pub fn wants(&self, scenario: &str) -> bool {
        if self.quick && scenarios::WAITING.contains(&scenario) {
            return false;
        }
        self.only.is_empty() || self.only.iter().any(|name| name == scenario)
    }

    /// Whether the server can be started on any port.
    pub fn has_port_placeholder(&self) -> bool {
        self.start
            .as_ref()
            .is_some_and(|command| command.contains("{port}"))
    }

    /// What one option alone can't tell, said before a minute is spent.
    pub fn check(&self) -> Result<(), String> {
        if let Some(file) = &self.html {
            let opened = OpenOptions::new().append(true).create(true).open(file);
            opened.map_err(|error| format!("--html {}: {error}", file.display()))?;
        }
        let all = names();
        match self.only.iter().find(|name| !all.contains(&name.as_str())) {
            Some(name) => Err(format!("--only {name}: there is {}", all.join(", "))),
            None => Ok(()),
        }
    }
}

/// Every scenario's.
fn names() -> Vec<&'static str> {
    let (all, shutdowns) = (scenarios::all(true), shutdown::TABLE.iter());
    let all = all.iter().map(|(_, scenario)| scenario.id);
    let mut all: Vec<_> = all.chain(shutdowns.map(|scenario| scenario.id)).collect();
    all.dedup();
    all
}

fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    match is_path {
        true => Ok(text.into()),
        false => Err("give a path that begins with / and has no spaces".into()),
    }
}

fn signal(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    match name {
        "TERM" | "QUIT" | "INT" | "HUP" | "WINCH" | "USR1" | "USR2" => Ok(name.into()),
        _ => Err("give TERM, QUIT, INT, HUP, WINCH, USR1 or USR2".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=600) => Ok(Duration::from_secs(seconds)),
        _ => Err("give seconds, 1 to 600".into()),
    }
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=200) => Ok(count),
        _ => Err("give a number, 1 to 200".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn args(options: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["probe", "https://[::1]:1"], options].concat())
    }

    #[test]
    fn what_quick_leaves_out_is_in_its_help() {
        let help = Args::command().render_long_help().to_string();
        let quick = args(&["--quick"]).unwrap();
        for name in names() {
            let says = help
                .split([' ', ',', ';', '.', '\n'])
                .any(|word| word == name);
            assert_eq!(says, !quick.wants(name), "{name}: {help}");
        }
        for name in scenarios::WAITING {
            assert!(names().contains(name), "{name} is no scenario");
        }
    }

    #[test]
    fn quick_has_less_patience_unless_told() {
        for (options, seconds) in [
            (&[][..], 130),
            (&["--quick"], 10),
            (&["--quick", "--patience", "40"], 40),
        ] {
            let patience = args(options).unwrap().patience();
            assert_eq!(patience, Duration::from_secs(seconds), "{options:?}");
        }
        assert!(args(&["--quick", "--only", "fin"]).is_err());
    }
}
