//! [`HandshakeError`]: why there is no stream.

use std::io;

use tokio_rustls::rustls;

use crate::{choice::Refusal, settings::BuildError};

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The client and the server did not agree, or the client broke the protocol.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[source] rustls::Error),
    /// The transport failed, or the client closed it.
    #[error("the transport failed during the TLS handshake: {0}")]
    Io(#[source] io::Error),
    /// What the listener has every connection say before TLS did not come, or was wrong: see
    /// [`Accept::preface`](crate::Accept::preface).
    #[error("what comes before TLS was not as it should be: {0}")]
    Preface(#[source] io::Error),
    /// The handshake, or what comes before it, took longer than the handshake time-out.
    #[error("the TLS handshake was not finished within the handshake time-out")]
    TimedOut,
    /// There were more than [`max_handshakes`](crate::Builder::max_handshakes), and its client had
    /// been silent for too long. The socket has been closed.
    #[error(
        "the TLS handshake gave way to a newer one: of too many its client had been silent for too long"
    )]
    Evicted,
    /// The client speaks plain HTTP. It was answered: see [`PlainHttp`](crate::PlainHttp).
    #[error("the client speaks plain HTTP on the TLS port")]
    PlainHttp,
    /// The client was refused: by
    /// [`connection_filter`](crate::Builder::connection_filter), or for
    /// [`max_connections_per_client`](crate::Builder::max_connections_per_client). The socket has been
    /// closed.
    #[error("the client's address was refused")]
    Refused,
    /// [`config_for_client`](crate::Builder::config_for_client) has none for this client, which got the
    /// refusal's alert.
    #[error("no TLS configuration for this client: {0}")]
    NoConfig(#[source] Refusal),
    /// [`config_for_client`](crate::Builder::config_for_client) has picked one that can't be served. The
    /// client got an `internal_error`.
    #[error("the TLS configuration picked for this client can't be served: {0}")]
    UnusableConfig(#[source] BuildError),
    /// An ACME server has validated this one by TLS-ALPN-01 (RFC 8737), and nothing failed: the handshake is
    /// all that it asks for, and the connection has been ended after it.
    #[error("the handshake was an ACME challenge, which ends with it")]
    AcmeChallenge,
    /// The shutdown deadline passed before the handshake was over.
    #[error("the shutdown deadline passed during the TLS handshake")]
    ShuttingDown,
    /// Whoever did the handshake has given it up: its future was dropped, or the runtime that it was on. The
    /// socket has been closed. Only an [`Observer`](crate::Observer) sees this one.
    #[error("the TLS handshake was given up: its future was dropped")]
    Dropped,
}

impl HandshakeError {
    /// All reasons that there are: see [`reason`](Self::reason).
    pub const REASONS: &'static [&'static str] = &[
        "tls",
        "io",
        "preface",
        "timed_out",
        "evicted",
        "plain_http",
        "refused",
        "no_config",
        "unusable_config",
        "acme_challenge",
        "shutting_down",
        "dropped",
    ];

    /// The reason in one word, for metrics and logs: `tls`, `io`, `preface`, `timed_out`, `evicted`,
    /// `plain_http`, `refused`, `no_config`, `unusable_config`, `acme_challenge`, `shutting_down`
    /// or `dropped`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Tls(_) => "tls",
            Self::Io(_) => "io",
            Self::Preface(_) => "preface",
            Self::TimedOut => "timed_out",
            Self::Evicted => "evicted",
            Self::PlainHttp => "plain_http",
            Self::Refused => "refused",
            Self::NoConfig(_) => "no_config",
            Self::UnusableConfig(_) => "unusable_config",
            Self::AcmeChallenge => "acme_challenge",
            Self::ShuttingDown => "shutting_down",
            Self::Dropped => "dropped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed() {
        let broken = || io::Error::other("broken");
        let errors = [
            HandshakeError::Tls(rustls::Error::HandshakeNotComplete),
            HandshakeError::Io(broken()),
            HandshakeError::Preface(broken()),
            HandshakeError::TimedOut,
            HandshakeError::Evicted,
            HandshakeError::PlainHttp,
            HandshakeError::Refused,
            HandshakeError::NoConfig(Refusal::new(rustls::AlertDescription::AccessDenied, "no")),
            HandshakeError::UnusableConfig(BuildError::ZeroDuration { setting: "" }),
            HandshakeError::AcmeChallenge,
            HandshakeError::ShuttingDown,
            HandshakeError::Dropped,
        ];
        assert_eq!(
            errors.each_ref().map(HandshakeError::reason),
            HandshakeError::REASONS
        );
    }
}
