//! What TLS agreed on.

use std::{borrow::Cow, sync::Arc, time::Duration};

#[cfg(feature = "tonic")]
use ::tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};
use tokio_rustls::{
    rustls::{ProtocolVersion, SupportedCipherSuite, pki_types::CertificateDer},
    server::TlsStream,
};

use crate::{
    handshakes::Handshake,
    transport::{Addresses, Transport},
};

/// What TLS agreed on.
pub(crate) struct Facts {
    pub(crate) addresses: Addresses,
    /// Has how much has gone either way.
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) handshake_time: Duration,
    pub(crate) server_name: Option<Box<str>>,
    /// As a rule one of those that every server has.
    pub(crate) alpn: Option<Cow<'static, [u8]>>,
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) cipher_suite: Option<SupportedCipherSuite>,
    pub(crate) peer_certificates: Option<Box<[CertificateDer<'static>]>>,
    /// For gRPC's handlers. Nobody can make one but a stream.
    #[cfg(feature = "tonic")]
    pub(crate) tonic: Option<Box<TlsConnectInfo<TcpConnectInfo>>>,
}

impl Facts {
    pub(crate) fn new<IO>(
        tls: &TlsStream<Transport<IO>>,
        addresses: Addresses,
        handshake_time: Duration,
    ) -> Self {
        let (transport, session) = tls.get_ref();
        Self {
            #[cfg(feature = "tonic")]
            tonic: (session.alpn_protocol() == Some(b"h2")).then(|| tonic(tls, addresses)),
            addresses,
            handshake: transport.shared(),
            handshake_time,
            server_name: session.server_name().map(Box::from),
            alpn: session.alpn_protocol().map(known),
            version: session.protocol_version(),
            cipher_suite: session.negotiated_cipher_suite(),
            peer_certificates: session.peer_certificates().map(Box::from),
        }
    }

    /// Of a connection that never got as far.
    pub(crate) fn failed(
        addresses: Addresses,
        handshake: Arc<Handshake>,
        handshake_time: Duration,
    ) -> Self {
        Self {
            addresses,
            handshake,
            handshake_time,
            server_name: None,
            alpn: None,
            version: None,
            cipher_suite: None,
            peer_certificates: None,
            #[cfg(feature = "tonic")]
            tonic: None,
        }
    }
}

fn known(protocol: &[u8]) -> Cow<'static, [u8]> {
    match protocol {
        b"h2" => Cow::Borrowed(b"h2"),
        b"http/1.1" => Cow::Borrowed(b"http/1.1"),
        _ => Cow::Owned(protocol.to_owned()),
    }
}

#[cfg(feature = "tonic")]
fn tonic<IO>(
    tls: &TlsStream<Transport<IO>>,
    addresses: Addresses,
) -> Box<TlsConnectInfo<TcpConnectInfo>> {
    let mut info = tls.connect_info();
    *info.get_mut() = TcpConnectInfo {
        local_addr: addresses.local,
        remote_addr: addresses.remote,
    };
    Box::new(info)
}
