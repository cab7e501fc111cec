//! Many connections that wait to be told to go.

use std::{net::SocketAddr, ops::Add};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::rig::{Error, any_certificate, client::connect};
use crate::server::STRIKES;

/// Handshakes at once.
const AT_ONCE: usize = 64;

/// They come in so many waves, between which they are idle for longer than it takes ours to park them: what
/// those of one wave give back, those of the next get.
const WAVES: usize = 10;

/// Connections on which one request has been answered.
pub struct Clients {
    open: Vec<TlsStream<TcpStream>>,
}

/// How connections ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// With close_notify and a FIN.
    pub notified: usize,
    /// With a FIN alone.
    pub bare: usize,
    /// With an RST, close_notify or not.
    pub reset: usize,
}

impl Add for Ends {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            notified: self.notified + other.notified,
            bare: self.bare + other.bare,
            reset: self.reset + other.reset,
        }
    }
}

impl Clients {
    pub async fn connect(addr: SocketAddr, n: usize) -> Result<Self, Error> {
        let connector = any_certificate(b"http/1.1")?;
        let mut joining = JoinSet::new();
        let mut open = Vec::with_capacity(n);
        let wave = n.div_ceil(WAVES);
        for i in 0..n {
            if i % wave == wave - 1 {
                tokio::time::sleep(STRIKES * 3 / 2).await;
            }
            if joining.len() >= AT_ONCE {
                open.extend(joining.join_next().await.transpose()?.transpose()?);
            }
            joining.spawn(used(addr, connector.clone()));
        }
        while let Some(connected) = joining.join_next().await {
            open.push(connected??);
        }
        tokio::time::sleep(STRIKES * 3 / 2).await;
        Ok(Self { open })
    }

    /// Waits until the server has ended every one, without answering.
    pub async fn wait_for_ends(&mut self) -> Ends {
        let mut waiting = JoinSet::new();
        for mut tls in self.open.drain(..) {
            waiting.spawn(async move { (wait(&mut tls).await, tls) });
        }
        let mut ends = Ends::default();
        while let Some(Ok((end, tls))) = waiting.join_next().await {
            ends = ends + end;
            self.open.push(tls);
        }
        ends
    }
}

/// A connection on which one request has been answered.
async fn used(addr: SocketAddr, connector: TlsConnector) -> Result<TlsStream<TcpStream>, Error> {
    let mut tls = connect(addr, &connector).await?;
    tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await?;
    let mut answer = [0; 512];
    let mut got = 0;
    while !answer[..got].ends_with(b"hello\n") {
        match tls.read(&mut answer[got..]).await? {
            0 => return Err("the answer ends early".into()),
            n => got += n,
        }
    }
    Ok(tls)
}

async fn wait(tls: &mut TlsStream<TcpStream>) -> Ends {
    let notified = matches!(tls.read(&mut [0; 64]).await, Ok(0));
    // Below TLS: a FIN, or an RST.
    let reset = tls.get_mut().0.read(&mut [0; 64]).await.is_err();
    Ends {
        notified: usize::from(notified && !reset),
        bare: usize::from(!notified && !reset),
        reset: usize::from(reset),
    }
}
