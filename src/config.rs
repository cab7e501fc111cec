//! [`Config`]: the settings of the [`Builder`] as a part of an application's config file.
//!
//! It knows names and types only. What a setting means and its default are the setter's, and
//! [`Builder::build`] checks what came from a file as it checks everything. So it stands above the builder.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Unexpected, Visitor, value::MapAccessDeserializer},
};

use crate::{
    builder::Builder,
    keepalive::TcpKeepalive,
    settings::{Drain, PlainHttp},
};

macro_rules! see {
    ($target:ident, $setter:ident) => {
        concat!(
            "See [`",
            stringify!($setter),
            "`](crate::",
            stringify!($target),
            "::",
            stringify!($setter),
            "())."
        )
    };
}

/// A struct with an optional field for each setter of another; what is set is set there.
///
/// Durations come first, and last what has parts of its own, which are set within what the other has.
macro_rules! config {
    (
        $(#[$doc:meta])*
        $config:ident sets $target:ident {
            durations: $($span:ident)*;
            values: $($name:ident: $type:ty),*;
            parts: $($part:ident: $parts:ty),*;
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $config {
            $(
                #[doc = see!($target, $span)]
                #[serde(with = "duration", skip_serializing_if = "Option::is_none")]
                pub $span: Option<Duration>,
            )*
            $(
                #[doc = see!($target, $name)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $name: Option<$type>,
            )*
            $(
                #[doc = see!($target, $part)]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $part: Option<$parts>,
            )*
        }

        impl $config {
            fn apply(self, mut target: $target) -> $target {
                $(if let Some(value) = self.$span {
                    target = target.$span(value);
                })*
                $(if let Some(value) = self.$name {
                    target = target.$name(value);
                })*
                $(if let Some(parts) = self.$part {
                    let before = target.settings.$part.clone();
                    target = target.$part(parts.apply(before));
                })*
                target
            }
        }
    };
}

config! {
    /// The settings of a [`Builder`], to be read from a file: a field for each setter, by its name.
    ///
    /// What is left out stays as the builder has it. Durations are texts with a unit, such as `"75s"`,
    /// `"500ms"` or `"1h 30m"`; a setting of an unknown name is refused. Closures, hyper's own settings, the
    /// [`observer`](Builder::observer) and [`shutdown_with`](Builder::shutdown_with) are code's.
    ///
    /// It is made for being a part of your own, in any self-describing format, such as TOML, YAML or JSON:
    ///
    /// ```
    /// use graceful_tls::{Config, GracefulTls};
    /// # use graceful_tls::rustls::ServerConfig;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct App {
    ///     listen: std::net::SocketAddr,
    ///     #[serde(default)]
    ///     tls: Config,
    /// }
    ///
    /// const FILE: &str = r#"
    ///     listen = "[::]:443"
    ///
    ///     [tls]
    ///     keep_alive_timeout = "75s"
    ///     max_connections = 50_000
    ///     plain_http = "redirect"
    ///     drain = { total_timeout = "3s", max_bytes = 1_048_576 }
    ///     tcp_keepalive = { idle = "30s" } # or "off"
    /// "#;
    ///
    /// fn server(config: ServerConfig) -> Result<GracefulTls, Box<dyn std::error::Error>> {
    ///     let app: App = toml::from_str(FILE)?;
    ///     Ok(GracefulTls::builder(config).config(&app.tls).build()?)
    /// }
    /// # let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    /// # let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    /// # let mut config = ServerConfig::builder().with_no_client_auth()
    /// #     .with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    /// # config.alpn_protocols = vec![b"http/1.1".to_vec()];
    /// # server(config).unwrap();
    /// ```
    Config sets Builder {
        durations:
            keep_alive_timeout write_timeout header_timeout body_timeout tunnel_timeout handshake_timeout
            lame_duck shutdown_timeout idle_grace close_spread keep_alive_header
            max_connection_age max_connection_age_grace;
        values:
            min_rate: u32,
            max_control_frames: u32,
            max_handshakes: usize,
            max_connections: usize,
            max_connections_per_client: usize,
            lame_duck_goaway: bool,
            patient_goaway: bool,
            plain_http: PlainHttp,
            connect_info: bool,
            track_requests: bool,
            handlers_may_block: bool,
            max_requests: u32,
            name: String;
        parts:
            drain: DrainConfig,
            tcp_keepalive: TcpKeepaliveSwitch;
    }
}

config! {
    /// The part `drain` of a [`Config`].
    DrainConfig sets Drain {
        durations: total_timeout idle_timeout flush_timeout;
        values: max_bytes: u64, max_connections: usize;
        parts: ;
    }
}

config! {
    /// The settings of [`TcpKeepaliveSwitch::On`].
    TcpKeepaliveConfig sets TcpKeepalive {
        durations: idle interval;
        values: count: u32;
        parts: ;
    }
}

impl Builder {
    /// Sets what is set in `config`, as its setters would. What is set later wins.
    ///
    /// [`build`](Self::build) has the same errors for it as for the setters.
    pub fn config(self, config: &Config) -> Self {
        config.clone().apply(self)
    }
}

/// The part `tcp_keepalive` of a [`Config`]: settings, or `"off"`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TcpKeepaliveSwitch {
    /// Off: clients whose machine has vanished are let go by the time-outs alone.
    Off,
    /// On, with these settings.
    On(TcpKeepaliveConfig),
}

impl TcpKeepaliveSwitch {
    fn apply(self, before: Option<TcpKeepalive>) -> Option<TcpKeepalive> {
        match self {
            Self::Off => None,
            Self::On(config) => Some(config.apply(before.unwrap_or_default())),
        }
    }
}

const OFF: &str = "off";

impl Serialize for TcpKeepaliveSwitch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str(OFF),
            Self::On(config) => config.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TcpKeepaliveSwitch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SwitchVisitor)
    }
}

/// serde's own `untagged` would not say which field is unknown.
struct SwitchVisitor;

impl<'de> Visitor<'de> for SwitchVisitor {
    type Value = TcpKeepaliveSwitch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings, or {OFF:?}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text {
            OFF => Ok(TcpKeepaliveSwitch::Off),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Deserialize::deserialize(MapAccessDeserializer::new(map)).map(TcpKeepaliveSwitch::On)
    }
}

/// Durations as texts with a unit.
mod duration {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = duration.map(|duration| humantime::format_duration(duration).to_string());
        text.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<Text>::deserialize(deserializer)?;
        Ok(text.map(|Text(duration)| duration))
    }

    struct Text(Duration);

    impl<'de> Deserialize<'de> for Text {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(TextVisitor).map(Self)
        }
    }

    struct TextVisitor;

    impl Visitor<'_> for TextVisitor {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration with its unit, such as \"30s\" or \"500ms\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            let invalid = |_| E::invalid_value(Unexpected::Str(text), &self);
            humantime::parse_duration(text).map_err(invalid)
        }
    }
}
