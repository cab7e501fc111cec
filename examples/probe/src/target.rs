//! The server: where it is, whether it may be probed, and what it speaks.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::ServerCertVerifier;

use crate::args::Args;
use crate::process::is_listening;
use crate::stage::{MOST_BYTES, Stage};
use crate::trust;
use wire::{Client, Options, Version};

/// How long the server may take for anything before the scenarios begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// A URL, taken apart.
#[derive(Clone, Debug)]
pub struct Target {
    pub url: String,
    /// As it stands in `Host`.
    pub authority: String,
    pub server_name: String,
    pub addr: SocketAddr,
    /// The URL named no port.
    default_port: bool,
}

/// What the server speaks.
#[derive(Clone, Debug)]
pub struct Facts {
    pub versions: Vec<Version>,
    pub http1: bool,
    pub http2: bool,
    /// The `Server` header.
    pub software: Option<String>,
    /// The server's descriptors are rows of this machine's `/proc/net/tcp`.
    pub sees_descriptors: bool,
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, String> {
        let example = "give one as in https://127.0.0.1:8443";
        let uri: http::Uri = url
            .parse()
            .map_err(|error| format!("{url}: {error}: {example}"))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") => return Err(format!("{url}: plain HTTP has no TLS to end: {example}")),
            _ => return Err(format!("{url}: that is no https URL: {example}")),
        }
        let authority = uri
            .authority()
            .ok_or_else(|| format!("{url}: no host: {example}"))?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(format!("{url}: give the path with --path {}", uri.path()));
        }
        let server_name = authority.host().trim_matches(['[', ']']).to_string();
        let port = authority.port_u16().unwrap_or(443);
        let addr = resolve(&server_name, port).map_err(|error| format!("{url}: {error}"))?;
        Ok(Self {
            url: url.trim_end_matches('/').into(),
            authority: authority.to_string(),
            server_name,
            addr,
            default_port: authority.port().is_none(),
        })
    }

    /// The same host on another port.
    pub fn on_port(&self, port: u16) -> Self {
        let addr = SocketAddr::new(self.addr.ip(), port);
        let host = match self.server_name.contains(':') {
            true => format!("[{}]", self.server_name),
            false => self.server_name.clone(),
        };
        let authority = format!("{host}:{port}");
        Self {
            url: format!("https://{authority}"),
            authority,
            addr,
            ..self.clone()
        }
    }

    /// Whether that is this machine.
    pub fn is_loopback(&self) -> bool {
        self.addr.ip().is_loopback()
    }

    pub fn may_be_probed(&self, args: &Args) -> Result<(), String> {
        match self.is_loopback() || args.i_may_test_this_host {
            true => Ok(()),
            false => Err(format!(
                "{}: {} is not this machine, and a run makes about a hundred connections, some of \
                 them broken on purpose: add --i-may-test-this-host if you may",
                self.url,
                self.addr.ip()
            )),
        }
    }

    /// Who decides about the certificate; `None` takes any.
    fn trust(&self, args: &Args) -> Result<Option<Arc<dyn ServerCertVerifier>>, String> {
        match &args.ca {
            Some(file) => trust::file(file).map(Some),
            None if args.insecure || self.is_loopback() => Ok(None),
            None => trust::system().map(Some),
        }
    }

    /// Finds out what the server speaks; one line says what is wrong if that can't be.
    pub fn examine(&self, args: &Args) -> Result<Facts, String> {
        self.connect()?;
        let trust = self.trust(args)?;
        let mut facts = Facts {
            versions: Vec::new(),
            http1: false,
            http2: false,
            software: None,
            sees_descriptors: false,
        };
        let mut why = String::new();
        for version in [Version::Tls13, Version::Tls12] {
            match self.shake(version, &["h2", "http/1.1"], &trust) {
                Ok(client) => {
                    facts.versions.push(version);
                    facts.http2 |= client.alpn().as_deref() == Some("h2");
                    facts.sees_descriptors |= client.wait_held(Duration::from_millis(200));
                }
                Err(error) => why = error,
            }
        }
        if facts.versions.is_empty() {
            return Err(why);
        }
        self.examine_http(&mut facts, args)?;
        Ok(facts)
    }

    fn connect(&self) -> Result<(), String> {
        TcpStream::connect_timeout(&self.addr, PATIENCE)
            .map(|_| ())
            .map_err(|error| {
                let port = match self.default_port {
                    true => " (the URL names no port)",
                    false => "",
                };
                format!(
                    "{}: {}{port}: {error}: is the server running there?",
                    self.url, self.addr
                )
            })
    }

    /// A handshake; the error says what is wrong in one line.
    fn shake(
        &self,
        version: Version,
        protocols: &[&str],
        trust: &Option<Arc<dyn ServerCertVerifier>>,
    ) -> Result<Client, String> {
        let mut options = Options::new()
            .version(version)
            .alpn(protocols)
            .server_name(&self.server_name)
            .timeout(PATIENCE)
            .most_bytes(MOST_BYTES);
        if let Some(trust) = trust {
            options = options.verifier(trust.clone());
        }
        let failed = |error: io::Error| format!("{}: {error}", self.url);
        let mut client = Client::open(self.addr, &options).map_err(failed)?;
        match client.handshake() {
            Ok(()) => Ok(client),
            Err(_) => Err(format!("{}: {}", self.url, why_no_handshake(&client))),
        }
    }

    fn examine_http(&self, facts: &mut Facts, args: &Args) -> Result<(), String> {
        let version = facts.versions[0];
        let Ok(mut client) = self.shake(version, &["http/1.1"], &None) else {
            return Ok(());
        };
        let head = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
            args.path, self.authority
        );
        let answer = client
            .send(head)
            .and_then(|()| client.read_response_to("GET", PATIENCE));
        let wrong = |what: &str| Err(format!("{}{}: {what}", self.url, args.path));
        match answer {
            Ok(_) if client.is_full() => {
                wrong("that answers more than 8 MiB: choose less with --path")
            }
            Ok(answer) => {
                facts.http1 = true;
                facts.software = answer.header("server").map(String::from);
                Ok(())
            }
            // One that closes instead has something to be judged.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                facts.http1 = true;
                Ok(())
            }
            Err(_) if facts.http2 => Ok(()),
            Err(_) => wrong("no HTTP answer within 10 s: choose another with --path"),
        }
    }

    /// The server as the scenarios see it.
    pub fn stage(&self, args: &Args, facts: &Facts) -> Stage {
        Stage {
            addr: self.addr,
            authority: self.authority.clone(),
            server_name: self.server_name.clone(),
            version: Version::Tls13,
            path: args.path.clone(),
            upload_path: args.upload_path.as_ref().unwrap_or(&args.path).clone(),
            testbed: args.testbed,
            sees_descriptors: facts.sees_descriptors,
            deadline: Instant::now(),
        }
    }
}

/// The host's first address; of this machine's own, one that something listens on.
fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    let addrs = (host, port).to_socket_addrs();
    let mut addrs: Vec<_> = addrs.map_err(|error| error.to_string())?.collect();
    if addrs.iter().all(|addr| addr.ip().is_loopback()) {
        addrs.sort_by_key(|addr| (!is_listening(*addr), addr.is_ipv6()));
    }
    let first = addrs.first().copied();
    first.ok_or_else(|| format!("{host} has no address"))
}

fn why_no_handshake(client: &Client) -> String {
    let ending = client.ending();
    match (ending.tls_error, ending.alert) {
        (Some((error, _)), _) if error.contains("certificate") => format!(
            "{error}: name who signed it with --ca FILE, or take any certificate with --insecure"
        ),
        (Some((error, _)), _) => format!("that is not TLS: {error}: is it an https port?"),
        (_, Some((alert, _))) => format!("the server refuses the handshake: {alert:?}"),
        _ if ending.end == wire::End::StillOpen => {
            "no TLS handshake within 10 s: is it an https port?".into()
        }
        _ => "the server closes during the TLS handshake: is it an https port?".into(),
    }
}
