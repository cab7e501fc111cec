//! The settings of a [`GracefulTls`]. Every default is documented once, at its setter.

use std::{fmt, sync::Arc, time::Duration};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ServerConfig;

use crate::{
    server::{GracefulTls, Server},
    shutdown::Shutdown,
    teardown::{Bounds, Seats},
};

/// The numbers of a server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) max_handshakes: usize,
    pub(crate) drain: Drain,
    pub(crate) lame_duck: Duration,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) plain_http: PlainHttp,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_alive_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 1024,
            drain: Drain::default(),
            lame_duck: Duration::from_millis(250),
            shutdown_timeout: Duration::from_secs(30),
            plain_http: PlainHttp::default(),
        }
    }
}

impl Settings {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            flush: self.drain.flush_timeout,
            flush_total: self.drain.flush_timeout.max(self.write_timeout),
            total: self.drain.total_timeout,
            idle: self.drain.idle_timeout,
            bytes: self.drain.max_bytes,
        }
    }
}

/// What a peer that speaks plain HTTP to the TLS port is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum PlainHttp {
    /// `400 Bad Request`, with a sentence that says why.
    #[default]
    BadRequest,
    /// `308 Permanent Redirect` (RFC 9110 15.4.9) to the same host, port and path over https;
    /// 400 if the request names no host.
    Redirect,
}

/// The limits of the drain after the half-close.
///
/// The server has said all it had to say by then. What it reads and discards is the price for not
/// destroying its last answer with an RST (RFC 9112 9.6).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Drain {
    /// How long in all. Default: 5 s.
    pub total_timeout: Duration,
    /// How long without a byte received. Default: 2 s.
    pub idle_timeout: Duration,
    /// How many bytes, as they come from the network. Default: 64 MiB.
    pub max_bytes: u64,
    /// How many connections at once; the one that has drained longest makes room for a new one.
    /// Default: 4096.
    pub max_connections: usize,
    /// How long the flush before the half-close may go without a byte taken by the peer.
    /// Default: 5 s. In all it gets that or the write time-out, whichever is longer.
    pub flush_timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            total_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(2),
            max_bytes: 64 * 1024 * 1024,
            max_connections: 4096,
            flush_timeout: Duration::from_secs(5),
        }
    }
}

macro_rules! drain_setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl Drain {
            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](Self::", stringify!($name), ").")]
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }
    };
}

drain_setters! {
    total_timeout: Duration,
    idle_timeout: Duration,
    max_bytes: u64,
    max_connections: usize,
    flush_timeout: Duration,
}

/// A setting that can't work. The text names the setting and the fix.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A duration is zero, so that the first thing it bounds would fail.
    #[error("{setting} is zero, which would end every connection at once: set at least 1 ms")]
    ZeroDuration {
        /// The setting's name.
        setting: &'static str,
    },
    /// A duration is longer than a day: most likely the unit is wrong.
    #[error(
        "{setting} is {value:?}, longer than a day: is the unit wrong? The longest allowed is 24 h"
    )]
    DurationTooLong {
        /// The setting's name.
        setting: &'static str,
        /// What it was set to.
        value: Duration,
    },
    /// A cap of zero lets nothing through.
    #[error("{setting} is zero, which would let nothing through: set at least 1")]
    ZeroLimit {
        /// The setting's name.
        setting: &'static str,
    },
    /// No application protocol is offered, so HTTP/2 would never be agreed on.
    #[error(
        "ServerConfig::alpn_protocols is empty, so no client could use HTTP/2: set it to \
         vec![b\"h2\".to_vec(), b\"http/1.1\".to_vec()], or to the last one alone"
    )]
    NoAlpn,
    /// A protocol is offered that the server does not speak.
    #[error(
        "ServerConfig::alpn_protocols offers {protocol:?}, which is not served: offer \"h2\" and \
         \"http/1.1\" only"
    )]
    UnknownAlpn {
        /// What was offered.
        protocol: String,
    },
}

/// Collects the settings of a [`GracefulTls`]. Made by [`GracefulTls::builder`].
#[must_use = "a builder does nothing until `build` is called"]
pub struct Builder {
    tls: Arc<ServerConfig>,
    settings: Settings,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Builder {
    pub(crate) fn new(tls: Arc<ServerConfig>) -> Self {
        let mut http1 = http1::Builder::new();
        // The keep-alive time-out covers the head of a request, at no timer per request.
        http1.timer(TokioTimer::new()).header_read_timeout(None);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.timer(TokioTimer::new());
        Self {
            tls,
            settings: Settings::default(),
            http1,
            http2,
        }
    }

    /// How long a connection may be open with no exchange in flight. Default: 75 s.
    ///
    /// This one limit covers the client that never speaks, the head that drips in, the unfinished
    /// HTTP/2 preface, and keep-alive, in HTTP/1 and HTTP/2 alike.
    pub fn keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.settings.keep_alive_timeout = timeout;
        self
    }

