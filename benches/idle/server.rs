//! The servers, each to be run in a process of its own.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    client::Protocol,
    rig::{Certificate, Error, Kind},
};

/// Our write time-out, here: as often an idle connection is looked at.
pub const STRIKES: Duration = Duration::from_millis(100);

/// Descriptors that every process asks for.
pub const ROOMY: u64 = 16_384;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::enum_variant_names, reason = "it is its name")]
pub enum Server {
    Graceful,
    /// It ends with its process.
    Bare,
    Watched,
    AxumServer,
    /// One task a connection, which answers whatever comes and writes the alert when told.
    Alerts,
}

impl Server {
    pub const ALL: [Self; 5] = [
        Self::Graceful,
        Self::Bare,
        Self::Watched,
        Self::AxumServer,
        Self::Alerts,
    ];

    /// Those that speak it.
    pub fn of(protocol: Protocol) -> impl Iterator<Item = Self> {
        let speaks = move |server: &Self| *server != Self::Alerts || protocol == Protocol::Http1;
        Self::ALL.into_iter().filter(speaks)
    }

    pub fn name(self) -> &'static str {
        match self.kind() {
            Some(kind) => kind.name(),
            None => "alerts",
        }
    }

    fn kind(self) -> Option<Kind> {
        match self {
            Self::Graceful => Some(Kind::Graceful),
            Self::Bare => Some(Kind::Bare),
            Self::Watched => Some(Kind::Watched),
            Self::AxumServer => Some(Kind::AxumServer),
            Self::Alerts => None,
        }
    }
}

/// Serves until SIGTERM, and ends gracefully.
pub fn run(name: &str) -> Result<(), Error> {
    rlimit::increase_nofile_limit(ROOMY)?;
    let server = Server::ALL.into_iter().find(|server| server.name() == name);
    let server = server.ok_or("there is no such server")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut certificate = Certificate::new()?;
        certificate.write_timeout = Some(STRIKES);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        match server.kind() {
            Some(kind) => {
                let serving = certificate.serve(kind, listener)?;
                println!("{addr}");
                term.recv().await;
                serving.shut_down().await
            }
            None => {
                let (tell, told) = watch::channel(false);
                tokio::spawn(alerts(certificate.acceptor(), listener, told));
                println!("{addr}");
                term.recv().await;
                let _ = tell.send(true);
                tell.closed().await;
            }
        }
        Ok(())
    })
}

async fn alerts(acceptor: TlsAcceptor, listener: TcpListener, told: watch::Receiver<bool>) {
    let answer = Arc::new(*b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n");
    let mut stop = told.clone();
    loop {
        let tcp = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => tcp,
                Err(_) => return,
            },
            _ = stop.changed() => return,
        };
        let (acceptor, answer, mut told) = (acceptor.clone(), answer.clone(), told.clone());
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let Ok(mut tls) = acceptor.accept(tcp).await else {
                return;
            };
            let mut request = [0; 512];
            loop {
                tokio::select! {
                    read = tls.read(&mut request) => match read {
                        Ok(n) if n > 0 => drop(tls.write_all(&*answer).await),
                        _ => return,
                    },
                    _ = told.changed() => break,
                }
            }
            let _ = tls.shutdown().await;
            // Until the peer has gone.
            let _ = tls.get_mut().0.read(&mut request).await;
        });
    }
}
