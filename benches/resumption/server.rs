//! Our server, in a process of its own: when told, the next one takes over the listener, with keys or without.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use graceful_tls::{GracefulTls, TicketKeys};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::rustls::crypto::ring;

use app::routes;

use crate::{
    Server,
    rig::{Certificate, Error},
};

const WITH_KEYS: &str = "with-keys";

/// Each line on standard input is a restart; its end is that of the server.
pub fn run(keys: &str) -> Result<(), Error> {
    let keys = keys == WITH_KEYS;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let certificate = Certificate::new()?;
        let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
        let mut handed: Option<Vec<u8>> = None;
        loop {
            let own = TicketKeys::new(&ring::default_provider())?;
            if let Some(handed) = &handed {
                own.import(handed)?;
            }
            let tls = certificate.graceful_with(|builder| match keys {
                true => builder.ticket_keys(own.clone()),
                false => builder,
            })?;
            serve(&tls, TcpListener::from_std(listener.try_clone()?)?);
            say(listener.local_addr()?).await?;
            if lines.next_line().await?.is_none() {
                return Ok(());
            }
            handed = Some(own.export().to_vec());
            tls.shutdown();
            tls.closed().await;
        }
    })
}

fn serve(tls: &GracefulTls, listener: TcpListener) {
    let (tls, app) = (tls.clone(), routes::router(tls.clone()));
    tokio::spawn(async move { tls.serve(listener, app).await });
}

async fn say(addr: SocketAddr) -> Result<(), Error> {
    let mut out = tokio::io::stdout();
    out.write_all(format!("{addr}\n").as_bytes()).await?;
    Ok(out.flush().await?)
}

pub struct Ours {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
    addr: SocketAddr,
}

impl Ours {
    pub fn start(keys: bool) -> Result<Self, Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", if keys { WITH_KEYS } else { "without" }])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().ok_or("no stdout")?;
        let mut ours = Self {
            child,
            said: BufReader::new(said),
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        ours.addr = ours.hear()?;
        Ok(ours)
    }

    fn hear(&mut self) -> Result<SocketAddr, Error> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        let addr = line.trim().parse();
        addr.map_err(|_| format!("the server said {line:?}").into())
    }
}

impl Server for Ours {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn restart(&mut self) -> Result<(), Error> {
        let stdin = self.child.stdin.as_mut().ok_or("no stdin")?;
        stdin.write_all(b"restart\n")?;
        self.hear()?;
        Ok(())
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
