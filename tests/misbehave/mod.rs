//! Tiny servers which end connections badly on purpose.
//!
//! They exist to prove that the client tells one ending from another.  Each serves one connection
//! on a thread of its own, with blocking rustls and no runtime, and does exactly what the closure
//! given to it says.

#![allow(dead_code)]

mod cert;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;

pub use cert::test_cert;

/// A server which is running, or has run.
pub struct Server {
    pub addr: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    /// Waits until the server has done all it was told; a panic there is one here.
    pub fn join(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Serves TLS on as many connections as the closure is to see, one after the other.
pub fn serve_tls(
    config: Arc<ServerConfig>,
    connections: usize,
    behave: impl Fn(&mut Peer) + Send + 'static,
) -> Server {
    serve_tcp(connections, move |tcp| {
        let mut peer = Peer::new(tcp, config.clone());
        peer.handshake();
        behave(&mut peer);
    })
}

/// Serves TCP with no more than that.
pub fn serve_tcp(connections: usize, behave: impl Fn(TcpStream) + Send + 'static) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let addr = listener.local_addr().expect("local address");
    let thread = thread::spawn(move || {
        for _ in 0..connections {
            let (tcp, _) = listener.accept().expect("accept");
            let patience = Some(Duration::from_secs(10));
            tcp.set_nodelay(true).expect("set nodelay");
            tcp.set_read_timeout(patience).expect("set timeout");
            tcp.set_write_timeout(patience).expect("set timeout");
            behave(tcp);
        }
    });
    Server { addr, thread }
}

/// Serves TLS on any number of connections at once, for as long as the test runs.
pub fn serve_tls_for_ever(
    config: Arc<ServerConfig>,
    behave: impl Fn(Peer) + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let addr = listener.local_addr().expect("local address");
    thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let (config, behave) = (config.clone(), behave.clone());
            thread::spawn(move || {
                let mut peer = Peer::new(tcp, config);
                peer.handshake();
                behave(peer);
            });
        }
    });
    addr
}

/// Both TLS versions, a fresh certificate, and these protocols.
pub fn server_config(alpn: &[&str]) -> ServerConfig {
    let (cert, key) = test_cert();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("both versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert], key)
        .expect("a usable certificate");
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config
}

/// Like `server_config`, and only this very client certificate will do.
pub fn server_config_for(client: CertificateDer<'static>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(client).expect("a usable root");
    let (cert, key) = test_cert();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    );
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("both versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![cert], key)
        .expect("a usable certificate")
}

/// The server's end of a connection.
pub struct Peer {
    pub tcp: TcpStream,
    pub conn: ServerConnection,
    /// TLS has failed; nothing more can be heard.
    failed: bool,
}

impl Peer {
    fn new(tcp: TcpStream, config: Arc<ServerConfig>) -> Self {
        let mut conn = ServerConnection::new(config).expect("a server connection");
        conn.set_buffer_limit(None);
        Self {
            tcp,
            conn,
            failed: false,
        }
    }

    /// Completes the handshake, or fails at it; the client sees which.
    fn handshake(&mut self) {
        while self.conn.is_handshaking() && !self.failed {
            self.failed = self.conn.complete_io(&mut self.tcp).is_err();
        }
        self.flush();
    }

    /// Sends what rustls wants sent, such as an alert.
    pub fn flush(&mut self) {
        while self.conn.wants_write() && self.conn.write_tls(&mut self.tcp).is_ok() {}
    }

    /// The bytes of the records for this plaintext.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        self.conn.writer().write_all(plaintext).expect("buffer");
        let mut sealed = Vec::new();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut sealed).expect("write to memory");
        }
        sealed
    }

    /// Sends plaintext.
    pub fn say(&mut self, plaintext: impl AsRef<[u8]>) {
        let sealed = self.seal(plaintext.as_ref());
        self.tcp.write_all(&sealed).expect("send");
    }

    /// Reads once and returns the plaintext; an error or the end is an empty answer.
    pub fn hear(&mut self) -> Vec<u8> {
        let mut text = vec![0; 1 << 16];
        loop {
            match self.conn.reader().read(&mut text) {
                Ok(n) => {
                    text.truncate(n);
                    return text;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Vec::new(),
            }
            if self.failed || self.receive().is_err() {
                return Vec::new();
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        self.conn.read_tls(&mut self.tcp)?;
        let processed = self.conn.process_new_packets();
        self.flush();
        processed.map(|_| ()).map_err(io::Error::other)
    }

    /// Reads until the request's head is whole.
    pub fn hear_request(&mut self) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let more = self.hear();
            assert!(!more.is_empty(), "no request but {request:?}");
            request.extend(more);
        }
        String::from_utf8(request).expect("a request of text")
    }

    /// Sends close_notify.
    pub fn notify(&mut self) {
        self.conn.send_close_notify();
        self.flush();
    }

    /// Sends a FIN and keeps the descriptor.
    pub fn fin(&self) {
        self.tcp.shutdown(Shutdown::Write).expect("send a FIN");
    }

    /// Lets the descriptor's end be a RST.
    pub fn make_reset(&self) {
        make_reset(&self.tcp);
    }
}

/// Lets a socket's end be a RST.
pub fn make_reset(tcp: &TcpStream) {
    let socket = SockRef::from(tcp);
    socket.set_linger(Some(Duration::ZERO)).expect("set linger");
}
