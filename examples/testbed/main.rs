//! A real server that any outside client can judge.
//!
//! ```sh
//! cargo run --release --example testbed -- --port 8443 --header-timeout-ms 2000
//! ```
//!
//! It prints `listening on ADDR` once it accepts connections, begins a graceful shutdown on
//! SIGTERM or Ctrl-C (a second one skips to the deadline), prints the report and exits 0. What
//! can't work is said in one line before it starts, with exit status 2. The log goes to standard
//! error; `RUST_LOG` sets how much.
//!
//! `settings` has the options, `choice` the certificates of other names; the package `app` has what is
//! served, the certificate, and how a command line is read.

mod choice;
#[path = "../common/log.rs"]
mod log;
mod settings;

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use app::{command_line, routes, tls};
use axum::{Router, routing::get};
use graceful_tls::{
    Accept, Drain, GracefulTls, GracefulTlsLayer, Report, TcpKeepalive, TicketKeys, TlsConnection,
    proxy_protocol::ProxyProtocol, rustls::ServerConfig,
};
use hyper_util::rt::TokioTimer;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use settings::{Server, Settings};

/// Both the interval of HTTP/2 PINGs and how long an answer may take.
const PING: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    let settings = match command_line::parse::<Settings>() {
        Ok(settings) => settings,
        Err(status) => return status,
    };
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    settings.log.start(filter);
    match run(&settings).await {
        Ok(report) => {
            say(report);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            command_line::UNUSABLE.into()
        }
    }
}

async fn run(settings: &Settings) -> Result<Report, String> {
    let tls = graceful(settings)?;
    begin_on_signals(&tls, settings.handover).map_err(|error| error.to_string())?;
    let listener = bind(settings).await?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let app = routes::router(tls.clone());
    say(format_args!("listening on {address}"));
    let served = match settings.proxy_protocol {
        true => serve(settings, &tls, ProxyProtocol::new(listener), app).await,
        false => serve(settings, &tls, listener, app).await,
    };
    served.map_err(|error| format!("{address} can no longer be listened on: {error}"))
}

/// SIGTERM begins the shutdown, and a second one skips to its deadline; SIGUSR1 calls it off.
fn begin_on_signals(tls: &GracefulTls, handover: bool) -> io::Result<()> {
    match handover {
        true => drop(tokio::spawn(hand_over(
            tls.clone(),
            signal(SignalKind::terminate())?,
        ))),
        false => tls.shutdown_on(graceful_tls::signal::terminate()),
    }
    let (tls, mut user) = (tls.clone(), signal(SignalKind::user_defined1())?);
    tokio::spawn(async move {
        while user.recv().await.is_some() {
            let serves = tls.resume();
            tracing::info!(serves, "SIGUSR1");
        }
    });
    Ok(())
}

async fn hand_over(tls: GracefulTls, mut terminate: Signal) {
    while terminate.recv().await.is_some() {
        match tls.is_ready() {
            true => tls.handover(),
            false => tls.shutdown_now(),
        }
    }
}

async fn serve(
    settings: &Settings,
    tls: &GracefulTls,
    listener: impl Accept<Io = TcpStream>,
    app: Router,
) -> io::Result<Report> {
    match settings.server {
        Server::Hyper => return tls.serve(listener, app).await,
        Server::Axum => {
            let app = app
                .layer(GracefulTlsLayer)
                // The layer sees only what was there before it.
                .route("/outside", get(routes::HELLO))
                .into_make_service_with_connect_info::<TlsConnection>();
            axum::serve(tls.listener(listener), app)
                .with_graceful_shutdown(tls.drained())
                .await?;
        }
        Server::AxumServer => {
            let mut server = tls.axum_server(listener, axum_server::Handle::new());
            let builder = server.http_builder();
            let mut http2 = builder.http2();
            http2.timer(TokioTimer::new()).enable_connect_protocol();
            http2
                .keep_alive_interval(ping(settings))
                .keep_alive_timeout(PING);
            server.serve(app.into_make_service()).await?;
        }
    }
    Ok(tls.closed().await)
}

/// How often HTTP/2 clients are asked whether they are there.
fn ping(settings: &Settings) -> Option<Duration> {
    (!settings.no_ping).then_some(PING)
}

