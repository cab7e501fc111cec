//! hyper's `pipeline_flush`, which holds answers back while more requests are waiting: the deadline
//! ends the connection all the same.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;
#[path = "support/within.rs"]
mod within;

use std::{
    convert::Infallible,
    future::pending,
    thread,
    time::{Duration, Instant},
};

use graceful_tls::GracefulTls;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use judge::{PROMPT, Then, get, is_let_go};
use support::{VERSIONS, pair};
use tokio::net::TcpListener;
use tower::service_fn;
use wire::{Client, Options, Version};
use within::Within;

const LONG: Duration = Duration::from_secs(10);
const LAME_DUCK: Duration = Duration::from_millis(100);
const SHUTDOWN: Duration = Duration::from_millis(500);

async fn answer(request: Request<Incoming>) -> Result<Response<Full<&'static [u8]>>, Infallible> {
    if request.uri().path() == "/never" {
        pending::<()>().await;
    }
    Ok(Response::new(Full::new(b"hello\n")))
}

/// How many requests come before the one that is never answered, and how many behind it.
const PIPELINES: [(usize, usize); 6] = [(0, 0), (1, 0), (5, 0), (0, 1), (1, 1), (5, 5)];

#[test]
fn a_pipelined_request_that_is_never_answered_ends_at_the_deadline() {
    for flush in [true, false] {
        for (version, protocol) in Version::BOTH.into_iter().zip(VERSIONS) {
            let (builder, _) = pair(protocol);
            let builder = builder.lame_duck(LAME_DUCK).shutdown_timeout(SHUTDOWN);
            let builder = builder.http1(|http1| {
                http1.pipeline_flush(flush);
            });
            let server = Within::start(
                builder,
                |tls: GracefulTls, listener: TcpListener| async move {
                    tls.serve(listener, service_fn(answer)).await.unwrap();
                },
            );
            let mut clients: Vec<_> = PIPELINES
                .map(|(before, behind)| {
                    let options = Options::new().version(version).http1();
                    let mut client = Client::connect_with(server.addr, &options).unwrap();
                    let hellos = |n| get("/").repeat(n);
                    let pipeline = hellos(before) + &get("/never") + &hellos(behind);
                    client.send(pipeline).unwrap();
                    client
                })
                .into();
            thread::sleep(Duration::from_millis(200));
            let since = Instant::now();
            server.tls.shutdown();
            for client in &mut clients {
                let ending = client.finish();
                // Every answer has a length, and none has begun that is not whole.
                assert!(ending.is_proper(), "{ending:?}");
                let took = since.elapsed();
                assert!(
                    took >= SHUTDOWN && took < SHUTDOWN + 2 * PROMPT,
                    "{took:?}: {ending:?}"
                );
                is_let_go(client, Then::Closes);
            }
            let report = server.closed(LONG);
            assert!(report.deadline_reached && report.clean == 0, "{report}");
        }
    }
}
