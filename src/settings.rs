//! The settings of a server, and what of them can't work.
//!
//! Every default is documented once, at the setter of the [`Builder`](crate::Builder).

use std::time::Duration;

use crate::keepalive::TcpKeepalive;
use crate::pace::Rate;

/// The numbers of a server.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) header_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) tunnel_timeout: Option<Duration>,
    pub(crate) min_rate: Rate,
    pub(crate) max_control_frames: u32,
    /// hyper's limits of HTTP/1 are its own.
    pub(crate) http1_defaults: bool,
    pub(crate) handshake_timeout: Duration,
    pub(crate) max_handshakes: usize,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_connections_per_client: Option<usize>,
    pub(crate) drain: Drain,
    pub(crate) lame_duck: Duration,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) idle_grace: Duration,
    pub(crate) close_spread: Duration,
    pub(crate) lame_duck_goaway: bool,
    pub(crate) patient_goaway: bool,
    pub(crate) keep_alive_header: Option<Duration>,
    pub(crate) plain_http: PlainHttp,
    pub(crate) tcp_keepalive: Option<TcpKeepalive>,
    pub(crate) max_connection_age: Option<Duration>,
    pub(crate) max_connection_age_grace: Option<Duration>,
    pub(crate) connect_info: bool,
    pub(crate) track_requests: bool,
    pub(crate) max_requests: Option<u32>,
    pub(crate) handlers_may_block: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_alive_timeout: Duration::from_secs(120),
            write_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            tunnel_timeout: None,
            min_rate: Rate(240),
            max_control_frames: 10_000,
            http1_defaults: true,
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 4096,
            max_connections: None,
            max_connections_per_client: None,
            drain: Drain::default(),
            lame_duck: Duration::from_millis(250),
            shutdown_timeout: Duration::from_secs(30),
            idle_grace: Duration::ZERO,
            close_spread: Duration::ZERO,
            lame_duck_goaway: false,
            patient_goaway: false,
            keep_alive_header: None,
            plain_http: PlainHttp::default(),
            tcp_keepalive: Some(TcpKeepalive::default()),
            max_connection_age: None,
            max_connection_age_grace: None,
            connect_info: true,
            track_requests: false,
            max_requests: None,
            handlers_may_block: false,
        }
    }
}

/// The limits of a teardown, but for that of its flush, which depends on what is flushed.
#[derive(Debug)]
pub(crate) struct Bounds {
    /// How long the peer may acknowledge nothing of what the kernel holds for it.
    pub(crate) write: Duration,
    /// At what rate it has to take what is flushed, and what the kernel holds.
    pub(crate) rate: Rate,
    /// How long all of it may take once the shutdown's deadline has passed, before the drain.
    pub(crate) last: Duration,
    /// How long draining may take in all.
    pub(crate) total: Duration,
    /// How long draining may go without a byte received.
    pub(crate) idle: Duration,
    /// How many bytes draining may discard.
    pub(crate) bytes: u64,
}

impl Settings {
    /// Of its teardowns.
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            write: self.write_timeout,
            rate: self.min_rate,
            last: self.longest_flush(),
            total: self.drain.total_timeout,
            idle: self.drain.idle_timeout,
            bytes: self.drain.max_bytes,
        }
    }

    /// How long a flush may take in all once the deadline has passed.
    pub(crate) fn longest_flush(&self) -> Duration {
        self.drain.flush_timeout.max(self.write_timeout)
    }

    /// How many connections may be open: by default the service keeps a quarter of the descriptors.
    pub(crate) fn max_connections(&self) -> usize {
        let most = |limit: u64| usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX).max(1);
        let by_default = || descriptors().map_or(usize::MAX, most);
        self.max_connections.unwrap_or_else(by_default)
    }

    /// How many handshakes may run.
    pub(crate) fn max_handshakes(&self) -> usize {
        self.max_handshakes.min(self.max_connections())
    }
}

/// How many descriptors this process may open, where that is known and limited.
fn descriptors() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    None
}

