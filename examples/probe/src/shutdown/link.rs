//! A client of either HTTP, so that a shutdown can be met by both at once.

use std::io;
use std::thread::scope;

use super::Variant;
use crate::scenarios::{Http, http1_came, http2_send, is_declined};
use crate::seen::{Came, Seen};
use crate::stage::Stage;
use crate::watch::{Manners, watch};
use wire::{Client, H2, Version};

/// A connection, and the request on it.
pub struct Link {
    pub version: Version,
    /// What came of the last request.
    pub came: Came,
    client: Either,
}

enum Either {
    One(Box<Client>),
    Two(Box<H2>, u32),
}

impl Link {
    pub fn connect(stage: &Stage, version: Version, http: Http) -> io::Result<Self> {
        let stage = Stage {
            version,
            ..stage.clone()
        };
        let client = match http {
            Http::V2 => Either::Two(Box::new(stage.http2()?), 0),
            _ => Either::One(Box::new(stage.http1()?)),
        };
        Ok(Self {
            version,
            came: Came::default(),
            client,
        })
    }

    pub fn variant(&self) -> Variant {
        let http = match self.client {
            Either::One(_) => Http::V1_1,
            Either::Two(..) => Http::V2,
        };
        (Some(self.version), http)
    }

    /// Sends a GET. A write that fails is part of what is seen.
    pub fn ask(&mut self, stage: &Stage, path: &str) {
        self.send("GET", stage, path);
    }

    fn send(&mut self, method: &str, stage: &Stage, path: &str) {
        self.came = Came::default();
        match &mut self.client {
            Either::One(client) => {
                let line = format!("{method} {path} HTTP/1.1");
                client.note(&format!("request {line}"));
                let _ = client.send(stage.request(&line, ""));
            }
            Either::Two(h2, stream) => *stream = http2_send(h2, stage, method, path),
        }
    }

    /// Reads the answer, as far as it comes.
    pub fn read(&mut self, stage: &Stage) {
        self.read_to("GET", stage);
    }

    fn read_to(&mut self, method: &str, stage: &Stage) {
        self.came = match &mut self.client {
            Either::One(client) => http1_came(client, method, stage),
            Either::Two(h2, stream) => Came::from(&h2.wait_stream(*stream, stage.left())),
        };
    }

    /// A first exchange, without the bytes of an answer, that there may be hundreds of.
    pub fn exchange(&mut self, stage: &Stage) -> io::Result<()> {
        self.send("HEAD", stage, &stage.path);
        self.read_to("HEAD", stage);
        match &self.came.answer {
            Some(answer) if answer.whole => Ok(()),
            _ => Err(io::Error::other("no answer to HEAD")),
        }
    }

    pub fn note(&mut self, text: &str) {
        match &mut self.client {
            Either::One(client) => client.note(text),
            Either::Two(h2, _) => h2.conn.note(text),
        }
    }

    /// Looks on to the end; what came before counts.
    pub fn watch(&mut self, stage: &Stage) -> Seen {
        let seen = match &mut self.client {
            Either::One(client) => watch(&mut **client, stage, Manners::Waits),
            Either::Two(h2, stream) => {
                let seen = watch(&mut **h2, stage, Manners::Waits);
                let declined = is_declined(h2, *stream);
                Seen { declined, ..seen }
            }
        };
        seen.with(self.came.clone())
    }
}

/// Does the same with every one of `items` on a few threads; the results are in their order.
pub fn each<T: Send, R: Send>(
    items: &mut [T],
    threads: usize,
    act: impl Fn(&mut T) -> R + Sync,
) -> Vec<R> {
    let part = items.len().div_ceil(threads).max(1);
    let act = &act;
    scope(|scope| {
        let threads: Vec<_> = items
            .chunks_mut(part)
            .map(|part| scope.spawn(move || part.iter_mut().map(act).collect::<Vec<_>>()))
            .collect();
        let done = threads.into_iter().filter_map(|thread| thread.join().ok());
        done.flatten().collect()
    })
}
