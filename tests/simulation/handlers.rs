//! The handlers: one service with every endpoint, which tells the world what it does.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{Request, Response, StatusCode, body::Incoming, header};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};
use tower::Service;

use crate::{
    endpoints::Endpoint,
    tunnels::Tunnel,
    world::{Key, Token, Work, World},
};

pub type BoxError = Box<dyn Error + Send + Sync>;

/// What the handlers' own panics say, so that they can be told from others.
pub const PANIC: &str = "as was asked for";

const CHUNK: u64 = 16 << 10;
static XS: [u8; CHUNK as usize] = [b'x'; CHUNK as usize];

/// The service under test's server.
#[derive(Clone, Debug)]
pub struct Handlers {
    pub world: World,
    /// Handlers may sleep for longer than hyper itself would let them.
    pub sleepy: bool,
}

impl Service<Request<Incoming>> for Handlers {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answer>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let Some((endpoint, key)) = read_path(&request) else {
            return Box::pin(async { Err("a path that nobody asked for".into()) });
        };
        let endpoint = match endpoint {
            Endpoint::Sleep(ms @ 10_000..) if !self.sleepy => Endpoint::Sleep(ms % 1000),
            endpoint => endpoint,
        };
        let token = self.world.called(key);
        let tunnel = Tunnel::new(self.world.clone(), key, &request);
        Box::pin(async move {
            let result = answer(endpoint, request, tunnel).await;
            let Ok(mut response) = result else {
                token.set(Work::Failed);
                return Err("the request's body ended early".into());
            };
            response.body_mut().token = Some(token);
            if response.body().is_end_stream() {
                response.body_mut().given();
            }
            Ok(response)
        })
    }
}

/// `/endpoint?connection.request`, or the authority of a CONNECT, `connection.request:1`.
fn read_path(request: &Request<Incoming>) -> Option<(Endpoint, Key)> {
    let uri = request.uri();
    let (endpoint, key) = match request.method() {
        &hyper::Method::CONNECT => (Endpoint::Connect, uri.host()?),
        _ => (uri.path().parse().ok()?, uri.query()?),
    };
    let (conn, number) = key.split_once('.')?;
    Some((endpoint, (conn.parse().ok()?, number.parse().ok()?)))
}

async fn answer(
    endpoint: Endpoint,
    request: Request<Incoming>,
    tunnel: Tunnel,
) -> Result<Response<Answer>, BoxError> {
    Ok(Response::new(match endpoint {
        Endpoint::Hello => Source::full(6).sized(),
        Endpoint::Bytes(n) | Endpoint::Unread(n) => Source::Xs(n).sized(),
        Endpoint::Full(n) => Source::full(n).sized(),
        Endpoint::Chunked(n) => Source::Xs(n).unsized_(),
        Endpoint::Slow(chunks, ms) => Source::slow(chunks, ms).unsized_(),
        Endpoint::Channel(chunks, size) => Source::channel(chunks, size).unsized_(),
        Endpoint::ErrorMidBody => Source::fails(false).unsized_(),
        Endpoint::ErrorMidBodyLen => return Ok(error_mid_body_len()),
        Endpoint::Panic => panic!("the handler panics, {PANIC}"),
        Endpoint::PanicMidBody => Source::fails(true).unsized_(),
        Endpoint::EchoLen => {
            let length = read_all(request.into_body()).await?.to_string().len();
            Source::full(length as u64).sized()
        }
        Endpoint::Echo => Source::Echo(request.into_body()).unsized_(),
        Endpoint::Sleep(ms) => {
            read_all(request.into_body()).await?;
            sleep(Duration::from_millis(ms)).await;
            Source::full(6).sized()
        }
        Endpoint::Close => return Ok(close()),
        Endpoint::Early(ms) => {
            tokio::spawn(read_slowly(request.into_body(), ms));
            return Ok(status(202));
        }
        Endpoint::Trailers(n) => Source::Trailers(n).unsized_(),
        Endpoint::Events(ms) => Source::slow(u64::MAX, ms).unsized_(),
        Endpoint::Status(code) => return Ok(status(code)),
        Endpoint::Upgrade(websocket) => return Ok(upgrade(request, websocket, tunnel)),
        Endpoint::Connect => {
            tokio::spawn(tunnel.run(request));
            Source::Xs(0).sized()
        }
    }))
}

async fn read_all(mut body: Incoming) -> Result<u64, BoxError> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(length)
}

async fn read_slowly(mut body: Incoming, ms: u64) {
    while let Some(Ok(_)) = body.frame().await {
        sleep(Duration::from_millis(ms)).await;
    }
}

