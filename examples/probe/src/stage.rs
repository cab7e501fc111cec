//! Where a scenario plays: the server, what is known of it, and the time there is.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::{Client, H2, H2Options, Options, Version};

/// More than this is not received on any connection.
pub const MOST_BYTES: usize = 8 << 20;

/// One scenario's view of the server.
#[derive(Clone, Debug)]
pub struct Stage {
    pub addr: SocketAddr,
    /// As it stands in `Host`.
    pub authority: String,
    pub server_name: String,
    /// The version to offer.
    pub version: Version,
    /// What to GET.
    pub path: String,
    /// Where to upload.
    pub upload_path: String,
    /// The server has the testbed's endpoints.
    pub testbed: bool,
    /// The server's descriptors are rows of this machine's `/proc/net/tcp`.
    pub sees_descriptors: bool,
    /// When the client loses patience.
    pub deadline: Instant,
}

impl Stage {
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Options that offer no protocol yet.
    pub fn options(&self) -> Options {
        Options::new()
            .version(self.version)
            .server_name(&self.server_name)
            .most_bytes(MOST_BYTES)
    }

    /// A client that has agreed on HTTP/1.1.
    pub fn http1(&self) -> io::Result<Client> {
        Client::connect_with(self.addr, &self.options().http1())
    }

    /// A client that has agreed on HTTP/2 and sent nothing.
    pub fn silent_h2(&self) -> io::Result<Client> {
        Client::connect_with(self.addr, &self.options().h2())
    }

    /// A client that has sent the preface and SETTINGS.
    pub fn http2(&self) -> io::Result<H2> {
        H2::start(self.silent_h2()?, H2Options::default())
    }

    /// The same scenario with that much time, from now on.
    pub fn for_another(&self, time: Duration) -> Self {
        Self {
            deadline: Instant::now() + time,
            ..self.clone()
        }
    }

    /// A request's head, in whole.
    pub fn request(&self, line: &str, fields: &str) -> String {
        format!("{line}\r\nHost: {}\r\n{fields}\r\n", self.authority)
    }

    /// The fields of an HTTP/2 request.
    pub fn fields<'a>(&'a self, method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
        [
            (":method", method),
            (":scheme", "https"),
            (":authority", &self.authority),
            (":path", path),
        ]
    }
}
