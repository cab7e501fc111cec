//! Who is refused before TLS: by a filter, or for having too many connections. Under each way to
//! accept, and by the address that the listener tells.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{IntoFuture, pending},
    io,
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use graceful_tls::{Accept, Admission, GracefulTls, GracefulTlsLayer, HandshakeError};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use judge::{PROMPT, alone, connect, is_hello};
use support::{VERSIONS, pair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};
use tower::service_fn;
use wire::RawTcp;

/// As one that reads the PROXY protocol: each connection comes with its client's address.
struct Proxied(VecDeque<(DuplexStream, SocketAddr)>);

impl Accept for Proxied {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, Option<SocketAddr>)> {
        match self.0.pop_front() {
            Some((io, client)) => Ok((io, Some(client))),
            None => pending().await,
        }
    }
}

/// Clients from these addresses, and the listener that they come to.
fn clients<const N: usize>(from: [&str; N]) -> (Proxied, [DuplexStream; N]) {
    let mut queue = VecDeque::new();
    let clients = from.map(|ip| {
        let (server, client) = duplex(64 * 1024);
        queue.push_back((server, SocketAddr::new(ip.parse().unwrap(), 50000)));
        client
    });
    (Proxied(queue), clients)
}

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from("hello"))))
}

/// Handshakes, and asks once; `None` for who is refused: not one byte comes.
async fn ask(connector: &TlsConnector, io: DuplexStream) -> Option<TlsStream<DuplexStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = connector.connect(name, io).await.ok()?;
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tls.write_all(request).await.unwrap();
    let mut answer = [0; 12];
    tls.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    Some(tls)
}

/// How the streams come to be served.
#[derive(Clone, Copy, Debug)]
enum Way {
    Serve,
    Incoming,
    Axum,
}

fn serve(tls: &GracefulTls, way: Way, listener: Proxied) {
    let tls = tls.clone();
    tokio::spawn(async move {
        match way {
            Way::Serve => drop(tls.serve(listener, service_fn(hello)).await),
            Way::Incoming => {
                let mut incoming = tls.incoming(listener);
                while let Some(stream) = incoming.next().await.unwrap() {
                    let io = hyper_util::rt::TokioIo::new(stream);
                    let service = hyper::service::service_fn(hello);
                    let http1 = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(http1.serve_connection(io, service));
                }
            }
            Way::Axum => {
                let app = axum::Router::new()
                    .route("/", axum::routing::get(|| async { "hello" }))
                    .layer(GracefulTlsLayer);
                let server = axum::serve(tls.listener(listener), app);
                drop(server.into_future().await);
            }
        }
    });
}

const WAYS: [Way; 3] = [Way::Serve, Way::Incoming, Way::Axum];

#[tokio::test]
async fn an_address_has_so_many_and_the_filter_exempts_some() {
    for (way, version) in WAYS
        .into_iter()
        .flat_map(|way| VERSIONS.map(|of| (way, of)))
    {
        let (builder, connector) = pair(version);
        let tls = builder
            .max_connections_per_client(2)
            .connection_filter(|client| match client.ip().to_string().as_str() {
                "192.0.2.66" => Admission::Refuse,
                "192.0.2.10" => Admission::Exempt,
                _ => Admission::Admit,
            })
            .build()
            .unwrap();
        let (one, mapped, other, exempt) =
            ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "192.0.2.10");
        let from = [
            one,
            mapped,
            one,
            other,
            "2001:db8::2",
            "2001:db8::ffff:1",
            exempt,
            exempt,
            exempt,
            "192.0.2.66",
            "::ffff:192.0.2.66",
        ];
        let (listener, clients) = clients(from);
        serve(&tls, way, listener);
        let mut served = Vec::new();
        for client in clients {
            let asked = tokio::time::timeout(PROMPT * 5, ask(&connector, client));
            served.push(asked.await.unwrap());
        }
        let are_served: Vec<_> = served.iter().map(Option::is_some).collect();
        let expected = [
            true, true, false, true, true, false, true, true, true, false, false,
        ];
        assert_eq!(are_served, expected, "{way:?}");
        assert_eq!(tls.refused(), 4, "{way:?}");
    }
}

#[tokio::test]
async fn an_acceptor_refuses_and_counts_until_the_end() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.max_connections_per_client(1).build().unwrap();
    let acceptor = tls.acceptor();
    let client: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let accept = |io| {
        let acceptor = acceptor.clone();
        tokio::spawn(async move { acceptor.accept_from(io, Some(client)).await })
    };
    let [(first, _first), (second, mut refused), (third, again)] = [(); 3].map(|()| duplex(65536));
    let running = accept(first);
    tokio::task::yield_now().await;
    let error = accept(second).await.unwrap().unwrap_err();
    assert!(matches!(error, HandshakeError::Refused), "{error}");
    assert_eq!(refused.read(&mut [0; 1]).await.unwrap(), 0);

    // It has left when its descriptor is closed, and not before.
    running.abort();
    assert!(running.await.is_err());
    let stream = accept(third);
    let name = ServerName::try_from("localhost").unwrap();
    let tls_client = connector.connect(name, again).await.unwrap();
    let stream = stream.await.unwrap().unwrap();
    assert_eq!(stream.connection().remote_addr(), Some(client));
    drop((stream, tls_client));
    assert_eq!(tls.refused(), 1);
}

/// On the wire, under every server: closed at once, and a place that falls free is had again.
#[test]
fn one_too_many_of_an_address_is_closed_at_once() {
    let options = ["--max-connections-per-client", "3"];
    alone(&options, &[("", ())], |bed, version, ()| {
        let mut three: Vec<_> = (0..3).map(|_| connect(&bed, version)).collect();
        for _ in 0..20 {
            let mut refused = RawTcp::connect(bed.addr).unwrap();
            let ending = refused.read_until_end(PROMPT);
            assert!(!ending.is_still_open(), "{ending:?}");
            assert!(refused.held_for(PROMPT).is_some(), "{refused:?}");
        }
        for client in &mut three {
            assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
        }
        three[0].close().unwrap();
        assert!(three[0].held_for(PROMPT).is_some(), "{three:?}");
        let mut newcomer = connect(&bed, version);
        assert!(
            is_hello(&newcomer.get("/").unwrap(), "hello\n"),
            "{newcomer:?}"
        );
        drop((three, newcomer));
        let exit = bed.stop(Duration::from_secs(10));
        assert!(!exit.stderr.contains("refused"), "{exit:?}");
    });
}
