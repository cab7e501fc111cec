//! The scenarios: what the client does, and what it may expect. One table a file, by what the
//! scenarios are about.

mod handshakes;
mod http2;
mod requests;
mod testbed;
mod time_outs;

pub use http2::{is_declined, send as http2_send};

use std::io;
use std::time::Duration;

use crate::crew::Takes;
use crate::judge::Expect;
use crate::run::{Answer, Group};
use crate::seen::{Came, Seen};
use crate::stage::Stage;
use wire::{Connection, Layer, Version};

/// One thing that a client may do.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// In kebab-case, and stable.
    pub id: &'static str,
    pub title: &'static str,
    pub http: Http,
    pub tls: Tls,
    pub expect: Expect,
    /// Where the RFCs speak of it.
    pub rule: &'static str,
    pub play: fn(&Stage) -> io::Result<Seen>,
}

/// What is spoken inside TLS.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Http {
    None,
    V1_0,
    V1_1,
    V2,
}

/// The versions of TLS in which a scenario plays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tls {
    Both,
    Only(Version),
    /// It never gets as far as a version.
    None,
}

impl Http {
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::V1_0 => Some("1.0"),
            Self::V1_1 => Some("1.1"),
            Self::V2 => Some("2"),
        }
    }
}

impl Tls {
    /// The versions to play in, of those that the server has.
    pub fn of(self, versions: &[Version]) -> Vec<Version> {
        match self {
            Self::Both => versions.to_vec(),
            Self::Only(version) => versions.iter().copied().filter(|v| *v == version).collect(),
            Self::None => versions.first().copied().into_iter().collect(),
        }
    }
}

impl Scenario {
    /// Whether it is the server that ends an HTTP/2 connection on which requests could still come, so
    /// that it should say GOAWAY first (RFC 9113 5.4.1, 6.8).
    pub fn wants_goaway(&self) -> bool {
        matches!(self.id, "h2-keep-alive-idle" | "h2-protocol-error")
    }
}

/// Those, of shutdowns too, in which the client waits until a time-out of the server's is over, and
/// which so take the time that a run takes.
pub const WAITING: &[&str] = &[
    "silent-tcp",
    "half-client-hello",
    "silent-client",
    "half-head",
    "keep-alive-idle",
    "silent-peer",
    "slow-reader",
    "h2-silent-client",
    "h2-half-preface",
    "h2-bad-preface",
    "h2-keep-alive-idle",
    "stuck-reader",
    "sigterm-endless",
    "sigterm-handshake",
    "sigterm-twice",
];

/// How long a scenario may take: with a server that does what it does at once, and with one that takes
/// all the time there is.
pub fn takes(scenario: &str, limit: Duration) -> Takes {
    // Clients that leave after two seconds, a server that starts, and a last look.
    let around = Duration::from_secs(4);
    let most = limit + around;
    match WAITING.contains(&scenario) {
        true => Takes { usual: most, most },
        false => Takes {
            usual: around,
            most,
        },
    }
}

/// Every scenario of a group that needs no control of the server.
pub fn all(testbed: bool) -> Vec<(Group, Scenario)> {
    let of = |group: Group, tables: &[&[Scenario]]| -> Vec<(Group, Scenario)> {
        let scenarios = tables.iter().flat_map(|table| table.iter());
        scenarios.map(|scenario| (group, *scenario)).collect()
    };
    let mut all = of(
        Group::BlackBox,
        &[
            handshakes::TABLE,
            requests::TABLE,
            time_outs::TABLE,
            http2::TABLE,
        ],
    );
    if testbed {
        all.extend(of(Group::Testbed, &[testbed::TABLE]));
    }
    all
}

/// Sends plaintext, and says so on the time line. A write that fails is part of what is seen.
fn ask<L: Layer>(client: &mut Connection<L>, what: &str, plaintext: impl AsRef<[u8]>) {
    client.note(&format!("request {what}"));
    let _ = client.send(plaintext);
}

/// The answer to a request with this method, as far as it comes while patience lasts.
pub fn http1_came<L: Layer>(client: &mut Connection<L>, method: &str, stage: &Stage) -> Came {
    match client.read_response_to(method, stage.left()) {
        Ok(response) => Came::from(&response),
        Err(_) => Came {
            answer: (!client.unread().is_empty()).then(|| Answer {
                status: 0,
                bytes: client.unread().len() as u64,
                whole: false,
            }),
            close_delimited: false,
        },
    }
}
