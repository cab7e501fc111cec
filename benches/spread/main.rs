//! When the clients of a server that shuts down come back: `cargo bench --bench spread`.
//!
//! Idle clients, half of them HTTP/1.1 and half HTTP/2, connect to another server as soon as theirs has
//! ended their connection. Counted is how many do so in each tenth of a second, with `close_spread` and
//! without. `-- --clients 500` for fewer.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use benches::{chart, rig};
use rig::{Certificate, Error, Kind, client};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Barrier,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_rustls::TlsConnector;

/// With the first everybody is told at once.
const SPREADS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(5)];

const SLOT: Duration = Duration::from_millis(100);

/// An empty SETTINGS frame behind the preface: all that an idle HTTP/2 client needs to say.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spread: {error}");
            ExitCode::from(2)
        }
    }
}

#[tokio::main]
async fn run() -> Result<(), Error> {
    let clients = chart::option("--clients").unwrap_or("2000".into());
    let clients: usize = clients.parse().map_err(|_| "--clients wants a number")?;
    rlimit::increase_nofile_limit(65_536)?;
    let mut lines = Vec::new();
    for spread in SPREADS {
        let returns = returns(clients, spread).await?;
        let slots = slots(&returns);
        let busiest = slots.iter().max().copied().unwrap_or_default();
        println!(
            "close_spread {spread:?}: {} clients came back, {busiest} in the busiest 100 ms",
            returns.len()
        );
        lines.push(slots);
    }
    report(lines)
}

/// How long after the shutdown began each client was on its way to the other server.
async fn returns(clients: usize, spread: Duration) -> Result<Vec<Duration>, Error> {
    let certificate = Certificate::new()?;
    let ours = TcpListener::bind("127.0.0.1:0").await?;
    let addr = ours.local_addr()?;
    let tls = certificate.graceful_with(|builder| builder.close_spread(spread))?;
    let router = app::routes::router(tls.clone());
    let server = tls.clone();
    tokio::spawn(async move { server.serve(ours, router).await });
    let other = TcpListener::bind("127.0.0.1:0").await?;
    let elsewhere = other.local_addr()?;
    let _other = certificate.serve(Kind::Graceful, other)?;

    let connected = Arc::new(Barrier::new(clients + 1));
    let mut waiting = JoinSet::new();
    for n in 0..clients {
        let alpn: &[u8] = if n % 2 == 0 { b"http/1.1" } else { b"h2" };
        let connector = certificate.connector(alpn, true)?;
        waiting.spawn(come_back(addr, elsewhere, connector, connected.clone()));
        // Not all of them in the listener's queue at once.
        if n % 50 == 49 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    connected.wait().await;
    let begun = Instant::now();
    tls.shutdown();
    let mut returns = Vec::new();
    while let Some(ended) = waiting.join_next().await {
        returns.push(ended??.saturating_duration_since(begun));
    }
    Ok(returns)
}

/// Stays idle until the server ends the connection, and goes elsewhere.
async fn come_back(
    addr: SocketAddr,
    elsewhere: SocketAddr,
    connector: TlsConnector,
    connected: Arc<Barrier>,
) -> Result<Instant, Error> {
    let mut idle = client::connect(addr, &connector).await?;
    let http2 = idle.get_ref().1.alpn_protocol() == Some(b"h2");
    let hello: &[u8] = match http2 {
        true => PREFACE,
        false => b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    };
    idle.write_all(hello).await?;
    let mut space = [0; 1024];
    let answered = idle.read(&mut space).await?;
    assert!(answered > 0, "the server has to answer first");
    connected.wait().await;
    while idle.read(&mut space).await? > 0 {}
    let ended = Instant::now();
    client::connect(elsewhere, &connector).await?;
    Ok(ended)
}

/// How many in each tenth of a second.
fn slots(returns: &[Duration]) -> Vec<usize> {
    let slot = |time: &Duration| (time.as_millis() / SLOT.as_millis()) as usize;
    let last = SPREADS[1].as_millis() / SLOT.as_millis() + 5;
    let mut slots = vec![0; last as usize];
    for time in returns {
        if let Some(count) = slots.get_mut(slot(time)) {
            *count += 1;
        }
    }
    slots
}

fn report(slots: Vec<Vec<usize>>) -> Result<(), Error> {
    let rows: Vec<String> = (0..slots[0].len())
        .map(|n| format!("{},{},{}", n * 100, slots[0][n], slots[1][n]))
        .collect();
    let head = "ms,at_once,spread_5s";
    chart::csv("spread", &chart::command("spread"), head, &rows)?;
    let title = "Clients that come back in each 100 ms after a shutdown began";
    chart::svg("spread", (900, 420), title, |area| {
        let line = |slots: &Vec<usize>| {
            let points = slots.iter().enumerate();
            points
                .map(|(n, count)| (n as f64 / 10.0, *count as f64))
                .collect()
        };
        chart::Lines {
            x: "seconds",
            y: "clients",
            names: vec!["all at once", "close_spread 5 s"],
            lines: slots.iter().map(line).collect(),
        }
        .draw(area)
    })
}
