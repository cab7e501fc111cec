//! The probe, run as anyone runs it, against servers that end connections badly on purpose: it must
//! say so.

mod misbehave;
mod testbed;

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use misbehave::{Peer, serve_tls_for_ever, server_config};
use processes::example;
use serde_json::Value;
use testbed::Testbed;

/// Longer than any of these servers takes, but for those that hold on.
const PATIENCE: &str = "3";
const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const UNTIL_END: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello";
const CUT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello";

/// A server that does this on every connection, once a request has come.
fn serve(behave: impl Fn(&mut Peer) + Clone + Send + 'static) -> SocketAddr {
    serve_tls_for_ever(Arc::new(server_config(&["http/1.1"])), move |mut peer| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match peer.hear() {
                more if more.is_empty() => return,
                more => request.extend(more),
            }
        }
        behave(&mut peer);
    })
}

/// Reads until the client is done.
fn drain(peer: &mut Peer) {
    peer.fin();
    while !peer.hear().is_empty() {}
}

/// What a server should do.
fn end_properly(peer: &mut Peer) {
    peer.notify();
    drain(peer);
}

/// A RST, once what was said has arrived.
fn reset(peer: &mut Peer) {
    thread::sleep(Duration::from_millis(50));
    peer.make_reset();
}

fn run(arguments: &[&str]) -> Output {
    Command::new(processes::probe())
        .args(arguments)
        .output()
        .unwrap()
}

/// Probes with JSON: the exit status, and the endings.
fn probe(addr: SocketAddr, arguments: &[&str]) -> (i32, Vec<Value>) {
    let url = format!("https://{addr}");
    let given = [&[url.as_str(), "--json", "--patience", PATIENCE], arguments].concat();
    let output = run(&given);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let run: Value = serde_json::from_slice(&output.stdout).expect(&said);
    assert_eq!(run["format"], 1, "{run}");
    let endings = run["endings"].as_array().unwrap().clone();
    (output.status.code().unwrap(), endings)
}

/// Plays one scenario in both versions of TLS: all must have this verdict, by this rule.
fn expect(addr: SocketAddr, scenario: &str, verdict: &str, rule: &str) -> Vec<Value> {
    let (status, endings) = probe(addr, &["--testbed", "--only", scenario]);
    let worse = !["proper", "allowed"].contains(&verdict);
    assert_eq!(status, i32::from(worse), "{endings:#?}");
    assert_eq!(endings.len(), 2, "{endings:#?}");
    for ending in &endings {
        let got = (ending["verdict"].as_str(), ending["rule"].as_str());
        assert_eq!(got, (Some(verdict), Some(rule)), "{ending:#}");
    }
    endings
}

fn has(ending: &Value, what: &str) -> bool {
    !ending[what].is_null()
}

/// Whether the time line has such an event.
fn shows(ending: &Value, from: &str, kind: &str) -> bool {
    let events = ending["events"].as_array().unwrap();
    events
        .iter()
        .any(|event| event["from"] == from && event["kind"] == kind)
}

#[test]
fn a_proper_end() {
    let addr = serve(|peer| {
        peer.say(HELLO);
        end_properly(peer);
    });
    for ending in expect(addr, "connection-close", "proper", "RFC 9112 9.6") {
        assert_eq!(ending["answer"]["bytes"], 5, "{ending:#}");
        assert!(
            has(&ending, "close_notify_ms") && has(&ending, "fin_ms"),
            "{ending:#}"
        );
        assert!(
            has(&ending, "held_ms") && !has(&ending, "rst_ms"),
            "{ending:#}"
        );
        for (from, kind) in [
            ("client", "connect"),
            ("server", "handshake"),
            ("client", "request"),
            ("server", "answer"),
            ("server", "close_notify"),
            ("server", "fin"),
            ("client", "close_notify"),
        ] {
            assert!(shows(&ending, from, kind), "{from} {kind}: {ending:#}");
        }
    }
}

#[test]
fn a_bare_fin() {
    let framed = serve(|peer| {
        peer.say(HELLO);
        drain(peer);
    });
    for ending in expect(framed, "connection-close", "allowed", "RFC 9846 6.1") {
        assert!(
            !has(&ending, "close_notify_ms") && has(&ending, "fin_ms"),
            "{ending:#}"
        );
    }
    let unframed = serve(|peer| {
        peer.say(UNTIL_END);
        drain(peer);
    });
    expect(unframed, "http-1-0", "lost", "RFC 9112 9.8");
}