/// What a peer that speaks plain HTTP to the TLS port is told.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
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
    /// How long in all. Default: 5 s. While the client goes on taking what it was sent, the drain
    /// goes on.
    pub total_timeout: Duration,
    /// How long without a byte received. Default: 2 s.
    pub idle_timeout: Duration,
    /// How many bytes, as they come from the network. Default: 64 MiB.
    pub max_bytes: u64,
    /// How many connections at once; the one that has drained longest makes room for a new one.
    /// Default: 4096.
    pub max_connections: usize,
    /// How long the flush before the half-close may go without a byte taken by the peer.
    /// Default: 5 s; the rest of an answer that is not cut gets the write time-out, if that is longer. Once a shutdown's
    /// deadline has passed it gets the longer one in all; before, it takes as long as the peer goes on taking
    /// bytes, at the minimum rate.
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
    /// A rate that honest clients do not reach.
    #[error(
        "min_rate is {value} bytes a second, which clients on a bad line do not reach: set at most \
         7000, or 0 for none"
    )]
    MinRate {
        /// What it was set to, in bytes a second.
        value: u32,
    },
    /// More connections could drain than may be open.
    #[error(
        "drain.max_connections is {drain}, more than max_connections ({max}), so it would never be \
         reached: set it lower, or leave it out"
    )]
    DrainAboveConnections {
        /// How many were to drain at once.
        drain: usize,
        /// How many may be open at once.
        max: usize,
    },
    /// Clients would be promised more than they get, or nothing.
    #[error(
        "keep_alive_header is {announced:?}, which has to be at least 1 s, and at least 1 s shorter \
         than keep_alive_timeout ({timeout:?}): a request needs that for its way"
    )]
    KeepAliveHeader {
        /// What it was set to.
        announced: Duration,
        /// The keep-alive time-out.
        timeout: Duration,
    },
    /// A grace after nothing.
    #[error(
        "max_connection_age_grace is set and max_connection_age is not, so that no grace would ever \
         begin: set both"
    )]
    GraceWithoutAge,
    /// Systems do not count it so.
    #[error("{setting} is {value:?}: set whole seconds, from 1 s to 9 h, as systems count it")]
    KeepaliveTime {
        /// The setting's name.
        setting: &'static str,
        /// What it was set to.
        value: Duration,
    },
    /// Systems do not ask so often.
    #[error("tcp_keepalive.count is {value}: set 1 to 127, as systems count it")]
    KeepaliveCount {
        /// What it was set to.
        value: u32,
    },
    /// It is the shutdown's, and this server shares that of another.
    #[error(
        "{setting} is set otherwise than at the server whose shutdown this one shares: set it there, where \
         it holds for both"
    )]
    NotShared {
        /// Its name.
        setting: &'static str,
    },
    /// No application protocol is offered, or ACME's alone, so HTTP/2 would never be agreed on.
    #[error(
        "ServerConfig::alpn_protocols has no HTTP in it, so no client could use HTTP/2: set it to \
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
    /// A client could resume at one server what it began at another, which may ask for no certificate.
    #[error(
        "ticket_keys are another server's already, in the scope {scope:?}: give each its own, as by \
         ticket_keys(keys.scope(\"admin\")); or, to one that takes the other's place, new keys that have \
         imported what these export"
    )]
    TicketKeysShared {
        /// The scope.
        scope: String,
    },
    /// A configuration that was chosen by the ClientHello makes records of another size.
    #[error(
        "max_fragment_size of a chosen ServerConfig is {chosen:?}, and {own:?} in the server's own: set \
         both to the same"
    )]
    FragmentSize {
        /// That of the chosen one.
        chosen: Option<usize>,
        /// That of the one that the server was made with.
        own: Option<usize>,
    },
}

pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What a modem does.
const FASTEST: Rate = Rate(7_000);

