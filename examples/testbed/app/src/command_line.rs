//! Reads a command line, and says in one line what is wrong with it.

use std::process::ExitCode;

use clap::Parser;

/// The exit status of a program that can't do what it was told.
pub const UNUSABLE: u8 = 2;

/// Reads the command line. Where it can't, or is only asked for help, it has said so and the exit
/// status is the error.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        if !error.use_stderr() {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        eprintln!("{} (see --help)", one_line(&error.to_string()));
        UNUSABLE.into()
    })
}

/// clap's message without the usage, on one line.
fn one_line(message: &str) -> String {
    message
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
