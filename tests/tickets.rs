//! Session tickets: who has the keys resumes the session, and nobody else; whatever else a client shows, it gets
//! a full handshake and no error.

mod support;
mod testbed;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use graceful_tls::{BuildError, GracefulTls, TicketKeys};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ProducesTickets, WebPkiClientVerifier},
};
use support::VERSIONS;
use tempfile::TempDir;
use testbed::Testbed;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::advance,
};
use tokio_rustls::TlsConnector;
use wire::{AnyCertificate, Client, Options, Version};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn made() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    (made.cert.der().clone(), key)
}

/// A server's configuration with a certificate of its own, which says who may come.
fn config(version: &'static SupportedProtocolVersion, asks: bool) -> ServerConfig {
    let (cert, key) = made();
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = match asks {
        false => builder.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(made().0).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(vec![cert], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

fn keys() -> TicketKeys {
    TicketKeys::new(&ring::default_provider()).unwrap()
}

/// Another process.
fn server(version: &'static SupportedProtocolVersion, keys: &TicketKeys) -> GracefulTls {
    let builder = GracefulTls::builder(config(version, false));
    builder.ticket_keys(keys.clone()).build().unwrap()
}

fn client(version: &'static SupportedProtocolVersion) -> TlsConnector {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Whether the session is resumed; the client has read its new tickets.
async fn resumes(tls: &GracefulTls, client: &TlsConnector) -> bool {
    let (server_io, client_io) = tokio::io::duplex(64 << 10);
    let (mut server, mut client) = support::connect(tls, client, server_io, client_io).await;
    let (closed, read) = tokio::join!(server.shutdown(), async {
        let read = client.read_to_end(&mut Vec::new()).await;
        client.shutdown().await.and(read)
    });
    closed.unwrap();
    read.unwrap();
    client.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[tokio::test]
async fn sessions_survive_a_restart_with_the_keys_and_not_without() {
    for version in VERSIONS {
        let old = keys();
        let before = server(version, &old);
        let handed = keys();
        handed.import(&old.export()).unwrap();
        let (with, without) = (server(version, &handed), server(version, &keys()));
        for (after, resumed) in [(&before, true), (&with, true), (&without, false)] {
            let client = client(version);
            assert!(!resumes(&before, &client).await);
            assert_eq!(resumes(after, &client).await, resumed, "{version:?}");
            // Whichever it was, from now on it is resumed here, and before too if the keys are the same.
            assert!(resumes(after, &client).await);
            assert_eq!(resumes(&before, &client).await, resumed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tickets_resume_until_they_expire_whatever_has_become_of_their_key() {
    for version in VERSIONS {
        for (hours, resumed) in [(1, true), (7, true), (11, true), (12, false), (40, false)] {
            let mut keys = keys();
            let client = client(version);
            let mut tls = server(version, &keys);
            assert!(!resumes(&tls, &client).await);
            for hour in 0..hours {
                assert!(!resumes(&tls, &self::client(version)).await);
                advance(HOUR).await;
                // It is restarted meanwhile.
                if hour % 3 == 0 {
                    let next = self::keys();
                    next.import(&keys.export()).unwrap();
                    keys = next;
                    tls = server(version, &keys);
                }
            }
            assert_eq!(
                resumes(&tls, &client).await,
                resumed,
                "{hours} h, {version:?}"
            );
        }
    }
}

/// Gives tickets that have been damaged on their way, each another way.
#[derive(Debug)]
struct Damaging {
    keys: TicketKeys,
    damage: fn(usize, &mut Vec<u8>),
    given: AtomicUsize,
    opened: AtomicUsize,
}

impl ProducesTickets for Damaging {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime()
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = self.keys.encrypt(session)?;
        (self.damage)(self.given.fetch_add(1, Ordering::Relaxed), &mut ticket);
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.keys.decrypt(ticket)
    }
}

#[tokio::test]
async fn a_damaged_ticket_costs_a_full_handshake_and_no_more() {
    /// A ticket of these tests has no more bytes.
    const BYTES: usize = 250;
    let flip: fn(usize, &mut Vec<u8>) = |at, ticket| {
        assert!(ticket.len() <= BYTES, "{}", ticket.len());
        let byte = at % ticket.len();
        ticket[byte] ^= 1 << (at % 8);
    };
    let cut: fn(usize, &mut Vec<u8>) = |at, ticket| ticket.truncate(1 + at % (ticket.len() - 1));
    let extend: fn(usize, &mut Vec<u8>) = |at, ticket| ticket.extend(vec![7; 1 + at]);
    for version in VERSIONS {
        for (damage, times) in [(flip, BYTES), (cut, BYTES), (extend, 20)] {
            let damaging = Arc::new(Damaging {
                keys: keys(),
                damage,
                given: 0.into(),
                opened: 0.into(),
            });
            let mut config = config(version, false);
            config.send_tls13_tickets = 1;
            config.ticketer = damaging.clone();
            let tls = GracefulTls::new(config).unwrap();
            let client = client(version);
            for time in 0..=times {
                assert!(!resumes(&tls, &client).await, "{time}, {version:?}");
            }
            assert_eq!(damaging.opened.load(Ordering::Relaxed), times);
        }
    }
}

/// RFC 5077 3.3: a server that changes its mind gives an empty one, and is left with the session's id, which
/// is good in its own memory. TLS 1.3 has no empty tickets.
#[tokio::test]
async fn an_empty_ticket_is_none() {
    let version = &rustls::version::TLS12;
    let tls = [(); 2].map(|()| {
        let mut config = config(version, false);
        config.ticketer = Arc::new(Damaging {
            keys: keys(),
            damage: |_, ticket| ticket.clear(),
            given: 0.into(),
            opened: 0.into(),
        });
        GracefulTls::new(config).unwrap()
    });
    let client = client(version);
    assert!(!resumes(&tls[0], &client).await);
    assert!(resumes(&tls[0], &client).await);
    assert!(!resumes(&tls[1], &client).await);
}

#[tokio::test]
async fn no_session_of_a_server_that_asks_nobody_is_resumed_where_a_certificate_is_due() {
    for version in VERSIONS {
        let keys = keys();
        let public = server(version, &keys);
        let admin = |keys| {
            GracefulTls::builder(config(version, true))
                .shutdown_with(&public)
                .ticket_keys(keys)
                .build()
        };
        let shared = BuildError::TicketKeysShared { scope: "".into() };
        assert_eq!(admin(keys.clone()).unwrap_err(), shared);
        assert!(
            shared
                .to_string()
                .contains("ticket_keys(keys.scope(\"admin\"))")
        );
        let admin = admin(keys.scope("admin")).unwrap();

        let client = client(version);
        assert!(!resumes(&public, &client).await);
        let (server_io, client_io) = tokio::io::duplex(64 << 10);
        let name = "localhost".try_into().unwrap();
        let acceptor = admin.acceptor();
        let (accepted, connected) = tokio::join!(acceptor.accept(server_io), async {
            client.connect(name, client_io).await?.read_u8().await
        },);
        let error = accepted.unwrap_err().to_string();
        assert!(error.contains("peer sent no certificates"), "{error}");
        assert!(connected.is_err());
    }
}

#[tokio::test]
async fn servers_of_one_configuration_may_follow_one_another() {
    let version = VERSIONS[1];
    let keys = keys();
    let client = client(version);
    for resumed in [false, true, true] {
        // The one before is gone.
        let tls = server(version, &keys);
        assert_eq!(resumes(&tls, &client).await, resumed);
    }
}

#[tokio::test]
async fn without_tickets_of_tls_1_3_there_are_none() {
    let mut config = config(&rustls::version::TLS13, false);
    config.send_tls13_tickets = 0;
    let builder = GracefulTls::builder(config).ticket_keys(keys());
    let tls = builder.build().unwrap();
    let client = client(&rustls::version::TLS13);
    for _ in 0..2 {
        assert!(!resumes(&tls, &client).await);
    }
}

/// As of `openssl rand -base64 48`.
const KEYS: [&str; 4] = [
    "gyMWCJ2KlcWHP4gJyHcXZl2VJm4TOtYrL6sQmN4lgNqrbuz4ZrG1m3E9u5pyaRxO",
    "ujPRIp7BbVQo9eVUmgDu6mYDyXZ0nfRIzFVeHZYKqfzXSvMWkTjEHzCHzqTmj9hN",
    "ZI2NsS0ErZxC1s6sR5vHnJ9m0pCVyKYwWzq0yTjWSZlR3T7Jv4qYb6kHnE0cUu1x",
    "MEAlmLbDyH0eUTOu1DAsCTjZ0kxXbXc6qfRl+Qy8eJq3m9bWZ7tD2nU4g5hPvI1o",
];

/// A server of a fleet: a process with a file of keys.
struct Member {
    folder: TempDir,
    bed: Testbed,
}

impl Member {
    fn start(server: &str, keys: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tickets");
        write(&path, keys);
        let bed = Testbed::start(server, &["--ticket-keys", path.to_str().unwrap()]);
        Self { folder, bed }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tickets")
    }

    fn resumes(&self, options: &Options) -> bool {
        let mut client = Client::connect_with(self.bed.addr, options).unwrap();
        let answer = client.get("/").unwrap();
        assert_eq!(answer.status, 200, "{client:?}");
        client.resumed()
    }

    fn exit(self) -> testbed::Exit {
        self.bed.stop(Duration::from_secs(10))
    }
}

fn write(path: &Path, keys: &[&str]) {
    fs::write(path, keys.join("\n") + "\n").unwrap();
    private(path, 0o600);
}

fn private(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn resuming(version: Version) -> Options {
    Options::new().version(version).http1().resuming()
}

#[test]
fn a_fleet_resumes_anywhere_and_the_next_key_is_known_before_it_seals() {
    let [a, b, c, d] = KEYS;
    for server in testbed::servers() {
        let [one, two] = [(); 2].map(|()| Member::start(server, &[a, b, c]));
        let foreign = Member::start(server, &[d]);
        for version in Version::BOTH {
            let options = resuming(version);
            assert!(!one.resumes(&options));
            assert!(two.resumes(&options) && one.resumes(&options));
            assert!(!foreign.resumes(&options));
        }
        // One has the next key already, and is sealing with one that the other has.
        write(&one.path(), &[a, b, c, d]);
        thread::sleep(Duration::from_millis(1100));
        for version in Version::BOTH {
            let options = resuming(version);
            assert!(!one.resumes(&options));
            assert!(two.resumes(&options) && one.resumes(&options));
        }
        for (member, read) in [(one, 1), (two, 0), (foreign, 0)] {
            let exit = member.exit();
            let said = exit.stderr.matches("the ticket keys have been read again");
            assert_eq!(said.count(), read, "{exit:?}");
            assert!(!exit.stderr.contains("may read"), "{exit:?}");
        }
    }
}

#[test]
fn a_damaged_file_keeps_the_old_keys_and_is_told_of_once() {
    let [a, b, c, _] = KEYS;
    for server in testbed::servers() {
        let one = Member::start(server, &[a, b]);
        let options = resuming(Version::Tls13);
        assert!(!one.resumes(&options));
        write(&one.path(), &[a, b, "AAAA"]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2500) {
            assert!(one.resumes(&options));
            thread::sleep(Duration::from_millis(100));
        }
        write(&one.path(), &[b, c]);
        private(&one.path(), 0o644);
        thread::sleep(Duration::from_millis(1100));
        // What `a` has sealed.
        assert!(!one.resumes(&options));
        assert!(one.resumes(&options));
        let exit = one.exit();
        for said in [
            "tickets, line 3: it has 3 bytes: write a key of 48 or of 80 bytes",
            "have been read again",
            "everybody on this machine may read the ticket keys",
        ] {
            assert_eq!(exit.stderr.matches(said).count(), 1, "{said}: {exit:?}");
        }
    }
}

/// OpenSSL's client, once: whether it has resumed the session in this file, and what it has said.
fn openssl(member: &Member, version: &str, session: &Path) -> Option<(bool, String)> {
    let address = member.bed.addr.to_string();
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &address, version, "-ign_eof"])
        .args(["-servername", "localhost", "-alpn", "http/1.1"])
        .arg("-sess_out")
        .arg(session)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if session.exists() {
        command.arg("-sess_in").arg(session);
    }
    let mut child = command.spawn().ok()?;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    child.stdin.take().unwrap().write_all(request).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("HTTP/1.1 200"), "{said}");
    Some((said.contains("\nReused, TLSv1."), said))
}

#[test]
fn openssl_resumes_too() {
    let [a, b, c, _] = KEYS;
    for server in testbed::servers() {
        let [one, two] = [(); 2].map(|()| Member::start(server, &[a, b, c]));
        let foreign = Member::start(server, &[c]);
        for version in ["-tls1_2", "-tls1_3"] {
            let folder = tempfile::tempdir().unwrap();
            let session = folder.path().join("session");
            let Some((resumed, _)) = openssl(&one, version, &session) else {
                eprintln!("MISSING, so NOT CHECKED: openssl");
                return;
            };
            assert!(!resumed);
            for (member, expected) in [(&two, true), (&one, true), (&foreign, false)] {
                let (resumed, said) = openssl(member, version, &session).unwrap();
                assert_eq!(resumed, expected, "{version}: {said}");
            }
        }
    }
}
