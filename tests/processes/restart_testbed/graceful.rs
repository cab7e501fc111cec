//! The testbed's endpoints behind this crate.

use app::routes;
use graceful_tls::{GracefulTls, restart::Restart};
use tokio_rustls::rustls::ServerConfig;

use crate::{say_ready, settings::Settings};

pub(crate) fn tls(settings: &Settings, config: ServerConfig) -> Result<GracefulTls, String> {
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

pub(crate) async fn serve(
    settings: &Settings,
    config: ServerConfig,
    mut restart: Restart,
) -> Result<String, String> {
    let tls = tls(settings, config)?;
    let app = routes::router(tls.clone());
    let listeners = restart
        .listeners("https")
        .map_err(|error| error.to_string())?;
    let running = restart.ready().map_err(|error| error.to_string())?;
    say_ready(&running);
    for listener in listeners {
        let (tls, app) = (tls.clone(), app.clone());
        tokio::spawn(async move { listener.serve(&tls, app).await });
    }
    Ok(running.run(&tls).await.to_string())
}
