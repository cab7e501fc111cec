//! The testbed's endpoints behind this crate.

use app::routes;
use graceful_tls::{Builder, GracefulTls, restart::Restart};
use tokio_rustls::rustls::ServerConfig;

use crate::{begin, settings::Settings};

pub(crate) fn tls(settings: &Settings, config: ServerConfig) -> Result<GracefulTls, String> {
    let built = builder(settings, config).build();
    built.map_err(|error| error.to_string())
}

fn builder(settings: &Settings, config: ServerConfig) -> Builder {
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
    builder
}

pub(crate) async fn serve(
    settings: &Settings,
    config: ServerConfig,
    mut restart: Restart,
) -> Result<String, String> {
    let keys = restart.ticket_keys(config.crypto_provider());
    let keys = keys.map_err(|error| error.to_string())?;
    let builder = builder(settings, config).ticket_keys(keys);
    let tls = builder.build().map_err(|error| error.to_string())?;
    let app = routes::router(tls.clone());
    let (listeners, running) = begin(restart)?;
    for listener in listeners {
        let (tls, app) = (tls.clone(), app.clone());
        tokio::spawn(async move { listener.serve(&tls, app).await });
    }
    let report = running.run(&tls).await;
    report
        .map(|report| report.to_string())
        .map_err(|error| error.to_string())
}
