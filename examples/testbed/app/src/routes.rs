//! The endpoints.

use std::{convert::Infallible, future::pending, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Path, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    http::{
        StatusCode,
        header::{CONNECTION, CONTENT_LENGTH, TRAILER},
    },
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::{any, get, post},
};
use futures_util::{Stream, StreamExt};
use graceful_tls::{GracefulTls, TlsConnection};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_rustls::rustls::ProtocolVersion;

use crate::{
    bodies::{self, Xs},
    tunnel,
};

pub const HELLO: &str = "hello\n";

const CLOSE: [(axum::http::HeaderName, &str); 1] = [(CONNECTION, "close")];

pub fn router(tls: GracefulTls) -> Router {
    Router::new()
        .route("/", get(HELLO))
        .route("/bytes/{n}", get(bytes))
        .route("/full/{n}", get(full))
        .route("/chunked/{n}", get(chunked))
        .route("/slow/{chunks}/{ms}", get(slow))
        .route("/channel/{chunks}/{size}", get(channel))
        .route("/trailers/{n}", get(trailers))
        .route("/status/{code}", get(status))
        .route("/error-mid-body", get(error_mid_body))
        .route("/error-mid-body-len", get(error_mid_body_len))
        .route("/panic", get(panics))
        .route("/panic-mid-body", get(panic_mid_body))
        .route("/ignore-body", post((CLOSE, "ignored\n")))
        .route("/early/{ms}", post(early))
        .route("/unread/{n}", post(bytes))
        .route("/echo-len", post(echo_len))
        .route("/echo", post(echo))
        .route("/sleep/{ms}", get(sleeps).post(reads_and_sleeps))
        .route("/close", get((CLOSE, "bye\n")))
        .route("/never/{*path}", get(pending::<()>))
        .route("/sse", get(sse))
        .route("/sse-polite", get(sse_polite))
        // Over HTTP/2 it is a CONNECT (RFC 8441).
        .route("/ws", any(ws))
        .route("/tls", get(facts))
        .route("/ready", get(ready))
        .fallback(tunnel::or_not_found)
        .with_state(tls)
}

/// Also for uploads: a body that is no argument is never read.
async fn bytes(Path(n): Path<u64>) -> Body {
    Xs::sized(n)
}

async fn full(Path(n): Path<usize>) -> Vec<u8> {
    vec![b'x'; n]
}

async fn chunked(Path(n): Path<u64>) -> Body {
    Xs::unsized_(n)
}

async fn slow(Path((chunks, ms)): Path<(u64, u64)>) -> Body {
    bodies::slow(chunks, Duration::from_millis(ms))
}

async fn channel(Path((chunks, size)): Path<(usize, usize)>) -> Body {
    bodies::channel(chunks, size)
}

/// Over HTTP/1 the trailer has to be asked for, by `TE: trailers` (RFC 9110 6.5.1).
async fn trailers(Path(n): Path<u64>) -> impl IntoResponse {
    ([(TRAILER, bodies::SUM)], bodies::summed(n))
}

/// Not those below 200, which are no answer.
async fn status(Path(code): Path<u16>) -> Result<Response, StatusCode> {
    let status = StatusCode::from_u16(code).map_err(|_| StatusCode::BAD_REQUEST)?;
    match code {
        ..200 => Err(StatusCode::BAD_REQUEST),
        204 | 304 => Ok(status.into_response()),
        _ => Ok((status, format!("{status}\n")).into_response()),
    }
}

async fn error_mid_body() -> Body {
    bodies::failing()
}

async fn error_mid_body_len() -> impl IntoResponse {
    ([(CONTENT_LENGTH, "100000")], bodies::failing())
}

async fn panics() -> Body {
    panic!("the handler panics, as was asked for")
}

async fn panic_mid_body() -> Body {
    bodies::panicking()
}

/// Reads on behind the answer, as slowly as it is told.
async fn early(Path(ms): Path<u64>, body: Body) -> (StatusCode, &'static str) {
    tokio::spawn(read(body, Duration::from_millis(ms)));
    (StatusCode::ACCEPTED, "accepted\n")
}

async fn echo_len(body: Body) -> Result<String, (StatusCode, String)> {
    let length = read(body, Duration::ZERO).await.map_err(unreadable)?;
    Ok(length.to_string())
}

async fn echo(body: Body) -> Body {
    body
}

/// Reads a body to its end, with `pause` after each part, and says how long it was. It counts
/// instead of collecting, so that no limit is needed.
async fn read(mut body: Body, pause: Duration) -> Result<usize, axum::Error> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, bytes::Bytes::len);
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    Ok(length)
}

fn unreadable(error: axum::Error) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, format!("{error}\n"))
}

async fn sleeps(Path(ms): Path<u64>) -> &'static str {
    sleep(Duration::from_millis(ms)).await;
    "slept\n"
}

async fn reads_and_sleeps(
    path: Path<u64>,
    body: Body,
) -> Result<&'static str, (StatusCode, String)> {
    read(body, Duration::ZERO).await.map_err(unreadable)?;
    Ok(sleeps(path).await)
}

async fn sse() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(bodies::ticks().map(event))
}

async fn sse_polite(
    connection: TlsConnection,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let until = Box::pin(async move { connection.draining().await });
    Sse::new(bodies::ticks().take_until(until).map(event))
}

fn event(count: u64) -> Result<Event, Infallible> {
    Ok(Event::default().data(count.to_string()))
}

async fn ws(connection: TlsConnection, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| echo_messages(socket, connection))
}

/// Echoes until the client closes or draining starts; then waits for the client to close too.
async fn echo_messages(mut socket: WebSocket, connection: TlsConnection) {
    let mut draining = std::pin::pin!(connection.draining());
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            () = &mut draining => break,
        };
        let sent = match message {
            Some(Ok(echo @ (Message::Text(_) | Message::Binary(_)))) => socket.send(echo).await,
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => return,
        };
        if sent.is_err() {
            return;
        }
    }
    let away = CloseFrame {
        code: close_code::AWAY,
        reason: "the server is shutting down".into(),
    };
    let mut sent = socket.send(Message::Close(Some(away))).await.is_ok();
    while sent {
        sent = matches!(socket.recv().await, Some(Ok(_)));
    }
}

async fn facts(connection: TlsConnection) -> Json<Value> {
    let version = match connection.version() {
        Some(ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
        Some(ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
        _ => None,
    };
    Json(json!({
        "sni": connection.server_name(),
        "alpn": connection.alpn().map(String::from_utf8_lossy),
        "version": version,
        "cipher_suite": connection.cipher_suite().and_then(|suite| suite.suite().as_str()),
        "connection_id": connection.id(),
        "client": connection.remote_addr(),
        "balancer": connection.balancer_addr(),
    }))
}

async fn ready(State(tls): State<GracefulTls>) -> (StatusCode, &'static str) {
    match tls.is_ready() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    }
}
