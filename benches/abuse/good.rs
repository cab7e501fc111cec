//! The good client beside an attack: somebody new, each time.
//!
//! It comes from an address of its own, makes a full handshake, asks for `/` and takes the answer.
//! It asks at a fixed pace whether or not the last one has been answered, so that waiting shows.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{client::Resumption, pki_types::ServerName},
};
use tokio_util::sync::CancellationToken;

use crate::{
    rig::{Error, any_certificate},
    watch::GOOD,
};

/// After this long it gives up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What good clients got.
#[derive(Clone, Debug, Default)]
pub struct Good {
    /// Of those that were answered, shortest first.
    pub latencies: Vec<Duration>,
    pub failures: usize,
    /// Why the last one failed.
    pub why: Option<String>,
}

impl Good {
    pub fn asked(&self) -> usize {
        self.latencies.len() + self.failures
    }

    pub fn median(&self) -> Option<Duration> {
        self.latencies.get(self.latencies.len() / 2).copied()
    }

    fn add(&mut self, answered: Result<Duration, Error>) {
        match answered {
            Ok(latency) => self.latencies.push(latency),
            Err(error) => {
                self.failures += 1;
                self.why = Some(error.to_string());
            }
        }
    }
}

/// Asks `most` times, or until told to stop, once each `pace`; in a thread of its own, so that no
/// attacker is in its way but for the processor. Waits for the answers to all that was asked.
pub fn ask(
    addr: SocketAddr,
    pace: Duration,
    most: usize,
    stop: CancellationToken,
) -> JoinHandle<Result<Good, Error>> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(asking(addr, pace, most, &stop))
    })
}

async fn asking(
    addr: SocketAddr,
    pace: Duration,
    most: usize,
    stop: &CancellationToken,
) -> Result<Good, Error> {
    let connector = newcomer()?;
    let mut pace = interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked = JoinSet::new();
    for _ in 0..most {
        pace.tick().await;
        asked.spawn(answered(addr, connector.clone()));
        if stop.is_cancelled() {
            break;
        }
    }
    let mut good = Good::default();
    while let Some(answered) = asked.join_next().await {
        good.add(answered?);
    }
    good.latencies.sort_unstable();
    Ok(good)
}

/// One that resumes no session.
fn newcomer() -> Result<TlsConnector, Error> {
    let mut config = (**any_certificate(b"http/1.1")?.config()).clone();
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn answered(addr: SocketAddr, connector: TlsConnector) -> Result<Duration, Error> {
    let begun = Instant::now();
    let exchange = timeout(PATIENCE, exchange(addr, &connector)).await;
    exchange.map_err(|_| format!("no answer after {} s", PATIENCE.as_secs()))??;
    Ok(begun.elapsed())
}

async fn exchange(addr: SocketAddr, connector: &TlsConnector) -> Result<(), Error> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((GOOD, 0).into())?;
    let tcp = socket.connect(addr).await?;
    tcp.set_nodelay(true)?;
    let mut tls = connector
        .connect(ServerName::try_from("localhost")?, tcp)
        .await?;
    tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello\n") {
        if tls.read_buf(&mut answer).await? == 0 {
            return Err("the answer ends early".into());
        }
    }
    tls.shutdown().await?;
    Ok(())
}
