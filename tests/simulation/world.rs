//! What the handlers know of their requests: the oracles' view from inside.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use crate::trace::{Stamp, event, now};

/// A request: the connection's number, and the request's on it.
pub type Key = (usize, usize);

/// What the server does with an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// The handler works, or its body has no next frame yet.
    Busy,
    /// The body has given a frame, and has not been asked for the next.
    Held,
    /// hyper has taken the whole answer.
    Given,
    /// The handler or the body failed by itself.
    Failed,
    /// It was dropped before its end.
    Dropped,
}

/// One request in the server.
#[derive(Clone, Debug)]
pub struct Served {
    /// The last time anything was done about it.
    pub last: Stamp,
    pub work: Work,
    /// What it was when it was dropped.
    pub before: Work,
    /// How often it was handed to a handler.
    pub times: u32,
    pub begun: Stamp,
    /// When the handler, or its answer's body, was let go.
    pub dropped: Option<Stamp>,
    /// What the reader of a tunnel saw of its end.
    pub tunnel: Option<TunnelEnd>,
}

/// How the server's side of a tunnel ended.
#[derive(Clone, Copy, Debug)]
pub struct TunnelEnd {
    /// By an EOF, and not an error.
    pub eof: bool,
    /// What was read before.
    pub bytes: u64,
    pub at: Stamp,
}

/// All requests of one run.
#[derive(Clone, Debug, Default)]
pub struct World(Arc<Mutex<BTreeMap<Key, Served>>>);

impl World {
    pub fn called(&self, key: Key) -> Token {
        let stamp = event(key.0, "handler begins", key.1 as u64);
        let mut all = self.0.lock().unwrap();
        let served = all.entry(key).or_insert(Served {
            last: stamp,
            work: Work::Busy,
            before: Work::Busy,
            times: 0,
            begun: stamp,
            dropped: None,
            tunnel: None,
        });
        served.times += 1;
        drop(all);
        Token {
            world: self.clone(),
            key,
        }
    }

    pub fn tunnel_ended(&self, key: Key, mut end: TunnelEnd) {
        end.at = event(key.0, "tunnel's reader ends", end.bytes);
        if let Some(served) = self.0.lock().unwrap().get_mut(&key) {
            served.tunnel = Some(end);
        }
    }

    pub fn all(&self) -> BTreeMap<Key, Served> {
        self.0.lock().unwrap().clone()
    }
}

/// One request's entry; dropping it ends it.
#[derive(Debug)]
pub struct Token {
    world: World,
    key: Key,
}

impl Token {
    pub fn set(&self, work: Work) {
        let mut all = self.world.0.lock().unwrap();
        let Some(served) = all.get_mut(&self.key) else {
            return;
        };
        if matches!(served.work, Work::Given | Work::Failed) {
            return;
        }
        let name = match work {
            Work::Busy => "handler works",
            Work::Held => "handler gave a frame of",
            Work::Given => "handler gave all of",
            Work::Failed => "handler fails",
            Work::Dropped => "handler is dropped",
        };
        served.before = served.work;
        served.work = work;
        let stamp = event(self.key.0, name, self.key.1 as u64);
        // Nothing was done about an answer that was only held when it is dropped.
        if work != Work::Dropped || served.before == Work::Busy {
            served.last = stamp;
        }
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.set(Work::Dropped);
        let stamp = now();
        if let Some(served) = self.world.0.lock().unwrap().get_mut(&self.key) {
            served.dropped = Some(stamp);
        }
    }
}