#[test]
fn a_reset() {
    let behind = serve(|peer| {
        peer.say(HELLO);
        reset(peer);
    });
    for ending in expect(behind, "connection-close", "allowed", "RFC 9846 6.1") {
        assert!(
            has(&ending, "rst_ms") && !has(&ending, "fin_ms"),
            "{ending:#}"
        );
    }
    let within = serve(|peer| {
        peer.say(CUT);
        reset(peer);
    });
    for ending in expect(within, "connection-close", "lost", "RFC 9112 9.6") {
        assert_eq!(ending["answer"]["whole"], false, "{ending:#}");
        assert!(shows(&ending, "server", "rst"), "{ending:#}");
    }
}

#[test]
fn an_early_close_notify() {
    let addr = serve(|peer| {
        peer.say(CUT);
        end_properly(peer);
    });
    expect(addr, "connection-close", "lost", "RFC 9112 8");
}

#[test]
fn no_answer() {
    let addr = serve(end_properly);
    expect(addr, "connection-close", "lost", "RFC 9112 9.6");
}

#[test]
fn an_untrue_end_of_a_truncated_answer() {
    let unframed = serve(|peer| {
        peer.say(UNTIL_END);
        end_properly(peer);
    });
    expect(unframed, "close-delimited-error", "untrue", "RFC 9112 9.8");
    let framed = serve(|peer| {
        peer.say(HELLO);
        end_properly(peer);
    });
    expect(framed, "length-error", "untrue", "RFC 9112 8");
    let honest = serve(|peer| {
        peer.say(UNTIL_END);
        drain(peer);
    });
    expect(honest, "close-delimited-error", "proper", "RFC 9112 9.8");
}

#[test]
fn a_server_that_never_lets_go() {
    let open = serve(|peer| {
        peer.say(HELLO);
        while !peer.hear().is_empty() {}
    });
    for ending in expect(open, "connection-close", "hang", "RFC 9112 9.5") {
        assert!(
            !has(&ending, "held_ms") && !has(&ending, "fin_ms"),
            "{ending:#}"
        );
    }
    // Towards a client that says nothing more, since a connection that both have ended is no row of
    // the kernel's table any more, whoever holds its descriptor.
    let half = serve(|peer| {
        peer.say(HELLO);
        end_properly(peer);
    });
    for ending in expect(half, "silent-peer", "hang", "RFC 9112 9.5") {
        assert!(
            !has(&ending, "held_ms") && has(&ending, "fin_ms"),
            "{ending:#}"
        );
    }
}

#[test]
fn http2_is_skipped_where_it_is_not_spoken() {
    let addr = serve(|peer| {
        peer.say(HELLO);
        end_properly(peer);
    });
    let (status, endings) = probe(addr, &["--only", "h2-goaway"]);
    assert_eq!(status, 0);
    assert!(
        endings.iter().all(|ending| ending["verdict"] == "skipped"),
        "{endings:#?}"
    );
}

/// One line that names what to fix, and exit status 2.
fn refused(arguments: &[&str], says: &str) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(says), "{said:?} does not say {says:?}");
}

#[test]
fn what_cannot_be_probed() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain = tcp.local_addr().unwrap();
    thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            let _ = (&stream).write_all(b"220 this is another protocol\r\n");
        }
    });
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    refused(&["http://127.0.0.1:1"], "plain HTTP");
    refused(&["127.0.0.1:1"], "https://127.0.0.1:8443");
    refused(&["https://"], "https://127.0.0.1:8443");
    refused(&[], "URL");
    refused(
        &["https://127.0.0.1:1", "--only", "nothing"],
        "--only nothing",
    );
    refused(&["https://127.0.0.1:1", "--patience", "0"], "--patience");
    refused(&[&format!("https://{closed}")], "refused");
    refused(&[&format!("https://{plain}")], "not TLS");
    refused(
        &["https://127.0.0.1:1", "--html", "/nonexistent/page"],
        "/nonexistent/page",
    );
    refused(&["https://192.0.2.1"], "--i-may-test-this-host");
    refused(
        &["--html", "/tmp/x.html", "--from", "/nonexistent.json"],
        "/nonexistent.json",
    );
    let busy = format!("https://{plain}");
    refused(&[&busy, "--start", "true"], "listens on");
    refused(
        &[
            &format!("https://{closed}"),
            "--start",
            "echo no such server >&2",
        ],
        "no such server",
    );
}

