//! Clients that send a little each second, so that something always moves.
//!
//! They read and, over HTTP/2, answer PING and SETTINGS where they may, as any client does. When the
//! server has ended its direction they drip on, for as long as that works.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::TlsConnector;

use super::{Target, crowd};
use wire::{Frame, flag, kind, setting};

use crate::{
    h2,
    rig::{Error, any_certificate, client::connect},
    watch::Held,
};

const EACH: Duration = Duration::from_secs(1);

/// What is sent at first, and what each second; nothing is a client that has stopped.
#[derive(Clone, Copy, Debug)]
pub struct Drip {
    alpn: &'static [u8],
    /// Whether PING and SETTINGS are answered.
    answers: bool,
    opening: fn() -> Vec<u8>,
    each: fn() -> Vec<u8>,
}

impl Drip {
    const fn http1(opening: fn() -> Vec<u8>, each: fn() -> Vec<u8>) -> Self {
        Self {
            alpn: b"http/1.1",
            answers: false,
            opening,
            each,
        }
    }

    const fn http2(opening: fn() -> Vec<u8>, each: fn() -> Vec<u8>) -> Self {
        Self {
            alpn: b"h2",
            answers: true,
            opening,
            each,
        }
    }

    /// No frame may stand inside a header block (RFC 9113 6.10): the first answer would end it all.
    const fn in_a_block(self) -> Self {
        Self {
            answers: false,
            ..self
        }
    }
}

pub const DRIPS: [(&str, &str, Drip); 8] = [
    (
        "drip-head",
        "a head, a byte a second",
        Drip::http1(
            || b"GET / HTTP/1.1\r\nhost: localhost\r\nx-drip: ".into(),
            letter,
        ),
    ),
    (
        "drip-body",
        "a body, a byte a second",
        Drip::http1(body, letter),
    ),
    (
        "drip-chunk-extension",
        "a chunk extension, a byte a second",
        Drip::http1(chunk, letter),
    ),
    (
        "stalled-post",
        "a POST that stops after one byte",
        Drip::http1(body, Vec::new),
    ),
    (
        "stalled-h2-post",
        "the same over HTTP/2",
        Drip::http2(upload, Vec::new),
    ),
    (
        "drip-h2-head",
        "HTTP/2: a byte of CONTINUATION a second",
        Drip::http2(half_head, more_head).in_a_block(),
    ),
    (
        "drip-h2-body",
        "HTTP/2: a byte of DATA a second",
        Drip::http2(upload, || Frame::data(1, *b"a", false).encode()),
    ),
    (
        "drip-h2-window",
        "HTTP/2: a window opened by a byte a second",
        Drip::http2(no_window, || Frame::window_update(1, 1).encode()),
    ),
];

fn letter() -> Vec<u8> {
    b"a".into()
}

fn body() -> Vec<u8> {
    b"POST /echo-len HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\na".into()
}

fn chunk() -> Vec<u8> {
    b"POST /echo-len HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n1;x=".into()
}

fn upload() -> Vec<u8> {
    let data = Frame::data(1, *b"a", false).encode();
    [h2::begin(&[]), h2::request(1, "POST", "/echo-len"), data].concat()
}

fn half_head() -> Vec<u8> {
    let half = Frame::new(kind::HEADERS, flag::END_STREAM, 1, h2::fields("GET", "/"));
    [h2::begin(&[]), half.encode()].concat()
}

/// A byte that is a whole field: `accept-charset`, indexed.
fn more_head() -> Vec<u8> {
    Frame::new(kind::CONTINUATION, 0, 1, [0x8f]).encode()
}

fn no_window() -> Vec<u8> {
    let none = [(setting::INITIAL_WINDOW_SIZE, 0)];
    [h2::begin(&none), h2::request(1, "GET", "/bytes/1000000")].concat()
}

pub async fn run(drip: Drip, target: Target) -> Result<Vec<Held>, Error> {
    let connector = any_certificate(drip.alpn)?;
    crowd(target.connections, || one(drip, target, connector.clone())).await
}

async fn one(drip: Drip, target: Target, connector: TlsConnector) -> Result<Vec<Held>, Error> {
    let mut tls = connect(target.addr, &connector).await?;
    tls.write_all(&(drip.opening)()).await?;
    let (mut each, mut open, mut inbox) = (interval(EACH), true, Vec::new());
    each.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            read = tls.read_buf(&mut inbox), if open => {
                open = read? > 0;
                match drip.answers {
                    true => tls.write_all(&h2::answers(&mut inbox)).await?,
                    false => inbox.clear(),
                }
            }
            _ = each.tick() => tls.write_all(&(drip.each)()).await?,
        }
        tls.flush().await?;
    }
}
