//! The PROXY protocol, versions 1 and 2: a balancer tells the address of each client.
//!
//! ```no_run
//! # use graceful_tls::{GracefulTls, proxy_protocol::ProxyProtocol};
//! # async fn f(tls: GracefulTls, tcp: tokio::net::TcpListener) -> std::io::Result<()> {
//! # let app = tower::service_fn(|_: http::Request<hyper::body::Incoming>| async {
//! #     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
//! # });
//! let report = tls.serve(ProxyProtocol::new(tcp), app).await?;
//! # Ok(()) }
//! ```
//!
//! As [HAProxy's specification](https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt) says (its
//! sections in brackets), nothing is guessed: behind this listener every connection begins with a header,
//! and one that does not is ended (2). A header is read to its last byte and not one further, so what
//! follows goes on over the socket itself.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Once},
};

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Accept, Preface, PrefaceInfo};

/// A line of version 1 begins so (2.1).
const V1: &[u8] = b"PROXY ";
/// The shortest line.
const V1_SHORTEST: usize = b"PROXY UNKNOWN\r\n".len();
/// The longest line, with its end.
const V1_LONGEST: usize = 107;

/// A header of version 2 begins so (2.2).
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Without the block whose length its last two bytes are.
const V2_HEAD: usize = 16;
/// Unix addresses are the longest. What comes behind is skipped.
const V2_ADDRESSES: u16 = 216;
/// The version and the command of connections that the balancer makes for itself.
const V2_LOCAL: u8 = 0x20;

/// A listener behind a balancer that speaks the PROXY protocol.
///
/// The client's address is what the header says: for
/// [`connection_filter`](crate::Builder::connection_filter),
/// [`max_connections_per_client`](crate::Builder::max_connections_per_client) and
/// [`TlsConnection::remote_addr`](crate::TlsConnection::remote_addr). The balancer's is
/// [`TlsConnection::balancer_addr`](crate::TlsConnection::balancer_addr). Where the header tells of no client,
/// as in a health check (LOCAL in version 2, UNKNOWN in version 1), it is that of the connection itself.
/// Further fields (TLV) are skipped.
///
/// A header may take as long as a handshake, and a shutdown waits for it: see [`Preface`]. A connection whose
/// header is missing or wrong is ended, with a line in the log at `debug`, the first one at `warn`.
///
/// Whoever can reach the port can say any address, so let nobody but the balancer: by a firewall, or by
/// [`trusted`](Self::trusted).
pub struct ProxyProtocol<A> {
    listener: A,
    trusted: Option<Trusted>,
}

type Trusted = Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>;

/// Why a header was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The connection does not begin with one.
    #[error(
        "no PROXY protocol header: let the balancer send one (`send-proxy-v2` in HAProxy, `proxy_protocol \
         on` in nginx), or take `ProxyProtocol` off the listener"
    )]
    Missing,
    /// It is not as the specification says.
    #[error("the PROXY protocol header is malformed: {0}")]
    Malformed(#[source] Box<dyn Error + Send + Sync>),
    /// It is of version 1 and does not end within 107 bytes.
    #[error("the PROXY protocol header has no end within 107 bytes")]
    TooLong,
    /// It comes from somebody who is not [trusted](ProxyProtocol::trusted).
    #[error(
        "a PROXY protocol header from {0}, which `ProxyProtocol::trusted` does not let send one"
    )]
    Untrusted(SocketAddr),
}

impl<A: Accept> ProxyProtocol<A> {
    /// Every connection of `listener` begins with a header.
    pub fn new(listener: A) -> Self {
        Self {
            listener,
            trusted: None,
        }
    }

    /// Who may send one, by address, where the connection has one. Default: everybody. An IPv4 address that
    /// is mapped into IPv6 (RFC 4291 2.5.5.2), as a listener of both kinds sees it, comes as IPv4.
    pub fn trusted(mut self, trusted: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        self.trusted = Some(Arc::new(trusted));
        self
    }
}

impl<A: Accept> Accept for ProxyProtocol<A> {
    type Io = A::Io;

    async fn accept(&mut self) -> io::Result<(A::Io, Option<SocketAddr>)> {
        self.listener.accept().await
    }

    fn accept_now(&mut self) -> Option<io::Result<(A::Io, Option<SocketAddr>)>> {
        self.listener.accept_now()
    }

