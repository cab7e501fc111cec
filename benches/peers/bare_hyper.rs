//! hyper-util and tokio-rustls by hand, after hyper-util's `server_graceful.rs`.

use std::{error::Error, pin::pin, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use crate::{Settings, Site, listen, terminated};

pub(crate) async fn serve(site: Site, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let listener = listen(settings.addr()).await?;
    let acceptor = TlsAcceptor::from(site.tls);
    let service = TowerToHyperService::new(site.app);
    let http = builder(settings);
    let graceful = GracefulShutdown::new();
    let mut terminated = pin!(terminated(site.terminations));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut terminated => break,
        };
        let tcp = match accepted {
            Ok((tcp, _)) => tcp,
            Err(error) => {
                eprintln!("accept error: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (acceptor, http, service) = (acceptor.clone(), http.clone(), service.clone());
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            if let Err(error) = connection(tcp, acceptor, http, service, watcher).await {
                eprintln!("connection error: {error}");
            }
        });
    }
    drop(listener);
    if timeout(settings.shutdown_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        eprintln!("shutdown time-out: the rest is aborted");
    }
    Ok(())
}

/// hyper has time-outs only where it is given a timer; the one for a head is 30 s then.
fn builder(settings: &Settings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    if let Some(timeout) = settings.header_timeout {
        builder.http1().header_read_timeout(timeout);
    }
    builder
}

async fn connection(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    http: Builder<TokioExecutor>,
    service: TowerToHyperService<axum::Router>,
    watcher: Watcher,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    tcp.set_nodelay(true)?;
    let tls = acceptor.accept(tcp).await?;
    let connection = http.serve_connection_with_upgrades(TokioIo::new(tls), service);
    watcher.watch(connection.into_owned()).await
}
