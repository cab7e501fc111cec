//! The server's side of tunnels: they echo, and tell the world how they ended.

use std::io;

use hyper::{Request, Version, body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    trace::now,
    world::{Key, TunnelEnd, World},
};

/// Whether the server's side of a connection's tunnel ends first, and reads on.
pub fn ends_first(conn: usize, http2: bool) -> bool {
    !http2 && conn % 2 == 1
}

/// The handler of one tunnel.
#[derive(Debug)]
pub struct Tunnel {
    world: World,
    key: Key,
    /// In HTTP/2 a tunnel is a stream, and its end is hyper's.
    http2: bool,
}

impl Tunnel {
    pub fn new(world: World, key: Key, request: &Request<Incoming>) -> Self {
        let http2 = request.version() == Version::HTTP_2;
        Self { world, key, http2 }
    }

    /// Echoes, and half-closes: when the client has, after an error, or at the first bytes.
    pub async fn run(self, request: Request<Incoming>) {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let mut io = TokioIo::new(upgraded);
        let mut buf = [0; 4096];
        let mut bytes = 0;
        loop {
            let eof = match io.read(&mut buf).await {
                Ok(n) if n > 0 => {
                    bytes += n as u64;
                    if self.reply(&mut io, &buf[..n]).await.is_err() {
                        return;
                    }
                    continue;
                }
                end => end.is_ok(),
            };
            return self
                .ended(
                    &mut io,
                    TunnelEnd {
                        eof,
                        bytes,
                        at: now(),
                    },
                )
                .await;
        }
    }

    async fn reply(&self, io: &mut TokioIo<Upgraded>, bytes: &[u8]) -> io::Result<()> {
        if ends_first(self.key.0, self.http2) {
            // What is written behind the end must not come through.
            io.shutdown().await.ok();
            io.write_all(b"late").await.ok();
            io.flush().await.ok();
            return Ok(());
        }
        io.write_all(bytes).await?;
        io.flush().await
    }

    async fn ended(self, io: &mut TokioIo<Upgraded>, end: TunnelEnd) {
        if !self.http2 {
            self.world.tunnel_ended(self.key, end);
        }
        io.shutdown().await.ok();
    }
}
