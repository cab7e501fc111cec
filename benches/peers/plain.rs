//! The router without TLS: what nginx and Apache httpd stand before, as people run them.

use std::error::Error;

use crate::{Settings, Site, listen, terminated};

pub(crate) async fn serve(site: Site, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let listener = listen(settings.addr()).await?;
    let served =
        axum::serve(listener, site.app).with_graceful_shutdown(terminated(site.terminations));
    Ok(served.await?)
}
