//! The program by itself. What it says of servers is looked at from the workspace's `tests/probe.rs`,
//! for which `cargo test` builds the program because this test needs it too.

use std::process::Command;

#[test]
fn it_knows_its_name() {
    for (option, says) in [
        ("--help", "Usage: graceful-tls-probe "),
        (
            "--version",
            concat!("graceful-tls-probe ", env!("CARGO_PKG_VERSION"), "\n"),
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_graceful-tls-probe"))
            .arg(option)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(says), "{said}");
    }
}
