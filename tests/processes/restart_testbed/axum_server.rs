//! The same endpoints behind axum-server and its handle, after its own `rustls_server.rs` and
//! `graceful_shutdown.rs`, to compare with.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::axum_server::{Handle, tls_rustls::RustlsConfig};
use app::routes;
use axum::Router;
use graceful_tls::restart::{Event, Listener, Restart};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::rustls::ServerConfig;

use crate::{begin, graceful, settings::Settings};

pub(crate) async fn serve(
    settings: &Settings,
    config: ServerConfig,
    restart: Restart,
) -> Result<String, String> {
    let router = routes::router(graceful::tls(settings, config.clone())?);
    let (listeners, mut running) = begin(restart)?;
    let server = AxumServer::new(config, router, settings);
    let mut served = tokio::spawn(server.clone().serve(listeners));
    loop {
        tokio::select! {
            event = running.next() => server.stop(event == Event::Hurry),
            served = &mut served => return served.map_err(|error| error.to_string())?,
        }
    }
}

#[derive(Clone)]
struct AxumServer {
    config: RustlsConfig,
    router: Router,
    keep_alive: Option<Duration>,
    shutdown_timeout: Duration,
    handle: Handle<SocketAddr>,
}

impl AxumServer {
    fn new(config: ServerConfig, router: Router, settings: &Settings) -> Self {
        Self {
            config: RustlsConfig::from_config(Arc::new(config)),
            router,
            keep_alive: settings.keep_alive,
            shutdown_timeout: settings.shutdown_timeout,
            handle: Handle::new(),
        }
    }

    fn stop(&self, hurry: bool) {
        match hurry {
            true => self.handle.shutdown(),
            false => self.handle.graceful_shutdown(Some(self.shutdown_timeout)),
        }
    }

    async fn serve(self, listeners: Vec<Listener>) -> Result<String, String> {
        let mut serving = JoinSet::new();
        for listener in listeners {
            if let Listener::Tcp(listener) = listener {
                serving.spawn(
                    self.clone()
                        .listen(listener.into_inner().ok_or("handed over")?),
                );
            }
        }
        while let Some(ended) = serving.join_next().await {
            let ended = ended.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
            ended.map_err(|error| format!("a socket can no longer be listened on: {error}"))?;
        }
        Ok("shutdown took no longer than it may".into())
    }

    async fn listen(self, listener: TcpListener) -> std::io::Result<()> {
        let listener = listener.into_std()?;
        let server = ::axum_server::from_tcp_rustls(listener, self.config)?;
        let mut server = server.handle(self.handle);
        if let Some(timeout) = self.keep_alive {
            server.http_builder().http1().header_read_timeout(timeout);
        }
        server.serve(self.router.into_make_service()).await
    }
}