/// The first setting that can't work.
pub(crate) fn check(settings: &Settings) -> Result<(), BuildError> {
    let drain = &settings.drain;
    let age = settings.max_connection_age;
    let grace = settings.max_connection_age_grace;
    if grace.is_some() && age.is_none() {
        return Err(BuildError::GraceWithoutAge);
    }
    for (setting, value) in [
        ("max_connection_age", age.unwrap_or(LONGEST)),
        ("max_connection_age_grace", grace.unwrap_or(LONGEST)),
        ("keep_alive_timeout", settings.keep_alive_timeout),
        ("write_timeout", settings.write_timeout),
        ("header_timeout", settings.header_timeout),
        ("body_timeout", settings.body_timeout),
        ("tunnel_timeout", settings.tunnel_timeout.unwrap_or(LONGEST)),
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
    check_length("idle_grace", settings.idle_grace)?;
    check_length("close_spread", settings.close_spread)?;
    check_keep_alive_header(settings)?;
    if settings.min_rate > FASTEST {
        return Err(BuildError::MinRate {
            value: settings.min_rate.0,
        });
    }
    check_tcp_keepalive(settings.tcp_keepalive)?;
    for (setting, zero) in [
        ("max_handshakes", settings.max_handshakes == 0),
        ("max_control_frames", settings.max_control_frames == 0),
        ("max_requests", settings.max_requests == Some(0)),
        ("max_connections", settings.max_connections == Some(0)),
        (
            "max_connections_per_client",
            settings.max_connections_per_client == Some(0),
        ),
        ("drain.max_bytes", drain.max_bytes == 0),
        ("drain.max_connections", drain.max_connections == 0),
    ] {
        if zero {
            return Err(BuildError::ZeroLimit { setting });
        }
    }
    check_drain_below(settings)
}

/// What servers that share a shutdown have in common is set at the first; the others leave it alone, and
/// get it from there.
pub(crate) fn share(own: &mut Settings, first: &Settings) -> Result<(), BuildError> {
    let default = Settings::default();
    macro_rules! share {
        ($($setting:ident).+) => {
            if own.$($setting).+ != default.$($setting).+ && own.$($setting).+ != first.$($setting).+ {
                let setting = stringify!($($setting).+);
                return Err(BuildError::NotShared { setting });
            }
            own.$($setting).+ = first.$($setting).+;
        };
    }
    share!(lame_duck);
    share!(shutdown_timeout);
    share!(idle_grace);
    share!(close_spread);
    share!(lame_duck_goaway);
    share!(patient_goaway);
    share!(max_connections);
    share!(max_handshakes);
    share!(drain.max_connections);
    Ok(())
}

/// The default stays as it is below any cap: those that drain are the first to make room.
fn check_drain_below(settings: &Settings) -> Result<(), BuildError> {
    let drain = settings.drain.max_connections;
    match settings.max_connections {
        Some(max) if drain > max && drain != Drain::default().max_connections => {
            Err(BuildError::DrainAboveConnections { drain, max })
        }
        _ => Ok(()),
    }
}

/// In seconds is what the header says, and a request needs some of them for its way.
fn check_keep_alive_header(settings: &Settings) -> Result<(), BuildError> {
    let second = Duration::from_secs(1);
    match settings.keep_alive_header {
        Some(announced)
            if announced < second || announced + second > settings.keep_alive_timeout =>
        {
            Err(BuildError::KeepAliveHeader {
                announced,
                timeout: settings.keep_alive_timeout,
            })
        }
        _ => Ok(()),
    }
}

fn check_tcp_keepalive(keepalive: Option<TcpKeepalive>) -> Result<(), BuildError> {
    const LONGEST: u64 = 9 * 60 * 60;
    let Some(keepalive) = keepalive else {
        return Ok(());
    };
    for (setting, value) in [
        ("tcp_keepalive.idle", keepalive.idle),
        ("tcp_keepalive.interval", keepalive.interval),
    ] {
        if value.subsec_nanos() != 0 || !(1..=LONGEST).contains(&value.as_secs()) {
            return Err(BuildError::KeepaliveTime { setting, value });
        }
    }
    match keepalive.count {
        1..=127 => Ok(()),
        value => Err(BuildError::KeepaliveCount { value }),
    }
}

fn check_length(setting: &'static str, value: Duration) -> Result<(), BuildError> {
    match value > LONGEST {
        true => Err(BuildError::DurationTooLong { setting, value }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        check(&settings).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_sound() {
        assert_eq!(check(&Settings::default()), Ok(()));
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
    fn an_age_is_for_some_time() {
        let day = Duration::from_secs(24 * 60 * 60);
        let aged = |age, grace| {
            error(|s| (s.max_connection_age, s.max_connection_age_grace) = (age, grace))
        };
        let zero = aged(Some(Duration::ZERO), None);
        assert!(zero.starts_with("max_connection_age is zero"), "{zero}");
        let long = aged(Some(day), Some(day * 2));
        assert!(long.starts_with("max_connection_age_grace is "), "{long}");
        let alone = aged(None, Some(day));
        assert!(alone.ends_with("set both"), "{alone}");
        let none = error(|s| s.max_requests = Some(0));
        assert!(none.starts_with("max_requests is zero"), "{none}");
    }

    #[test]
    fn keepalive_is_in_whole_seconds() {
        let with = |keepalive| error(|s| s.tcp_keepalive = Some(keepalive));
        let keepalive = TcpKeepalive::default();
        for value in [Duration::ZERO, Duration::from_millis(1500), Duration::MAX] {
            let idle = with(keepalive.idle(value));
            assert!(idle.starts_with("tcp_keepalive.idle is "), "{idle}");
            let interval = with(keepalive.interval(value));
            assert!(interval.ends_with("as systems count it"), "{interval}");
        }
        let text = "tcp_keepalive.count is 0: set 1 to 127, as systems count it";
        assert_eq!(with(keepalive.count(0)), text);
        assert!(with(keepalive.count(128)).starts_with("tcp_keepalive.count is 128: "));
    }

    #[test]
    fn a_cap_below_that_of_the_drain_is_refused_where_both_are_set() {
        let below = error(|s| {
            s.max_connections = Some(10);
            s.drain.max_connections = 11;
        });
        let says = "drain.max_connections is 11, more than max_connections (10)";
        assert!(below.starts_with(says), "{below}");
        let settings = Settings {
            max_connections: Some(10),
            ..Settings::default()
        };
        assert_eq!(check(&settings), Ok(()));
        assert_eq!(
            (settings.max_connections(), settings.max_handshakes()),
            (10, 10)
        );
    }

    #[test]
    fn a_rate_is_one_that_clients_reach() {
        let fast = error(|s| s.min_rate = Rate(7001));
        assert!(fast.starts_with("min_rate is 7001 bytes"), "{fast}");
        for rate in [0, 7000] {
            let settings = Settings {
                min_rate: Rate(rate),
                ..Settings::default()
            };
            assert_eq!(check(&settings), Ok(()));
        }
        let none = error(|s| s.max_control_frames = 0);
        assert!(none.starts_with("max_control_frames is zero"), "{none}");
        let zero = error(|s| s.tunnel_timeout = Some(Duration::ZERO));
        assert!(zero.starts_with("tunnel_timeout is zero"), "{zero}");
    }

    #[test]
    fn a_shutdown_may_take_no_time() {
        let settings = Settings {
            lame_duck: Duration::ZERO,
            shutdown_timeout: Duration::ZERO,
            ..Settings::default()
        };
        assert_eq!(check(&settings), Ok(()));
    }
}
