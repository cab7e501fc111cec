//! What no router does: services that fail, connection futures that are dropped, a server dropped
//! while it serves.

mod support;
mod wire;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use graceful_tls::{GracefulTls, GracefulTlsLayer};
use http::{Request, Response};
use http_body_util::{Full, StreamBody};
use hyper::{body::Frame, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use support::{VERSIONS, pair};
use tokio::{net::TcpListener, runtime::Runtime, sync::Notify};
use tower::{Layer, service_fn};
use wire::{Client, Ending, Options, Version};

const SECOND: Duration = Duration::from_secs(1);

fn client(addr: SocketAddr, version: Version) -> Client {
    Client::connect_with(addr, &Options::new().version(version).http1()).unwrap()
}

/// A server on a free port, for both versions of TLS, and what one client sees of it.
fn seen<F, Fut>(request: &str, serve: F) -> [Ending; 2]
where
    F: Fn(GracefulTls, TcpListener) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let versions = [Version::Tls12, Version::Tls13];
    std::array::from_fn(|i| {
        let runtime = Runtime::new().unwrap();
        let (builder, _) = pair(VERSIONS[i]);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(serve(builder.build().unwrap(), listener));
        let mut client = client(addr, versions[i]);
        client.send(request).unwrap();
        let ending = client.read_until_end(5 * SECOND);
        let _ = client.close();
        runtime.shutdown_timeout(SECOND);
        ending
    })
}

#[test]
fn a_service_that_fails_answers_nothing_but_close_notify() {
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let endings = seen(request, |tls, listener| async move {
        let fails = |_| async { Err::<Response<Full<Bytes>>, _>(io::Error::other("on purpose")) };
        tls.serve(listener, service_fn(fails)).await.unwrap();
    });
    for ending in endings {
        assert!(ending.is_proper(), "{ending:?}");
        assert_eq!(ending.bytes, b"", "{ending:?}");
    }
}

type Chunk = Result<Frame<Bytes>, Infallible>;

/// One chunk, and then nothing for ever.
async fn endless(
    _: Request<hyper::body::Incoming>,
) -> Result<Response<StreamBody<impl futures_util::Stream<Item = Chunk>>>, Infallible> {
    use futures_util::stream::{StreamExt, iter, pending};
    let chunk = iter([Ok(Frame::data(Bytes::from("half an answer")))]);
    Ok(Response::new(StreamBody::new(chunk.chain(pending()))))
}

/// Serves one connection with an accept loop of its own, and drops hyper's future when the client
/// has read what there is.
async fn drop_it(tls: GracefulTls, listener: TcpListener) {
    let (tcp, _) = listener.accept().await.unwrap();
    let stream = tls.acceptor().accept(tcp).await.unwrap();
    let connection = stream.connection().clone();
    let service = service_fn(move |mut request: Request<_>| {
        request.extensions_mut().insert(connection.clone());
        tower::ServiceExt::oneshot(GracefulTlsLayer.layer(service_fn(endless)), request)
    });
    let served = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let _ = tokio::time::timeout(SECOND / 4, served).await;
    std::future::pending::<()>().await;
}

#[test]
fn a_dropped_future_with_a_framed_answer_is_notified() {
    for ending in seen("GET / HTTP/1.1\r\nhost: a\r\n\r\n", drop_it) {
        assert!(ending.is_proper(), "{ending:?}");
        assert!(ending.bytes.ends_with(b"half an answer\r\n"), "{ending:?}");
    }
}

#[test]
fn a_dropped_future_with_a_close_delimited_answer_is_not() {
    for ending in seen("GET / HTTP/1.0\r\n\r\n", drop_it) {
        assert!(ending.is_truncation_visible(), "{ending:?}");
        assert!(ending.bytes.ends_with(b"half an answer"), "{ending:?}");
    }
}

#[test]
fn a_dropped_server_leaves_its_connections_and_the_shutdown_reaches_them() {
    let runtime = Runtime::new().unwrap();
    let (builder, _) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    let hello = |_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello")))) };
    let gone = Arc::new(Notify::new());
    let server = tls.clone();
    let told = gone.clone();
    runtime.spawn(async move {
        tokio::select! {
            _ = server.serve(listener, service_fn(hello)) => {}
            () = told.notified() => {}
        }
    });
    let mut client = client(addr, Version::Tls13);
    assert_eq!(client.get("/").unwrap().text(), "hello");
    gone.notify_one();
    assert_eq!(client.get("/").unwrap().text(), "hello", "it lives on");

    let _runtime = runtime.enter();
    tls.shutdown();
    let ending = client.read_until_end(5 * SECOND);
    assert!(ending.is_proper(), "{ending:?}");
    let _ = client.close();
    let report = runtime.block_on(tls.closed());
    assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
}
