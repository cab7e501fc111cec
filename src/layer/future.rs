//! Response future of [`GracefulTlsLayer`](super::GracefulTlsLayer): marks the last answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, Entry},
};
use http_body::Body;
use pin_project_lite::pin_project;
use tracing::Span;

use super::{GracefulTlsBody, last_call};
use crate::connection::{TlsConnection, Tracking};

pin_project! {
    /// Response future of [`GracefulTlsService`](super::GracefulTlsService).
    #[derive(Debug)]
    pub struct GracefulTlsFuture<F> {
        #[pin]
        inner: F,
        asked: Asked,
        // Until it is answered. Dropped last.
        connection: Option<Tracking>,
    }

    impl<F> PinnedDrop for GracefulTlsFuture<F> {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            if let Some(tracking) = this.project().connection {
                tracking.enter_for_drop();
            }
        }
    }
}

/// An answer; the connection, where its body has to be looked after; and whether it is gRPC's.
pub(crate) type Answered<B> = (Response<B>, Option<Tracking>, bool);

/// What there is to know of a request when it is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    /// Over HTTP/2 or later.
    Framed,
    Http1,
    /// Over HTTP/1.0.
    Old,
    /// Over HTTP/1.1, by a client that wants the connection for more and is told how long it is kept.
    Stays,
}

impl Asked {
    /// `connection` is the one that it came on.
    #[inline]
    pub(crate) fn new<B>(request: &Request<B>, connection: Option<&TlsConnection>) -> Self {
        let announced = || connection.and_then(TlsConnection::keep_alive_header);
        match request.version() {
            Version::HTTP_11 if announced().is_some() && wants_more(request) => Self::Stays,
            version if version >= Version::HTTP_2 => Self::Framed,
            Version::HTTP_11 => Self::Http1,
            _ => Self::Old,
        }
    }
}

/// Whether the client of an HTTP/1.1 request wants to send another (RFC 9112 9.3).
#[inline]
fn wants_more<B>(request: &Request<B>) -> bool {
    // Not by `get_all`: it would keep the compiler from moving the request into its place.
    let mut fields = request.headers().iter();
    let closes = fields.any(|(name, value)| name == CONNECTION && has_close(value.as_bytes()));
    !closes && request.method() != Method::CONNECT
}

impl<F> GracefulTlsFuture<F> {
    #[inline]
    pub(crate) fn new(inner: F, asked: Asked, connection: Option<Tracking>) -> Self {
        Self {
            inner,
            asked,
            connection,
        }
    }
}

impl<F, B, E> Future for GracefulTlsFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<GracefulTlsBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (response, connection, is_grpc) = ready!(self.poll_answer(cx))?;
        Poll::Ready(Ok(
            response.map(|body| GracefulTlsBody::new(body, connection, is_grpc))
        ))
    }
}

impl<F, B, E> GracefulTlsFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    /// The answer, with its body as it is.
    #[inline(always)]
    pub(crate) fn poll_answer(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answered<B>, E>> {
        match self.connection.as_ref().is_some_and(Tracking::is_watched) {
            true => self.poll_watched(cx),
            false => self.poll_unwatched(cx),
        }
    }

    /// What is logged falls under the connection's span.
    #[cold]
    fn poll_watched(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Answered<B>, E>> {
        // A clone of the span would be one of what its subscriber keeps of it.
        let connection = self.connection.as_ref().map(|of| of.connection().clone());
        let span = connection.as_ref().and_then(TlsConnection::span);
        let _entered = span.map(Span::enter);
        let answered = self.poll_unwatched(cx);
        if let Poll::Ready(Ok((response, Some(tracking), _))) = &answered {
            tracking.answers(response.status());
        }
        answered
    }

    #[inline(always)]
    fn poll_unwatched(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Answered<B>, E>> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let mut is_grpc = false;
        if let Some(tracking) = this.connection {
            match this.asked {
                // gRPC is HTTP/2 only, and its answers have no length.
                Asked::Framed => {
                    is_grpc = cfg!(feature = "tonic")
                        && response.body().size_hint().exact().is_none()
                        && last_call::is_grpc(&response);
                }
                _ => tell_client(&mut response, *this.asked, tracking.connection()),
            }
            if !is_grpc && !tracking.is_watched() {
                *this.connection = None;
            }
        }
        Poll::Ready(Ok((response, this.connection.take(), is_grpc)))
    }
}

/// Tells an HTTP/1 client what becomes of its connection: no further request is answered (RFC 9112
/// 9.6), or, where the server announces it, for how long one is awaited.
#[inline(always)]
fn tell_client<B>(response: &mut Response<B>, asked: Asked, connection: &TlsConnection) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    if connection.is_last() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    } else if asked == Asked::Stays {
        announce(response, connection);
    }
    if asked == Asked::Old {
        close_old(response);
    }
}

/// hyper tells a client of HTTP/1.0 that its connection is kept alive, whatever the answer says, unless
/// that is one of HTTP/1.0.
#[cold]
fn close_old<B>(response: &mut Response<B>) {
    let mut fields = response.headers().get_all(CONNECTION).iter();
    if fields.any(|field| has_close(field.as_bytes())) {
        *response.version_mut() = Version::HTTP_10;
    }
}

/// Whether `close` is among the options of a `Connection` field.
fn has_close(field: &[u8]) -> bool {
    let mut options = field.split(|byte| *byte == b',');
    options.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// A field about the connection is to be named in `Connection` (RFC 9110 7.6.1). Where the handler
/// has something else to say there, it is left alone.
#[cold]
fn announce<B>(response: &mut Response<B>, connection: &TlsConnection) {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let Some(announced) = connection.keep_alive_header() else {
        return;
    };
    if let Entry::Vacant(entry) = response.headers_mut().entry(CONNECTION) {
        entry.insert(HeaderValue::from_static("keep-alive"));
        response.headers_mut().insert(KEEP_ALIVE, announced.clone());
    }
}
