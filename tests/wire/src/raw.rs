//! TCP and nothing else: plain HTTP, garbage, and handshakes which never get anywhere.

use std::io;
use std::net::SocketAddr;

use super::connection::Connection;
use super::layer::{Layer, Plain};
use super::options::Options;
use super::tls::Client;

/// A client without TLS.
pub type RawTcp = Connection<Plain>;

impl RawTcp {
    /// Connects and sends nothing: on a TLS port, that is a handshake which never starts.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::connect_with(addr, &Options::new())
    }

    /// Connects with the options which concern TCP.
    pub fn connect_with(addr: SocketAddr, options: &Options) -> io::Result<Self> {
        Self::dial(addr, options, Plain::default())
    }

    /// Connects, sends half a ClientHello, and leaves the server waiting for the other half.
    pub fn stalled_handshake(addr: SocketAddr) -> io::Result<Self> {
        let mut client = Client::open(addr, &Options::new())?;
        client.send_half_client_hello()?;
        Ok(client.into_raw())
    }
}

impl Client {
    /// Sends the first half of the ClientHello.
    pub fn send_half_client_hello(&mut self) -> io::Result<()> {
        let hello = self.encrypt_only("");
        self.send_raw(&hello[..hello.len() / 2])
    }
}

impl<L: Layer> Connection<L> {
    /// Goes on without the layer: what was received is kept, nothing is decrypted any more.
    pub fn into_raw(self) -> RawTcp {
        Connection {
            socket: self.socket,
            layer: Plain::default(),
            heard: self.heard,
            story: self.story,
            timeout: self.timeout,
            most_bytes: self.most_bytes,
        }
    }
}

/// The first half of a ClientHello, for a connection which a test has already.
pub fn half_client_hello() -> Vec<u8> {
    let body = [0xab; 100];
    let mut half = vec![22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3];
    half.extend_from_slice(&body);
    half
}
