//! `--log json`: one object a line, whatever clients send, with the names that metrics and snapshots have.

#[path = "testbed/judge.rs"]
mod judge;
#[path = "../examples/common/log.rs"]
mod log;
mod support;
mod testbed;

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{Router, routing::get};
use graceful_tls::{Cause, HandshakeError, Outcome, Phase, Protocol, TlsConnection, in_memory};
use judge::{PROMPT, Then, connect, ends_properly, is_hello, start_h2};
use log::Log;
use rustls::version::TLS13;
use serde_json::{Map, Value};
use testbed::Testbed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::{Client, Options, RawTcp, Version};

type Line = Map<String, Value>;

const JSON: [&str; 5] = [
    "--log",
    "json",
    "--track-requests",
    "--shutdown-timeout-ms",
    "1500",
];

/// All that any of our lines may have.
const NAMES: [&str; 30] = [
    // Of a snapshot and of metrics.
    "cause",
    "connections",
    "id",
    "outcome",
    "peer",
    "phase",
    "protocol",
    "reason",
    "received",
    "requests",
    "requests_in_flight",
    "requests_failed",
    "requests_stalled",
    "requests_body_timeout",
    "requests_tunnel_timeout",
    "requests_protocol_error",
    "requests_deadline",
    "sent",
    "server_name",
    // Of the log alone.
    "cut",
    "error",
    "lame_duck_s",
    "level",
    "message",
    "others",
    "span",
    "target",
    "timeout_s",
    "timestamp",
    "unlogged",
];

fn lines(log: &str) -> Vec<Line> {
    let parse = |line| match serde_json::from_str(line) {
        Ok(Value::Object(line)) => line,
        other => panic!("{line:?}: {other:?}"),
    };
    let lines: Vec<Line> = log.lines().map(parse).collect();
    lines.iter().for_each(is_named);
    lines
}

/// What is ours has the names that it should have, and values by which it can be found.
fn is_named(line: &Line) {
    if !text(line, "target").starts_with("graceful_tls") {
        return;
    }
    for name in line.keys() {
        assert!(NAMES.contains(&&**name), "{name}: {line:?}");
    }
    let known: [(&str, Vec<&str>); 5] = [
        ("cause", Cause::ALL.iter().map(|of| of.as_str()).collect()),
        (
            "outcome",
            Outcome::ALL.iter().map(|of| of.as_str()).collect(),
        ),
        ("phase", Phase::ALL.iter().map(|of| of.as_str()).collect()),
        (
            "protocol",
            Protocol::ALL.iter().map(|of| of.as_str()).collect(),
        ),
        ("reason", HandshakeError::REASONS.to_vec()),
    ];
    for (name, values) in known {
        let value = line.get(name).map(|_| text(line, name));
        assert!(
            value.is_none_or(|value| values.contains(&value)),
            "{line:?}"
        );
    }
    for name in [
        "connections",
        "id",
        "received",
        "requests",
        "requests_failed",
        "requests_stalled",
        "requests_body_timeout",
        "requests_tunnel_timeout",
        "requests_protocol_error",
        "requests_deadline",
        "requests_in_flight",
        "sent",
    ] {
        assert!(line.get(name).is_none_or(Value::is_u64), "{name}: {line:?}");
    }
    if line.contains_key("peer") {
        text(line, "peer").parse::<SocketAddr>().unwrap();
    }
}

fn text<'a>(line: &'a Line, name: &str) -> &'a str {
    let value = line.get(name).and_then(Value::as_str);
    value.unwrap_or_else(|| panic!("no {name}: {line:?}"))
}

/// The one line that says this of this client.
fn of<'a>(lines: &'a [Line], message: &str, peer: SocketAddr) -> &'a Line {
    let is_it = |line: &&Line| {
        text(line, "message") == message
            && line.get("peer").is_some_and(|of| *of == peer.to_string())
    };
    let found: Vec<_> = lines.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{message}, {peer}: {lines:?}");
    found[0]
}

/// A path with whatever a server takes for one: quotes, brackets and what is not ASCII.
const PATH: &str = "/never/\"}{,\u{e9}\u{2028}%0a%00";

#[test]
fn every_line_is_an_object_whatever_clients_send() {
    for server in testbed::servers() {
        for version in Version::BOTH {
            says_it_in_json(server, version);
        }
    }
}