fn graceful(settings: &Settings) -> Result<GracefulTls, String> {
    let config = tls::config(settings.cert.as_deref(), settings.key.as_deref())?;
    let keys = ticket_keys(settings, &config)?;
    let mut builder = GracefulTls::builder(config)
        .handshake_timeout(settings.handshake_timeout)
        .shutdown_timeout(settings.shutdown_timeout)
        .plain_http(settings.plain_http.into())
        .track_requests(settings.track_requests)
        .http2(|h2| {
            h2.keep_alive_interval(ping(settings))
                .keep_alive_timeout(PING)
                .enable_connect_protocol();
        });
    if settings.config_for_client {
        builder = builder.config_for_client(choice::by_name()?);
    }
    if let Some(timeout) = settings.header_timeout {
        builder = builder.header_timeout(timeout);
    }
    if let Some(timeout) = settings.idle_timeout.or(settings.header_timeout) {
        builder = builder.keep_alive_timeout(timeout);
    }
    if let Some(timeout) = settings.body_timeout {
        builder = builder.body_timeout(timeout);
    }
    if let Some(timeout) = settings.tunnel_timeout {
        builder = builder.tunnel_timeout(timeout);
    }
    if let Some(max) = settings.max_control_frames {
        builder = builder.max_control_frames(max);
    }
    if let Some(rate) = settings.min_rate {
        builder = builder.min_rate(rate);
    }
    if let Some(timeout) = settings.write_timeout {
        builder = builder.write_timeout(timeout);
    }
    if let Some(duration) = settings.lame_duck {
        builder = builder.lame_duck(duration);
    }
    builder = builder
        .lame_duck_goaway(settings.lame_duck_goaway)
        .patient_goaway(settings.patient_goaway)
        .idle_grace(settings.idle_grace.unwrap_or_default())
        .close_spread(settings.close_spread.unwrap_or_default());
    if let Some(age) = settings.max_age {
        builder = builder.max_connection_age(age);
    }
    if let Some(grace) = settings.max_age_grace {
        builder = builder.max_connection_age_grace(grace);
    }
    if let Some(max) = settings.max_requests {
        builder = builder.max_requests(max.try_into().unwrap_or(u32::MAX));
    }
    if let Some(every) = settings.tcp_keepalive {
        let keepalive = TcpKeepalive::default().idle(every).interval(every);
        builder = builder.tcp_keepalive(keepalive.count(3));
    }
    if let Some(announced) = settings.keep_alive_header {
        builder = builder.keep_alive_header(announced);
    }
    if let Some(max) = settings.max_handshakes {
        builder = builder.max_handshakes(max);
    }
    if let Some(max) = settings.max_connections {
        builder = builder.max_connections(max);
    }
    if let Some(max) = settings.max_connections_per_client {
        builder = builder.max_connections_per_client(max);
    }
    if let Some(max) = settings.drain_connections {
        builder = builder.drain(Drain::default().max_connections(max));
    }
    if let Some(keys) = keys {
        builder = builder.ticket_keys(keys);
    }
    builder.build().map_err(|error| error.to_string())
}

fn ticket_keys(settings: &Settings, config: &ServerConfig) -> Result<Option<TicketKeys>, String> {
    let Some(path) = &settings.ticket_keys else {
        return Ok(None);
    };
    let keys = TicketKeys::from_file(config.crypto_provider(), path);
    keys.map(Some)
        .map_err(|error| format!("--ticket-keys: {error}"))
}

async fn bind(settings: &Settings) -> Result<TcpListener, String> {
    let Settings { host, port, .. } = settings;
    let bound = TcpListener::bind((host.as_str(), *port)).await;
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "--port {port}: {host} port {port} is in use: stop what listens there, choose \
             another, or let --port 0 take a free one"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "--port {port}: {error}: choose one from 1024 up, or let --port 0 take a free one"
        ),
        _ => format!("--host {host}: {error}: give an address of this machine, as in 127.0.0.1"),
    })
}

/// Writes a line to standard output at once. Whoever has closed it does not want it.
fn say(line: impl Display) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
