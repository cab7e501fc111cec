//! What every bench's client does: connect, ask, and read the answer to its end.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

use super::Error;

pub async fn connect(
    addr: SocketAddr,
    connector: &TlsConnector,
) -> Result<TlsStream<TcpStream>, Error> {
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    Ok(connector.connect(name, tcp).await?)
}

pub fn request(path: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
    Request::get(format!("https://localhost{path}"))
        .header("host", "localhost")
        .body(Empty::new())
}

pub async fn consume(mut body: Incoming) -> Result<(), Error> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}
