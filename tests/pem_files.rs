//! Certificates from PEM files: what is wrong with a file is said, what changes is read again, and
//! connections and sessions go on meanwhile.

#[path = "testbed/judge.rs"]
mod judge;
mod support;
mod testbed;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use graceful_tls::{GracefulTls, PemError, PemFiles};
use judge::is_hello;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use tempfile::TempDir;
use testbed::Testbed;
use tokio::time::advance;
use tokio_rustls::TlsConnector;
use wire::{Client, Options, Version};

/// A folder with a certificate and its key.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let _ = ring::default_provider().install_default();
        let folder = Self(tempfile::tempdir().unwrap());
        folder.renew();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// Another certificate and key in the same files.
    fn renew(&self) -> CertificateDer<'static> {
        let (cert, key, der) = made();
        self.write("cert.pem", cert);
        self.write("key.pem", key);
        der
    }

    fn load(&self, cert: &str, key: &str) -> Result<PemFiles, PemError> {
        PemFiles::load(self.path(cert), self.path(key))
    }
}

/// A certificate and its key in PEM, and the certificate in DER.
fn made() -> (String, String, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let pem = (made.cert.pem(), made.signing_key.serialize_pem());
    (pem.0, pem.1, made.cert.der().clone())
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_the_fix() {
    let folder = Folder::new();
    let (cert, key, der) = made();
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let hollow = |kind| format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
    for (name, content) in [
        ("empty", ""),
        ("text", "my certificate\n"),
        ("cut", &cert[..cert.len() / 2]),
        ("cut-key", &key[..key.len() / 2]),
        ("garbled", &cert.replacen('\n', "\n!", 2)),
        ("hollow", &hollow("CERTIFICATE")),
        ("hollow-key", &hollow("PRIVATE KEY")),
        ("encrypted", encrypted),
        ("old-encrypted", old),
        ("two", &format!("{key}{}", made().1)),
        ("other", &made().1),
        // In one file both are found.
        ("both", &format!("{key}{cert}")),
    ] {
        folder.write(name, content);
    }
    folder.write("der", &der);
    for (cert, key, file, said) in [
        (
            "missing",
            "key.pem",
            "missing",
            "there is no such file: give the path of a PEM file",
        ),
        (
            "cert.pem",
            "missing",
            "missing",
            "there is no such file: give the path of a PEM file",
        ),
        (".", "key.pem", ".", "it can't be read (Is a directory"),
        (
            "empty",
            "key.pem",
            "empty",
            "there is no certificate in it: give a PEM file with",
        ),
        (
            "text",
            "key.pem",
            "text",
            "there is no certificate in it: give a PEM file with",
        ),
        (
            "der",
            "key.pem",
            "der",
            "(DER can be converted: openssl x509 -inform der)",
        ),
        (
            "key.pem",
            "key.pem",
            "key.pem",
            "there is no certificate in it",
        ),
        (
            "cut",
            "key.pem",
            "cut",
            "it is not valid PEM, it is cut short before an END line: write the file anew",
        ),
        (
            "garbled",
            "key.pem",
            "garbled",
            "it is not valid PEM, its base64 is damaged",
        ),
        (
            "hollow",
            "key.pem",
            "hollow",
            "the first certificate can't be used (invalid peer certificate: BadEncoding): give one in X.509",
        ),
        (
            "cert.pem",
            "empty",
            "empty",
            "there is no private key in it: give the PEM file with",
        ),
        (
            "cert.pem",
            "cert.pem",
            "cert.pem",
            "there is no private key in it",
        ),
        ("cert.pem", "cut-key", "cut-key", "it is not valid PEM"),
        (
            "cert.pem",
            "hollow-key",
            "hollow-key",
            "the private key can't be used (",
        ),
        (
            "cert.pem",
            "encrypted",
            "encrypted",
            "write it without a passphrase (openssl pkey -in",
        ),
        (
            "cert.pem",
            "old-encrypted",
            "old-encrypted",
            "the private key is encrypted",
        ),
        (
            "cert.pem",
            "two",
            "two",
            "there are 2 private keys in it: leave the one that belongs",
        ),
        (
            "cert.pem",
            "other",
            "other",
            "the private key does not belong to the first certificate in",
        ),
    ] {
        let error = folder.load(cert, key).unwrap_err().to_string();
        let file = folder.path(file).display().to_string();
        assert!(
            error.starts_with(&format!("{file}: ")),
            "{cert}, {key}: {error}"
        );
        assert!(error.contains(said), "{cert}, {key}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert!(folder.load("both", "both").is_ok());
    let tls = GracefulTls::from_pem_files(folder.path("missing"), folder.path("key.pem"));
    assert!(matches!(tls, Err(PemError::NotFound { .. })), "{tls:?}");
    let broken = folder.load("cert.pem", "other").unwrap_err();
    assert!(matches!(broken, PemError::KeyMismatch { .. }), "{broken:?}");
}

/// A client that trusts this certificate alone is served, and agrees on HTTP/2.
async fn shows(tls: &GracefulTls, certificate: &CertificateDer<'static>) {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let (server_io, client_io) = tokio::io::duplex(64 << 10);
    let (_server, client) = support::connect(tls, &connector, server_io, client_io).await;
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

const LOOK: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn one_line_serves_and_new_files_are_seen() {
    let folder = Folder::new();
    let first = folder.renew();
    let tls = GracefulTls::from_pem_files(folder.path("cert.pem"), folder.path("key.pem")).unwrap();
    shows(&tls, &first).await;

    let second = folder.renew();
    // Looked at no more than once a second.
    shows(&tls, &first).await;
    advance(LOOK).await;
    shows(&tls, &second).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_keeps_the_old_certificate() {
    let folder = Folder::new();
    let first = folder.renew();
    let files = folder.load("cert.pem", "key.pem").unwrap();
    let tls = GracefulTls::builder(files.config().unwrap())
        .build()
        .unwrap();
    let (cert, key, second) = made();
    for broken in ["", "-----BEGIN CERTIFICATE-----\n", &cert] {
        folder.write("cert.pem", broken);
        let error = files.reload().unwrap_err().to_string();
        assert!(error.contains("cert.pem"), "{error}");
        advance(LOOK).await;
        shows(&tls, &first).await;
    }
    fs::remove_file(folder.path("cert.pem")).unwrap();
    advance(LOOK).await;
    shows(&tls, &first).await;
    assert!(matches!(files.reload(), Err(PemError::NotFound { .. })));

    // Once both fit together again, they are used.
    folder.write("cert.pem", &cert);
    folder.write("key.pem", &key);
    advance(LOOK).await;
    shows(&tls, &second).await;
}

/// What kept a file from being read, such as rights or a want of descriptors, does not show in it: here
/// it comes to the same as another content with all that a look sees.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_is_read_again_though_it_looks_the_same() {
    let folder = Folder::new();
    let first = folder.renew();
    let files = folder.load("cert.pem", "key.pem").unwrap();
    let tls = GracefulTls::builder(files.config().unwrap())
        .build()
        .unwrap();
    let (cert, key, second) = made();
    folder.write("key.pem", &key);
    let write = |content: &[u8]| {
        let path = folder.write("cert.pem", content);
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    };
    write(&vec![b' '; cert.len()]);
    advance(LOOK).await;
    shows(&tls, &first).await;
    assert!(files.reload().is_err());
    write(cert.as_bytes());
    advance(LOOK).await;
    shows(&tls, &second).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_on_demand_is_at_once() {
    let folder = Folder::new();
    let files = folder.load("cert.pem", "key.pem").unwrap();
    let tls = GracefulTls::builder(files.config().unwrap())
        .build()
        .unwrap();
    let second = folder.renew();
    files.clone().reload().unwrap();
    shows(&tls, &second).await;
}

/// As Kubernetes changes a volume, and certbot its `live` folder: the paths stay, links are swapped.
#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn swapped_links_are_seen() {
    use std::os::unix::fs::symlink;

    let folder = Folder::new();
    let link = folder.path("..data");
    let swap = |name: &str| {
        let (cert, key, der) = made();
        fs::create_dir(folder.path(name)).unwrap();
        folder.write(&format!("{name}/tls.crt"), cert);
        folder.write(&format!("{name}/tls.key"), key);
        symlink(name, folder.path("..tmp")).unwrap();
        fs::rename(folder.path("..tmp"), &link).unwrap();
        der
    };
    let first = swap("..1");
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), folder.path(name)).unwrap();
    }
    let tls = GracefulTls::from_pem_files(folder.path("tls.crt"), folder.path("tls.key")).unwrap();
    shows(&tls, &first).await;
    let second = swap("..2");
    advance(LOOK).await;
    shows(&tls, &second).await;
}

fn connect(bed: &Testbed, options: &Options) -> Client {
    Client::connect_with(bed.addr, options).unwrap()
}

fn is_served(client: &mut Client) {
    assert!(is_hello(&client.get("/").unwrap(), "hello\n"), "{client:?}");
}

/// Under load of what is open: a connection in use, and a session to resume.
#[test]
fn connections_and_sessions_outlive_a_certificate() {
    for server in testbed::servers() {
        for version in Version::BOTH {
            let folder = Folder::new();
            let first = folder.renew();
            let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path(name));
            let files = [
                "--cert",
                cert.to_str().unwrap(),
                "--key",
                key.to_str().unwrap(),
            ];
            let bed = Testbed::start_talkative(server, &files);
            let options = Options::new().version(version).http1();
            let resuming = options.clone().resuming();
            let mut open = connect(&bed, &options);
            let mut downloads = connect(&bed, &options);
            downloads.send(judge::get("/slow/30/100")).unwrap();
            is_served(&mut connect(&bed, &resuming));

            let second = folder.renew();
            let begun = Instant::now();
            while connect(&bed, &options).server_cert().unwrap() == first {
                assert!(begun.elapsed() < 3 * LOOK, "the old one stays");
                thread::sleep(Duration::from_millis(50));
            }
            assert_eq!(connect(&bed, &options).server_cert().unwrap(), second);
            is_served(&mut open);
            let answer = downloads.read_response().unwrap();
            assert!(judge::is_whole(&answer, 30 << 10), "{downloads:?}");
            let mut resumed = connect(&bed, &resuming);
            assert!(resumed.resumed(), "{resumed:?}");
            is_served(&mut resumed);

            folder.write("key.pem", "");
            for _ in 0..3 {
                thread::sleep(LOOK + LOOK / 10);
                assert_eq!(connect(&bed, &options).server_cert().unwrap(), second);
            }
            let exit = bed.stop(Duration::from_secs(10));
            let said = "key.pem: there is no private key in it";
            assert_eq!(exit.stderr.matches(said).count(), 1, "{exit:?}");
            assert_eq!(
                exit.stderr.matches("has been read again").count(),
                1,
                "{exit:?}"
            );
        }
    }
}
