//! How an answer ends: by its own framing, or only with the connection.
//!
//! The same rules as hyper's encoder, which decides after the layer has seen the response
//! (RFC 9112 6.3). A close-delimited answer is the dangerous one: cut short it looks whole, unless
//! close_notify is withheld (RFC 9112 9.8).

use http::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, UPGRADE},
};
use http_body::Body;

/// What of the request decides about the answer's framing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RequestLine {
    version: Version,
    method: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Head,
    Connect,
    Other,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Framing {
    /// By itself: a length, chunks, HTTP/2 frames, or no body at all.
    Framed,
    /// With the connection.
    CloseDelimited,
    /// It does not: the connection becomes a tunnel of a protocol that ends by itself.
    FramedTunnel,
    /// It does not: the connection becomes a tunnel whose end is the connection's.
    Tunnel,
}

impl RequestLine {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            version: request.version(),
            method: match *request.method() {
                Method::HEAD => Kind::Head,
                Method::CONNECT => Kind::Connect,
                _ => Kind::Other,
            },
        }
    }

    pub(crate) fn is_http2(self) -> bool {
        self.version == Version::HTTP_2
    }

    /// The framing hyper will use for `response` to this request.
    pub(crate) fn framing<B: Body>(self, response: &Response<B>) -> Framing {
        let status = response.status();
        let tunnel = self.method == Kind::Connect && status.is_success();
        if self.is_http2() {
            return match tunnel {
                true => Framing::FramedTunnel,
                false => Framing::Framed,
            };
        }
        if tunnel || status == StatusCode::SWITCHING_PROTOCOLS {
            return tunnel_to(response.headers());
        }
        // The older of the two versions counts: hyper answers HTTP/1.0 with HTTP/1.0, and a
        // response taken over from an HTTP/1.0 upstream goes out as it came.
        let chunks = self.version == Version::HTTP_11 && response.version() != Version::HTTP_10;
        match chunks || self.has_end(response) {
            true => Framing::Framed,
            false => Framing::CloseDelimited,
        }
    }

    /// Whether an answer that can't be chunked ends by itself.
    fn has_end<B: Body>(self, response: &Response<B>) -> bool {
        let body = response.body();
        self.method == Kind::Head
            || matches!(
                response.status(),
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            )
            || body.is_end_stream()
            || body.size_hint().exact().is_some()
            || response.headers().contains_key(CONTENT_LENGTH)
    }
}

fn tunnel_to(headers: &HeaderMap) -> Framing {
    let websocket = headers
        .get_all(UPGRADE)
        .iter()
        .any(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    match websocket {
        true => Framing::FramedTunnel,
        false => Framing::Tunnel,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};

    use super::*;

    fn line(method: Method, version: Version) -> RequestLine {
        let request = Request::builder().method(method).version(version);
        RequestLine::of(&request.body(()).unwrap())
    }

    fn unknown_length() -> BoxBody<Bytes, std::convert::Infallible> {
        let chunk = futures_util::stream::iter([Ok(http_body::Frame::data(Bytes::from("x")))]);
        http_body_util::StreamBody::new(chunk).boxed()
    }

    fn known_length() -> BoxBody<Bytes, std::convert::Infallible> {
        Full::new(Bytes::from("x")).boxed()
    }

    fn framing(line: RequestLine, response: http::response::Builder, unknown: bool) -> Framing {
        let body = match unknown {
            true => unknown_length(),
            false => known_length(),
        };
        line.framing(&response.body(body).unwrap())
    }

    #[test]
    fn what_hyper_does() {
        use Framing::*;
        let (v10, v11, v2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        let get = |version| line(Method::GET, version);
        let new = Response::builder;
        for (line, response, unknown, expected) in [
            (get(v11), new(), true, Framed),
            (get(v11), new(), false, Framed),
            (get(v10), new(), false, Framed),
            (get(v10), new(), true, CloseDelimited),
            (get(v10), new().header("content-length", "1"), true, Framed),
            // hyper drops transfer-encoding towards HTTP/1.0.
            (
                get(v10),
                new().header("transfer-encoding", "chunked"),
                true,
                CloseDelimited,
            ),
            (get(v10), new().status(204), true, Framed),
            (get(v10), new().status(304), true, Framed),
            (line(Method::HEAD, v10), new(), true, Framed),
            (get(v11), new().version(v10), true, CloseDelimited),
            (get(v11), new().version(v2), true, Framed),
            (get(v2), new(), true, Framed),
            (get(v2), new().version(v10), true, Framed),
            (get(v11), new().status(101), false, Tunnel),
            (
                get(v11),
                new().status(101).header("upgrade", "WebSocket"),
                false,
                FramedTunnel,
            ),
            (
                get(v11),
                new().status(101).header("upgrade", "h2c"),
                false,
                Tunnel,
            ),
            (line(Method::CONNECT, v11), new(), false, Tunnel),
            (line(Method::CONNECT, v11), new().status(403), true, Framed),
            (line(Method::CONNECT, v2), new(), false, FramedTunnel),
        ] {
            let shown = format!("{line:?} {response:?} unknown length: {unknown}");
            assert_eq!(framing(line, response, unknown), expected, "{shown}");
        }
    }

    #[test]
    fn an_empty_body_has_an_end() {
        let response = Response::new(Empty::<Bytes>::new());
        let line = line(Method::GET, Version::HTTP_10);
        assert_eq!(line.framing(&response), Framing::Framed);
    }
}
