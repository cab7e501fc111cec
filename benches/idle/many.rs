//! Up to 50,000 idle connections: what grows with their number, and how.
//!
//! Few machines let a process have so many descriptors: server and clients are one here, with pipes in memory
//! between them. So bytes and milliseconds are those of both, and what is to be looked at is whether they grow
//! faster than the connections.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use graceful_tls::{GracefulTls, InMemoryConnector, in_memory};
use tokio::{io::DuplexStream, task::JoinSet};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

use crate::{
    client::{Protocol, ask, is_notified},
    resident,
    rig::{Certificate, Error, router},
    server::STRIKES,
};

/// What a socket has.
const PIPE: usize = 64 << 10;
/// Handshakes at once.
const AT_ONCE: usize = 64;
/// So many come when there is no room: one idle connection gives way to each.
const NEWCOMERS: usize = 1_000;
/// Snapshots, of which the fastest counts.
const SNAPSHOTS: usize = 10;

/// Has this program look at so many of a protocol: `HTTP/1,10000`.
pub const OF: &str = "--many-of";

/// What was seen of so many connections.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Resident bytes of a connection's both ends.
    pub bytes: f64,
    /// Of all of them, [`GracefulTls::stats`] and each one's.
    pub snapshot: Duration,
    /// Of a newcomer, from its connection to its answer: with room for it, and with none.
    pub welcomed: Duration,
    pub made_room: Duration,
    /// From the shutdown to the last connection's end.
    pub shutdown: Duration,
    /// Of all that there ever were, those that did not get close_notify.
    pub unnotified: usize,
}

impl Seen {
    fn line(&self) -> String {
        let times = [self.snapshot, self.welcomed, self.made_room, self.shutdown];
        let nanos = times.map(|time| time.as_nanos().to_string()).join(" ");
        format!("{} {nanos} {}", self.bytes, self.unnotified)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let bytes = words.next()?.parse().ok()?;
        let mut time = || Some(Duration::from_nanos(words.next()?.parse().ok()?));
        Some(Self {
            bytes,
            snapshot: time()?,
            welcomed: time()?,
            made_room: time()?,
            shutdown: time()?,
            unnotified: words.next()?.parse().ok()?,
        })
    }
}

/// In a process of its own: what others have left in the heap would be mixed with what is seen.
pub fn look(protocol: Protocol, n: usize) -> Result<Seen, Error> {
    let mut process = Command::new(std::env::current_exe()?);
    process.args([OF, &format!("{protocol},{n}")]);
    let said = process.env("MALLOC_ARENA_MAX", "1").output()?;
    let seen = Seen::parse(&String::from_utf8_lossy(&said.stdout));
    seen.ok_or_else(|| String::from_utf8_lossy(&said.stderr).into())
}

/// Prints what is seen of `what`.
pub fn run(what: &str) -> Result<(), Error> {
    let named = what.split_once(',').and_then(|(name, n)| {
        let protocol = Protocol::ALL.into_iter().find(|of| of.to_string() == name);
        Some((protocol?, n.parse().ok()?))
    });
    let (protocol, n) = named.ok_or_else(|| format!("{OF} wants HTTP/1,1000 or the like"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!("{}", runtime.block_on(see(protocol, n))?.line());
    Ok(())
}

async fn see(protocol: Protocol, n: usize) -> Result<Seen, Error> {
    let mut certificate = Certificate::new()?;
    certificate.write_timeout = Some(STRIKES);
    // As many as there will be before the last newcomers.
    let most = n + NEWCOMERS;
    let tls = certificate.graceful_with(|builder| builder.max_connections(most))?;
    let mut clients = Clients::of(&certificate, protocol, &tls)?;

    let before = resident("self")?;
    clients.fill(n).await?;
    tokio::time::sleep(STRIKES * 3 / 2).await;
    let bytes = (resident("self")? - before) / n as f64;
    let snapshot = (0..SNAPSHOTS).map(|_| snapshot(&tls)).min();
    let welcomed = clients.newcomers().await?;
    let made_room = clients.newcomers().await?;

    let begun = Instant::now();
    tls.shutdown();
    tls.closed().await;
    let shutdown = begun.elapsed();
    let notified = clients.notified().await?;
    Ok(Seen {
        bytes,
        snapshot: snapshot.unwrap_or_default(),
        welcomed,
        made_room,
        shutdown,
        unnotified: most + NEWCOMERS - notified,
    })
}

fn snapshot(tls: &GracefulTls) -> Duration {
    let begun = Instant::now();
    let all = tls.stats();
    let each: Vec<_> = tls.connections().iter().map(|of| of.stats()).collect();
    std::hint::black_box((all, each));
    begun.elapsed()
}

struct Clients {
    protocol: Protocol,
    connector: InMemoryConnector,
    tls: TlsConnector,
    /// Idle ones: each waits for its end.
    open: JoinSet<bool>,
}

impl Clients {
    fn of(certificate: &Certificate, protocol: Protocol, tls: &GracefulTls) -> Result<Self, Error> {
        let (connector, listener) = in_memory(PIPE);
        let (server, router) = (tls.clone(), router(tls));
        tokio::spawn(async move { server.serve(listener, router).await });
        Ok(Self {
            protocol,
            connector,
            tls: certificate.connector(protocol.alpn(), false)?,
            open: JoinSet::new(),
        })
    }

    async fn fill(&mut self, n: usize) -> Result<(), Error> {
        let mut joining = JoinSet::new();
        for _ in 0..n {
            if joining.len() >= AT_ONCE {
                let joined: Option<Result<_, Error>> = joining.join_next().await.transpose()?;
                if let Some(tls) = joined.transpose()? {
                    self.keep(tls);
                }
            }
            joining.spawn(used(
                self.protocol,
                self.connector.clone(),
                self.tls.clone(),
            ));
        }
        while let Some(joined) = joining.join_next().await {
            self.keep(joined??);
        }
        Ok(())
    }

    /// One after the other; of each the time to its answer, and of these the median.
    async fn newcomers(&mut self) -> Result<Duration, Error> {
        let mut times = Vec::with_capacity(NEWCOMERS);
        for _ in 0..NEWCOMERS {
            let begun = Instant::now();
            let tls = used(self.protocol, self.connector.clone(), self.tls.clone()).await?;
            times.push(begun.elapsed());
            self.keep(tls);
        }
        times.sort_unstable();
        Ok(times[NEWCOMERS / 2])
    }

    fn keep(&mut self, mut tls: TlsStream<DuplexStream>) {
        self.open.spawn(async move { is_notified(&mut tls).await });
    }

    async fn notified(mut self) -> Result<usize, Error> {
        let mut notified = 0;
        while let Some(is) = self.open.join_next().await {
            notified += usize::from(is?);
        }
        Ok(notified)
    }
}

async fn used(
    protocol: Protocol,
    connector: InMemoryConnector,
    tls: TlsConnector,
) -> Result<TlsStream<DuplexStream>, Error> {
    let io = connector.connect(None).await?;
    let mut tls = tls.connect(ServerName::try_from("localhost")?, io).await?;
    ask(protocol, &mut tls).await?;
    Ok(tls)
}
