//! A client whose own work is not counted: its polls go through the `poll_uncounted` of whoever
//! includes it.

use std::{future::Future, net::SocketAddr};

use hyper::{
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::rig::{
    Certificate, Error,
    client::{connect, consume, request},
};

/// What the client does.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    KeepAlive {
        alpn: &'static str,
        path: &'static str,
    },
    OnePerConnection {
        resume: bool,
    },
}

type Answers = Result<(), Error>;

impl Work {
    pub const fn keep_alive(alpn: &'static str, path: &'static str) -> Self {
        Self::KeepAlive { alpn, path }
    }

    pub const fn one_per_connection(resume: bool) -> Self {
        Self::OnePerConnection { resume }
    }

    pub async fn run(self, addr: SocketAddr, certificate: &Certificate, requests: u64) -> Answers {
        match self {
            Self::KeepAlive { alpn, path } => {
                let tls = connect(addr, &certificate.connector(alpn.as_bytes(), false)?).await?;
                match alpn {
                    "h2" => http2(tls, path, requests).await,
                    _ => http1(tls, path, requests).await,
                }
            }
            Self::OnePerConnection { resume } => {
                let connector = certificate.connector(b"http/1.1", resume)?;
                for _ in 0..requests {
                    once(connect(addr, &connector).await?).await?;
                }
                Ok(())
            }
        }
    }
}

async fn http1(tls: TlsStream<TcpStream>, path: &str, requests: u64) -> Answers {
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
    Uncounted.execute(connection);
    for _ in 0..requests {
        sender.ready().await?;
        consume(sender.send_request(request(path)?).await?.into_body()).await?;
    }
    Ok(())
}

async fn http2(tls: TlsStream<TcpStream>, path: &str, requests: u64) -> Answers {
    let (mut sender, connection) = http2::handshake(Uncounted, TokioIo::new(tls)).await?;
    Uncounted.execute(connection);
    for _ in 0..requests {
        sender.ready().await?;
        consume(sender.send_request(request(path)?).await?.into_body()).await?;
    }
    Ok(())
}

/// One request, and the connection read to its end, with close_notify or without.
async fn once(mut tls: TlsStream<TcpStream>) -> Answers {
    tls.write_all(b"GET /close HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await?;
    let mut answer = Vec::with_capacity(512);
    let _ = tls.read_to_end(&mut answer).await;
    let _ = tls.shutdown().await;
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(()),
        false => Err("no answer".into()),
    }
}

/// Spawns the client's own tasks.
#[derive(Clone, Copy, Debug)]
struct Uncounted;

impl<F: Future + Send + 'static> Executor<F> for Uncounted {
    fn execute(&self, future: F) {
        // In a box: tokio moves what it spawns, and that would be counted.
        let future = Box::pin(future);
        tokio::spawn(uncounted(async move {
            future.await;
        }));
    }
}

/// `future`, polled where nothing is counted.
pub async fn uncounted<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut output = None;
    std::future::poll_fn(|cx| {
        crate::poll_uncounted(&mut || future.as_mut().poll(cx).map(|out| output = Some(out)))
    })
    .await;
    output.expect("it is ready")
}
