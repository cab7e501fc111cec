//! actix-web with rustls, after actix's `https-tls/rustls` example: another HTTP/1 than hyper's, with the
//! endpoints that `throughput` and the probe ask for.
//!
//! It sets no TCP_NODELAY. Its listener has it here, as those of the others do.

use std::{
    convert::Infallible,
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    App, HttpResponse, HttpServer,
    body::{BodySize, MessageBody},
    web::{self, Bytes, Path, ServiceConfig, get, post},
};
use socket2::SockRef;

use crate::{Settings, Site, listen, terminated};

pub(crate) async fn serve(site: Site, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let listener = listen(settings.addr()).await?.into_std()?;
    SockRef::from(&listener).set_tcp_nodelay(true)?;
    let server = HttpServer::new(|| App::new().configure(routes))
        .disable_signals()
        .shutdown_timeout(settings.shutdown_timeout.as_secs());
    let server = match settings.header_timeout {
        Some(timeout) => server.client_request_timeout(timeout),
        None => server,
    };
    let server = server
        .listen_rustls_0_23(listener, (*site.tls).clone())?
        .run();
    let handle = server.handle();
    tokio::spawn(async move {
        terminated(site.terminations).await;
        handle.stop(true).await;
    });
    Ok(server.await?)
}

fn routes(config: &mut ServiceConfig) {
    let hello = || async { "hello\n" };
    let close = || async { HttpResponse::Ok().force_close().body("bye\n") };
    let xs = |left: Path<u64>| async move { HttpResponse::Ok().body(Xs(left.into_inner())) };
    let ignore = || async { HttpResponse::Ok().force_close().body("ignored\n") };
    config
        .route("/", get().to(hello))
        .route("/close", get().to(close))
        .route("/bytes/{n}", get().to(xs))
        .route("/unread/{n}", post().to(xs))
        .service(web::resource("/ignore-body").route(post().to(ignore)));
}

/// So many `x`, in the chunks that the testbed's router has.
struct Xs(u64);

impl MessageBody for Xs {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        static CHUNK: [u8; 16 * 1024] = [b'x'; 16 * 1024];
        let left = &mut self.get_mut().0;
        let n = CHUNK
            .len()
            .min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= n as u64;
        Poll::Ready((n > 0).then_some(Ok(Bytes::from_static(&CHUNK[..n]))))
    }
}