    /// How long a write may make no progress. Default: 30 s.
    ///
    /// A peer that stops reading, or never opens its HTTP/2 window, is let go then.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.settings.write_timeout = timeout;
        self
    }

    /// How long a TLS handshake may take. Default: 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.settings.handshake_timeout = timeout;
        self
    }

    /// How many TLS handshakes may run at once. Default: 1024.
    ///
    /// At the limit no further connection is accepted until one has ended; clients wait in the
    /// listener's queue.
    pub fn max_handshakes(mut self, max: usize) -> Self {
        self.settings.max_handshakes = max;
        self
    }

    /// The limits of the drain. Default: see [`Drain`].
    pub fn drain(mut self, drain: Drain) -> Self {
        self.settings.drain = drain;
        self
    }

    /// How long the server goes on accepting and answering after a shutdown began. Default:
    /// 250 ms, enough for requests that are on the wire. Zero is allowed.
    ///
    /// Behind a load balancer set it to what that needs to notice, a few health-check intervals.
    pub fn lame_duck(mut self, duration: Duration) -> Self {
        self.settings.lame_duck = duration;
        self
    }

    /// How long exchanges in flight may go on once draining has begun. Default: 30 s.
    ///
    /// Zero is allowed: everything is ended as soon as the lame duck is over.
    ///
    /// What is ended then still flushes and drains within its bounds. Whoever kills the process
    /// has to wait for the sum of the lame duck, this, the write time-out and
    /// [`Drain::total_timeout`], and two seconds more: 67.4 s with the defaults, of which the peers
    /// that do not read take 30.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.settings.shutdown_timeout = timeout;
        self
    }

    /// What a peer that speaks plain HTTP is told. Default: [`PlainHttp::BadRequest`].
    pub fn plain_http(mut self, answer: PlainHttp) -> Self {
        self.settings.plain_http = answer;
        self
    }

    /// Changes hyper's HTTP/1 settings, for [`GracefulTls::serve`].
    ///
    /// They are hyper's defaults, but for `header_read_timeout`, which is off because
    /// [`keep_alive_timeout`](Self::keep_alive_timeout) covers it.
    pub fn http1(mut self, change: impl FnOnce(&mut http1::Builder)) -> Self {
        change(&mut self.http1);
        self
    }

    /// Changes hyper's HTTP/2 settings, for [`GracefulTls::serve`]. They are hyper's defaults.
    pub fn http2(mut self, change: impl FnOnce(&mut http2::Builder<TokioExecutor>)) -> Self {
        change(&mut self.http2);
        self
    }

    /// Checks the settings and makes the server of them.
    ///
    /// # Errors
    ///
    /// The first setting that can't work, see [`BuildError`].
    pub fn build(self) -> Result<GracefulTls, BuildError> {
        check_settings(&self.settings)?;
        check_alpn(&self.tls)?;
        Ok(GracefulTls {
            server: Arc::new(Server {
                handshakes: Arc::new(Semaphore::new(
                    self.settings.max_handshakes.min(Semaphore::MAX_PERMITS),
                )),
                seats: Seats::new(self.settings.drain.max_connections),
                tls: self.tls.into(),
                settings: self.settings,
                http1: self.http1,
                http2: self.http2,
                shutdown: Shutdown::default(),
                layered: false.into(),
                warned: std::sync::Once::new(),
            }),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn check_settings(settings: &Settings) -> Result<(), BuildError> {
    let drain = &settings.drain;
    for (setting, value) in [
        ("keep_alive_timeout", settings.keep_alive_timeout),
        ("write_timeout", settings.write_timeout),
        ("handshake_timeout", settings.handshake_timeout),
        ("drain.total_timeout", drain.total_timeout),
        ("drain.idle_timeout", drain.idle_timeout),
        ("drain.flush_timeout", drain.flush_timeout),
    ] {
        if value < Duration::from_millis(1) {
            return Err(BuildError::ZeroDuration { setting });
        }
        check_length(setting, value)?;
    }
    check_length("lame_duck", settings.lame_duck)?;
    check_length("shutdown_timeout", settings.shutdown_timeout)?;
    for (setting, zero) in [
        ("max_handshakes", settings.max_handshakes == 0),
        ("drain.max_bytes", drain.max_bytes == 0),
        ("drain.max_connections", drain.max_connections == 0),
    ] {
        if zero {
            return Err(BuildError::ZeroLimit { setting });
        }
    }
    Ok(())
}

fn check_length(setting: &'static str, value: Duration) -> Result<(), BuildError> {
    match value > LONGEST {
        true => Err(BuildError::DurationTooLong { setting, value }),
        false => Ok(()),
    }
}

fn check_alpn(tls: &ServerConfig) -> Result<(), BuildError> {
    if tls.alpn_protocols.is_empty() {
        return Err(BuildError::NoAlpn);
    }
    let known = |p: &[u8]| matches!(p, b"h2" | b"http/1.1" | b"http/1.0");
    match tls.alpn_protocols.iter().find(|p| !known(p)) {
        None => Ok(()),
        Some(unknown) => Err(BuildError::UnknownAlpn {
            protocol: String::from_utf8_lossy(unknown).into_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        check_settings(&settings).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_sound() {
        assert_eq!(check_settings(&Settings::default()), Ok(()));
    }

    #[test]
    fn errors_name_the_setting_and_the_fix() {
        let zero = error(|s| s.keep_alive_timeout = Duration::ZERO);
        assert!(zero.starts_with("keep_alive_timeout is zero"), "{zero}");
        assert!(zero.ends_with("set at least 1 ms"), "{zero}");

        let absurd = error(|s| s.drain.total_timeout = Duration::MAX);
        assert!(absurd.starts_with("drain.total_timeout is "), "{absurd}");

        let none = error(|s| s.max_handshakes = 0);
        assert_eq!(
            none,
            "max_handshakes is zero, which would let nothing through: set at least 1"
        );
    }

    #[test]
    fn a_shutdown_may_take_no_time() {
        let settings = Settings {
            lame_duck: Duration::ZERO,
            shutdown_timeout: Duration::ZERO,
            ..Settings::default()
        };
        assert_eq!(check_settings(&settings), Ok(()));
    }
}
