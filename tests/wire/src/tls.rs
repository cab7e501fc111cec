//! The TLS layer: rustls without its I/O, so that every byte passes through the test's hands.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, ClientConnection, Error, HandshakeKind, ProtocolVersion};

use super::connection::{Connection, Pumped};
use super::layer::{Heard, Layer};
use super::options::Options;
use super::records::{Records, clear_alert, record_name};
use super::story::Story;

/// A TLS client.
pub type Client = Connection<Tls>;

/// A rustls connection, and the record which has not come entirely.
#[derive(Debug)]
pub struct Tls {
    conn: ClientConnection,
    records: Records,
}

impl Tls {
    fn new(options: &Options) -> io::Result<Self> {
        let name = ServerName::try_from(options.server_name.clone()).map_err(io::Error::other)?;
        let config = options.config().map_err(io::Error::other)?;
        let mut conn = ClientConnection::new(config, name).map_err(io::Error::other)?;
        conn.set_buffer_limit(None);
        let records = Records::default();
        Ok(Self { conn, records })
    }

    /// Bytes which rustls wants sent.
    fn pending(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.conn.wants_write() && self.conn.write_tls(&mut out).is_ok() {}
        out
    }

    /// Hands one record to rustls and notes what it was.
    fn open_record(&mut self, record: &[u8], heard: &mut Heard, story: &mut Story) {
        if heard.is_over() {
            heard.ignored += record.len();
            story.tally("< bytes which nobody reads", record.len());
            return;
        }
        story.tally(&format!("< {}", record_name(record)), record.len());
        if let Some((_, 0)) = clear_alert(record) {
            return heard.close_notify(story);
        }
        let opened = self.process(record).map(|closed| {
            match self.drain(heard) {
                0 => {}
                n => _ = story.tally("< plaintext", n),
            }
            if closed {
                heard.close_notify(story);
            }
        });
        match opened {
            Ok(()) => {}
            Err(Error::AlertReceived(AlertDescription::CloseNotify)) => heard.close_notify(story),
            Err(Error::AlertReceived(kind)) => heard.fatal_alert(kind, story),
            Err(error) => {
                let at = story.note(format!("< unusable: {error}"));
                heard.tls_error = Some((error.to_string(), at));
            }
        }
    }

    /// Whether the peer has sent close_notify, by now.
    fn process(&mut self, mut record: &[u8]) -> Result<bool, Error> {
        let mut closed = false;
        while !record.is_empty() && !closed {
            let read = self.conn.read_tls(&mut record);
            read.map_err(|error| Error::General(error.to_string()))?;
            closed = self.conn.process_new_packets()?.peer_has_closed();
        }
        Ok(closed)
    }

    /// Takes the plaintext from rustls, and says how much it was.
    fn drain(&mut self, heard: &mut Heard) -> usize {
        let before = heard.plaintext.len();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = self.conn.reader().read(&mut buffer) {
            heard.plaintext.extend_from_slice(&buffer[..n]);
        }
        heard.plaintext.len() - before
    }
}

impl Layer for Tls {
    const ENDS_WITH_CLOSE_NOTIFY: bool = true;

    fn has_more(&self) -> bool {
        self.records.whole().is_some()
    }

    /// Opens one record at a time, so that whoever reads the plaintext tells the story in order.
    fn open(&mut self, raw: &[u8], heard: &mut Heard, story: &mut Story) -> Vec<u8> {
        self.records.push(raw);
        if let Some(record) = self.records.next() {
            self.open_record(&record, heard, story);
        }
        heard.partial_record = self.records.unfinished();
        if heard.tls_error.is_some() {
            // The alert which rustls would send now is left to the test: see `encrypt_only`.
            return Vec::new();
        }
        self.pending()
    }

    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        // Refused once nothing can be encrypted any more: then nothing of it is sent.
        let _ = self.conn.writer().write_all(plaintext);
        self.pending()
    }
}

impl Client {
    /// Connects with the default options and completes the handshake.
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::connect_with(addr, &Options::new())
    }

    /// Connects and completes the handshake; the error tells the story if that fails.
    pub fn connect_with(addr: SocketAddr, options: &Options) -> io::Result<Self> {
        let mut client = Self::open(addr, options)?;
        client.handshake()?;
        Ok(client)
    }

    /// Connects TCP and sends nothing.
    ///
    /// The ClientHello is what `encrypt_only("")` returns.
    pub fn open(addr: SocketAddr, options: &Options) -> io::Result<Self> {
        Self::dial(addr, options, Tls::new(options)?)
    }

    /// Completes the handshake.  After a failure, `finish` says how the server ended it.
    ///
    /// With TLS 1.3 the server may still object to what the client sent last: that alert is read
    /// with the first response.
    pub fn handshake(&mut self) -> io::Result<()> {
        let deadline = self.deadline();
        let hello = self.layer.pending();
        self.send_raw(hello)?;
        while self.layer.conn.is_handshaking() {
            let pumped = self.pump(deadline);
            if !self.layer.conn.is_handshaking() {
                break;
            }
            if pumped == Pumped::Ended || self.heard.is_over() {
                return Err(self.failure(ErrorKind::UnexpectedEof, "handshake failed"));
            }
            if Instant::now() >= deadline {
                return Err(self.failure(ErrorKind::TimedOut, "handshake timed out"));
            }
        }
        let version = match self.layer.conn.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS 1.3",
        };
        let alpn = self.alpn().unwrap_or("no protocol".into());
        let resumed = if self.resumed() { ", resumed" } else { "" };
        self.story
            .note(format!("handshake complete: {version}, {alpn}{resumed}"));
        Ok(())
    }

    /// Sends close_notify; reading goes on.
    pub fn send_close_notify(&mut self) -> io::Result<()> {
        let bytes = self.close_notify_bytes();
        self.send_raw(bytes)
    }

    /// The record which `send_close_notify` would write, for `send_raw`.  Nothing can be encrypted
    /// after it.
    pub fn close_notify_bytes(&mut self) -> Vec<u8> {
        self.story.note("> close_notify");
        self.layer.conn.send_close_notify();
        self.layer.pending()
    }

    /// The protocol which the server chose.
    pub fn alpn(&self) -> Option<String> {
        let protocol = self.layer.conn.alpn_protocol()?;
        Some(protocol.escape_ascii().to_string())
    }

    /// Whether the handshake resumed an earlier session.
    pub fn resumed(&self) -> bool {
        self.layer.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate which the server showed.
    pub fn server_cert(&self) -> Option<CertificateDer<'static>> {
        let chain = self.layer.conn.peer_certificates()?;
        Some(chain.first()?.clone().into_owned())
    }
}
