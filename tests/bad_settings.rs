//! Settings that can't work: the testbed says in one line which one it is and what would work, and
//! does not start.

mod testbed;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use testbed::refuse;

/// A folder that is gone at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("graceful-tls-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        Path::new(&self.0).join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The testbed refuses these options in one line, with all of these words in it.
fn is_refused(options: &[&str], words: &[&str]) {
    let (sender, receiver) = mpsc::channel();
    let owned: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    thread::spawn(move || {
        let options: Vec<&str> = owned.iter().map(String::as_str).collect();
        let _ = sender.send(refuse(&options));
    });
    let refused = receiver.recv_timeout(Duration::from_secs(60));
    let (status, said) = refused.unwrap_or_else(|_| panic!("{options:?} were accepted"));
    assert_eq!(status.code(), Some(2), "{options:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{options:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{options:?}: no {word:?} in: {said}");
    }
}

#[test]
fn values_that_cannot_work() {
    let limit = "give milliseconds, 1 to 86400000";
    let number = "give a number, at least 1";
    for (option, value, fix) in [
        ("--header-timeout-ms", "0", limit),
        ("--header-timeout-ms", "-1", limit),
        ("--header-timeout-ms", "2s", limit),
        ("--header-timeout-ms", "86400001", limit),
        ("--write-timeout-ms", "0", limit),
        ("--write-timeout-ms", "99999999999999999999999", limit),
        ("--body-timeout-ms", "0", limit),
        ("--tunnel-timeout-ms", "86400001", limit),
        ("--keep-alive-timeout-ms", "0", limit),
        ("--min-rate", "-1", "not in 0..=4294967295"),
        ("--handshake-timeout-ms", "0", limit),
        ("--shutdown-timeout-ms", "-1", "give milliseconds, 0 to"),
        ("--lame-duck-ms", "86400001", "give milliseconds, 0 to"),
        ("--tcp-keepalive-ms", "0", limit),
        ("--max-age-ms", "0", limit),
        ("--max-age-grace-ms", "86400001", limit),
        ("--max-requests", "0", number),
        ("--max-handshakes", "0", number),
        ("--max-handshakes", "many", number),
        ("--drain-connections", "0", number),
        ("--max-connections", "0", number),
        ("--max-connections-per-client", "0", number),
        ("--port", "65536", "give a number, 0 to 65535"),
        ("--port", "https", "give a number, 0 to 65535"),
        ("--server", "nginx", "possible values: hyper"),
        (
            "--plain-http",
            "maybe",
            "possible values: bad-request, redirect",
        ),
    ] {
        is_refused(&[option, value], &[option, fix]);
    }
}

#[test]
fn keepalive_that_systems_do_not_count() {
    let is_refused = |ms: &&str| {
        is_refused(
            &["--tcp-keepalive-ms", ms],
            &["tcp_keepalive.idle", "whole"],
        )
    };
    ["999", "1500", "36000000"].iter().for_each(is_refused);
}

#[test]
fn a_rate_that_no_client_reaches() {
    let words = ["min_rate is 7001 bytes a second", "set at most 7000"];
    is_refused(&["--min-rate", "7001"], &words);
}

#[test]
fn no_control_frames_at_all() {
    let words = ["max_control_frames is zero", "set at least 1"];
    is_refused(&["--max-control-frames", "0"], &words);
}

#[test]
fn a_grace_without_an_age() {
    let words = [
        "max_connection_age_grace",
        "max_connection_age is not",
        "set both",
    ];
    is_refused(&["--max-age-grace-ms", "1000"], &words);
}

#[test]
fn options_that_do_not_exist() {
    is_refused(&["--prot", "0"], &["--prot", "--port"]);
}

#[test]
fn a_host_that_is_not_here() {
    for host in ["192.0.2.1", "no such host"] {
        is_refused(
            &["--port", "0", "--host", host],
            &["--host", host, "127.0.0.1"],
        );
    }
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    is_refused(
        &["--port", &port],
        &["--port", &port, "in use", "choose another", "--port 0"],
    );
}

#[test]
fn certificates_and_keys_that_cannot_work() {
    let folder = Folder::new("certificates");
    let [(cert, key), (_, other_key)] = [0, 1].map(|_| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    });
    let cert = &folder.file("cert.pem", &cert);
    let key = &folder.file("key.pem", &key);
    let other_key = &folder.file("other-key.pem", &other_key);
    let empty = &folder.file("empty.pem", "");
    let text = "-----BEGIN CERTIFICATE-----\nno base64\n-----END CERTIFICATE-----\n";
    let text = &folder.file("text.pem", text);
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let hollow = &folder.file("hollow.pem", hollow);
    let missing = &folder.path("missing.pem");
    let directory = &folder.path("");

    let both = |cert, key| ["--cert", cert, "--key", key];
    is_refused(&["--cert", cert], &["--key is missing", "give"]);
    is_refused(&["--key", key], &["--cert is missing", "give"]);
    for (options, words) in [
        (
            both(cert, other_key),
            ["--key", other_key, "give the one that does"],
        ),
        (
            both(missing, key),
            ["--cert", missing, "give the path of a PEM file"],
        ),
        (
            both(cert, missing),
            ["--key", missing, "give the path of a PEM file"],
        ),
        (
            both(directory, key),
            ["--cert", directory, "give a PEM file"],
        ),
        (both(empty, key), ["--cert", empty, "give a PEM file"]),
        (both(cert, empty), ["--key", empty, "give the PEM file"]),
        // The two the wrong way round.
        (
            both(key, cert),
            ["--cert", key, "no certificate in it: give a PEM file"],
        ),
        (both(text, key), ["--cert", text, "give one in X.509"]),
        (both(hollow, key), ["--cert", hollow, "give one in X.509"]),
    ] {
        is_refused(&options, &words);
    }
}

#[test]
fn what_is_refused_above_works_otherwise() {
    let folder = Folder::new("sound");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let cert = &folder.file("cert.pem", &made.cert.pem());
    let key = &folder.file("key.pem", &made.signing_key.serialize_pem());
    for server in testbed::servers() {
        let bed = testbed::Testbed::start(
            server,
            &[
                "--cert",
                cert,
                "--key",
                key,
                "--header-timeout-ms",
                "1",
                "--max-handshakes",
                "1",
                "--lame-duck-ms",
                "0",
                "--shutdown-timeout-ms",
                "0",
            ],
        );
        let exit = bed.stop(Duration::from_secs(10));
        assert!(exit.status.success(), "{exit:?}");
    }
}
