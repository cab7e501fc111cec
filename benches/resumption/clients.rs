//! Clients that come, get an answer and go, and keep their tickets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, HandshakeKind, SupportedProtocolVersion, client::Resumption, crypto::ring,
    },
};
use wire::AnyCertificate;

use crate::rig::Error;

/// Over how long they come.
const SECOND: Duration = Duration::from_secs(1);

/// One that does not get through by then never does.
const LIMIT: Duration = Duration::from_secs(10);

pub struct Clients {
    clients: Vec<TlsConnector>,
    addr: SocketAddr,
}

impl Clients {
    pub fn new(
        count: usize,
        version: &'static SupportedProtocolVersion,
        addr: SocketAddr,
    ) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let one = |_| {
            let mut config = config.clone();
            config.resumption = Resumption::in_memory_sessions(4);
            TlsConnector::from(Arc::new(config))
        };
        Ok(Self {
            clients: (0..count).map(one).collect(),
            addr,
        })
    }

    /// All of them come within a second. How many have resumed?
    pub async fn come(&self) -> Result<usize, Error> {
        let begun = Instant::now();
        let mut coming = JoinSet::new();
        for (at, client) in (0..).zip(&self.clients) {
            let (client, addr) = (client.clone(), self.addr);
            let due = begun + SECOND * at / self.clients.len() as u32;
            coming.spawn(async move {
                sleep_until(due).await;
                tokio::time::timeout(LIMIT, come(&client, addr)).await?
            });
        }
        let mut resumed = 0;
        while let Some(came) = coming.join_next().await {
            resumed += usize::from(came??);
        }
        Ok(resumed)
    }
}

async fn come(client: &TlsConnector, addr: SocketAddr) -> Result<bool, Error> {
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let mut tls = client.connect("localhost".try_into()?, tcp).await?;
    tls.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    tls.read_to_end(&mut answer).await?;
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("an answer was {}", answer.escape_ascii()).into());
    }
    let resumed = tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    tls.shutdown().await?;
    Ok(resumed)
}
