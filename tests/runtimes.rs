//! Shutdowns that begin on another runtime than the connections', or on none: they come to an end
//! all the same, and so does whoever waits for it.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;
#[path = "support/within.rs"]
mod within;

use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake},
    thread,
    time::{Duration, Instant},
};

use graceful_tls::{GracefulTls, Report};
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use judge::{Then, ends_properly, is_hello};
use support::{VERSIONS, pair};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tower::service_fn;
use wire::{Client, Options};
use within::Within;

const LONG: Duration = Duration::from_secs(10);
const LAME_DUCK: Duration = Duration::from_millis(300);

fn server() -> Within {
    let (builder, _) = pair(VERSIONS[1]);
    let builder = builder
        .lame_duck(LAME_DUCK)
        .shutdown_timeout(Duration::from_millis(1500));
    Within::start(
        builder,
        |tls: GracefulTls, listener: TcpListener| async move {
            let _ = tls.serve(listener, service_fn(answer)).await;
        },
    )
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<&'static [u8]>>, Infallible> {
    if request.uri().path() == "/sleep" {
        sleep(Duration::from_millis(800)).await;
    }
    Ok(Response::new(Full::new(b"hello\n")))
}

fn client_of(server: &Within) -> Client {
    Client::connect_with(server.addr, &Options::new().http1()).unwrap()
}

fn kept_alive(server: &Within) -> Client {
    let mut client = client_of(server);
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
    client
}

/// A runtime that lives for one future only.
fn short_lived(future: impl Future<Output = ()>) {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future);
}

/// Where a shutdown may be begun.
type Begins = fn(GracefulTls);

const BEGINNINGS: [(&str, Begins); 6] = [
    ("a short-lived runtime", |tls| {
        short_lived(async move { tls.shutdown() });
    }),
    ("a runtime dropped in the middle", |tls| {
        short_lived(async move {
            tls.shutdown();
            sleep(LAME_DUCK / 3).await;
        });
    }),
    ("a runtime of many threads", |tls| {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async move { tls.shutdown() });
        runtime.shutdown_background();
    }),
    ("a plain thread", |tls| tls.shutdown()),
    ("a runtime that goes on", |tls| {
        short_lived(async move {
            tls.shutdown();
            sleep(Duration::from_secs(4)).await;
        });
    }),
    ("a plain thread, and a runtime that is dropped", |tls| {
        tls.shutdown();
        short_lived(async move { tls.shutdown() });
    }),
];

/// An idle client and a busy one see the shutdown as they always do, and it ends.
#[test]
fn a_shutdown_may_be_begun_anywhere() {
    thread::scope(|scope| {
        for (name, begins) in BEGINNINGS {
            let run = move || {
                let server = server();
                let mut idle = kept_alive(&server);
                let mut busy = client_of(&server);
                busy.send(judge::get("/sleep")).unwrap();
                thread::sleep(Duration::from_millis(200));
                let tls = server.tls.clone();
                let beginning = thread::spawn(move || begins(tls));
                ends_properly(&mut idle, Then::Closes);
                assert!(
                    is_hello(&busy.read_response().unwrap(), "hello\n"),
                    "{busy:?}"
                );
                ends_properly(&mut busy, Then::Closes);
                let report = server.closed(LONG);
                assert_eq!((report.clean, report.connections()), (2, 2), "{report}");
                assert!(!report.deadline_reached, "{report}");
                beginning.join().unwrap();
            };
            thread::Builder::new()
                .name(name.into())
                .spawn_scoped(scope, run)
                .unwrap();
        }
    });
}

#[test]
fn so_may_one_that_skips_to_the_deadline() {
    let beginnings: [(&str, Begins); 3] = [
        ("a short-lived runtime", |tls| {
            short_lived(async move { tls.shutdown_now() });
        }),
        ("a plain thread", |tls| tls.shutdown_now()),
        ("after one that was begun elsewhere", |tls| {
            let copy = tls.clone();
            short_lived(async move { copy.shutdown() });
            tls.shutdown_now();
        }),
    ];
    thread::scope(|scope| {
        for (name, begins) in beginnings {
            let run = move || {
                let server = server();
                let mut busy = client_of(&server);
                busy.send(judge::get("/sleep")).unwrap();
                thread::sleep(Duration::from_millis(200));
                let tls = server.tls.clone();
                thread::spawn(move || begins(tls)).join().unwrap();
                ends_properly(&mut busy, Then::Closes);
                let report = server.closed(LONG);
                assert!(
                    report.deadline_reached && report.connections() == 1,
                    "{report}"
                );
            };
            thread::Builder::new()
                .name(name.into())
                .spawn_scoped(scope, run)
                .unwrap();
        }
    });
}

