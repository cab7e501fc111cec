//! Many connections that wait to be told to go.

use std::{fmt, net::SocketAddr, ops::Add};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use wire::{Frame, PREFACE, header_block, kind};

use crate::rig::{Error, any_certificate, client::connect};
use crate::server::STRIKES;

/// What the connections speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub const ALL: [Self; 2] = [Self::Http1, Self::Http2];

    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }

    fn request(self) -> Vec<u8> {
        match self {
            Self::Http1 => b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
            Self::Http2 => {
                let head = header_block(&[
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":authority", "localhost"),
                    (":path", "/"),
                ]);
                let frames = [
                    Frame::settings(&[]),
                    Frame::settings_ack(),
                    Frame::headers(1, head, true),
                ];
                let frames = frames.iter().flat_map(Frame::encode);
                PREFACE.iter().copied().chain(frames).collect()
            }
        }
    }

    /// Whether `got` has the whole answer.
    fn is_answered(self, got: &[u8]) -> bool {
        match self {
            Self::Http1 => got.ends_with(b"hello\n"),
            Self::Http2 => frames(got).any(|frame| frame.is(kind::DATA) && frame.ends_stream()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "HTTP/1",
            Self::Http2 => "HTTP/2",
        })
    }
}

fn frames(mut bytes: &[u8]) -> impl Iterator<Item = Frame> {
    std::iter::from_fn(move || {
        let (frame, taken) = Frame::parse(bytes)?;
        bytes = &bytes[taken..];
        Some(frame)
    })
}

/// Handshakes at once.
const AT_ONCE: usize = 64;

/// They come in waves of so many, between which they are idle for longer than it takes ours to park them: what
/// those of one wave give back, those of the next get.
pub const WAVE: usize = 100;

/// Connections on which one request has been answered.
pub struct Clients {
    open: Vec<TlsStream<TcpStream>>,
}

/// How connections ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// With close_notify and a FIN.
    pub notified: usize,
    /// With a FIN alone.
    pub bare: usize,
    /// With an RST, close_notify or not.
    pub reset: usize,
}

impl Add for Ends {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            notified: self.notified + other.notified,
            bare: self.bare + other.bare,
            reset: self.reset + other.reset,
        }
    }
}

impl Clients {
    pub async fn connect(protocol: Protocol, addr: SocketAddr, n: usize) -> Result<Self, Error> {
        let connector = any_certificate(protocol.alpn())?;
        let mut joining = JoinSet::new();
        let mut open = Vec::with_capacity(n);
        for i in 0..n {
            if i % WAVE == WAVE - 1 {
                tokio::time::sleep(STRIKES * 3 / 2).await;
            }
            if joining.len() >= AT_ONCE {
                open.extend(joining.join_next().await.transpose()?.transpose()?);
            }
            joining.spawn(used(protocol, addr, connector.clone()));
        }
        while let Some(connected) = joining.join_next().await {
            open.push(connected??);
        }
        tokio::time::sleep(STRIKES * 3 / 2).await;
        Ok(Self { open })
    }

    /// Waits until the server has ended every one, without answering.
    pub async fn wait_for_ends(&mut self) -> Ends {
        let mut waiting = JoinSet::new();
        for mut tls in self.open.drain(..) {
            waiting.spawn(async move { (wait(&mut tls).await, tls) });
        }
        let mut ends = Ends::default();
        while let Some(Ok((end, tls))) = waiting.join_next().await {
            ends = ends + end;
            self.open.push(tls);
        }
        ends
    }
}

/// A connection on which one request has been answered.
async fn used(
    protocol: Protocol,
    addr: SocketAddr,
    connector: TlsConnector,
) -> Result<TlsStream<TcpStream>, Error> {
    let mut tls = connect(addr, &connector).await?;
    ask(protocol, &mut tls).await?;
    Ok(tls)
}

/// Has one request answered.
pub async fn ask(
    protocol: Protocol,
    tls: &mut TlsStream<impl AsyncRead + AsyncWrite + Unpin>,
) -> Result<(), Error> {
    tls.write_all(&protocol.request()).await?;
    let mut answer = [0; 512];
    let mut got = 0;
    while !protocol.is_answered(&answer[..got]) {
        match tls.read(&mut answer[got..]).await? {
            0 => return Err("the answer ends early".into()),
            n => got += n,
        }
    }
    Ok(())
}

/// Waits for its end, which is not answered.
async fn wait(tls: &mut TlsStream<TcpStream>) -> Ends {
    let notified = is_notified(tls).await;
    // Below TLS: a FIN, or an RST.
    let reset = tls.get_mut().0.read(&mut [0; 64]).await.is_err();
    Ends {
        notified: usize::from(notified && !reset),
        bare: usize::from(!notified && !reset),
        reset: usize::from(reset),
    }
}

/// Whether close_notify ends what is read.
pub async fn is_notified(tls: &mut TlsStream<impl AsyncRead + AsyncWrite + Unpin>) -> bool {
    let mut goodbye = Vec::new();
    loop {
        match tls.read_buf(&mut goodbye).await {
            Ok(0) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
        while let Some((frame, taken)) = Frame::parse(&goodbye) {
            goodbye.drain(..taken);
            // hyper's own shutdown waits for the answer.
            if frame.is(kind::PING) {
                let pong = Frame::ping_ack(frame.payload).encode();
                if tls.write_all(&pong).await.is_err() {
                    return false;
                }
            }
        }
    }
}
