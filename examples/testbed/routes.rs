//! The endpoints.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Path, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    http::{
        StatusCode,
        header::{CONNECTION, CONTENT_LENGTH},
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

use super::bodies::{self, Xs};

const CLOSE: [(axum::http::HeaderName, &str); 1] = [(CONNECTION, "close")];

pub(crate) fn router(tls: GracefulTls) -> Router {
    Router::new()
        .route("/", get("hello\n"))
        .route("/bytes/{n}", get(bytes))
        .route("/chunked/{n}", get(chunked))
        .route("/slow/{chunks}/{ms}", get(slow))
        .route("/error-mid-body", get(error_mid_body))
        .route("/error-mid-body-len", get(error_mid_body_len))
        .route("/panic", get(panics))
        .route("/panic-mid-body", get(panic_mid_body))
        .route("/ignore-body", post((CLOSE, "ignored\n")))
        .route("/unread/{n}", post(bytes))
        .route("/echo-len", post(echo_len))
        .route("/sleep/{ms}", get(sleeps))
        .route("/close", get((CLOSE, "bye\n")))
        .route("/sse", get(sse))
        .route("/sse-polite", get(sse_polite))
        // Over HTTP/2 it is a CONNECT (RFC 8441).
        .route("/ws", any(ws))
        .route("/tls", get(facts))
        .route("/ready", get(ready))
        .fallback((StatusCode::NOT_FOUND, "there is nothing here\n"))
        .with_state(tls)
}

/// Also for uploads: a body that is no argument is never read.
async fn bytes(Path(n): Path<u64>) -> Body {
    Xs::sized(n)
}

async fn chunked(Path(n): Path<u64>) -> Body {
    Xs::unsized_(n)
}

async fn slow(Path((chunks, ms)): Path<(u64, u64)>) -> Body {
    bodies::slow(chunks, Duration::from_millis(ms))
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

/// Counts instead of collecting, so that no limit is needed.
async fn echo_len(mut body: Body) -> Result<String, (StatusCode, String)> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")))?;
        length += frame.data_ref().map_or(0, bytes::Bytes::len);
    }
    Ok(length.to_string())
}

async fn sleeps(Path(ms): Path<u64>) -> &'static str {
    sleep(Duration::from_millis(ms)).await;
    "slept\n"
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
    upgrade.on_upgrade(move |socket| echo(socket, connection))
}

/// Echoes until the client closes or draining starts; then waits for the client to close too.
async fn echo(mut socket: WebSocket, connection: TlsConnection) {
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
    }))
}

async fn ready(State(tls): State<GracefulTls>) -> (StatusCode, &'static str) {
    match tls.is_ready() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    }
}
