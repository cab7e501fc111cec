//! What the tests that need no socket share: a certificate, a client, and ill-behaved transports.

#![allow(dead_code)]

pub mod doubles;

use std::sync::Arc;

use graceful_tls::{Builder, GracefulStream, GracefulTls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
        pki_types::{PrivateKeyDer, ServerName},
        version::{TLS12, TLS13},
    },
};

pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A server's settings to change, and a client that trusts it.
pub fn pair(version: &'static SupportedProtocolVersion) -> (Builder, TlsConnector) {
    let certified = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let chain = vec![certified.cert.der().clone()];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.clone(), key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    (
        GracefulTls::builder(server),
        TlsConnector::from(Arc::new(client)),
    )
}

/// Both ends of a connection over `server_io` and `client_io`, after the handshake.
pub async fn connect<S, C>(
    tls: &GracefulTls,
    connector: &TlsConnector,
    server_io: S,
    client_io: C,
) -> (GracefulStream<S>, TlsStream<C>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    C: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from("localhost").unwrap();
    let acceptor = tls.acceptor();
    let (server, client) = tokio::join!(
        acceptor.accept(server_io),
        connector.connect(name, client_io)
    );
    (server.unwrap(), client.unwrap())
}
