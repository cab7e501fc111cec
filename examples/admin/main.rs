//! A page for operators: what every connection is doing, and buttons for the shutdown.
//!
//! ```sh
//! cargo run --example admin          # port 8443, and the page on 9901
//! cargo run --example admin -- 9443  # another; 0 takes any that are free, for the page too
//! cargo run --example admin -- 9443 127.0.0.1:9902
//! ```
//!
//! The page has a port of its own, on this machine alone, and plain HTTP; from another machine,
//! `ssh -L 9901:127.0.0.1:9901`. Everybody who reaches it can look, the buttons want the token that
//! is printed at the start; the variable `ADMIN_TOKEN` sets another. What the page shows is JSON
//! too: `curl 127.0.0.1:9901/snapshot`.
//!
//! It is served until the shutdown that one watches on it is over, and then ends with it.

#[path = "../common/mod.rs"]
mod common;

mod buttons;
mod snapshot;
mod timeline;
mod token;
mod web;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, body::Body, routing::get};
use futures_util::stream;
use graceful_tls::GracefulTls;
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};

use token::Token;
use web::Admin;

/// How long "undo" is possible.
const LAME_DUCK: Duration = Duration::from_secs(15);
/// How long what is in flight may take after that.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [port, page] = common::start(["a port", "the page's address"])?;
    let page = address_of(page, port.as_deref() == Some("0"))?;
    let token = Token::from_environment()?;
    let tls = GracefulTls::builder(common::config(&common::self_made()?)?)
        .lame_duck(LAME_DUCK)
        .shutdown_timeout(SHUTDOWN_TIMEOUT)
        .build()?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    let listener = common::listen_on(port).await?;
    let page = listen(page).await?;
    println!("admin page on http://{}/{token}", page.local_addr()?);
    println!("Try:  curl -kN https://{}/slow", listener.local_addr()?);

    let app = Router::new()
        .route("/", get("hello\n"))
        .route("/slow", get(async || Body::from_stream(slow())));
    let admin = Admin {
        timeline: timeline::keep(&tls),
        tls: tls.clone(),
        token,
        watchers: Arc::new(Semaphore::new(web::WATCHERS)),
    };
    let (report, ()) = tokio::try_join!(tls.serve(listener, app), web::serve(page, admin))?;
    println!("{report}");
    Ok(())
}

/// Where the page is to be: where the second argument says, or on this machine.
fn address_of(page: Option<String>, any: bool) -> anyhow::Result<SocketAddr> {
    match page {
        Some(address) => address
            .parse()
            .with_context(|| format!("{address:?} is no address: give one as 127.0.0.1:9902")),
        None => Ok(([127, 0, 0, 1], if any { 0 } else { 9901 }).into()),
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| {
        format!("the admin page on {address}: give another address behind the port")
    })
}

/// One line a second, for a minute.
fn slow() -> impl stream::Stream<Item = Result<String, std::io::Error>> {
    stream::unfold(1, |line| async move {
        sleep(Duration::from_secs(1)).await;
        (line <= 60).then(|| (Ok(format!("line {line} of 60\n")), line + 1))
    })
}
