//! A server that replaces itself, with a new binary, certificate or settings, and loses no request.
//!
//! ```sh
//! cargo run --example restart                                     # on port 8443
//! cargo run --example restart -- --pid-file /tmp/restart.pid
//! kill -USR2 "$(cat /tmp/restart.pid)"
//! ```
//!
//! What happens then, and how it goes with systemd, stands in `restart/README.md`. All of it is the crate's
//! feature `restart`: `main` is what a server of your own needs.

#[path = "common/log.rs"]
mod log;

use std::{path::PathBuf, process::ExitCode};

use axum::{Router, routing::get};
use clap::Parser;
use graceful_tls::{
    GracefulTls, PemFiles,
    restart::{ListenAddress, Restart},
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An HTTPS server that replaces itself on SIGUSR2 or SIGHUP, and stops on SIGTERM or Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// Where to listen: an address and a port, or unix: and a path; may be given more than once
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    listen: Vec<ListenAddress>,
    /// Certificate chain and private key, PEM [default: makes its own]
    #[arg(long, num_args = 2, value_names = ["CERT", "KEY"])]
    pem: Option<Vec<PathBuf>>,
    /// Keeps the number of the process that serves in this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Only checks the settings
    #[arg(long)]
    check: bool,
    /// How the log looks: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log: log::Log,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    arguments.log.start("info".into());
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let mut restart = Restart::builder().check(arguments.check);
    for address in arguments.listen {
        restart = restart.listen("https", address);
    }
    if let Some(path) = arguments.pid_file {
        restart = restart.pid_file(path);
    }
    let mut restart = restart.open()?; // while there is one thread

    let mut config = match arguments.pem.as_deref() {
        Some([cert, key]) => {
            let _ = ring::default_provider().install_default();
            PemFiles::load(cert, key)?.config()?
        }
        _ => self_made()?,
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    tokio::runtime::Runtime::new()?.block_on(async {
        let keys = restart.ticket_keys(config.crypto_provider())?;
        let tls = GracefulTls::builder(config).ticket_keys(keys).build()?;
        let app = Router::new().route("/", get(|| async { "hello\n" }));
        println!("{}", restart.serve(&tls, app).await?);
        Ok(())
    })
}

/// A certificate for localhost that nobody has signed.
fn self_made() -> Result<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok(
        ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.into()], key.into())?,
    )
}
