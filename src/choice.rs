//! Which configuration of rustls a client gets, and which of its protocols can be served.
//!
//! A closure of the user's picks it by the ClientHello. Here is what it says, and what is asked of every
//! configuration; `acceptor` does the handshake with it.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Once},
};

use tokio_rustls::rustls::{AlertDescription, ServerConfig, server::ClientHello};

use crate::settings::BuildError;

/// What TLS-ALPN-01 agrees on (RFC 8737 6.2): the certificate is all that an ACME server asks for.
pub(crate) const ACME: &[u8] = b"acme-tls/1";

/// What a closure says: a configuration, `None` for the server's own, or that there is none.
pub(crate) type Answer = Result<Option<Arc<ServerConfig>>, Refusal>;

type Choosing = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A closure of the user's, as of [`Builder::config_for_client`](crate::Builder::config_for_client).
pub(crate) struct Choice {
    choose: Box<dyn Fn(ClientHello<'_>) -> Choosing + Send + Sync>,
    /// Whether it has been said that what it has picked can't be used.
    warned: Once,
}

impl Choice {
    pub(crate) fn new<F>(choose: impl Fn(ClientHello<'_>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self {
            choose: Box::new(move |hello| Box::pin(choose(hello))),
            warned: Once::new(),
        }
    }

    pub(crate) fn ask(&self, hello: ClientHello<'_>) -> Choosing {
        (self.choose)(hello)
    }

    /// Says that what it has picked can't be used: at `error` once, for clients bring it about.
    pub(crate) fn complain(&self, error: &BuildError) {
        const TEXT: &str = "a chosen configuration can't be used";
        let mut first = false;
        self.warned.call_once(|| first = true);
        match first {
            true => tracing::error!(%error, "{TEXT}; the next times are at `debug`"),
            false => tracing::debug!(%error, "{TEXT}"),
        }
    }
}

/// Why a client gets no configuration, from
/// [`Builder::config_for_client`](crate::Builder::config_for_client).
///
/// The client gets the alert, the log and
/// [`HandshakeError::NoConfig`](crate::HandshakeError::NoConfig) the reason.
#[derive(Debug)]
pub struct Refusal {
    alert: AlertDescription,
    reason: Box<dyn Error + Send + Sync>,
}

impl Refusal {
    /// `alert` is an error alert of RFC 9846 6.2, and is sent as a fatal one: `UnrecognisedName` for a
    /// server name that nobody has here (RFC 6066 3), `NoApplicationProtocol` (RFC 7301 3.2),
    /// `AccessDenied`, or `InternalError` where looking it up has failed. `InternalError` takes the place of
    /// a closure alert (6.1), which would say that there is no error.
    pub fn new(alert: AlertDescription, reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let alert = match alert {
            AlertDescription::CloseNotify | AlertDescription::UserCanceled => {
                AlertDescription::InternalError
            }
            alert => alert,
        };
        Self {
            alert,
            reason: reason.into(),
        }
    }

    /// What the client is told.
    pub fn alert(&self) -> AlertDescription {
        self.alert
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.reason, self.alert)
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

/// The server's own configuration has to offer HTTP, and nothing that can't be served.
pub(crate) fn check(tls: &ServerConfig) -> Result<(), BuildError> {
    match tls.alpn_protocols.iter().all(|offered| offered == ACME) {
        true => Err(BuildError::NoAlpn),
        false => check_known(tls),
    }
}

/// A chosen one may be there for ACME alone.
pub(crate) fn check_chosen(chosen: &ServerConfig, own: &ServerConfig) -> Result<(), BuildError> {
    if chosen.alpn_protocols.is_empty() {
        return Err(BuildError::NoAlpn);
    }
    if chosen.max_fragment_size != own.max_fragment_size {
        return Err(BuildError::FragmentSize {
            chosen: chosen.max_fragment_size,
            own: own.max_fragment_size,
        });
    }
    check_known(chosen)
}

fn check_known(tls: &ServerConfig) -> Result<(), BuildError> {
    let known = |p: &[u8]| matches!(p, b"h2" | b"http/1.1" | b"http/1.0" | ACME);
    match tls.alpn_protocols.iter().find(|p| !known(p)) {
        None => Ok(()),
        Some(unknown) => Err(BuildError::UnknownAlpn {
            protocol: String::from_utf8_lossy(unknown).into_owned(),
        }),
    }
}
