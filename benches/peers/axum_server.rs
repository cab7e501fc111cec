//! axum-server, after its `rustls_server.rs`, `graceful_shutdown.rs` and `timeouts.rs`.

use std::error::Error;

use axum_server::{Handle, tls_rustls::RustlsConfig};

use crate::{Settings, Site, terminated, unbound};

pub(crate) async fn serve(site: Site, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let handle = Handle::new();
    tokio::spawn(say_when_listening(handle.clone()));
    tokio::spawn({
        let (handle, timeout) = (handle.clone(), settings.shutdown_timeout);
        async move {
            terminated(site.terminations).await;
            handle.graceful_shutdown(Some(timeout));
        }
    });
    let config = RustlsConfig::from_config(site.tls);
    let mut server = axum_server::bind_rustls(settings.addr(), config).handle(handle);
    if let Some(timeout) = settings.header_timeout {
        server.http_builder().http1().header_read_timeout(timeout);
        server = server.first_request_timeout(timeout);
    }
    let served = server.serve(site.app.into_make_service()).await;
    Ok(served.map_err(|error| unbound(settings.addr(), &error))?)
}

async fn say_when_listening(handle: Handle<std::net::SocketAddr>) {
    if let Some(addr) = handle.listening().await {
        println!("listening on {addr}");
    }
}
