//! The kinds of requests, and what their answers must be.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{
    Method, Request, Version,
    header::{CONNECTION, HOST},
};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use tokio::time::sleep;

/// A bit of everything that the testbed answers: fast, slow, large, chunked and close-delimited
/// answers, and uploads at once and bit by bit.
pub(crate) const DEFAULT: &str = "h1:GET:/@4,h1:GET:/sleep/20,h1:GET:/bytes/65536,\
    h1:GET:/slow/4/10,h1:POST:/echo-len:1000@2,h1:POST:/echo-len:65536/40,\
    h1-close:GET:/@2,h1-close:GET:/bytes/65536,h1-close:GET:/sleep/20,\
    h1-close:POST:/echo-len:65536,h1.0:GET:/chunked/65536,\
    h2:GET:/@4,h2:GET:/sleep/20,h2:GET:/bytes/65536,h2:GET:/slow/4/10,\
    h2:POST:/echo-len:1000@2,h2:POST:/echo-len:65536/40";

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The most that is uploaded by one request.
const LARGEST: usize = 64 << 20;
/// In how many parts an upload is sent that takes its time.
const PARTS: u32 = 4;

static XS: [u8; 16 * 1024] = [b'x'; 16 * 1024];

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Protocol {
    /// HTTP/1.1 with keep-alive.
    Http1,
    /// HTTP/1.1, one request a connection.
    Http1Close,
    /// HTTP/1.0: an answer without Content-Length lasts until the connection ends.
    Http10,
    Http2,
}

impl Protocol {
    pub(crate) const ALL: [Self; 4] = [Self::Http1, Self::Http1Close, Self::Http10, Self::Http2];

    fn name(self) -> &'static str {
        match self {
            Self::Http1 => "h1",
            Self::Http1Close => "h1-close",
            Self::Http10 => "h1.0",
            Self::Http2 => "h2",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Upload {
    bytes: usize,
    over: Duration,
}

/// What a whole answer is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    Text(String),
    Length(u64),
    /// A path that the testbed does not have: whatever is complete.
    Anything,
}

/// One kind of request.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// What the reports call it.
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
    pub(crate) method: Method,
    path: String,
    upload: Option<Upload>,
    pub(crate) weight: usize,
    pub(crate) expected: Expected,
}

impl Kind {
    pub(crate) fn request(&self, authority: &str) -> Request<Body> {
        let request = Request::builder().method(self.method.clone());
        let request = match self.protocol {
            Protocol::Http2 => request
                .version(Version::HTTP_2)
                .uri(format!("https://{authority}{}", self.path)),
            Protocol::Http10 => request
                .version(Version::HTTP_10)
                .uri(&self.path)
                .header(HOST, authority),
            Protocol::Http1 => request.uri(&self.path).header(HOST, authority),
            Protocol::Http1Close => request
                .uri(&self.path)
                .header(HOST, authority)
                .header(CONNECTION, "close"),
        };
        let body = self.upload.map_or_else(empty, Upload::body);
        request.body(body).expect("the mix was checked")
    }
}

fn empty() -> Body {
    Empty::new().boxed_unsync()
}

impl fmt::Display for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.over.is_zero() {
            true => write!(f, " ({} bytes)", self.bytes),
            false => write!(f, " ({} bytes in {:?})", self.bytes, self.over),
        }
    }
}

impl Upload {
    fn body(self) -> Body {
        if self.over.is_zero() {
            return Full::new(xs(self.bytes)).boxed_unsync();
        }
        let Self { bytes, over } = self;
        let parts = unfold(0, move |sent| async move {
            if sent > 0 {
                sleep(over / PARTS).await;
            }
            let part = match sent + 1 {
                PARTS => bytes - bytes / PARTS as usize * (PARTS - 1) as usize,
                _ => bytes / PARTS as usize,
            };
            (sent < PARTS).then(|| (Ok(Frame::data(xs(part))), sent + 1))
        });
        StreamBody::new(parts).boxed_unsync()
    }
}

fn xs(length: usize) -> Bytes {
    match XS.get(..length) {
        Some(xs) => Bytes::from_static(xs),
        None => vec![b'x'; length].into(),
    }
}

/// Reads PROTOCOL:METHOD:PATH[:UPLOAD][@WEIGHT].
pub(crate) fn kind(text: &str) -> Result<Kind, String> {
    let (rest, weight) = text.rsplit_once('@').unwrap_or((text, "1"));
    let weight = match weight.parse() {
        Ok(weight @ 1..=1000) => weight,
        _ => {
            return Err(format!(
                "{weight:?} is not a weight: give a number, 1 to 1000"
            ));
        }
    };
    let mut parts = rest.splitn(4, ':');
    let (Some(protocol), Some(method), Some(path)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err("give PROTOCOL:METHOD:PATH, as in h1:GET:/".into());
    };
    let protocol = Protocol::ALL.into_iter().find(|p| p.name() == protocol);
    let protocol = protocol.ok_or("the protocol is h1, h1-close, h1.0 or h2")?;
    let method = match method {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        _ => return Err(format!("{method:?} is not sent: give GET, POST or PUT")),
    };
    if !path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err() {
        return Err(format!("{path:?} is not a path: it begins with /"));
    }
    let upload = parts.next().map(upload).transpose()?;
    let uploads = upload.map_or(String::new(), |upload| upload.to_string());
    Ok(Kind {
        name: format!("{} {method} {path}{uploads}", protocol.name()).into(),
        protocol,
        method,
        path: path.to_owned(),
        upload,
        weight,
        expected: expected(path, upload),
    })
}

fn upload(text: &str) -> Result<Upload, String> {
    let (bytes, ms) = text.split_once('/').unwrap_or((text, "0"));
    match (bytes.parse(), ms.parse()) {
        (Ok(bytes @ 0..=LARGEST), Ok(ms @ 0..=60_000)) => Ok(Upload {
            bytes,
            over: Duration::from_millis(ms),
        }),
        _ => Err(format!(
            "{text:?} is not an upload: give BYTES or BYTES/MS, up to {LARGEST} bytes and 60000 ms"
        )),
    }
}

/// What the testbed answers.
fn expected(path: &str, upload: Option<Upload>) -> Expected {
    let parts: Vec<_> = path.split('/').skip(1).collect();
    match parts[..] {
        [""] => Expected::Text("hello\n".into()),
        ["sleep", _] => Expected::Text("slept\n".into()),
        ["echo-len"] => Expected::Text(upload.map_or(0, |upload| upload.bytes).to_string()),
        ["bytes" | "chunked" | "unread", n] => length(n, 1),
        ["slow", chunks, _] => length(chunks, 1024),
        _ => Expected::Anything,
    }
}

fn length(count: &str, of: u64) -> Expected {
    count.parse().map_or(Expected::Anything, |n: u64| {
        Expected::Length(n.saturating_mul(of))
    })
}
