//! Machines that are gone: neither FIN nor RST, and nothing that they are sent is acknowledged.
//!
//! A filter on the client's socket drops what comes in before TCP has seen it, and the client sends
//! nothing any more: to the server that is the same as a cable that was cut.

use std::{future::pending, time::Duration};

use socket2::{SockFilter, SockRef};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Target, crowd};
use crate::{
    rig::{Error, any_certificate, client::connect},
    watch::Held,
};

/// They are few: what is asked is how long.
const CONNECTIONS: usize = 10;

/// What went before it vanished.
#[derive(Clone, Copy, Debug)]
pub struct When {
    asked: &'static str,
    /// How the answer begins that is waited for.
    answered: &'static str,
}

pub const WHEN: [(&str, &str, When); 5] = [
    (
        "vanished-idle",
        "the machine vanishes: idle",
        When {
            asked: "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
            answered: "HTTP/1.1 200",
        },
    ),
    (
        "vanished-waiting",
        "the machine vanishes: a handler at work",
        When {
            asked: "GET /sleep/600000 HTTP/1.1\r\nhost: localhost\r\n\r\n",
            answered: "",
        },
    ),
    (
        "vanished-uploading",
        "the machine vanishes: in an upload",
        When {
            asked: "POST /echo-len HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\n\r\nabc",
            answered: "",
        },
    ),
    (
        "vanished-downloading",
        "the machine vanishes: in a download",
        When {
            asked: "GET /bytes/4194304 HTTP/1.1\r\nhost: localhost\r\n\r\n",
            answered: "HTTP/1.1 200",
        },
    ),
    (
        "vanished-tunnel",
        "the machine vanishes: a tunnel",
        When {
            asked: "CONNECT localhost:7 HTTP/1.1\r\nhost: localhost:7\r\n\r\n",
            answered: "HTTP/1.1 200",
        },
    ),
];

pub async fn run(when: When, target: Target) -> Result<Vec<Held>, Error> {
    let connector = any_certificate(b"http/1.1")?;
    crowd(CONNECTIONS, || one(when, target, connector.clone())).await
}

/// A server that answers otherwise, because it has no tunnels, is left alone.
async fn one(when: When, target: Target, connector: TlsConnector) -> Result<Vec<Held>, Error> {
    let mut tls = connect(target.addr, &connector).await?;
    tls.write_all(when.asked.as_bytes()).await?;
    let mut answer = [0; 64];
    if !when.answered.is_empty() {
        let n = tls.read(&mut answer).await?;
        if !answer[..n].starts_with(when.answered.as_bytes()) {
            return Err("another answer".into());
        }
    }
    // Until the request has arrived and been acknowledged.
    sleep(Duration::from_millis(300)).await;
    vanish(&tls)?;
    pending().await
}

fn vanish(tls: &TlsStream<TcpStream>) -> Result<(), Error> {
    // Returns 0: so many bytes of each packet are let through.
    const NOTHING: SockFilter = SockFilter::new(6, 0, 0, 0);
    SockRef::from(tls.get_ref().0).attach_filter(&[NOTHING])?;
    Ok(())
}