fn status(code: u16) -> Response<Answer> {
    let mut response = Response::new(Source::Xs(0).sized());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn close() -> Response<Answer> {
    let mut response = Response::new(Source::full(4).sized());
    let close = header::HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

fn error_mid_body_len() -> Response<Answer> {
    let mut response = Response::new(Source::fails(false).unsized_());
    let length = header::HeaderValue::from_static("100000");
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    response
}

fn upgrade(request: Request<Incoming>, websocket: bool, tunnel: Tunnel) -> Response<Answer> {
    tokio::spawn(tunnel.run(request));
    let mut response = status(101);
    let name = if websocket { "websocket" } else { "echo" };
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, header::HeaderValue::from_static(name));
    headers.insert(
        header::CONNECTION,
        header::HeaderValue::from_static("upgrade"),
    );
    response
}

/// Where the frames of an answer come from.
#[derive(Debug)]
enum Source {
    Full(Bytes),
    Xs(u64),
    Slow {
        left: u64,
        pause: Duration,
        sleep: Option<Pin<Box<Sleep>>>,
    },
    Channel(mpsc::Receiver<Bytes>),
    Fails {
        panics: bool,
        sleep: Option<Pin<Box<Sleep>>>,
    },
    Echo(Incoming),
    Trailers(u64),
    End,
}

/// The body of an answer.
#[derive(Debug)]
pub struct Answer {
    source: Source,
    sized: bool,
    token: Option<Token>,
}

impl Source {
    fn full(n: u64) -> Self {
        Self::Full(Bytes::from(vec![b'x'; n as usize]))
    }

    fn slow(left: u64, ms: u64) -> Self {
        let pause = Duration::from_millis(ms);
        let sleep = None;
        Self::Slow { left, pause, sleep }
    }

    fn channel(chunks: u64, size: u64) -> Self {
        let (sender, receiver) = mpsc::channel(chunks.max(1) as usize);
        for _ in 0..chunks {
            sender.try_send(xs(size)).unwrap();
        }
        Self::Channel(receiver)
    }

    fn fails(panics: bool) -> Self {
        let sleep = None;
        Self::Fails { panics, sleep }
    }

    fn sized(self) -> Answer {
        Answer {
            source: self,
            sized: true,
            token: None,
        }
    }

    fn unsized_(self) -> Answer {
        Answer {
            sized: false,
            ..self.sized()
        }
    }

    fn length(&self) -> u64 {
        match self {
            Self::Full(bytes) => bytes.len() as u64,
            Self::Xs(n) => *n,
            _ => 0,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self {
            Self::Full(bytes) => Frame::data(std::mem::take(bytes)),
            Self::Xs(0) | Self::Trailers(0) | Self::End => return self.poll_end(),
            Self::Xs(left) | Self::Trailers(left) => {
                let n = CHUNK.min(*left);
                *left -= n;
                Frame::data(xs(n))
            }
            Self::Slow { left, pause, sleep } => {
                if let Some(sleep) = sleep {
                    ready!(sleep.as_mut().poll(cx));
                }
                if *left == 0 {
                    return Poll::Ready(None);
                }
                *left -= 1;
                *sleep = (*left > 0).then(|| Box::pin(tokio::time::sleep(*pause)));
                Frame::data(xs(1024))
            }
            Self::Channel(receiver) => match ready!(receiver.poll_recv(cx)) {
                Some(chunk) => Frame::data(chunk),
                None => return Poll::Ready(None),
            },
            Self::Fails { panics, sleep } => return poll_failure(*panics, sleep, cx),
            Self::Echo(body) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn poll_end(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self::Trailers(_) = std::mem::replace(self, Self::End) else {
            return Poll::Ready(None);
        };
        let mut trailers = hyper::HeaderMap::new();
        trailers.insert("x-sum", header::HeaderValue::from_static("1"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

/// 4 KiB, 50 ms, and then what was asked for.
fn poll_failure(
    panics: bool,
    slot: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    let Some(sleep) = slot else {
        *slot = Some(Box::pin(tokio::time::sleep(Duration::from_millis(50))));
        return Poll::Ready(Some(Ok(Frame::data(xs(4096)))));
    };
    ready!(sleep.as_mut().poll(cx));
    assert!(!panics, "the body panics, {PANIC}");
    Poll::Ready(Some(Err(PANIC.into())))
}

fn xs(n: u64) -> Bytes {
    Bytes::from_static(&XS[..n as usize])
}

impl Answer {
    fn given(&mut self) {
        self.set(Work::Given);
    }

    fn set(&self, work: Work) {
        if let Some(token) = &self.token {
            token.set(work);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        // A body that panics must not be taken for one that was cut.
        if matches!(
            this.source,
            Source::Fails {
                panics: true,
                sleep: Some(_)
            }
        ) {
            this.set(Work::Failed);
        }
        let polled = this.source.poll(cx);
        match &polled {
            Poll::Pending => this.set(Work::Busy),
            Poll::Ready(None) => this.given(),
            Poll::Ready(Some(Err(_))) => this.set(Work::Failed),
            // Nothing comes after trailers, and nobody asks.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => this.given(),
            Poll::Ready(Some(Ok(_))) if this.is_end_stream() => this.given(),
            Poll::Ready(Some(Ok(_))) => this.set(Work::Held),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.sized && self.source.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.sized {
            true => SizeHint::with_exact(self.source.length()),
            false => SizeHint::default(),
        }
    }
}
