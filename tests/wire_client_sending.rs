//! The sending side of the wire-level client, and how it behaves towards servers in distress:
//! what they see of it, handshakes which go nowhere, and readers which are slow or do not read.

mod misbehave;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use misbehave::{
    Peer, Server, make_reset, serve_tcp, serve_tls, server_config, server_config_for, test_cert,
};
use wire::{Client, End, Options, RawTcp, Version, half_client_hello};

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(5);
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn serve(behave: impl Fn(&mut Peer) + Send + 'static) -> Server {
    serve_tls(Arc::new(server_config(&[])), 1, behave)
}

#[test]
fn what_the_server_sees() {
    for version in Version::BOTH {
        let (tell, told) = mpsc::channel();
        let server = serve_tls(Arc::new(server_config(&[])), 4, move |peer| {
            let mut buffer = [0; 4096];
            let raw = peer.tcp.peek(&mut buffer).map_err(|error| error.kind());
            let text = peer.hear();
            let closed = peer
                .conn
                .process_new_packets()
                .map(|io| io.peer_has_closed());
            let next = peer.tcp.read(&mut buffer).map_err(|error| error.kind());
            tell.send((raw, text, closed.unwrap_or(false), next))
                .unwrap();
        });
        let options = Options::new().version(version);
        let connect = || {
            let client = Client::connect_with(server.addr, &options).unwrap();
            // Until the server is done with the handshake, it might read more than that.
            sleep(SHORT);
            client
        };

        // A request and close_notify in one write, then a FIN.
        let mut client = connect();
        let mut bytes = client.encrypt_only(REQUEST);
        bytes.extend(client.close_notify_bytes());
        client.send_raw(&bytes).unwrap();
        client.fin().unwrap();
        let seen = (Ok(bytes.len()), REQUEST.as_bytes().to_vec(), true, Ok(0));
        assert_eq!(told.recv_timeout(LONG).unwrap(), seen, "{client:?}");

        // A FIN with no close_notify.
        let mut client = connect();
        client.send("x").unwrap();
        client.fin().unwrap();
        let (_, text, closed, next) = told.recv_timeout(LONG).unwrap();
        assert_eq!(
            (text.as_slice(), closed, next),
            (&b"x"[..], false, Ok(0)),
            "{client:?}"
        );

        // A RST.
        let mut client = connect();
        client.send("x").unwrap();
        sleep(SHORT);
        client.reset().unwrap();
        let (_, text, _, next) = told.recv_timeout(LONG).unwrap();
        assert_eq!(text, b"x", "{client:?}");
        assert_eq!(next, Err(ErrorKind::ConnectionReset), "{client:?}");
        assert!(matches!(client.finish().end, End::Ours(_)), "{client:?}");

        // Half a record.
        let mut client = connect();
        let sealed = client.encrypt_only(REQUEST);
        client.send_raw(&sealed[..sealed.len() / 2]).unwrap();
        client.fin().unwrap();
        let (raw, text, _, _) = told.recv_timeout(LONG).unwrap();
        assert_eq!((raw, text.len()), (Ok(sealed.len() / 2), 0), "{client:?}");
        server.join();
    }
}

#[test]
fn handshakes_which_go_nowhere() {
    let server = serve_tcp(3, |mut tcp| {
        tcp.set_read_timeout(Some(SHORT)).unwrap();
        while tcp.read(&mut [0; 1024]).is_ok() {}
    });
    let silent = RawTcp::connect(server.addr).unwrap();
    let stalled = RawTcp::stalled_handshake;
    let by_hand = |addr| {
        let mut client = RawTcp::connect(addr)?;
        client.send_raw(half_client_hello()).map(|()| client)
    };
    let mut clients = vec![
        silent,
        stalled(server.addr).unwrap(),
        by_hand(server.addr).unwrap(),
    ];
    assert!(clients[0].wait_held(LONG), "{:?}", clients[0]);
    for client in &mut clients {
        let ending = client.finish();
        assert!(
            ending.is_clean_fin() && ending.bytes.is_empty(),
            "{ending:?}"
        );
        assert!(client.held_for(LONG).is_some(), "{client:?}");
    }
    server.join();

    let server = serve_tcp(1, |tcp| {
        sleep(4 * SHORT);
        drop(tcp);
    });
    let start = Instant::now();
    let error = Client::connect_with(server.addr, &Options::new().timeout(SHORT)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() < 3 * SHORT);
    server.join();
}