/// The end can be waited for on any runtime.
#[test]
fn the_end_may_be_waited_for_anywhere() {
    let server = server();
    let mut idle = kept_alive(&server);
    let waits = |tls: GracefulTls| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let closed = runtime.block_on(async { timeout(LONG, tls.closed()).await });
        closed.expect("closed in time")
    };
    let waiting = {
        let tls = server.tls.clone();
        thread::spawn(move || waits(tls))
    };
    // One that gives up must not matter to the others.
    let tls = server.tls.clone();
    short_lived(async move { assert!(timeout(LAME_DUCK / 10, tls.closed()).await.is_err()) });
    server.tls.shutdown();
    ends_properly(&mut idle, Then::Closes);
    let report: Report = waiting.join().unwrap();
    assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
    assert_eq!(waits(server.tls.clone()), report, "asked when all is over");
}

/// Polls a future on this thread, which has no runtime.
fn without_runtime<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park_timeout(LONG),
        }
    }
}

#[test]
fn nor_does_it_need_one() {
    let server = server();
    let mut idle = kept_alive(&server);
    let tls = server.tls.clone();
    let waiting = thread::spawn(move || {
        tls.shutdown();
        without_runtime(tls.closed())
    });
    ends_properly(&mut idle, Then::Closes);
    server.closed(LONG);
    let report = waiting.join().unwrap();
    assert_eq!((report.clean, report.connections()), (1, 1), "{report}");
}

/// Nobody polls the connection any more, and the shutdown may not even be waited for.
#[test]
fn what_is_given_up_on_is_told_of() {
    for runs_on in [true, false] {
        let paused = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        let runtime = paused.unwrap();
        let (builder, connector) = pair(VERSIONS[1]);
        let tls = builder.build().unwrap();
        let (own, client) = tokio::io::duplex(64 * 1024);
        let _held = runtime.block_on(support::connect(&tls, &connector, own, client));
        runtime.block_on(async { tls.shutdown() });
        if runs_on {
            runtime.block_on(tls.closed());
        }
        drop(runtime);
        let report = without_runtime(tls.closed());
        assert_eq!((report.given_up, report.connections()), (1, 0), "{report}");
        assert!(report.deadline_reached && !report.is_clean(), "{report}");
        assert!(report.to_string().contains("1 given up on"), "{report}");
    }
}

/// A trigger is waited for where the connections are, whoever sets it up; without any runtime that is
/// said in the log.
#[test]
fn a_signal_may_be_waited_for_from_a_plain_thread() {
    let nowhere = pair(VERSIONS[1]).0.build().unwrap();
    nowhere.shutdown_on(graceful_tls::signal::terminate());

    let server = server();
    let mut idle = kept_alive(&server);
    server.tls.shutdown_on(graceful_tls::signal::terminate());
    let own = std::process::id().to_string();
    let killed = std::process::Command::new("kill").arg(own).status();
    assert!(killed.unwrap().success());
    ends_properly(&mut idle, Then::Closes);
    assert_eq!(server.closed(LONG).clean, 1);
    assert!(nowhere.is_ready());
}

/// The runtime of the connections goes: nobody waits for them for ever.
#[test]
fn the_end_comes_when_the_runtime_of_the_connections_is_dropped() {
    for begun in [false, true] {
        let server = server();
        let mut idle = kept_alive(&server);
        let tls = server.tls.clone();
        if begun {
            tls.shutdown();
            thread::sleep(LAME_DUCK / 3);
        }
        let since = Instant::now();
        server.runtime.shutdown_timeout(Duration::from_secs(1));
        short_lived(async {
            tls.shutdown();
            let closed = timeout(2 * LONG, tls.closed()).await;
            closed.expect("closed in time");
        });
        assert!(since.elapsed() < 2 * LONG);
        // What became of it was decided when its task was dropped.
        let ending = idle.finish();
        assert!(ending.is_proper(), "{ending:?}");
    }
}

/// Who hurries may not come back, nor who is closed: also where that is because the runtime of the
/// shutdown has gone, in its lame duck.
#[test]
fn a_shutdown_that_hurries_or_is_over_is_not_called_off() {
    let server = || {
        let (builder, _) = pair(VERSIONS[1]);
        builder.lame_duck(LONG).build().unwrap()
    };
    let tls = server();
    short_lived(async {
        tls.shutdown();
        assert!(tls.resume() && tls.is_ready(), "in the lame duck");
        // Nobody else runs between these two.
        tls.shutdown_now();
        assert!(!tls.resume(), "in a hurry");
        let closed = timeout(LONG, tls.closed()).await;
        closed.expect("closed in time");
        assert!(!tls.resume() && !tls.is_ready(), "closed");
    });
    let tls = server();
    short_lived(async { tls.shutdown() });
    assert!(!tls.resume() && !tls.is_ready(), "without a runtime");
}

/// A server that has never had a connection.
#[test]
fn the_end_of_nothing_comes_at_once() {
    for (name, begins) in BEGINNINGS {
        let (builder, _) = pair(VERSIONS[1]);
        let tls = builder.lame_duck(LAME_DUCK).build().unwrap();
        let copy = tls.clone();
        let beginning = thread::spawn(move || begins(copy));
        short_lived(async {
            let closed = timeout(Duration::from_secs(5), tls.closed()).await;
            let report = closed.unwrap_or_else(|_| panic!("{name}: not closed in time"));
            assert_eq!(report.connections(), 0, "{name}: {report}");
        });
        beginning.join().unwrap();
    }
}
