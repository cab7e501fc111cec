//! Taking what there is only so much of: descriptors, and handshakes at once.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::TlsConnector;

use super::{Target, crowd};
use wire::half_client_hello;

use crate::{
    rig::{Error, any_certificate, client::connect},
    watch::Held,
};

/// How many descriptors each process of the server has, how many clients stay idle, and how many
/// come then.
pub const DESCRIPTORS: u64 = 200;
const IDLE: usize = 400;
pub const NEWCOMERS: usize = 80;

/// Handshakes at once.
const HALF_OPEN: usize = 2000;

/// Each asks once, and keeps its connection.
pub async fn idle(target: Target) -> Result<Vec<Held>, Error> {
    let connector = any_certificate(b"http/1.1")?;
    crowd(IDLE, || kept_alive(target, connector.clone())).await
}

async fn kept_alive(target: Target, connector: TlsConnector) -> Result<Vec<Held>, Error> {
    let mut tls = connect(target.addr, &connector).await?;
    tls.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await?;
    while tls.read(&mut [0; 512]).await? > 0 {}
    Ok(Vec::new())
}

/// Half a ClientHello each, and again as soon as that is refused.
pub async fn half_open(target: Target) -> Result<Vec<Held>, Error> {
    crowd(HALF_OPEN, || renewed(target)).await
}

async fn renewed(target: Target) -> Result<Vec<Held>, Error> {
    loop {
        let _ = half(target).await;
        sleep(Duration::from_millis(10)).await;
    }
}

async fn half(target: Target) -> Result<(), Error> {
    let mut tcp = TcpStream::connect(target.addr).await?;
    tcp.write_all(&half_client_hello()).await?;
    while tcp.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}
