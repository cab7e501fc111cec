//! Answers without an end, ended when the server drains.
//!
//! ```sh
//! cargo run --example sse_and_websocket          # port 8443
//! cargo run --example sse_and_websocket -- 9443  # another; 0 takes any that is free
//! ```
//!
//! `/events` is a stream of server-sent events, `/echo` a websocket. Press Ctrl-C while a client
//! listens to one: the stream ends whole, and the websocket is closed with 1001, "going away".
//! Without that both would be cut at the deadline, half a minute later.

mod common;

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension, Router,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    response::{Response, Sse, sse::Event},
    routing::{any, get},
};
use futures_util::{Stream, StreamExt, stream};
use graceful_tls::{GracefulTls, TlsConnection};
use tokio::time::sleep;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tls = GracefulTls::new(common::config(&common::self_made()?)?)?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    let listener = common::listen().await?;
    let address = listener.local_addr()?;
    println!("Try:  curl -kN https://{address}/events");
    println!("      websocat -k wss://{address}/echo");

    let app = Router::new()
        .route("/events", get(events))
        .route("/echo", any(echo));
    println!("{}", tls.serve(listener, app).await?);
    Ok(())
}

/// An event each half a second, and a last one when the server drains.
async fn events(
    Extension(tls): Extension<TlsConnection>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = stream::unfold(1_u64, |count| async move {
        sleep(Duration::from_millis(500)).await;
        Some((Event::default().data(count.to_string()), count + 1))
    });
    let last = stream::iter([Event::default().event("goodbye").data("come back soon")]);
    Sse::new(ticks.take_until(tls.draining()).chain(last).map(Ok))
}

async fn echo(upgrade: WebSocketUpgrade, Extension(tls): Extension<TlsConnection>) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        tokio::select! {
            () = repeat(&mut socket) => return,
            () = tls.draining() => {}
        }
        let goodbye = CloseFrame {
            code: close_code::AWAY,
            reason: "the server is shutting down".into(),
        };
        // The client's own close frame need not be waited for: the drain takes it.
        let _ = socket.send(Message::Close(Some(goodbye))).await;
    })
}

/// Sends back what comes, until the client closes.
async fn repeat(socket: &mut WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let echo = matches!(message, Message::Text(_) | Message::Binary(_));
        if echo && socket.send(message).await.is_err() {
            return;
        }
    }
}
