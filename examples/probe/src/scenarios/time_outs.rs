//! Clients that stop: the server must end the connection by itself.

use std::io;

use super::{Http, Scenario, Tls, ask, http1_came};
use crate::judge::Expect;
use crate::seen::{Came, Seen};
use crate::stage::Stage;
use crate::watch::{Manners, watch};
use wire::{Client, PREFACE, RawTcp};

pub const TABLE: &[Scenario] = &[
    Scenario {
        id: "silent-tcp",
        title: "A connection on which nothing is sent",
        http: Http::None,
        tls: Tls::None,
        expect: Expect::Silence,
        rule: "RFC 9112 9.5",
        play: silent_tcp,
    },
    Scenario {
        id: "half-client-hello",
        title: "Half a ClientHello, then nothing",
        http: Http::None,
        tls: Tls::Both,
        expect: Expect::Silence,
        rule: "RFC 9112 9.5",
        play: half_client_hello,
    },
    Scenario {
        id: "silent-client",
        title: "A handshake, then nothing",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::End,
        rule: "RFC 9112 9.5",
        play: silent_client,
    },
    Scenario {
        id: "half-head",
        title: "Half a request's head, then nothing",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::End,
        rule: "RFC 9112 9.5",
        play: half_head,
    },
    Scenario {
        id: "keep-alive-idle",
        title: "An exchange, then nothing",
        http: Http::V1_1,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9112 9.5",
        play: keep_alive_idle,
    },
    Scenario {
        id: "h2-silent-client",
        title: "A handshake, then nothing",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::End,
        rule: "RFC 9113 3.4",
        play: h2_silent_client,
    },
    Scenario {
        id: "h2-half-preface",
        title: "Half a preface, then nothing",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::End,
        rule: "RFC 9113 3.4",
        play: h2_half_preface,
    },
    Scenario {
        id: "h2-keep-alive-idle",
        title: "An exchange, then nothing",
        http: Http::V2,
        tls: Tls::Both,
        expect: Expect::Answer,
        rule: "RFC 9113 9.1",
        play: h2_keep_alive_idle,
    },
];

fn silent_tcp(stage: &Stage) -> io::Result<Seen> {
    let mut client = RawTcp::connect_with(stage.addr, &stage.options())?;
    Ok(watch(&mut client, stage, Manners::Waits))
}

fn half_client_hello(stage: &Stage) -> io::Result<Seen> {
    let mut client = Client::open(stage.addr, &stage.options())?;
    client.note("client sends half a ClientHello");
    let _ = client.send_half_client_hello();
    Ok(watch(&mut client.into_raw(), stage, Manners::Waits))
}

fn silent_client(stage: &Stage) -> io::Result<Seen> {
    Ok(watch(&mut stage.http1()?, stage, Manners::Waits))
}

fn half_head(stage: &Stage) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    let half = format!("GET {} HTTP/1.1\r\nHost: ", stage.path);
    ask(&mut client, "half a head", half);
    let came = http1_came(&mut client, "GET", stage);
    Ok(watch(&mut client, stage, Manners::Waits).with(came))
}

fn keep_alive_idle(stage: &Stage) -> io::Result<Seen> {
    let mut client = stage.http1()?;
    let line = format!("GET {} HTTP/1.1", stage.path);
    ask(&mut client, &line, stage.request(&line, ""));
    let came = http1_came(&mut client, "GET", stage);
    Ok(watch(&mut client, stage, Manners::Waits).with(came))
}

fn h2_silent_client(stage: &Stage) -> io::Result<Seen> {
    Ok(watch(&mut stage.silent_h2()?, stage, Manners::Waits))
}

fn h2_half_preface(stage: &Stage) -> io::Result<Seen> {
    let mut client = stage.silent_h2()?;
    ask(&mut client, "half a preface", &PREFACE[..PREFACE.len() / 2]);
    Ok(watch(&mut client, stage, Manners::Waits))
}

fn h2_keep_alive_idle(stage: &Stage) -> io::Result<Seen> {
    let mut h2 = stage.http2()?;
    let stream = super::http2::get(&mut h2, stage, &stage.path);
    let came = Came::from(&h2.wait_stream(stream, stage.left()));
    Ok(watch(&mut h2, stage, Manners::Waits).with(came))
}
