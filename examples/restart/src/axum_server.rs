//! The same endpoints behind axum-server and its handle, after its own `rustls_server.rs` and
//! `graceful_shutdown.rs`, to compare with.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::axum_server::{Handle, tls_rustls::RustlsConfig};
use axum::Router;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::rustls::ServerConfig;

use crate::settings::Settings;

#[derive(Clone)]
pub(crate) struct AxumServer {
    config: RustlsConfig,
    router: Router,
    keep_alive: Option<Duration>,
    shutdown_timeout: Duration,
    handle: Handle<SocketAddr>,
}

impl AxumServer {
    pub(crate) fn new(config: ServerConfig, router: Router, settings: &Settings) -> Self {
        Self {
            config: RustlsConfig::from_config(Arc::new(config)),
            router,
            keep_alive: settings.keep_alive,
            shutdown_timeout: settings.shutdown_timeout,
            handle: Handle::new(),
        }
    }

    pub(crate) fn stop(&self, hurry: bool) {
        match hurry {
            true => self.handle.shutdown(),
            false => self.handle.graceful_shutdown(Some(self.shutdown_timeout)),
        }
    }

    pub(crate) async fn serve(self, listeners: Vec<TcpListener>) -> Result<String, String> {
        let mut serving = JoinSet::new();
        for listener in listeners {
            serving.spawn(self.clone().listen(listener));
        }
        while let Some(ended) = serving.join_next().await {
            let ended = ended.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
            ended.map_err(|error| format!("a socket can no longer be listened on: {error}"))?;
        }
        Ok("shutdown done".into())
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
