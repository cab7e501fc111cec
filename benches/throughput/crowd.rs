//! Crowds that hurt: what ill-behaved clients do while others want to be served.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_rustls::TlsConnector;

use crate::rig::{Certificate, Error, client::connect};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Crowd {
    /// They handshake and leave.
    Storm,
    /// They ask for megabytes, and read nothing.
    StuckReaders,
    /// They get their answer, and neither close nor read on: the server drains at its cap.
    Lingerers,
    /// They got an answer once, and say nothing.
    Idle,
}

/// Of the storm, and of those that linger, a second.
const A_SECOND: u32 = 100;
/// How long those stay that linger.
const LINGER: Duration = Duration::from_secs(10);
pub const STUCK_READERS: usize = 1000;
pub const IDLE: usize = 10_000;
/// Of those that are idle, so many come at once.
const AT_ONCE: usize = 32;

impl Crowd {
    /// Whether they do nothing any more, once they are there.
    pub fn is_still(self) -> bool {
        matches!(self, Self::StuckReaders | Self::Idle)
    }

    /// Lets them come; they leave when the result is dropped.
    pub async fn gather(
        self,
        addr: SocketAddr,
        certificate: &Certificate,
    ) -> Result<JoinSet<()>, Error> {
        let connector = certificate.connector(b"http/1.1", false)?;
        let mut crowd = JoinSet::new();
        match self {
            Self::StuckReaders => {
                for _ in 0..STUCK_READERS {
                    let mut tls = connect(addr, &connector).await?;
                    ask(&mut tls, "/bytes/100000000").await?;
                    crowd.spawn(async move {
                        std::future::pending::<()>().await;
                        drop(tls);
                    });
                }
            }
            Self::Idle => crowd = idle(addr, Arc::new(connector)).await?,
            Self::Storm | Self::Lingerers => {
                let connector = Arc::new(connector);
                crowd.spawn(self.keep_coming(addr, connector));
                // Until the server has its hands full.
                let full = if self == Self::Storm { 100 } else { 2500 };
                sleep(Duration::from_millis(full)).await;
            }
        }
        Ok(crowd)
    }

    async fn keep_coming(self, addr: SocketAddr, connector: Arc<TlsConnector>) {
        let mut ticks = interval(Duration::from_secs(1) / A_SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut crowd = JoinSet::new();
        loop {
            ticks.tick().await;
            while crowd.try_join_next().is_some() {}
            let connector = connector.clone();
            crowd.spawn(async move {
                let Ok(mut tls) = connect(addr, &connector).await else {
                    return;
                };
                if self == Self::Lingerers && ask(&mut tls, "/close").await.is_ok() {
                    let _ = tls.read(&mut [0; 512]).await;
                    sleep(LINGER).await;
                }
            });
        }
    }
}

async fn idle(addr: SocketAddr, connector: Arc<TlsConnector>) -> Result<JoinSet<()>, Error> {
    let mut coming = JoinSet::new();
    for first in 0..AT_ONCE {
        let connector = connector.clone();
        coming.spawn(async move {
            let mut there = Vec::new();
            for _ in (first..IDLE).step_by(AT_ONCE) {
                let mut tls = connect(addr, &connector).await?;
                ask(&mut tls, "/").await?;
                if tls.read(&mut [0; 512]).await? == 0 {
                    return Err("no answer".into());
                }
                there.push(tls);
            }
            Ok::<_, Error>(there)
        });
    }
    let mut crowd = JoinSet::new();
    while let Some(there) = coming.join_next().await {
        let there = there??;
        crowd.spawn(async move {
            std::future::pending::<()>().await;
            drop(there);
        });
    }
    Ok(crowd)
}

async fn ask(tls: &mut (impl AsyncWriteExt + Unpin), path: &str) -> Result<(), Error> {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    tls.write_all(head.as_bytes()).await?;
    tls.flush().await?;
    Ok(())
}
