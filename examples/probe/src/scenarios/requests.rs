//! One HTTP/1 request, and what the client does around it.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::{Http, Scenario, Tls, ask, http1_came};
use crate::judge::Expect;
use crate::seen::Seen;
use crate::stage::Stage;
use crate::watch::{Manners, watch};
use wire::{Client, Version};

pub const TABLE: &[Scenario] = &[
    Scenario {
        id: "connection-close",
        title: "Connection: close",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9112 9.6",
        play: connection_close,
    },
    Scenario {
        id: "http-1-0",
        title: "HTTP/1.0, where the end of the connection may end the answer",
        http: Http::V1_0,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9112 9.8",
        play: http_1_0,
    },
    Scenario {
        id: "pipelined",
        title: "A request pipelined behind Connection: close",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9112 9.6",
        play: pipelined,
    },
    Scenario {
        id: "malformed",
        title: "A malformed request",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::AnswerAdvised,
        rule: "RFC 9112 2.2",
        play: malformed,
    },
    Scenario {
        id: "oversized",
        title: "A head of 256 KiB",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9110 5.4",
        play: oversized,
    },
    Scenario {
        id: "unread-upload",
        title: "An upload that the server need not read",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9112 9.6",
        play: unread_upload,
    },
    Scenario {
        id: "slow-reader",
        title: "A client that reads slowly",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9112 9.6",
        play: slow_reader,
    },
    Scenario {
        id: "silent-peer",
        title: "A client that is silent behind its answer",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9112 9.6",
        play: silent_peer,
    },
    Scenario {
        id: "half-close",
        title: "close_notify behind a request",
        http: Http::V1_1,
        tls: Tls::Only(Version::Tls13),
        expect: Expect::Answer,
        rule: "RFC 9846 6.1",
        play: half_close,
    },
    Scenario {
        id: "half-close",
        title: "close_notify behind a request",
        http: Http::V1_1,
        tls: Tls::Only(Version::Tls12),
        expect: Expect::AnswerOrNot,
        rule: "RFC 9846 6.1",
        play: half_close,
    },
    Scenario {
        id: "fin-behind-request",
        title: "FIN without close_notify, behind a request",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::AnswerOrNot,
        rule: "RFC 9846 6.1",
        play: fin_behind_request,
    },
    Scenario {
        id: "fin",
        title: "FIN without close_notify, on an idle connection",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::End,
        rule: "RFC 9846 6.1",
        play: fin,
    },
    Scenario {
        id: "close-notify",
        title: "close_notify on an idle connection",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9846 6.1",
        play: close_notify,
    },
    Scenario {
        id: "corrupt-record",
        title: "A corrupt record",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Alert,
        rule: "RFC 9846 5.2",
        play: corrupt_record,
    },
];

/// What a client waits for a server that may, but need not, end the connection.
const A_WHILE: Duration = Duration::from_secs(2);
/// As many bytes as a client sends before it looks for an answer.
const UPLOAD: usize = 256 * 1024;
const CLOSE: &str = "Connection: close\r\n";

/// One exchange, whose answer is read at once.
fn exchange(stage: &Stage, line: &str, fields: &str, manners: Manners) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    ask(&mut client, line, stage.request(line, fields));
    let came = http1_came(&mut client, "GET", stage);
    Ok(watch(&mut client, stage, manners).with(came))
}

fn get(stage: &Stage) -> String {
    format!("GET {} HTTP/1.1", stage.path)
}

fn connection_close(stage: &Stage) -> io::Result<Seen> {
    exchange(stage, &get(stage), CLOSE, Manners::Waits)
}

fn silent_peer(stage: &Stage) -> io::Result<Seen> {
    exchange(stage, &get(stage), CLOSE, Manners::Silent)
}

fn http_1_0(stage: &Stage) -> io::Result<Seen> {
    let line = format!("GET {} HTTP/1.0", stage.path);
    exchange(stage, &line, "", Manners::Waits)
}

fn close_notify(stage: &Stage) -> io::Result<Seen> {
    exchange(stage, &get(stage), "", Manners::Leaves(Duration::ZERO))
}

