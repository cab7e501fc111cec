//! `axum::serve` over tls-listener, after tls-listener's `axum.rs` and axum's graceful shutdown.
//!
//! Neither has a time-out for a head, or for the shutdown.

use std::error::Error;

use tls_listener::TlsListener;
use tokio_rustls::TlsAcceptor;

use crate::{Settings, Site, listen, terminated};

pub(crate) async fn serve(site: Site, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let tcp = listen(settings.addr()).await?;
    let listener = TlsListener::new(TlsAcceptor::from(site.tls), tcp);
    let served =
        axum::serve(listener, site.app).with_graceful_shutdown(terminated(site.terminations));
    Ok(served.await?)
}