fn says_it_in_json(server: &str, version: Version) {
    let bed = Testbed::start_talkative(server, &JSON);
    let mut hello = connect(&bed, version);
    assert!(is_hello(&hello.get("/").unwrap(), "hello\n"));
    let mut h2 = start_h2(&bed, version);
    assert!(h2.h2_get("/").unwrap().is_complete());
    names_are_none(&bed, version);
    let plain = speaks_plain_http(&bed);
    let mut panics = connect(&bed, version);
    panics
        .send("GET /panic HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    panics.finish();
    panics.close().unwrap();

    let mut cut = connect(&bed, version);
    cut.send(format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .unwrap();
    bed.terminate();
    ends_properly(&mut hello, Then::Closes);
    ends_properly(&mut h2.conn, Then::Closes);
    cut.finish();
    cut.close().unwrap();
    let exit = bed.wait(10 * PROMPT);

    lnav_reads(&exit.stderr);
    let lines = lines(&exit.stderr);
    let ended = of(&lines, "connection ended", hello.local_addr());
    assert_eq!(text(ended, "protocol"), "http/1");
    assert_eq!(text(ended, "server_name"), "localhost");
    assert_eq!(
        (text(ended, "cause"), text(ended, "outcome")),
        ("draining", "clean")
    );
    assert_eq!(
        text(
            of(&lines, "connection ended", h2.conn.local_addr()),
            "protocol"
        ),
        "http/2"
    );
    let panicked = lines.iter().find(|line| line["target"] == "panic");
    let panicked = panicked.expect("the handler's panic is logged");
    assert!(
        text(panicked, "message").starts_with("panicked at "),
        "{panicked:?}"
    );
    let failed = of(&lines, "handshake failed", plain);
    assert_eq!(text(failed, "reason"), "plain_http");
    let lost = of(
        &lines,
        "connection ended with an exchange cut short",
        cut.local_addr(),
    );
    assert_eq!(
        (text(lost, "level"), text(lost, "cause")),
        ("WARN", "deadline")
    );
    assert!(text(lost, "cut").starts_with("GET /never/"), "{lost:?}");
    assert_eq!(lost["requests_in_flight"], 1);
    let mut phases: Vec<_> = lines.iter().filter_map(|line| line.get("phase")).collect();
    phases.dedup();
    assert_eq!(phases, ["lame_duck", "draining", "deadline", "closed"]);
}

/// Where it is installed: `examples/logs/lnav.json` makes a table of the log.
fn lnav_reads(log: &str) {
    if Command::new("lnav").arg("-V").output().is_err() {
        return println!("lnav is not installed: its format is left out");
    }
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("log.json");
    fs::write(&file, log).unwrap();
    let said = |arguments: &[&str]| {
        let mut lnav = Command::new("lnav");
        lnav.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME");
        let output = lnav.args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    said(&["-i", "examples/logs/lnav.json"]);
    let sql = ";SELECT log_level, protocol, outcome, requests_in_flight FROM graceful_tls_log \
               WHERE cause = 'deadline'";
    let table = said(&[
        "-n",
        "-c",
        sql,
        "-c",
        ":write-csv-to -",
        file.to_str().unwrap(),
    ]);
    assert!(table.contains("warning,http/1,truncated,1\n"), "{table}");
}

/// Names in a ClientHello that are none, as long as the one in their place.
fn names_are_none(bed: &Testbed, version: Version) {
    for name in [
        *b"a\"}\n{\x1b[0m",
        *b"\xff\xfe\x00\r\n\"\"\\,",
        *b"LOCALHOST",
    ] {
        let mut client = Client::open(bed.addr, &Options::new().version(version)).unwrap();
        let mut hello = client.encrypt_only("");
        let at = hello
            .windows(9)
            .position(|bytes| bytes == b"localhost")
            .unwrap();
        hello[at..at + 9].copy_from_slice(&name);
        client.send_raw(hello).unwrap();
        client.read_some(PROMPT);
        client.close().unwrap();
    }
}

fn speaks_plain_http(bed: &Testbed) -> SocketAddr {
    let mut client = RawTcp::connect(bed.addr).unwrap();
    client
        .send(format!("GET {PATH}\x1b HTTP/1.1\r\nHost: \"\n\r\n\r\n"))
        .unwrap();
    client.finish();
    let address = client.local_addr();
    client.close().unwrap();
    address
}

/// The log of a server in this process.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_a_handler_says_is_said_of_its_connection() {
    let written = Written::default();
    let writer = written.clone();
    Log::Json.start_on(move || writer.clone(), false, "info".into());

    let (builder, client) = support::pair(&TLS13);
    let tls = builder.build().unwrap();
    let (connector, listener) = in_memory(64 * 1024);
    let greets = async |connection: TlsConnection| {
        tracing::info!(name = "a\"\nb", "greets");
        connection.id().to_string()
    };
    let app = Router::new().route("/", get(greets));
    let server = tls.clone();
    let served = tokio::spawn(async move { server.serve(listener, app).await });
    let peer = "192.0.2.1:7".parse().unwrap();
    let io = connector.connect(Some(peer)).await.unwrap();
    let mut stream = client
        .connect("localhost".try_into().unwrap(), io)
        .await
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, id) = answer.split_once("\r\n\r\n").unwrap();
    let id: u64 = id.parse().unwrap();
    drop(stream);
    tls.shutdown();
    assert!(served.await.unwrap().unwrap().is_clean());

    let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines = lines(&written);
    let said = lines
        .iter()
        .find(|line| text(line, "message") == "greets")
        .unwrap();
    assert_eq!(said["name"], "a\"\nb");
    let span = said["span"].as_object().unwrap();
    assert_eq!(
        (&span["id"], &span["name"]),
        (&id.into(), &"connection".into())
    );
    assert_eq!(text(span, "peer"), "192.0.2.1:7");
    assert_eq!(text(span, "server_name"), "localhost");
    assert_eq!(text(span, "protocol"), "http/1");
}

#[test]
fn what_is_no_format_is_refused_in_a_sentence() {
    let (status, said) = testbed::refuse(&["--log", "xml"]);
    assert!(
        !status.success() && said.contains("give text or json"),
        "{said}"
    );
    for (arguments, sentence) in [
        (&["--log", "xml"][..], "--log xml: give text or json"),
        (&["--log"], "--log : give text or json"),
        (
            &["--frob"],
            "--frob is not known: give --log text or --log json, a port",
        ),
        (
            &["0", "1"],
            "1 is not known: give --log text or --log json, a port",
        ),
    ] {
        let mut quickstart = Command::new(processes::example("quickstart"));
        let output = quickstart.args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains(sentence),
            "{said}"
        );
    }
}
