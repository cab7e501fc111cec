//! The same endpoints behind hyper-util and tokio-rustls alone, with hyper-util's
//! `GracefulShutdown`: what people write by hand, to compare with.

use std::{sync::Arc, time::Duration};

use app::routes;
use axum::Router;
use graceful_tls::{
    Accept,
    restart::{Event, Inherited, Listener, Restart, Running},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::{begin, graceful, settings::Settings};

pub(crate) async fn serve(
    settings: &Settings,
    config: ServerConfig,
    restart: Restart,
) -> Result<String, String> {
    let router = routes::router(graceful::tls(settings, config.clone())?);
    let (listeners, mut running) = begin(restart)?;
    let bare = Arc::new(Bare::new(config, router, settings));
    let served = tokio::spawn(bare.clone().serve(listeners));
    bare.obey(&mut running, served).await
}

struct Bare {
    acceptor: TlsAcceptor,
    router: Router,
    keep_alive: Option<Duration>,
    shutdown_timeout: Duration,
    stop: CancellationToken,
    hurry: CancellationToken,
}

impl Bare {
    fn new(config: ServerConfig, router: Router, settings: &Settings) -> Self {
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            router,
            keep_alive: settings.keep_alive,
            shutdown_timeout: settings.shutdown_timeout,
            stop: CancellationToken::new(),
            hurry: CancellationToken::new(),
        }
    }

    async fn obey(
        &self,
        running: &mut Running,
        mut served: JoinHandle<String>,
    ) -> Result<String, String> {
        loop {
            tokio::select! {
                event = running.next() => {
                    self.stop.cancel();
                    if event == Event::Hurry {
                        self.hurry.cancel();
                    }
                }
                served = &mut served => return served.map_err(|error| error.to_string()),
            }
        }
    }

    async fn serve(self: Arc<Self>, listeners: Vec<Listener>) -> String {
        let graceful = Arc::new(GracefulShutdown::new());
        let mut accepting = JoinSet::new();
        for listener in listeners {
            if let Listener::Tcp(listener) = listener {
                accepting.spawn(self.clone().accept(listener, graceful.clone()));
            }
        }
        accepting.join_all().await;
        let graceful = Arc::into_inner(graceful).unwrap_or_default();
        let drained = timeout(self.shutdown_timeout, graceful.shutdown());
        let in_time = tokio::select! {
            drained = drained => drained.is_ok(),
            () = self.hurry.cancelled() => false,
        };
        match in_time {
            true => "shutdown took no longer than it may".into(),
            false => "shutdown took too long (deadline reached)".into(),
        }
    }

    async fn accept(
        self: Arc<Self>,
        mut listener: Inherited<TcpListener>,
        graceful: Arc<GracefulShutdown>,
    ) {
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((tcp, _)) = accepted {
                        tokio::spawn(self.clone().connection(tcp, graceful.watcher()));
                    }
                }
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn connection(self: Arc<Self>, tcp: TcpStream, watcher: Watcher) {
        let _ = tcp.set_nodelay(true);
        let Ok(tls) = self.acceptor.accept(tcp).await else {
            return;
        };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder.http2().timer(TokioTimer::new());
        // It counts from the end of the answer before. HTTP/2 has none.
        if let Some(timeout) = self.keep_alive {
            builder.http1().header_read_timeout(timeout);
        }
        let service = TowerToHyperService::new(self.router.clone());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
        let _ = watcher.watch(connection.into_owned()).await;
    }
}
