//! [`ListenAddress`]: where a listener is to be, as people write it.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// Where to listen: `192.0.2.1:443`, `[::]:443`, or `unix:/run/app.sock`.
///
/// `[::]` takes IPv6 clients only (RFC 3493 5.3), as in nginx: give `0.0.0.0` as well. Port 0 takes a free one, and a restart keeps it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ListenAddress {
    /// TCP, IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix socket, by its path. Its file is made, and removed when the last process stops.
    Unix(PathBuf),
}

/// What was given is no address to listen on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is no address to listen on: give an IP address and a port, as in 127.0.0.1:8443 or [::]:443, \
     or unix: and a path"
)]
pub struct InvalidListenAddress(String);

impl FromStr for ListenAddress {
    type Err = InvalidListenAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidListenAddress(text.into());
        match text.strip_prefix("unix:") {
            // Processes tell each other of it, a line each.
            Some(path) if path.is_empty() || path.contains('\n') => Err(invalid()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| invalid()),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shown_again() {
        for text in ["127.0.0.1:0", "[::]:443", "unix:/run/app.sock", "unix:app"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in ["", ":443", "localhost:443", "::", "unix:", "unix:a\nb"] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:8443"), "{error}");
        }
    }
}
