//! gRPC behind a balancer that knows connections only: a server that starts later gets its share where
//! connections are retired (`max_connection_age`), and nothing where they are not.
//!
//! ```sh
//! cargo run --example balancing_grpc  # eight seconds
//! ```
//!
//! Four clients, each with one channel, call without a pause. The balancer gives each new connection to
//! the server that has fewest; but a channel has one connection, and keeps it. The second server starts
//! when all four are on the first. Both ways are run at once, each with servers of its own.

mod common;

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use graceful_tls::{GracefulTls, GracefulTlsLayer};
use rcgen::{CertifiedKey, KeyPair};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Server},
};
use tonic_health::{
    pb::{HealthCheckRequest, health_client::HealthClient},
    server::health_reporter,
};
use tower::util::MapRequestLayer;

const AGE: Duration = Duration::from_secs(2);
const CLIENTS: usize = 4;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (without, with) = tokio::try_join!(calls(None), calls(Some(AGE)))?;
    println!("calls in the last two seconds      first server  second server  failed");
    for (name, [first, second, failed]) in [
        ("connections as old as they like", without),
        ("max_connection_age of 2 s", with),
    ] {
        println!("{name:<33}  {first:>12}  {second:>13}  {failed:>6}");
    }
    anyhow::ensure!(without[2] + with[2] == 0, "a call failed");
    anyhow::ensure!(without[1] == 0 && with[1] > 0, "this was to be otherwise");
    Ok(())
}

/// How many calls the first server gets in the end, how many the second, and how many failed in all.
async fn calls(age: Option<Duration>) -> anyhow::Result<[u32; 3]> {
    let identity = common::self_made()?;
    let front = TcpListener::bind("127.0.0.1:0").await?;
    let address = front.local_addr()?;
    let servers = Servers::default();
    tokio::spawn(balance(front, servers.clone()));

    let first = start(&identity, age, &servers).await?;
    let (over, failed) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let channel = connect(address, &identity).await?;
        clients.push(tokio::spawn(client(
            channel,
            over.clone(),
            Arc::clone(&failed),
        )));
    }
    sleep(Duration::from_secs(1)).await;
    let second = start(&identity, age, &servers).await?;
    // By then each connection has been retired once at least, and each client has come back.
    sleep(2 * AGE).await;
    let before = [&first, &second].map(|running| running.calls.load(Ordering::Relaxed));
    sleep(Duration::from_secs(2)).await;
    let after = [&first, &second].map(|running| running.calls.load(Ordering::Relaxed));

    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await?;
    }
    first.stop().await?;
    second.stop().await?;
    let failed = failed.load(Ordering::Relaxed);
    Ok([after[0] - before[0], after[1] - before[1], failed])
}

/// A server that counts its calls.
struct Running {
    tls: GracefulTls,
    calls: Arc<AtomicU32>,
    served: JoinHandle<Result<(), tonic::transport::Error>>,
}

async fn start(
    identity: &CertifiedKey<KeyPair>,
    age: Option<Duration>,
    servers: &Servers,
) -> anyhow::Result<Running> {
    let mut builder = GracefulTls::builder(common::config(identity)?);
    if let Some(age) = age {
        builder = builder.max_connection_age(age);
    }
    let tls = builder.build()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    servers.add(listener.local_addr()?);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let count = MapRequestLayer::new(move |request: http::Request<tonic::body::Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        request
    });
    let served = Server::builder()
        .layer(GracefulTlsLayer)
        .layer(count)
        .add_service(health_reporter().1)
        .serve_with_incoming_shutdown(tls.incoming(listener), tls.drained());
    Ok(Running {
        tls,
        calls,
        served: tokio::spawn(served),
    })
}

impl Running {
    async fn stop(self) -> anyhow::Result<()> {
        self.tls.shutdown();
        self.served.await??;
        self.tls.closed().await;
        Ok(())
    }
}

async fn connect(
    address: SocketAddr,
    identity: &CertifiedKey<KeyPair>,
) -> anyhow::Result<HealthClient<Channel>> {
    let trust = Certificate::from_pem(identity.cert.pem());
    let endpoint = Endpoint::try_from(format!("https://{address}"))?
        .tls_config(ClientTlsConfig::new().ca_certificate(trust))?;
    Ok(HealthClient::new(endpoint.connect().await?))
}

/// Calls until it is over.
///
/// A call may cross the GOAWAY that retires its connection. Then the GOAWAY says that it was not
/// processed (RFC 9113 6.8), so that it is safe to send it again, whatever it does. Other gRPC
/// libraries do so by themselves (gRFC A6, "transparent retries"); tonic leaves it to its user.
async fn client(mut health: HealthClient<Channel>, over: Arc<AtomicBool>, failed: Arc<AtomicU32>) {
    while !over.load(Ordering::Relaxed) {
        let mut answer = health.check(HealthCheckRequest::default()).await;
        while answer.as_ref().err().is_some_and(is_unprocessed) {
            answer = health.check(HealthCheckRequest::default()).await;
        }
        if let Err(status) = answer {
            eprintln!("failed: {status:?}");
            failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether no server has looked at the call: it is above the number in the GOAWAY, or was never sent.
fn is_unprocessed(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        let refused = error.downcast_ref::<h2::Error>();
        let unsent = error.downcast_ref::<hyper::Error>();
        if refused.is_some_and(|error| error.is_go_away() && error.is_remote())
            || unsent.is_some_and(hyper::Error::is_canceled)
        {
            return true;
        }
        source = error.source();
    }
    false
}

/// A server behind the balancer, and a clone of the second half for each connection that it has.
type Behind = (SocketAddr, Arc<()>);

/// Where the balancer may send connections.
#[derive(Clone, Default)]
struct Servers(Arc<Mutex<Vec<Behind>>>);

impl Servers {
    fn add(&self, address: SocketAddr) {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.push((address, Arc::default()));
    }

    /// The server that has the fewest connections.
    fn next(&self) -> Option<Behind> {
        let servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fewest = servers
            .iter()
            .min_by_key(|(_, open)| Arc::strong_count(open));
        fewest.cloned()
    }
}

/// A balancer of layer 4: it knows nothing of what goes over its connections.
async fn balance(front: TcpListener, servers: Servers) -> std::io::Result<()> {
    loop {
        let (mut client, _) = front.accept().await?;
        let Some((address, open)) = servers.next() else {
            continue;
        };
        tokio::spawn(async move {
            let mut server = TcpStream::connect(address).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let copied = copy_bidirectional(&mut client, &mut server).await;
            drop(open);
            copied
        });
    }
}
