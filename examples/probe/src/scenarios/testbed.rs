//! What needs endpoints that fail or take their time, as the testbed has them.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::requests::{half_close_behind, upload};
use super::{Http, Scenario, Tls, ask, http1_came, http2};
use crate::judge::Expect;
use crate::seen::{Came, Seen};
use crate::stage::Stage;
use crate::watch::{Manners, held, watch};
use wire::{Client, Version};

pub const TABLE: &[Scenario] = &[
    Scenario {
        id: "close-delimited",
        title: "An answer that the end of the connection ends",
        http: Http::V1_0,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9112 9.8",
        play: |stage| exchange(stage, "GET /chunked/100000 HTTP/1.0"),
    },
    Scenario {
        id: "close-delimited-error",
        title: "An answer of no stated length that fails half-way",
        http: Http::V1_0,
        tls: Tls::Both,
        expect: Expect::Cut,
        rule: "RFC 9112 9.8",
        play: |stage| exchange(stage, "GET /error-mid-body HTTP/1.0"),
    },
    Scenario {
        id: "close-delimited-panic",
        title: "An answer of no stated length whose handler panics half-way",
        http: Http::V1_0,
        tls: Tls::Both,
        expect: Expect::Cut,
        rule: "RFC 9112 9.8",
        play: |stage| exchange(stage, "GET /panic-mid-body HTTP/1.0"),
    },
    Scenario {
        id: "chunked-error",
        title: "A chunked answer that fails half-way",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Cut,
        rule: "RFC 9112 8",
        play: |stage| exchange(stage, "GET /error-mid-body HTTP/1.1"),
    },
    Scenario {
        id: "length-error",
        title: "An answer with Content-Length that fails half-way",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Cut,
        rule: "RFC 9112 8",
        play: |stage| exchange(stage, "GET /error-mid-body-len HTTP/1.1"),
    },
    Scenario {
        id: "body-panic",
        title: "A chunked answer whose handler panics half-way",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Cut,
        rule: "RFC 9112 8",
        play: |stage| exchange(stage, "GET /panic-mid-body HTTP/1.1"),
    },
    Scenario {
        id: "panic",
        title: "A handler that panics before it answers",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::AnswerOrNot,
        rule: "RFC 9846 6.1",
        play: |stage| exchange(stage, "GET /panic HTTP/1.1"),
    },
    Scenario {
        id: "unread-upload-4-mib",
        title: "4 MiB in answer to an upload that is never read",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9112 9.6",
        play: |stage| upload(stage, "/unread/4194304"),
    },
    Scenario {
        id: "half-close-in-flight",
        title: "close_notify behind a request that takes its time",
        http: Http::V1_1,
        tls: Tls::Only(Version::Tls13),
        expect: Expect::Answer,
        rule: "RFC 9846 6.1",
        play: |stage| half_close_behind(stage, "/sleep/500"),
    },
    Scenario {
        id: "half-close-in-flight",
        title: "close_notify behind a request that takes its time",
        http: Http::V1_1,
        tls: Tls::Only(Version::Tls12),
        expect: Expect::AnswerOrNot,
        rule: "RFC 9846 6.1",
        play: |stage| half_close_behind(stage, "/sleep/500"),
    },
    Scenario {
        id: "stuck-reader",
        title: "A client that stops reading",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::LetGo,
        rule: "RFC 9112 9.5",
        play: stuck_reader,
    },
    Scenario {
        id: "h2-error",
        title: "An answer that fails half-way",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::Cut,
        rule: "RFC 9113 5.4.2",
        play: |stage| h2_exchange(stage, "/error-mid-body"),
    },
    Scenario {
        id: "h2-body-panic",
        title: "An answer whose handler panics half-way",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::Cut,
        rule: "RFC 9113 5.4.2",
        play: |stage| h2_exchange(stage, "/panic-mid-body"),
    },
    Scenario {
        id: "h2-half-close-in-flight",
        title: "close_notify behind a request that takes its time",
        http: Http::V2,
        tls: Tls::Only(Version::Tls13),
        expect: Expect::Answer,
        rule: "RFC 9846 6.1",
        play: |stage| http2::half_close_behind(stage, "/sleep/500"),
    },
    Scenario {
        id: "h2-half-close-in-flight",
        title: "close_notify behind a request that takes its time",
        http: Http::V2,
        tls: Tls::Only(Version::Tls12),
        expect: Expect::AnswerOrNot,
        rule: "RFC 9846 6.1",
        play: |stage| http2::half_close_behind(stage, "/sleep/500"),
    },
    Scenario {
        id: "h2-unread-upload",
        title: "4 MiB in answer to an upload that is never read",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9113 8.1",
        play: h2_unread_upload,
    },
];

const AT_ONCE: Manners = Manners::Leaves(Duration::from_millis(500));

fn exchange(stage: &Stage, line: &str) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    ask(&mut client, line, stage.request(line, ""));
    let came = http1_came(&mut client, "GET", stage);
    Ok(watch(&mut client, stage, AT_ONCE).with(came))
}

fn h2_exchange(stage: &Stage, path: &str) -> io::Result<Seen> {
    let mut h2 = stage.http2()?;
    let stream = http2::get(&mut h2, stage, path);
    Ok(http2::finish(&mut h2, stream, stage, AT_ONCE))
}

fn h2_unread_upload(stage: &Stage) -> io::Result<Seen> {
    let mut h2 = stage.http2()?;
    let path = "/unread/4194304";
    h2.conn.note(&format!("request POST {path}, 256 KiB"));
    let request = h2.request(&stage.fields("POST", path), false);
    let _ = h2.send_frame(&request);
    let _ = h2.upload(request.stream, &[b'u'; 256 * 1024], Duration::from_secs(5));
    let came = Came::from(&h2.wait_stream(request.stream, stage.left()));
    Ok(watch(&mut h2, stage, AT_ONCE).with(came))
}

/// Reads nothing until the server has let go, and only then what there is.
fn stuck_reader(stage: &Stage) -> io::Result<Seen> {
    let options = stage.options().http1().recv_buffer(4096);
    let mut client = Client::connect_with(stage.addr, &options)?;
    let line = "GET /bytes/100000000 HTTP/1.1";
    ask(&mut client, line, stage.request(line, ""));
    client.note("client reads nothing");
    if !stage.sees_descriptors {
        sleep(stage.left() / 2);
    }
    let held = held(&mut client, stage);
    let late = stage.for_another(Duration::from_secs(3));
    let came = http1_came(&mut client, "GET", &late);
    let seen = watch(&mut client, &late, Manners::Waits).with(came);
    Ok(Seen { held, ..seen })
}