    fn preface(&self) -> Option<Preface<A::Io>> {
        let reader = Arc::new(Reader {
            before: self.listener.preface(),
            trusted: self.trusted.clone(),
            warned: Once::new(),
        });
        Some(Preface::new(move |io, own| {
            let reader = reader.clone();
            Box::pin(async move { reader.client(io, own).await })
        }))
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Reads the headers of one listener.
struct Reader<IO> {
    before: Option<Preface<IO>>,
    trusted: Option<Trusted>,
    /// Whether it has been said that a header was refused.
    warned: Once,
}

impl<IO: AsyncRead + Unpin + Send> Reader<IO> {
    async fn client(&self, io: &mut IO, mut own: Option<SocketAddr>) -> io::Result<PrefaceInfo> {
        if let Some(before) = &self.before {
            own = before.read(io, own).await?.client;
        }
        let canonical = own.map(|own| SocketAddr::new(own.ip().to_canonical(), own.port()));
        let told = match (&self.trusted, canonical) {
            (Some(trusted), Some(by)) if !trusted(by) => Err(HeaderError::Untrusted(by).into()),
            _ => read(io).await,
        };
        let client = told.inspect_err(|error| self.warn_once(error))?.or(own);
        Ok(client.into())
    }

    /// Who hangs up before it has said anything, such as a health check, is nothing to speak of.
    fn warn_once(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            self.warned.call_once(|| {
                tracing::warn!(%error, "a connection was refused; the next ones are at `debug`");
            });
        }
    }
}

impl From<HeaderError> for io::Error {
    fn from(error: HeaderError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Reads one header; `None` if it tells of no client.
async fn read<IO: AsyncRead + Unpin>(io: &mut IO) -> io::Result<Option<SocketAddr>> {
    let mut header = Vec::with_capacity(V1_LONGEST);
    // Of the first byte alone: what is no header may be shorter than any, and wait for an answer.
    extend(io, &mut header, 1).await?;
    match header[0] {
        first if first == V1[0] => read_v1(io, &mut header).await?,
        first if first == V2[0] => read_v2(io, &mut header).await?,
        _ => return Err(HeaderError::Missing.into()),
    }
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    let (parsed, _) = ProxyHeader::parse(&header, config)
        .map_err(|error| HeaderError::Malformed(error.into()))?;
    Ok(parsed.proxied_address().map(|told| told.source))
}

async fn read_v1<IO: AsyncRead + Unpin>(io: &mut IO, line: &mut Vec<u8>) -> io::Result<()> {
    extend(io, line, V1_SHORTEST).await?;
    if !line.starts_with(V1) {
        return Err(HeaderError::Missing.into());
    }
    while !line.ends_with(b"\r\n") {
        // What is missing at least: never a byte of what follows.
        let due = if line.ends_with(b"\r") { 1 } else { 2 };
        if line.len() + due > V1_LONGEST {
            return Err(HeaderError::TooLong.into());
        }
        extend(io, line, line.len() + due).await?;
    }
    Ok(())
}

async fn read_v2<IO: AsyncRead + Unpin>(io: &mut IO, header: &mut Vec<u8>) -> io::Result<()> {
    extend(io, header, V2_HEAD).await?;
    if !header.starts_with(V2) {
        return Err(HeaderError::Missing.into());
    }
    if header[12] == V2_LOCAL {
        header[13] = 0; // The family is to be ignored, with the block.
    }
    let block = u16::from_be_bytes([header[14], header[15]]);
    let kept = block.min(V2_ADDRESSES);
    header[14..].copy_from_slice(&kept.to_be_bytes());
    extend(io, header, V2_HEAD + usize::from(kept)).await?;
    skip(io, (block - kept).into()).await
}

/// Reads until `header` has so many bytes.
async fn extend<IO: AsyncRead + Unpin>(
    io: &mut IO,
    header: &mut Vec<u8>,
    len: usize,
) -> io::Result<()> {
    let from = header.len();
    header.resize(len, 0);
    io.read_exact(&mut header[from..]).await.map(drop)
}

async fn skip<IO: AsyncRead + Unpin>(io: &mut IO, len: u64) -> io::Result<()> {
    let skipped = tokio::io::copy(&mut io.take(len), &mut tokio::io::sink()).await?;
    match skipped == len {
        true => Ok(()),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl<A: fmt::Debug> fmt::Debug for ProxyProtocol<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyProtocol")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
