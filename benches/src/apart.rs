//! A server of `rig` in a process of its own, which is this program once more: what it costs is not mixed
//! with what its clients cost.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use tokio::net::TcpListener;

use crate::rig::{Certificate, Error, Kind, router};

/// What has this program serve: behind it stand who serves, the folder with the certificate, and the number of
/// workers.
const SERVE: &str = "--serve";

/// What makes this program a server.
pub fn words(kind: Kind, folder: &Path, workers: usize) -> Result<[String; 4], Error> {
    let folder = folder.to_str().ok_or("a folder without a name")?;
    Ok([
        SERVE.into(),
        kind.name().into(),
        folder.into(),
        workers.to_string(),
    ])
}

/// Serves, where this process is to: until its input ends.
pub fn is_server() -> Option<Result<(), Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [serve, kind, folder, workers] if serve == SERVE => {
            Some(run(kind, Path::new(folder), workers))
        }
        _ => None,
    }
}

/// Starts a server that says its address first, as all of them do: it ends with its input.
pub fn start(mut command: Command) -> Result<(Child, SocketAddr), Error> {
    let mut server = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let said = server.stdout.take().ok_or("no output")?;
    BufReader::new(said).read_line(&mut line)?;
    let addr = line
        .trim()
        .rsplit(' ')
        .next()
        .and_then(|addr| addr.parse().ok());
    match addr {
        Some(addr) => Ok((server, addr)),
        None => Err(format!("the server did not start: {line}{}", server.wait()?).into()),
    }
}

/// Ours is served as its examples show, in `main`'s own future; bare's loop is spawned,
/// which costs it less.
fn run(kind: &str, folder: &Path, workers: &str) -> Result<(), Error> {
    let kind = Kind::named(kind).ok_or("there is no such server")?;
    let mut certificate = Certificate::read(folder)?;
    // Few enough for a crowd to reach.
    certificate.drain.max_connections = 128;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.parse()?)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        if kind == Kind::Graceful {
            let tls = certificate.graceful()?;
            tls.serve(listener, router(&tls)).await?;
            return Ok(());
        }
        let _serving = certificate.serve(kind, listener)?;
        std::future::pending().await
    })
}
