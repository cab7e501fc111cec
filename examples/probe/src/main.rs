//! The program; the library beside it has all of it, for the benches that read its JSON.

use std::process::ExitCode;

fn main() -> ExitCode {
    graceful_tls_probe::main()
}
