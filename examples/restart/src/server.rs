//! The testbed's endpoints behind this crate.

use std::{future::Future, io, pin::Pin, sync::Arc};

use app::routes;
use graceful_tls::{GracefulTls, Report};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::rustls::ServerConfig;

use crate::{
    axum_server::AxumServer,
    bare::Bare,
    settings::{Server as Kind, Settings},
    shared::{HandedOver, Shared},
};

/// One of the three servers.
#[derive(Clone)]
pub(crate) enum Server {
    Graceful(GracefulTls),
    Bare(Arc<Bare>),
    AxumServer(AxumServer),
}

/// Resolves when the last connection has ended, with what there is to say about it.
pub(crate) type Served = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

pub(crate) fn graceful(settings: &Settings, config: ServerConfig) -> Result<GracefulTls, String> {
    let mut builder = GracefulTls::builder(config)
        .lame_duck(settings.lame_duck)
        .patient_goaway(settings.patient_goaway)
        .shutdown_timeout(settings.shutdown_timeout);
    if let Some(timeout) = settings.keep_alive {
        builder = builder.keep_alive_timeout(timeout);
    }
    if let Some(announced) = settings.keep_alive_header {
        builder = builder.keep_alive_header(announced);
    }
    builder.build().map_err(|error| error.to_string())
}

impl Server {
    pub(crate) fn new(settings: &Settings, config: ServerConfig) -> Result<Self, String> {
        let tls = graceful(settings, config.clone())?;
        Ok(match settings.server {
            Kind::Graceful => Self::Graceful(tls),
            Kind::Bare => Self::Bare(Arc::new(Bare::new(config, routes::router(tls), settings))),
            Kind::AxumServer => {
                Self::AxumServer(AxumServer::new(config, routes::router(tls), settings))
            }
        })
    }

    /// Finishes what is in flight; asked again, it hurries.
    pub(crate) fn stop(&self, hurry: bool) {
        match self {
            Self::Graceful(tls) if hurry => tls.shutdown_now(),
            Self::Graceful(tls) => tls.shutdown(),
            Self::Bare(bare) => bare.stop(hurry),
            Self::AxumServer(server) => server.stop(hurry),
        }
    }

    /// Finishes what is in flight, while another process has the sockets: connections that are idle
    /// are held until their clients have been told to go there.
    pub(crate) fn hand_over(&self) {
        match self {
            Self::Graceful(tls) => tls.handover(),
            Self::Bare(bare) => bare.stop(false),
            Self::AxumServer(server) => server.stop(false),
        }
    }

    /// Serves every connection of these listeners until it is stopped.
    pub(crate) fn serve(&self, listeners: Vec<TcpListener>, handed_over: &HandedOver) -> Served {
        match self {
            Self::Graceful(tls) => Box::pin(serve(tls.clone(), listeners, handed_over.clone())),
            Self::Bare(bare) => Box::pin(bare.clone().serve(listeners)),
            Self::AxumServer(server) => Box::pin(server.clone().serve(listeners)),
        }
    }
}

async fn serve(
    tls: GracefulTls,
    listeners: Vec<TcpListener>,
    handed_over: HandedOver,
) -> Result<String, String> {
    let app = routes::router(tls.clone());
    let mut serving: JoinSet<io::Result<Report>> = JoinSet::new();
    for listener in listeners {
        let (tls, app) = (tls.clone(), app.clone());
        let listener = Shared::new(listener, handed_over.clone());
        serving.spawn(async move { tls.serve(listener, app).await });
    }
    while let Some(ended) = serving.join_next().await {
        let ended = ended.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        ended.map_err(|error| format!("a socket can no longer be listened on: {error}"))?;
    }
    Ok(tls.closed().await.to_string())
}
