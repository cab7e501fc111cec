//! The options of sockets, asked of the kernel: on Linux those of the listener, which what it accepts
//! inherits.
#![cfg(target_os = "linux")]

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use axum::Router;
use graceful_tls::{Builder, GracefulTls, TcpKeepalive};
use socket2::{SockRef, Socket};
use support::{VERSIONS, pair};
use tokio::{net::TcpListener, time::sleep};

const S: Duration = Duration::from_secs(1);

type Serve = fn(GracefulTls, TcpListener);

const SERVERS: [(&str, Serve); 3] = [
    ("hyper", |tls, listener| {
        tokio::spawn(async move { tls.serve(listener, Router::new()).await });
    }),
    ("axum", |tls, listener| {
        tokio::spawn(async move { axum::serve(tls.listener(listener), Router::new()).await });
    }),
    ("axum-server", |tls, listener| {
        let server = tls.axum_server(listener, axum_server::Handle::new());
        tokio::spawn(server.serve(Router::new().into_make_service()));
    }),
];

/// A server's socket options.
#[derive(Debug, Eq, PartialEq)]
struct Set {
    no_delay: bool,
    unsent: u32,
    /// Idle, interval and count.
    keepalive: Option<(Duration, Duration, u32)>,
}

impl Set {
    fn of(socket: &SockRef<'_>) -> Self {
        let times = || {
            (
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
                socket.tcp_keepalive_retries().unwrap(),
            )
        };
        Self {
            no_delay: socket.tcp_nodelay().unwrap(),
            unsent: socket.tcp_notsent_lowat().unwrap(),
            keepalive: socket.keepalive().unwrap().then(times),
        }
    }

    fn expected(keepalive: Option<(u64, u64, u32)>) -> Self {
        Self {
            no_delay: true,
            unsent: 128 * 1024,
            keepalive: keepalive.map(|(idle, every, count)| {
                (Duration::from_secs(idle), Duration::from_secs(every), count)
            }),
        }
    }
}

/// A listener, and another handle to its socket.
async fn listen(prepare: impl FnOnce(&SockRef<'_>)) -> (TcpListener, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = SockRef::from(&listener).try_clone().unwrap();
    prepare(&SockRef::from(&socket));
    (listener, socket)
}

fn builder() -> Builder {
    pair(VERSIONS[1]).0
}

/// When TCP asks next whether the client is there, of the server's socket for it.
fn asked_in(server: SocketAddr, client: SocketAddr) -> Option<Duration> {
    let hex = |addr: SocketAddr| format!("0100007F:{:04X}", addr.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let row = table.lines().map(|line| line.split_whitespace());
    let mut row = row.map(Iterator::collect::<Vec<_>>);
    let row = row.find(|row| row[1] == hex(server) && row[2] == hex(client))?;
    // USER_HZ is 100 wherever Linux runs.
    let ticks = row[5].strip_prefix("02:")?;
    Some(Duration::from_millis(
        u64::from_str_radix(ticks, 16).unwrap() * 10,
    ))
}

/// Waits for TCP to be told, of a client that says nothing.
async fn is_asked_within(server: SocketAddr, client: &TcpStream, most: Duration) -> bool {
    for _ in 0..100 {
        if asked_in(server, client.local_addr().unwrap()).is_some_and(|due| due <= most) {
            return true;
        }
        sleep(S / 50).await;
    }
    false
}

#[tokio::test]
async fn the_listener_has_the_options_and_what_it_accepts_inherits_them() {
    for (name, serve) in SERVERS {
        let (listener, socket) = listen(|_| ()).await;
        let addr = listener.local_addr().unwrap();
        // In the queue before the listener is prepared, so that nothing is inherited.
        let queued = [0; 3].map(|_| TcpStream::connect(addr).unwrap());
        let asked = asked_in(addr, queued[0].local_addr().unwrap());
        assert_eq!(asked, None, "{name}");
        serve(builder().build().unwrap(), listener);
        for client in &queued {
            assert!(is_asked_within(addr, client, 15 * S).await, "{name}");
        }
        let set = Set::expected(Some((15, 15, 7)));
        assert_eq!(Set::of(&SockRef::from(&socket)), set, "{name}");
        let client = TcpStream::connect(addr).unwrap();
        assert!(is_asked_within(addr, &client, 15 * S).await, "{name}");
    }
}

#[tokio::test]
async fn what_is_set_is_what_was_asked_for() {
    let keepalive = TcpKeepalive::default().idle(5 * S).interval(2 * S).count(3);
    let kept = |socket: &SockRef<'_>| {
        let times = socket2::TcpKeepalive::new().with_time(60 * S);
        socket
            .set_tcp_keepalive(&times.with_interval(9 * S).with_retries(4))
            .unwrap();
    };
    let none = |_: &SockRef<'_>| ();
    type Prepare<'a> = &'a dyn Fn(&SockRef<'_>);
    let cases: [(&str, Prepare<'_>, Builder, Set); 5] = [
        (
            "the default",
            &none,
            builder(),
            Set::expected(Some((15, 15, 7))),
        ),
        (
            "its own",
            &none,
            builder().tcp_keepalive(keepalive),
            Set::expected(Some((5, 2, 3))),
        ),
        (
            "none",
            &none,
            builder().tcp_keepalive(None),
            Set::expected(None),
        ),
        (
            "what the user has set before stays",
            &kept,
            builder(),
            Set::expected(Some((60, 9, 4))),
        ),
        (
            "but for what the user sets here",
            &kept,
            builder().tcp_keepalive(keepalive),
            Set::expected(Some((5, 2, 3))),
        ),
    ];
    for (name, prepare, builder, set) in cases {
        let tls = builder.build().unwrap();
        // The same where there is only the accepted socket.
        let (listener, _socket) = listen(prepare).await;
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let socket = SockRef::from(&accepted).try_clone().unwrap();
        let handshake = tokio::spawn({
            let acceptor = tls.acceptor();
            async move { acceptor.accept(accepted).await }
        });
        sleep(S / 20).await;
        assert_eq!(Set::of(&SockRef::from(&socket)), set, "accepted: {name}");
        handshake.abort();

        let (listener, socket) = listen(prepare).await;
        tokio::spawn(async move { tls.serve(listener, Router::new()).await });
        sleep(S / 20).await;
        assert_eq!(Set::of(&SockRef::from(&socket)), set, "listener: {name}");
    }
}
