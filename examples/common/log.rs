//! The log of every example, as `--log text` (the default) or `--log json` says, and what else stands on the
//! command line of those that read it by hand.

#![allow(
    dead_code,
    reason = "those with a parser of their own need only the log"
)]

use std::{
    array,
    io::{self, IsTerminal},
    panic,
    str::FromStr,
};

use tracing::error;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Log {
    /// For people.
    #[default]
    Text,
    /// One object a line, with the names that metrics and snapshots have.
    Json,
}

impl FromStr for Log {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("--log {name}: give text or json")),
        }
    }
}

impl Log {
    /// Starts it on standard error.
    pub(crate) fn start(self, filter: EnvFilter) {
        self.start_on(io::stderr, io::stderr().is_terminal(), filter);
    }

    /// Starts it on something else, which may show colors.
    pub(crate) fn start_on<W>(self, writer: W, ansi: bool, filter: EnvFilter)
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter.add_directive(PANICS.parse().expect("a directive")))
            .with_writer(writer)
            .with_ansi(ansi)
            // It would panic, in the task that logs, once nobody reads standard error any more.
            .log_internal_errors(false);
        match self {
            Self::Text => log.init(),
            // The innermost span is the connection's.
            Self::Json => {
                log.json().flatten_event(true).with_span_list(false).init();
                panic::set_hook(Box::new(|panic| error!(target: "panic", "{panic}")));
            }
        }
    }
}

/// What panics say is text on standard error, unless it is logged.
const PANICS: &str = "panic=error";

/// Reads the command line, starts the log, and gives the other arguments, which are called `known`.
pub(crate) fn start<const N: usize>(known: [&str; N]) -> Result<[Option<String>; N], String> {
    let (log, given) = read(std::env::args().skip(1), known)?;
    log.start(EnvFilter::try_from_default_env().unwrap_or_else(|_| "graceful_tls=info".into()));
    Ok(given)
}

fn read<const N: usize>(
    mut arguments: impl Iterator<Item = String>,
    known: [&str; N],
) -> Result<(Log, [Option<String>; N]), String> {
    let mut log = Log::default();
    let mut given = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--log" {
            log = arguments.next().unwrap_or_default().parse()?;
        } else if let Some(format) = argument.strip_prefix("--log=") {
            log = format.parse()?;
        } else if argument.starts_with('-') || given.len() == N {
            let known = known.map(|name| format!(", {name}")).concat();
            return Err(format!(
                "{argument} is not known: give --log text or --log json{known}"
            ));
        } else {
            given.push(argument);
        }
    }
    let mut given = given.into_iter();
    Ok((log, array::from_fn(|_| given.next())))
}
