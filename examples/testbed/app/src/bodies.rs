//! Bodies: those that end as they should, and those that don't.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{iter, once, unfold},
};
use http_body::{Frame, SizeHint};
use http_body_util::StreamBody;
use tokio::{
    sync::mpsc,
    time::{interval, sleep},
};

/// The trailer that says what was sent.
pub const SUM: HeaderName = HeaderName::from_static("x-sum");

const CHUNK: usize = 16 * 1024;

/// What every chunk is a slice of.
static XS: [u8; CHUNK] = [b'x'; CHUNK];

/// How long a body that fails takes to do so, after its first 4 KiB.
const BEFORE_FAILURE: Duration = Duration::from_millis(50);

/// So many `x`, in chunks of 16 KiB.
#[derive(Debug)]
pub struct Xs {
    left: u64,
    /// Whether the length is told, so that the answer has a Content-Length.
    sized: bool,
}

impl Xs {
    pub fn sized(length: u64) -> Body {
        let sized = true;
        Body::new(Self {
            left: length,
            sized,
        })
    }

    pub fn unsized_(length: u64) -> Body {
        let sized = false;
        Body::new(Self {
            left: length,
            sized,
        })
    }
}

impl http_body::Body for Xs {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).map_or(CHUNK, |left| left.min(CHUNK));
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(xs(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.sized && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.sized {
            true => SizeHint::with_exact(self.left),
            false => SizeHint::default(),
        }
    }
}

fn xs(length: usize) -> Bytes {
    Bytes::from_static(&XS[..length])
}

/// So many chunks of 1 KiB, the first at once and `pause` between them.
pub fn slow(chunks: u64, pause: Duration) -> Body {
    let body = unfold(0, move |sent| async move {
        if sent > 0 && sent < chunks {
            sleep(pause).await;
        }
        (sent < chunks).then(|| (Ok::<_, Infallible>(xs(1024)), sent + 1))
    });
    Body::from_stream(body)
}

/// So many chunks of `size`, which all wait in a channel already.
pub fn channel(chunks: usize, size: usize) -> Body {
    let (sender, receiver) = mpsc::channel(chunks.max(1));
    let chunk = Bytes::from(vec![b'x'; size]);
    for _ in 0..chunks {
        // There is room for each of them.
        let _ = sender.try_send(chunk.clone());
    }
    let body = unfold(receiver, |mut receiver| async move {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, Infallible>(chunk), receiver))
    });
    Body::from_stream(body)
}

/// So many `x`, then a trailer with the sum of all bytes.
pub fn summed(length: u64) -> Body {
    let sum = HeaderValue::from(length.saturating_mul(b'x'.into()));
    let trailers = HeaderMap::from_iter([(SUM, sum)]);
    let trailers = once(async { Ok(Frame::trailers(trailers)) });
    let frames = Xs::unsized_(length).into_data_stream();
    let frames = frames.map(|data| data.map(Frame::data));
    Body::new(StreamBody::new(frames.chain(trailers)))
}

/// 4 KiB, then an error.
pub fn failing() -> Body {
    let failure = once(async {
        sleep(BEFORE_FAILURE).await;
        Err("the body fails, as was asked for")
    });
    Body::from_stream(iter([Ok(xs(4096))]).chain(failure))
}

/// 4 KiB, then a panic.
pub fn panicking() -> Body {
    let panic = once(async {
        sleep(BEFORE_FAILURE).await;
        panic!("the body panics, as was asked for")
    });
    Body::from_stream(iter([Ok::<_, Infallible>(xs(4096))]).chain(panic))
}

/// Counts up for ever, each 100 ms.
pub fn ticks() -> impl Stream<Item = u64> {
    let every = interval(Duration::from_millis(100));
    unfold((every, 0), |(mut every, count)| async move {
        every.tick().await;
        Some((count, (every, count + 1)))
    })
}
