//! Several servers, one shutdown.
//!
//! ```sh
//! cargo run --example several_servers       # ports 8443, 9443 and 8080
//! cargo run --example several_servers -- 0  # any that are free
//! ```
//!
//! The public server listens on IPv4 and IPv6; the admin server has a certificate, time-outs and a port of its
//! own, and plain HTTP is redirected. Press Ctrl-C while clients are connected to any of them: they all
//! drain together, to one deadline, and one report tells the listeners apart. A second Ctrl-C skips to the
//! deadline.

mod common;

use std::{
    future::IntoFuture,
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use anyhow::Context;
use axum::{Router, http::Uri, response::Redirect, routing::get};
use graceful_tls::{GracefulTls, Phase};
use tokio::net::{TcpListener, ToSocketAddrs};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let [port] = common::start(["0 for any ports"])?;
    let any = port.is_some();
    anyhow::ensure!(
        port.is_none_or(|port| port == "0"),
        "give 0 for any ports, or nothing"
    );
    let port = |port: u16| if any { 0 } else { port };
    let v4 = bind((Ipv4Addr::LOCALHOST, port(8443))).await?;
    let v6 = bind((Ipv6Addr::LOCALHOST, port(8443))).await?;
    let internal = bind((Ipv4Addr::LOCALHOST, port(9443))).await?;
    let plain = bind((Ipv4Addr::LOCALHOST, port(8080))).await?;
    let address = v4.local_addr()?;
    println!(
        "public   https://{address} and https://{}",
        v6.local_addr()?
    );
    println!("admin    https://{}", internal.local_addr()?);
    println!("redirect http://{}", plain.local_addr()?);

    let tls = GracefulTls::builder(common::config(&common::self_made()?)?)
        .name("public")
        .build()?;
    let admin = GracefulTls::builder(common::config(&common::self_made()?)?)
        .name("admin")
        .keep_alive_timeout(Duration::from_secs(10))
        .shutdown_with(&tls)
        .build()?;
    tls.shutdown_on(graceful_tls::signal::terminate());

    let app = Router::new().route("/", get("hello\n"));
    let status = Router::new().route("/", get("all is well\n"));
    let redirect = Router::new()
        .fallback(async move |uri: Uri| Redirect::permanent(&format!("https://{address}{uri}")));
    let redirect =
        axum::serve(plain, redirect).with_graceful_shutdown(tls.reached(Phase::Draining));

    let (report, ..) = tokio::try_join!(
        tls.serve(v4, app.clone()),
        tls.serve(v6, app),
        admin.serve(internal, status),
        async { Ok(tls.alongside(redirect.into_future()).await) },
    )?;
    println!("{report}");
    Ok(())
}

async fn bind(address: impl ToSocketAddrs) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.context("a port is in use: let `-- 0` take free ones")
}