fn malformed(stage: &Stage) -> io::Result<Seen> {
    let no_field = "this line is no field\r\n";
    exchange(stage, &get(stage), no_field, Manners::Leaves(A_WHILE))
}

fn pipelined(stage: &Stage) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    let (line, more) = (get(stage), format!("GET {}?pipelined HTTP/1.1", stage.path));
    let both = [stage.request(&line, CLOSE), stage.request(&more, "")].concat();
    ask(
        &mut client,
        &format!("{line}, Connection: close, and another"),
        both,
    );
    let first = http1_came(&mut client, "GET", stage);
    let seen = watch(&mut client, stage, Manners::Waits).with(first);
    Ok(match client.unread().is_empty() {
        true => seen,
        false => seen.remarking("The request behind it was answered too."),
    })
}

fn oversized(stage: &Stage) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    let field = format!("X-Probe: {}\r\n", "x".repeat(UPLOAD));
    let request = stage.request(&get(stage), &field);
    send_all(&mut client, "GET with a field of 256 KiB", &request);
    let came = http1_came(&mut client, "GET", stage);
    Ok(watch(&mut client, stage, Manners::Leaves(A_WHILE)).with(came))
}

fn unread_upload(stage: &Stage) -> io::Result<Seen> {
    upload(stage, &stage.upload_path)
}

/// As a simple client does: it sends all of the body, and then looks for the answer.
pub(super) fn upload(stage: &Stage, path: &str) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    let line = format!("POST {path} HTTP/1.1");
    let mut request = stage.request(&line, &format!("Content-Length: {UPLOAD}\r\n"));
    request.push_str(&"u".repeat(UPLOAD));
    send_all(&mut client, &format!("{line}, 256 KiB"), &request);
    let came = http1_came(&mut client, "POST", stage);
    Ok(watch(&mut client, stage, Manners::Leaves(A_WHILE)).with(came))
}

/// Sends without reading, and gives the server time to make its mind up before it is read from.
fn send_all(client: &mut Client, what: &str, plaintext: &str) {
    client.note(&format!("request {what}"));
    let _ = client.send_for(plaintext, Duration::from_secs(5));
    sleep(Duration::from_millis(100));
}

fn slow_reader(stage: &Stage) -> io::Result<Seen> {
    let options = stage.options().http1();
    let options = options.recv_buffer(32 * 1024).read_chunk(8 * 1024);
    let mut client = Client::connect_with(stage.addr, &options)?;
    let path = if stage.testbed {
        "/bytes/1000000"
    } else {
        &stage.path
    };
    let line = format!("GET {path} HTTP/1.1");
    ask(&mut client, &line, stage.request(&line, CLOSE));
    client.note("client reads slowly for 3 s");
    for _ in 0..60 {
        sleep(Duration::from_millis(50));
        client.pump(std::time::Instant::now());
    }
    let came = http1_came(&mut client, "GET", stage);
    Ok(watch(&mut client, stage, Manners::Waits).with(came))
}

fn half_close(stage: &Stage) -> io::Result<Seen> {
    half_close_behind(stage, &stage.path)
}

/// Request and close_notify in one segment, so that the server finds both.
pub(super) fn half_close_behind(stage: &Stage, path: &str) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    let line = format!("GET {path} HTTP/1.1");
    client.note(&format!("request {line}"));
    let mut bytes = client.encrypt_only(stage.request(&line, ""));
    bytes.extend(client.close_notify_bytes());
    let _ = client.send_raw(bytes);
    let came = http1_came(&mut client, "GET", stage);
    Ok(watch(&mut client, stage, Manners::Waits).with(came))
}

fn fin_behind_request(stage: &Stage) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    ask(&mut client, &get(stage), stage.request(&get(stage), ""));
    let _ = client.fin();
    let came = http1_came(&mut client, "GET", stage);
    Ok(watch(&mut client, stage, Manners::Waits).with(came))
}

fn fin(stage: &Stage) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    let _ = client.fin();
    Ok(watch(&mut client, stage, Manners::Waits))
}

fn corrupt_record(stage: &Stage) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    let _ = client.send_corrupt_record();
    Ok(watch(&mut client, stage, Manners::Waits))
}
