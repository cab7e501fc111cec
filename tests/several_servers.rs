//! Servers that share a shutdown: one trigger, one deadline, one report, in which the listeners are told
//! apart.

mod support;
mod testbed;

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use graceful_tls::{
    BuildError, Builder, Drain, GracefulTls, ListenerReport, Phase, Report, TlsConnection,
    in_memory,
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use support::{VERSIONS, pair};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot, time::sleep};
use tower::service_fn;
use wire::{Client, Options, Version};

const SECOND: Duration = Duration::from_secs(1);

fn builder(version: usize) -> Builder {
    pair(VERSIONS[version]).0.lame_duck(Duration::ZERO)
}

/// Answers when it is told to: `/` at once, `/500` after so many milliseconds.
async fn hello(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let ms = request.uri().path()[1..].parse().unwrap_or(0);
    sleep(Duration::from_millis(ms)).await;
    Ok(Response::new(Full::new(Bytes::from("hello"))))
}

/// Serves on a free port of `host`.
fn serve(runtime: &Runtime, tls: &GracefulTls, host: &str) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind((host, 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let tls = tls.clone();
    runtime.spawn(async move { tls.serve(listener, service_fn(hello)).await });
    address
}

fn connect(address: SocketAddr, version: usize) -> Client {
    let options = Options::new().version(Version::BOTH[version]).http1();
    Client::connect_with(address, &options).unwrap()
}

fn of(report: &Report, address: SocketAddr) -> &ListenerReport {
    let mut listeners = report.listeners.iter();
    listeners
        .find(|of| of.address == Some(address))
        .unwrap_or_else(|| panic!("{address}: {report}"))
}

#[test]
fn one_trigger_ends_all_and_one_report_tells_them_apart() {
    for version in 0..2 {
        let runtime = Runtime::new().unwrap();
        let tls = builder(version).name("public").build().unwrap();
        let admin = builder(version).name("admin");
        let admin = admin.shutdown_with(&tls).build().unwrap();
        let v4 = serve(&runtime, &tls, "127.0.0.1");
        let v6 = serve(&runtime, &tls, "::1");
        let internal = serve(&runtime, &admin, "127.0.0.1");
        let nobody = serve(&runtime, &admin, "127.0.0.1");

        let mut idle: Vec<_> = [v4, v6, v6].map(|at| connect(at, version)).into();
        for client in &mut idle {
            assert_eq!(client.get("/").unwrap().text(), "hello");
        }
        let mut busy: Vec<_> = [v4, internal, internal]
            .map(|at| connect(at, version))
            .into();
        for client in &mut busy {
            client.send("GET /500 HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
        // Whichever it is.
        admin.shutdown();
        for client in idle.iter_mut().chain(&mut busy) {
            let ending = client.finish();
            assert!(ending.is_proper(), "{ending:?}");
            client.close().unwrap();
        }
        for client in &busy {
            assert!(client.unread().ends_with(b"hello"), "{client:?}");
        }
        let report = runtime.block_on(tls.closed());
        assert_eq!(report, runtime.block_on(admin.closed()));
        assert!(!report.deadline_reached, "{report}");
        assert_eq!((report.connections(), report.clean), (6, 6), "{report}");
        for (address, name, clean) in [
            (v4, "public", 2),
            (v6, "public", 2),
            (internal, "admin", 2),
            (nobody, "admin", 0),
        ] {
            let of = of(&report, address);
            assert_eq!(of.name.as_deref(), Some(name), "{report}");
            assert_eq!((of.connections(), of.clean), (clean, clean), "{report}");
        }
        let line = format!("admin {internal}: 2 connections ended: 2 clean, ");
        assert!(report.to_string().contains(&line), "{report}");
    }
}

#[test]
fn they_have_one_deadline_and_settings_of_their_own() {
    let runtime = Runtime::new().unwrap();
    let tls = builder(1).shutdown_timeout(SECOND).build().unwrap();
    let admin = builder(1).keep_alive_timeout(SECOND / 2);
    let admin = admin.shutdown_with(&tls).build().unwrap();
    let (public, internal) = (
        serve(&runtime, &tls, "127.0.0.1"),
        serve(&runtime, &admin, "127.0.0.1"),
    );
    // The keep-alive time-out of one is not the other's.
    let (mut stays, mut goes) = (connect(public, 1), connect(internal, 1));
    let ending = goes.read_until_end(2 * SECOND);
    assert!(ending.is_proper(), "{ending:?}");
    assert_eq!(stays.get("/").unwrap().text(), "hello");

    let mut long = connect(internal, 1);
    long.send("GET /60000 HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    tls.shutdown();
    // Nothing of the answer had come, so its end is in order, though not what was asked for.
    let ending = long.read_until_end(3 * SECOND);
    let took = begun.elapsed();
    assert!(took >= SECOND && took < 2 * SECOND, "{took:?}: {ending:?}");
    drop((long, stays, goes));
    let report = runtime.block_on(admin.closed());
    assert!(report.deadline_reached, "{report}");
    assert_eq!(of(&report, internal).truncated, 1, "{report}");
}

/// A connection of one gives way to one of the other: descriptors are the process's.
#[test]
fn they_have_room_in_common() {
    let runtime = Runtime::new().unwrap();
    let tls = builder(1).max_connections(2).build().unwrap();
    let admin = builder(1).shutdown_with(&tls).build().unwrap();
    let (public, internal) = (
        serve(&runtime, &tls, "127.0.0.1"),
        serve(&runtime, &admin, "127.0.0.1"),
    );
    let mut idle = [connect(public, 1), connect(public, 1)];
    for client in &mut idle {
        assert_eq!(client.get("/").unwrap().text(), "hello");
    }
    assert_eq!(connect(internal, 1).get("/").unwrap().text(), "hello");
    let ending = idle[0].read_until_end(SECOND);
    assert!(ending.is_proper(), "{ending:?}");
}

/// The handshakes as well, or those of one would hold the places that the other waits for.
#[test]
fn silent_clients_of_one_lock_nobody_out_of_the_other() {
    let runtime = Runtime::new().unwrap();
    let tls = builder(1).max_connections(4).build().unwrap();
    let admin = builder(1).shutdown_with(&tls).build().unwrap();
    let (public, internal) = (
        serve(&runtime, &tls, "127.0.0.1"),
        serve(&runtime, &admin, "127.0.0.1"),
    );
    let flood = || -> Vec<_> {
        let silent = |_| TcpStream::connect(public).unwrap();
        (0..4).map(silent).collect()
    };
    // Alone, and while others wait behind them.
    let mut silent = flood();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        assert_eq!(connect(internal, 1).get("/").unwrap().text(), "hello");
        assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
        silent.extend(flood());
    }
}

#[test]
fn what_is_the_shutdowns_is_set_at_the_first() {
    let first = builder(1).max_connections(1000).build().unwrap();
    type Set = fn(Builder) -> Builder;
    let drain = |builder: Builder| {
        let mut drain = Drain::default();
        drain.max_connections = 10;
        builder.drain(drain)
    };
    let wrong: [(&str, Set); 9] = [
        ("lame_duck", |b| b.lame_duck(SECOND)),
        ("shutdown_timeout", |b| b.shutdown_timeout(SECOND)),
        ("idle_grace", |b| b.idle_grace(SECOND)),
        ("close_spread", |b| b.close_spread(SECOND)),
        ("lame_duck_goaway", |b| b.lame_duck_goaway(true)),
        ("patient_goaway", |b| b.patient_goaway(true)),
        ("max_connections", |b| b.max_connections(2000)),
        ("max_handshakes", |b| b.max_handshakes(2000)),
        ("drain.max_connections", drain),
    ];
    for (name, set) in wrong {
        let error = set(builder(1).shutdown_with(&first)).build().unwrap_err();
        assert!(
            matches!(error, BuildError::NotShared { setting } if setting == name),
            "{name}: {error}"
        );
        assert!(error.to_string().starts_with(name), "{error}");
    }
    // The same may be said again.
    let same = builder(1).max_connections(1000).shutdown_with(&first);
    same.build().unwrap();
}

/// Whichever is named as the first, it is the same shutdown.
#[test]
fn the_settings_of_the_first_are_those_of_all() {
    let builder = || pair(VERSIONS[1]).0;
    let mut drain = Drain::default();
    drain.max_connections = 10;
    let first = builder().lame_duck(10 * SECOND).max_handshakes(7);
    let first = first.drain(drain.clone()).build().unwrap();
    let second = builder().shutdown_with(&first).build().unwrap();
    let shown = format!("{second:?}");
    for setting in ["lame_duck: 10s", "max_handshakes: 7", "max_connections: 10"] {
        assert!(shown.contains(setting), "{setting}: {shown}");
    }
    let third = builder().lame_duck(10 * SECOND).max_handshakes(7);
    let third = third.drain(drain).shutdown_with(&second);
    third.build().unwrap();
    let third = builder().lame_duck(SECOND).shutdown_with(&second);
    let error = third.build().unwrap_err();
    assert!(error.to_string().starts_with("lame_duck"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_is_alongside_is_waited_for_and_dropped_at_the_deadline() {
    let tls = builder(1).build().unwrap();
    let (ends, ended) = oneshot::channel::<()>();
    let draining = tls.reached(Phase::Draining);
    let other = tls.alongside(async move {
        draining.await;
        sleep(5 * SECOND).await;
        drop(ends);
        "done"
    });
    let other = tokio::spawn(other);
    // Nobody waits for what is given up.
    drop(tls.alongside(std::future::pending::<()>()));
    tls.shutdown();
    let report = tls.closed().await;
    assert!(
        !report.deadline_reached && report.took >= 5 * SECOND,
        "{report}"
    );
    assert!(ended.await.is_err());
    assert_eq!(other.await.unwrap(), Some("done"));

    let tls = builder(1).shutdown_timeout(SECOND).build().unwrap();
    let endless = tokio::spawn(tls.alongside(std::future::pending::<()>()));
    let _never_polled = tls.alongside(std::future::pending::<()>());
    tls.shutdown();
    let report = tls.closed().await;
    assert!(
        report.deadline_reached && report.took < 2 * SECOND,
        "{report}"
    );
    assert_eq!(endless.await.unwrap(), None);
}

/// Connections that come through an accept loop of the user's own, or a listener without an address.
#[tokio::test]
async fn what_comes_from_elsewhere_has_a_place_too() {
    let (builder, connector) = pair(VERSIONS[1]);
    let tls = builder.name("tests").build().unwrap();
    let (own, client) = tokio::io::duplex(64 * 1024);
    let (stream, client) = support::connect(&tls, &connector, own, client).await;
    let connection: TlsConnection = stream.connection().clone();
    let (connecting, listener) = in_memory(64 * 1024);
    let serving = tls.clone();
    let server = tokio::spawn(async move { serving.serve(listener, service_fn(hello)).await });
    drop(connection);
    tls.shutdown();
    drop((stream, client, connecting));
    let report = server.await.unwrap().unwrap();
    assert_eq!(report.listeners.len(), 1, "{report}");
    let listener = &report.listeners[0];
    assert_eq!((listener.address, listener.connections()), (None, 1));
    assert_eq!(listener.name.as_deref(), Some("tests"));
}

#[test]
fn the_example_redirects_and_stops_as_one() {
    let mut child = Command::new(processes::example("several_servers"))
        .arg("0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let (public, admin, plain) = (next(), next(), next());
    let address = |line: &str| -> SocketAddr {
        let (_, address) = line.rsplit_once("//").unwrap();
        address.parse().unwrap()
    };
    let mut redirected = TcpStream::connect(address(&plain)).unwrap();
    let request = b"GET /a?b HTTP/1.1\r\nhost: a\r\n\r\n";
    redirected.write_all(request).unwrap();
    let mut clients = [connect(address(&public), 1), connect(address(&admin), 1)];
    assert_eq!(clients[0].get("/").unwrap().text(), "hello\n");
    assert_eq!(clients[1].get("/").unwrap().text(), "all is well\n");
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.unwrap().success());
    for client in &mut clients {
        let ending = client.finish();
        assert!(ending.is_proper(), "{ending:?}");
        client.close().unwrap();
    }
    let mut answer = String::new();
    redirected.read_to_string(&mut answer).unwrap();
    let (_, v4_on) = public.split_once("https://").unwrap();
    let (v4, _) = v4_on.split_once(' ').unwrap();
    let location = format!("location: https://{v4}/a?b\r\n");
    assert!(
        answer.contains(" 308 ") && answer.contains(&location),
        "{answer}"
    );
    let report = next();
    assert!(report.contains("2 connections ended: 2 clean"), "{report}");
    for line in [
        "; public 127.0.0.1:",
        "; public [::1]:",
        "; admin 127.0.0.1:",
    ] {
        assert!(report.contains(line), "{report}");
    }
    assert!(child.wait().unwrap().success());
}
