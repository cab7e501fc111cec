//! Connections: TCP, TLS, and hyper on top.

use std::{io, sync::Arc, time::Duration};

use graceful_tls_wire::AnyCertificate;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, crypto::ring, pki_types::ServerName},
};

use crate::{
    distance::Distant,
    mix::{Body, Protocol},
    settings::Settings,
    tally::Tally,
    verdict::{Attempt, Refusal},
    wire::{Tcp, Tls, Wire},
};

/// One open connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) sender: Sender,
    pub(crate) wire: Arc<Wire>,
}

#[derive(Debug)]
pub(crate) enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// Makes connections to the server.
#[derive(Debug)]
pub(crate) struct Connector {
    host: String,
    port: u16,
    name: ServerName<'static>,
    http1: ClientConfigs,
    http2: ClientConfigs,
    pub(crate) timeout: Duration,
    round_trip: Duration,
}

type ClientConfigs = Arc<ClientConfig>;

impl Connector {
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let host = settings.url.host.clone();
        let name = ServerName::try_from(host.clone())
            .map_err(|_| format!("{host} is neither a name nor an address: check the URL"))?;
        Ok(Self {
            host,
            port: settings.url.port,
            name,
            http1: config(b"http/1.1")?,
            http2: config(b"h2")?,
            timeout: settings.timeout(),
            round_trip: settings.round_trip(),
        })
    }

    /// What the requests call the server.
    pub(crate) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether there is a server at all.
    pub(crate) async fn try_once(&self) -> Result<(), String> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port));
        match timeout(self.timeout, tcp).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("{}: {error}: is it running?", self.authority())),
            Err(_) => Err(format!("{}: no answer: is it running?", self.authority())),
        }
    }

    /// A connection that is ready for a request; otherwise what that means for the request.
    pub(crate) async fn connect(
        &self,
        protocol: Protocol,
        tally: &Arc<Tally>,
    ) -> Result<Link, Attempt> {
        let wire = Arc::new(Wire::default());
        match self.tls(protocol, &wire).await {
            Ok(tls) => link(tls, protocol, wire, tally).await,
            Err(error) => {
                if wire.is_reset() {
                    tally.reset();
                }
                Err(what_it_means(&error, &wire))
            }
        }
    }

    async fn tls(&self, protocol: Protocol, wire: &Arc<Wire>) -> io::Result<Tls> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let config = match protocol {
            Protocol::Http2 => &self.http2,
            _ => &self.http1,
        };
        let tcp = match self.round_trip.is_zero() {
            true => Tcp::new(tcp, wire.clone()),
            false => Tcp::new(Distant::new(tcp, self.round_trip), wire.clone()),
        };
        let connector = TlsConnector::from(config.clone());
        let tls = connector.connect(self.name.clone(), tcp).await?;
        let agreed = tls.get_ref().1.alpn_protocol();
        if protocol == Protocol::Http2 && agreed != Some(b"h2") {
            return Err(io::Error::other("the server does not speak HTTP/2"));
        }
        Ok(Tls::new(tls, wire.clone()))
    }
}

/// Starts hyper on a connection, and counts the connection until it has ended.
async fn link(
    tls: Tls,
    protocol: Protocol,
    wire: Arc<Wire>,
    tally: &Arc<Tally>,
) -> Result<Link, Attempt> {
    let io = TokioIo::new(tls);
    let lost = |error: hyper::Error| Attempt::Lost(format!("hyper: {error}"));
    let open = tally.opened(wire.clone());
    let sender = match protocol {
        Protocol::Http2 => {
            let executor = TokioExecutor::new();
            let (sender, connection) = http2::handshake(executor, io).await.map_err(lost)?;
            tokio::spawn(async move {
                let _ = connection.await;
                drop(open);
            });
            Sender::Http2(sender)
        }
        _ => {
            let (sender, connection) = http1::handshake(io).await.map_err(lost)?;
            tokio::spawn(async move {
                let _ = connection.await;
                drop(open);
            });
            Sender::Http1(sender)
        }
    };
    Ok(Link { sender, wire })
}

/// No request has been sent yet, so that only force counts as a loss.
fn what_it_means(error: &io::Error, wire: &Wire) -> Attempt {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Attempt::Refused(Refusal::Connect),
        _ if wire.is_reset() => Attempt::Lost("reset during the handshake".into()),
        _ if wire.has_ended() => Attempt::Refused(Refusal::Handshake),
        _ => Attempt::Lost(format!("no connection: {error}")),
    }
}

fn config(alpn: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}
