//! A network between the clients and the server, as a process of its own: `link PORT TO MS LOG N`.
//!
//! It listens on N ports from PORT on and connects each connection to TO. Bytes, FIN and RST
//! arrive MS milliseconds later at the other end, in both directions, in the order in which they
//! were sent. It never ends a connection that neither end has ended. LOG says what passed when.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufWriter, Write},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, sleep, sleep_until},
};

/// The most that is read at once.
const CHUNK: usize = 64 * 1024;

/// How many may wait to be accepted: none is turned away here.
const BACKLOG: u32 = 4096;

/// What is on its way.
enum Cargo {
    Bytes(Vec<u8>),
    Fin,
    Rst,
}

/// One of the two ends has reset the connection, and the other knows by now.
struct Reset;

#[derive(Clone)]
struct Log(Arc<Mutex<BufWriter<File>>>);

impl Log {
    fn say(&self, connection: u64, what: &str) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        let mut file = self.0.lock().unwrap();
        let _ = writeln!(file, "{now:.4} {connection} {what}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, port, to, ms, log, count] = &arguments[..] else {
        panic!("link PORT TO MS LOG N");
    };
    let port: u16 = port.parse().unwrap();
    let to: SocketAddr = to.parse().unwrap();
    let delay = Duration::from_millis(ms.parse().unwrap());
    let log = Log(Arc::new(Mutex::new(BufWriter::new(
        File::create(log).unwrap(),
    ))));
    for offset in 0..count.parse().unwrap() {
        tokio::spawn(listen(port + offset, to, delay, log.clone()));
    }
    loop {
        sleep(Duration::from_millis(500)).await;
        let _ = log.0.lock().unwrap().flush();
    }
}

async fn listen(port: u16, to: SocketAddr, delay: Duration, log: Log) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], port).into()).unwrap();
    let listener = socket.listen(BACKLOG).unwrap();
    loop {
        if let Ok((client, addr)) = listener.accept().await {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            log.say(number, &format!("from port {} to {port}", addr.port()));
            tokio::spawn(connect(client, to, delay, number, log.clone()));
        }
    }
}

async fn connect(client: TcpStream, to: SocketAddr, delay: Duration, number: u64, log: Log) {
    sleep(delay).await;
    let server = match TcpStream::connect(to).await {
        Ok(server) => server,
        Err(error) => {
            log.say(number, &format!("server refuses: {error}"));
            sleep(delay).await;
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            return;
        }
    };
    let local = server.local_addr().map_or(0, |addr| addr.port());
    log.say(number, &format!("to the server as port {local}"));
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let mut up = Way::new("client", client_reads, server_writes, delay, number, &log);
    let mut down = Way::new("server", server_reads, client_writes, delay, number, &log);
    if let Err(Reset) = tokio::try_join!(up.carry(), down.carry()).map(|_| ()) {
        // Whichever did not reset it is told so; the other is gone.
        for way in [&up, &down] {
            let _ = SockRef::from(way.to.as_ref()).set_linger(Some(Duration::ZERO));
        }
    }
    up.to.forget();
    down.to.forget();
}

/// One direction.
struct Way<'a> {
    sender: &'static str,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    delay: Duration,
    number: u64,
    log: &'a Log,
}

impl<'a> Way<'a> {
    fn new(
        sender: &'static str,
        from: OwnedReadHalf,
        to: OwnedWriteHalf,
        delay: Duration,
        number: u64,
        log: &'a Log,
    ) -> Self {
        Self {
            sender,
            from,
            to,
            delay,
            number,
            log,
        }
    }

    /// Until this direction has ended.
    async fn carry(&mut self) -> Result<(), Reset> {
        let mut under_way: VecDeque<(Instant, Cargo)> = VecDeque::new();
        let mut buffer = vec![0; CHUNK];
        let mut sends = true;
        loop {
            let next = under_way.front().map(|(arrives, _)| *arrives);
            tokio::select! {
                read = self.from.read(&mut buffer), if sends => {
                    let cargo = self.look(read, &buffer);
                    sends = matches!(cargo, Cargo::Bytes(_));
                    under_way.push_back((Instant::now() + self.delay, cargo));
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let Some((_, cargo)) = under_way.pop_front() else { continue };
                    if self.deliver(cargo).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn look(&self, read: io::Result<usize>, buffer: &[u8]) -> Cargo {
        let (what, cargo) = match read {
            Ok(0) => ("FIN".into(), Cargo::Fin),
            Ok(length) => (length.to_string(), Cargo::Bytes(buffer[..length].to_vec())),
            Err(error) => (format!("RST ({error})"), Cargo::Rst),
        };
        self.log
            .say(self.number, &format!("{} sent {what}", self.sender));
        cargo
    }

    /// Whether that was the last.
    async fn deliver(&mut self, cargo: Cargo) -> Result<bool, Reset> {
        let delivered = match &cargo {
            Cargo::Bytes(bytes) => self.to.write_all(bytes).await,
            Cargo::Fin => self.to.shutdown().await,
            Cargo::Rst => return Err(Reset),
        };
        if let (Ok(()), Cargo::Bytes(bytes)) = (&delivered, &cargo) {
            let what = format!("{}'s {} arrived", self.sender, bytes.len());
            self.log.say(self.number, &what);
        }
        if delivered.is_err() {
            // Its kernel has answered with RST, and that takes its time too.
            let what = format!("{}'s bytes were answered with RST", self.sender);
            self.log.say(self.number, &what);
            sleep(self.delay).await;
            return Err(Reset);
        }
        Ok(matches!(cargo, Cargo::Fin))
    }
}
