//! HTTP/2: errors of the connection, and what the client does around a request.

use std::io;
use std::time::Duration;

use super::{Http, Scenario, Tls, ask};
use crate::judge::Expect;
use crate::seen::{Came, Seen};
use crate::stage::Stage;
use crate::watch::{Manners, watch};
use wire::{Frame, H2, H2Options, Version, kind};

pub const TABLE: &[Scenario] = &[
    Scenario {
        id: "h2-protocol-error",
        title: "A protocol error",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::End,
        rule: "RFC 9113 5.4.1",
        play: protocol_error,
    },
    Scenario {
        id: "h2-bad-preface",
        title: "A preface of another protocol",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::End,
        rule: "RFC 9113 3.4",
        play: bad_preface,
    },
    Scenario {
        id: "h2-half-close",
        title: "close_notify behind a request",
        http: Http::V2,
        tls: Tls::Only(Version::Tls13),
        expect: Expect::Answer,
        rule: "RFC 9846 6.1",
        play: half_close,
    },
    Scenario {
        id: "h2-half-close",
        title: "close_notify behind a request",
        http: Http::V2,
        tls: Tls::Only(Version::Tls12),
        expect: Expect::AnswerOrNot,
        rule: "RFC 9846 6.1",
        play: half_close,
    },
    Scenario {
        id: "h2-fin",
        title: "FIN without close_notify, behind a request",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::AnswerOrNot,
        rule: "RFC 9846 6.1",
        play: fin,
    },
    Scenario {
        id: "h2-goaway",
        title: "GOAWAY behind a request",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9113 6.8",
        play: goaway,
    },
    Scenario {
        id: "h2-close-notify",
        title: "close_notify on an idle connection",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9846 6.1",
        play: close_notify,
    },
    Scenario {
        id: "h2-corrupt-record",
        title: "A corrupt record",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::Alert,
        rule: "RFC 9846 5.2",
        play: corrupt_record,
    },
];

pub(super) fn get(h2: &mut H2, stage: &Stage, path: &str) -> u32 {
    send(h2, stage, "GET", path)
}

/// Sends a request, and says so on the time line.
pub fn send(h2: &mut H2, stage: &Stage, method: &str, path: &str) -> u32 {
    let frame = h2.request(&stage.fields(method, path), true);
    h2.conn.note(&format!("request {method} {path}"));
    // A write that fails is part of what is seen.
    let _ = h2.send_frame(&frame);
    frame.stream
}

/// The answer on that stream, as far as it comes, and the end.
pub(super) fn finish(h2: &mut H2, stream: u32, stage: &Stage, manners: Manners) -> Seen {
    let came = Came::from(&h2.wait_stream(stream, stage.left()));
    let seen = watch(h2, stage, manners).with(came);
    let declined = is_declined(h2, stream);
    Seen { declined, ..seen }
}

/// Whether the server has said that it will not answer the request (RFC 9113 6.8).
pub fn is_declined(h2: &H2, stream: u32) -> bool {
    h2.goaway_received().is_some_and(|(last, _)| last < stream)
}

fn protocol_error(stage: &Stage) -> io::Result<Seen> {
    let mut h2 = stage.http2()?;
    h2.conn.note("client sends DATA on stream 0");
    let _ = h2.send_frame(&Frame::data(0, *b"x", false));
    Ok(watch(&mut h2, stage, Manners::Waits))
}

fn bad_preface(stage: &Stage) -> io::Result<Seen> {
    let mut client = stage.silent_h2()?;
    ask(
        &mut client,
        "of HTTP/1.1 after agreeing on h2",
        stage.request("GET / HTTP/1.1", ""),
    );
    let mut h2 = H2::over(client, Default::default());
    Ok(watch(&mut h2, stage, Manners::Waits))
}

fn half_close(stage: &Stage) -> io::Result<Seen> {
    half_close_behind(stage, &stage.path)
}

/// Request and close_notify in one segment, so that the server finds both.
pub(super) fn half_close_behind(stage: &Stage, path: &str) -> io::Result<Seen> {
    let mut h2 = stage.http2()?;
    // The server's SETTINGS have to be acknowledged before close_notify: nothing may follow that.
    let settings = |frame: &Frame| frame.is(kind::SETTINGS) && !frame.is_ack();
    h2.wait_frame(settings, stage.left());
    h2.options = H2Options::silent();
    let request = h2.request(&stage.fields("GET", path), true);
    h2.conn.note(&format!("request GET {path}"));
    let mut bytes = h2.conn.encrypt_only(request.encode());
    bytes.extend(h2.conn.close_notify_bytes());
    let _ = h2.conn.send_raw(bytes);
    Ok(finish(&mut h2, request.stream, stage, Manners::Waits))
}

fn fin(stage: &Stage) -> io::Result<Seen> {
    let mut h2 = stage.http2()?;
    let stream = get(&mut h2, stage, &stage.path);
    let _ = h2.conn.fin();
    Ok(finish(&mut h2, stream, stage, Manners::Waits))
}

fn goaway(stage: &Stage) -> io::Result<Seen> {
    let mut h2 = stage.http2()?;
    let request = h2.request(&stage.fields("GET", &stage.path), true);
    h2.conn.note(&format!("request GET {}", stage.path));
    let stream = request.stream;
    let _ = h2.send_frames(&[request, Frame::goaway(0, 0)]);
    let manners = Manners::Leaves(Duration::from_secs(2));
    Ok(finish(&mut h2, stream, stage, manners))
}

fn close_notify(stage: &Stage) -> io::Result<Seen> {
    let mut h2 = stage.http2()?;
    let stream = get(&mut h2, stage, &stage.path);
    Ok(finish(
        &mut h2,
        stream,
        stage,
        Manners::Leaves(Duration::ZERO),
    ))
}

fn corrupt_record(stage: &Stage) -> io::Result<Seen> {
    let mut h2 = stage.http2()?;
    let _ = h2.conn.send_corrupt_record();
    Ok(watch(&mut h2, stage, Manners::Waits))
}
