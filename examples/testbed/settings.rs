//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use graceful_tls::PlainHttp;

use crate::log::Log;

/// A server that any outside client can judge.
#[derive(Debug, Parser)]
#[command(name = "testbed")]
pub(crate) struct Settings {
    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "N", value_parser = port)]
    #[arg(default_value = "8443", allow_negative_numbers = true)]
    pub(crate) port: u16,

    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub(crate) host: String,

    /// Certificate chain, PEM, the server's own first [default: makes one for localhost]
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,

    /// Private key of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// What serves the connections
    #[arg(long, value_enum, default_value_t = Server::Hyper)]
    pub(crate) server: Server,

    /// How long a connection may be open with no exchange in flight, and a request's head take
    /// [default: 120000 and 30000]
    #[arg(long = "header-timeout-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) header_timeout: Option<Duration>,

    /// How long a connection may be idle [default: as --header-timeout-ms]
    #[arg(long = "keep-alive-timeout-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) idle_timeout: Option<Duration>,

    /// How long a write may make no progress [default: 30000]
    #[arg(long = "write-timeout-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) write_timeout: Option<Duration>,

    /// How long the body of a request may make no progress [default: 60000]
    #[arg(long = "body-timeout-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) body_timeout: Option<Duration>,

    /// How long nothing may go through a tunnel [default: not limited]
    #[arg(long = "tunnel-timeout-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) tunnel_timeout: Option<Duration>,

    /// How many bytes a second a client that is waited for has to move, 0 for any [default: 240]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) min_rate: Option<u32>,

    /// How many HTTP/2 frames may come in 10 s that neither ask nor answer anything [default: 10000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) max_control_frames: Option<u32>,

    /// How long a TLS handshake may take
    #[arg(long = "handshake-timeout-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(default_value = "10000", allow_negative_numbers = true)]
    pub(crate) handshake_timeout: Duration,

    /// How long exchanges in flight may go on once draining has begun
    #[arg(long = "shutdown-timeout-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(default_value = "10000", allow_negative_numbers = true)]
    pub(crate) shutdown_timeout: Duration,

    /// How long to go on accepting after a shutdown began [default: 250]
    #[arg(long = "lame-duck-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) lame_duck: Option<Duration>,

    /// How long idle HTTP/1 connections are held once draining has begun [default: 0]
    #[arg(long = "idle-grace-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) idle_grace: Option<Duration>,

    /// Over how long idle connections end, and GOAWAYs are said [default: 0, at once]
    #[arg(long = "close-spread-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) close_spread: Option<Duration>,

    /// What `Keep-Alive: timeout=` announces, which is in whole seconds [default: not announced]
    #[arg(long = "keep-alive-header-ms", value_name = "MS", value_parser = milliseconds)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) keep_alive_header: Option<Duration>,

    /// HTTP/2 connections get their GOAWAY in the lame duck already
    #[arg(long)]
    pub(crate) lame_duck_goaway: bool,

    /// HTTP/2 connections at work get it when their last stream has ended
    #[arg(long)]
    pub(crate) patient_goaway: bool,

    /// The first SIGTERM begins a handover: another process listens already
    #[arg(long)]
    pub(crate) handover: bool,

    /// The log names the requests that are waited for, and those that were cut
    #[arg(long)]
    pub(crate) track_requests: bool,

    /// How the log looks: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log: Log,

    /// How many TLS handshakes may run at once [default: 4096]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub(crate) max_handshakes: Option<usize>,

    /// How many connections may be open at once [default: three quarters of `ulimit -n`]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub(crate) max_connections: Option<usize>,

    /// How many connections one client address may have [default: any number]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub(crate) max_connections_per_client: Option<usize>,

    /// How many connections may drain at once [default: 4096]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub(crate) drain_connections: Option<usize>,

    /// TCP asks a silent client so often whether it is still there, and three times [default: each 15
    /// s, seven times]
    #[arg(long = "tcp-keepalive-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) tcp_keepalive: Option<Duration>,

    /// After how long a connection is retired, give or take a tenth [default: never]
    #[arg(long = "max-age-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) max_age: Option<Duration>,

    /// How long after that one in use ends by force [default: never]
    #[arg(long = "max-age-grace-ms", value_name = "MS", value_parser = time_limit)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) max_age_grace: Option<Duration>,

    /// After how many requests a connection is retired [default: never]
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub(crate) max_requests: Option<usize>,

    /// Send no HTTP/2 PINGs; otherwise one each second, which has to be answered within a second
    #[arg(long)]
    pub(crate) no_ping: bool,

    /// Names under `.test` get a configuration of their own, or none: tenant, slow, never, refused,
    /// unusable, acme
    #[arg(long)]
    pub(crate) config_for_client: bool,

    /// Keys for session tickets, one a line in base64, as of HAProxy's tls-ticket-keys [default: none,
    /// sessions are kept in memory]
    #[arg(long, value_name = "FILE")]
    pub(crate) ticket_keys: Option<PathBuf>,

    /// What a client that speaks plain HTTP is told
    #[arg(long, value_enum, default_value_t = PlainHttpAnswer::BadRequest)]
    pub(crate) plain_http: PlainHttpAnswer,

    /// Every connection begins with a PROXY protocol header, as behind a balancer
    #[arg(long)]
    pub(crate) proxy_protocol: bool,
}

/// What serves the connections.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[expect(clippy::enum_variant_names, reason = "the names of the servers")]
pub(crate) enum Server {
    /// `GracefulTls::serve`.
    Hyper,
    /// `axum::serve`, with the listener of the crate; hyper's settings can't be reached.
    Axum,
    /// axum-server, with the listener and the acceptor of the crate.
    AxumServer,
}

/// What a client that speaks plain HTTP is told.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PlainHttpAnswer {
    /// 400, and why.
    BadRequest,
    /// 308 to the same over https.
    Redirect,
}

impl From<PlainHttpAnswer> for PlainHttp {
    fn from(answer: PlainHttpAnswer) -> Self {
        match answer {
            PlainHttpAnswer::BadRequest => Self::BadRequest,
            PlainHttpAnswer::Redirect => Self::Redirect,
        }
    }
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse();
    port.map_err(|_| format!("give a number, 0 to {}", u16::MAX))
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A duration that may be zero.
fn milliseconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms @ 0..=DAY_MS) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("give milliseconds, 0 to {DAY_MS} (a day)")),
    }
}

/// A duration that may not be zero, because it would end every connection at once.
fn time_limit(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms @ 1..=DAY_MS) => Ok(Duration::from_millis(ms)),
        _ => Err(format!("give milliseconds, 1 to {DAY_MS} (a day)")),
    }
}

/// A limit of which zero would let nothing through.
fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("give a number, at least 1".into()),
        Ok(count) => Ok(count),
    }
}
