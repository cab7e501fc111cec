//! One attempt: a request, and its answer to the last byte.

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::TrySendError};

use crate::{
    connect::{Link, Sender},
    mix::{Body, Expected, Kind},
    verdict::{self, Attempt},
};

/// Sends a request of this kind over `link`.
pub(crate) async fn attempt(link: &mut Link, kind: &Kind, authority: &str) -> Attempt {
    let mark = link.wire.mark();
    match link.send(kind.request(authority)).await {
        Ok(response) => read(response, &kind.expected).await,
        Err(error) => verdict::of(&error, &link.wire, mark, kind),
    }
}

impl Link {
    async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        }
    }
}

/// Reads the answer to its end: from its first byte on there is no way back.
async fn read(response: Response<Incoming>, expected: &Expected) -> Attempt {
    let status = response.status();
    let body = match response.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Attempt::Lost(format!("cut short: {}", verdict::cause(&error))),
    };
    let right = match expected {
        Expected::Text(text) => body == text,
        Expected::Length(length) => body.len() as u64 == *length,
        Expected::Anything => true,
    };
    match status {
        StatusCode::OK if right => Attempt::Answered,
        StatusCode::OK => Attempt::Lost(format!("a wrong answer of {} bytes", body.len())),
        _ => Attempt::Lost(format!("status {status}")),
    }
}
