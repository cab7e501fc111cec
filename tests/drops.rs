//! Streams dropped where nothing is as it should be: outside a runtime, while a runtime shuts
//! down, during a panic. No panic of ours, no leak, and the best attempt that is possible.

mod support;

use std::{io::Read, time::Duration};

use graceful_tls::{GracefulStream, GracefulTls};
use support::{
    VERSIONS, connect,
    doubles::{Double, Handle, double},
    pair,
};
use tokio::{
    io::{AsyncReadExt, DuplexStream},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Both ends of a connection in memory, accepted on a runtime of the test's choice.
struct Bed {
    tls: GracefulTls,
    server: GracefulStream<Double>,
    client: TlsStream<DuplexStream>,
    handle: Handle,
}

fn bed(runtime: &Runtime) -> Bed {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (io, client, handle) = double(64 * 1024);
    let (server, client) = runtime.block_on(connect(&tls, &connector, io, client));
    Bed {
        tls,
        server,
        client,
        handle,
    }
}

#[test]
fn outside_a_runtime_that_lives() {
    let runtime = runtime();
    let Bed {
        tls: _tls,
        server,
        mut client,
        handle,
    } = bed(&runtime);
    std::thread::spawn(move || drop(server)).join().unwrap();
    runtime.block_on(async {
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).await.unwrap(), 0);
        drop(client);
        handle.wait_dropped().await;
    });
}

#[test]
fn after_the_runtime_has_gone() {
    let ours = runtime();
    let theirs = runtime();
    let Bed {
        tls: _tls,
        server,
        mut client,
        handle,
    } = bed(&ours);
    drop(ours);
    drop(server);
    assert!(handle.dropped().is_some(), "nothing is leaked");
    let mut rest = Vec::new();
    let read = theirs.block_on(client.read_to_end(&mut rest));
    assert_eq!(
        read.unwrap(),
        0,
        "an in-memory transport needs no runtime to take close_notify"
    );
}

/// A connection over real sockets: the server's stream and the client's.
async fn sockets(
    tls: &GracefulTls,
    connector: &TlsConnector,
) -> (GracefulStream<TcpStream>, TlsStream<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(addr), listener.accept());
    connect(tls, connector, accepted.unwrap().0, client.unwrap()).await
}

#[test]
fn while_the_runtime_shuts_down() {
    let ours = runtime();
    let theirs = runtime();
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.build().unwrap();
    let (server, client) = ours.block_on(sockets(&tls, &connector));
    // The client must outlive the runtime its socket was made on.
    let (client, mut session) = client.into_inner();
    let mut client = client.into_std().unwrap();
    ours.spawn(async move {
        let _server = server;
        std::future::pending::<()>().await;
    });
    ours.block_on(tokio::task::yield_now());
    drop(ours);

    client.set_nonblocking(false).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    loop {
        if session.read_tls(&mut client).unwrap() == 0 {
            break;
        }
        session.process_new_packets().unwrap();
    }
    assert_eq!(
        session.reader().read(&mut [0; 8]).unwrap(),
        0,
        "close_notify"
    );
    drop(theirs);
}

#[test]
fn during_a_panic() {
    let runtime = runtime();
    let Bed {
        tls: _tls,
        server,
        mut client,
        handle,
    } = bed(&runtime);
    let task = runtime.spawn(async move {
        let _server = server;
        panic!("on purpose");
    });
    assert!(runtime.block_on(task).unwrap_err().is_panic());
    runtime.block_on(async {
        let mut rest = Vec::new();
        assert_eq!(client.read_to_end(&mut rest).await.unwrap(), 0);
        drop(client);
        handle.wait_dropped().await;
    });
}

#[test]
fn nothing_is_leaked_by_a_server_that_is_dropped() {
    let runtime = runtime();
    let Bed {
        tls,
        server,
        client,
        handle,
    } = bed(&runtime);
    let connection = server.connection().clone();
    drop((tls, server, client));
    runtime.block_on(handle.wait_dropped());
    assert_eq!(
        connection.requests_served(),
        0,
        "a handle outlives its connection"
    );
}