#[test]
fn a_wrong_certificate() {
    let bed = Testbed::start("hyper", &[]);
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pem");
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    fs::write(&other, made.cert.pem()).unwrap();
    let url = format!("https://{}", bed.addr);
    refused(&[&url, "--ca", other.to_str().unwrap()], "--insecure");
}

#[test]
fn shutdowns() {
    let start = format!("{} --port {{port}}", example("testbed").display());
    let addr = free();
    let only = "sigterm-idle,sigterm-in-flight,sigterm-handshake";
    let (status, endings) = probe(addr, &["--testbed", "--only", only, "--start", &start]);
    assert_eq!(status, 0, "{endings:#?}");
    assert_eq!(endings.len(), 4 + 4 + 1, "{endings:#?}");
    assert!(
        endings
            .iter()
            .all(|ending| shows(ending, "client", "sigterm")),
        "{endings:#?}"
    );
}

/// What a terminal shows: how long it takes, a line for both versions of TLS, and what helps.
#[test]
fn what_it_prints() {
    let addr = serve(|peer| {
        peer.say(CUT);
        end_properly(peer);
    });
    let url = format!("https://{addr}");
    let output = run(&[
        &url,
        "--only",
        "connection-close,fin",
        "--patience",
        PATIENCE,
    ]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let mut rest = said.as_str();
    for text in [
        "4 scenarios, up to 4 s\n",
        "LOST 1.2, 1.3  Connection: close ",
        "allowed 1.2, 1.3  FIN without close_notify, on an idle connection ",
        "What to do about it",
        "LOST  Finish the answer first",
        "Connection: close (TLS 1.2, 1.3)",
        "any server: ",
        "graceful-tls: ",
    ] {
        let Some((_, behind)) = rest.split_once(text) else {
            panic!("no {text:?} in {rest}\nof {said}");
        };
        rest = behind;
    }
}

/// The part of a run that waits for no time-out: with a server that has long ones.
#[test]
fn quick() {
    let bed = Testbed::start("hyper", &[]);
    let begun = Instant::now();
    let output = run(&[&format!("https://{}", bed.addr), "--quick"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(12), "{said}");
    assert!(said.contains("A corrupt record"), "{said}");
    for waits in ["then nothing", "nothing is sent"] {
        assert!(!said.contains(waits), "{said}");
    }
}

/// The probe knows nothing of this crate, so that this is the place to see that it names what there is.
#[test]
fn its_advice_names_what_there_is() {
    let root = processes::root();
    let advice = fs::read_to_string(root.join("examples/probe/src/advice.rs")).unwrap();
    let api = fs::read_to_string(root.join("tests/public_api.txt")).unwrap();
    let ours = advice.split("ours: \"").skip(1);
    let ours = ours.map(|text| text.split("\",\n").next().unwrap());
    let names = ours.flat_map(|text| text.split('`').skip(1).step_by(2));
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let names: Vec<_> = names
        .filter(is_name)
        .filter(|name| *name != "main")
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let is = |begin: &str| api.contains(&format!("::{name}{begin}"));
        assert!(is("(") || is("<"), "{name}");
    }
}

/// What is killed can't tidy up after itself.
#[test]
fn nothing_is_left_behind() {
    let addr = free();
    // A shell that stays, so that the server is not the process that the probe has started.
    let start = format!("{} --port {{port}}; true", example("testbed").display());
    let mut child = Command::new(processes::probe())
        .args([
            &format!("https://{addr}"),
            "--only",
            "silent-tcp",
            "--start",
            &start,
        ])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let listens = || TcpStream::connect(addr).is_ok();
    wait_until(listens);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(|| !listens());
}

fn free() -> SocketAddr {
    // Below those that the kernel gives to clients, and not those that the probe takes by itself.
    let mut ports = (31_000..32_000)
        .rev()
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    ports.find(|addr| TcpListener::bind(addr).is_ok()).unwrap()
}

fn wait_until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(20));
    }
}
