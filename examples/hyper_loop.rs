//! An accept loop of its own around hyper, with TLS that ends properly.
//!
//! ```sh
//! cargo run --example hyper_loop          # port 8443
//! cargo run --example hyper_loop -- 9443  # another; 0 takes any that is free
//! ```
//!
//! Write a loop like this one where the server needs something of its own between accepting and
//! the handshake. Otherwise `GracefulTls::serve` does all of it, and empties the listener's queue
//! before it closes it; this loop does not, and what waits there is reset.

mod common;

use std::{convert::Infallible, time::Duration};

use graceful_tls::{GracefulTls, Phase, TlsConnection};
use hyper::{Request, Response, body::Incoming};
use tokio::time::sleep;
use tower::service_fn;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tls = GracefulTls::new(common::config(&common::self_made()?)?)?;
    tls.shutdown_on(graceful_tls::signal::terminate());
    let listener = common::listen().await?;
    println!("Try:  curl -k https://{}/", listener.local_addr()?);

    let mut draining = Box::pin(tls.reached(Phase::Draining));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut draining => break,
        };
        match accepted {
            // A task each, or a client that is slow to shake hands holds up all others.
            Ok((tcp, client)) => {
                tokio::spawn(tls.serve_connection(tcp, client, service_fn(answer)));
            }
            Err(error) => {
                eprintln!("no connection could be accepted, trying again: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);

    // The layer and the streams tell the clients, and end what is left at the deadline.
    println!("{}", tls.closed().await);
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    if request.uri().path() == "/slow" {
        sleep(Duration::from_secs(3)).await;
    }
    let connection = request.extensions().get::<TlsConnection>();
    let id = connection.map(TlsConnection::id);
    Ok(Response::new(format!("hello, connection {id:?}\n")))
}
