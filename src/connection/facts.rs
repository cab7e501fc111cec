//! What TLS agreed on.

use tokio_rustls::rustls::{
    ProtocolVersion, ServerConnection, SupportedCipherSuite, pki_types::CertificateDer,
};

use crate::transport::Addresses;

/// What TLS agreed on.
pub(crate) struct Facts {
    pub(crate) addresses: Addresses,
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) alpn: Option<Box<[u8]>>,
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) cipher_suite: Option<SupportedCipherSuite>,
    pub(crate) peer_certificates: Option<Box<[CertificateDer<'static>]>>,
}

impl Facts {
    pub(crate) fn new(session: &ServerConnection, addresses: Addresses) -> Self {
        Self {
            addresses,
            server_name: session.server_name().map(Box::from),
            alpn: session.alpn_protocol().map(Box::from),
            version: session.protocol_version(),
            cipher_suite: session.negotiated_cipher_suite(),
            peer_certificates: session.peer_certificates().map(Box::from),
        }
    }

    /// Of a connection that never got as far.
    pub(crate) fn failed(addresses: Addresses) -> Self {
        Self {
            addresses,
            server_name: None,
            alpn: None,
            version: None,
            cipher_suite: None,
            peer_certificates: None,
        }
    }
}