#[test]
fn garbage_on_the_tls_port() {
    let server = serve(|_| {});
    let mut client = RawTcp::connect(server.addr).unwrap();
    client.send_raw("GET / HTTP/1.1\r\n\r\n").unwrap();
    let ending = client.finish();
    assert!(ending.alert_kind().is_some(), "{ending:?}");
    server.join();
    let server = serve_tcp(1, |mut tcp| {
        let _ = tcp.read(&mut [0]).unwrap();
        make_reset(&tcp);
    });
    let mut client = RawTcp::connect(server.addr).unwrap();
    client.send_raw("?").unwrap();
    let ending = client.finish();
    assert!(matches!(ending.end, End::Reset(_)), "{ending:?}");
    server.join();
}

#[test]
fn slow_reader() {
    const SIZE: usize = 3 << 20;
    let (tell, told) = mpsc::channel();
    let server = serve(move |peer| {
        let sealed = peer.seal(&vec![b'x'; SIZE]);
        peer.tcp.set_write_timeout(Some(SHORT)).unwrap();
        tell.send(peer.tcp.write_all(&sealed).map_err(|e| e.kind()))
            .unwrap();
        peer.make_reset();
    });
    let options = Options::new().recv_buffer(4096).read_chunk(100);
    let mut client = Client::connect_with(server.addr, &options).unwrap();
    assert_eq!(
        told.recv_timeout(LONG).unwrap(),
        Err(ErrorKind::WouldBlock),
        "{client:?}"
    );
    let ending = client.finish();
    assert!(ending.bytes.len() < SIZE && ending.is_reset(), "{ending:?}");
    server.join();
}

#[test]
fn server_which_does_not_read() {
    let (release, released) = mpsc::channel::<()>();
    let server = serve(move |peer| {
        let _ = released.recv();
        peer.say(RESPONSE);
        while !peer.hear().is_empty() {}
        peer.notify();
    });
    let mut client = Client::connect(server.addr).unwrap();
    let start = Instant::now();
    let error = client.send_for(vec![b'x'; 16 << 20], SHORT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{client:?}");
    assert!(client.unsent() > 0 && start.elapsed() < LONG, "{client:?}");
    assert!(
        client.server_row().is_some_and(|row| row.unread > 0),
        "{client:?}"
    );
    drop(release);
    client.send_while_reading("").unwrap();
    client.send_close_notify().unwrap();
    assert_eq!(client.read_response().unwrap().text(), "hello");
    assert!(client.finish().is_proper(), "{client:?}");
    server.join();
}

#[test]
fn resumption_alpn_and_client_certificates() {
    for version in Version::BOTH {
        let config = Arc::new(server_config(&["h2", "http/1.1"]));
        let server = serve_tls(config, 4, |peer| {
            peer.say(RESPONSE);
            peer.notify();
        });
        let options = Options::new().version(version).http1();
        for (options, resumed) in [(options.clone(), false), (options.resuming(), true)] {
            for again in [false, true] {
                let mut client = Client::connect_with(server.addr, &options).unwrap();
                assert_eq!(client.alpn().as_deref(), Some("http/1.1"), "{client:?}");
                assert_eq!(client.resumed(), resumed && again, "{client:?}");
                assert!(client.finish().is_proper(), "{client:?}");
            }
        }
        server.join();

        let (cert, key) = test_cert();
        let server = serve_tls(Arc::new(server_config_for(cert.clone())), 2, |peer| {
            peer.notify()
        });
        let options = Options::new().version(version);
        let shown = options.clone().client_cert(cert, key);
        let mut client = Client::connect_with(server.addr, &shown).unwrap();
        assert!(client.finish().is_proper(), "{client:?}");
        let mut client = Client::open(server.addr, &options).unwrap();
        let _ = client.handshake();
        assert!(client.finish().alert_kind().is_some(), "{client:?}");
        server.join();
    }
}

#[test]
fn descriptors_of_ipv6_servers() {
    // A machine without IPv6 has nothing to find here.
    let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else {
        return;
    };
    let port = listener.local_addr().unwrap().port();
    for ip in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ] {
        let client = RawTcp::connect((ip, port).into()).unwrap();
        assert!(!client.server_holds(), "not accepted yet: {client:?}");
        let (accepted, _) = listener.accept().unwrap();
        assert!(client.server_holds(), "{client:?}");
        drop(accepted);
        assert!(client.held_for(LONG).is_some(), "{client:?}");
    }
}
