//! The end of a connection: reads until the server ends it, answers as clients do, and waits until
//! the server has let go of its descriptor.

use std::time::{Duration, Instant};

use crate::descriptors::wait_let_go;
use crate::run::{Event, Kind, Side};
use crate::seen::{Held, Seen};
use crate::stage::Stage;
use crate::timeline;
use wire::{Client, Connection, End, H2, H2Options, Layer, Pumped, RawTcp};

/// What the client itself does about the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manners {
    /// Leaves it to the server, and answers its close_notify.
    Waits,
    /// The same for so long; then it says close_notify first.
    Leaves(Duration),
    /// Never says anything again.
    Silent,
}

/// How long the server may take from its close_notify to its FIN before it is answered.
const BETWEEN: Duration = Duration::from_millis(300);
/// How long the client's close_notify stands alone, before its FIN.
const BEFORE_FIN: Duration = Duration::from_millis(500);
/// How long to look for a RST behind a FIN.
const LINGER: Duration = Duration::from_millis(30);

/// A client of any kind.
pub trait Peer {
    type Layer: Layer;

    fn conn(&mut self) -> &mut Connection<Self::Layer>;
    fn pump(&mut self, deadline: Instant) -> Pumped;
    fn notify(&mut self);
    fn has_goaway(&self) -> bool {
        false
    }
}

impl Peer for Client {
    type Layer = wire::Tls;

    fn conn(&mut self) -> &mut Connection<Self::Layer> {
        self
    }

    fn pump(&mut self, deadline: Instant) -> Pumped {
        Self::pump(self, deadline)
    }

    fn notify(&mut self) {
        // Whether it still can be sent is up to the server, and nothing to complain of.
        if !self.story().has("> close_notify") {
            let _ = self.send_close_notify();
        }
    }
}

impl Peer for H2 {
    type Layer = wire::Tls;

    fn conn(&mut self) -> &mut Connection<Self::Layer> {
        &mut self.conn
    }

    fn pump(&mut self, deadline: Instant) -> Pumped {
        Self::pump(self, deadline)
    }

    fn notify(&mut self) {
        // Whoever has said close_notify may not acknowledge anything any more.
        self.options = H2Options::silent();
        self.conn.notify();
    }

    fn has_goaway(&self) -> bool {
        self.goaway_received().is_some()
    }
}

impl Peer for RawTcp {
    type Layer = wire::Plain;

    fn conn(&mut self) -> &mut Connection<Self::Layer> {
        self
    }

    fn pump(&mut self, deadline: Instant) -> Pumped {
        Self::pump(self, deadline)
    }

    fn notify(&mut self) {}
}

/// Watches a connection to its end.
pub fn watch(peer: &mut impl Peer, stage: &Stage, manners: Manners) -> Seen {
    let ended = read_to_end(peer, stage, manners);
    if ended && manners != Manners::Silent {
        peer.conn().linger_for_reset(LINGER);
        if peer.conn().ending().is_fin() {
            peer.notify();
            fin(peer.conn());
        }
    }
    let held = held(peer.conn(), stage);
    see(peer, held)
}

/// Whether TCP ended before the client lost patience.
fn read_to_end(peer: &mut impl Peer, stage: &Stage, manners: Manners) -> bool {
    let mut goodbye = match manners {
        Manners::Leaves(after) => Some(Instant::now() + after),
        _ => None,
    };
    let mut said = false;
    loop {
        let now = Instant::now();
        if goodbye.is_some_and(|at| now >= at) {
            goodbye = say_goodbye(peer, &mut said);
        }
        let until = goodbye.unwrap_or(stage.deadline).min(stage.deadline);
        let until = until.min(now + Duration::from_millis(250));
        match peer.pump(until) {
            Pumped::Ended => return true,
            _ if now >= stage.deadline => return false,
            _ => {}
        }
        let notified = !said && peer.conn().close_notified();
        if notified && goodbye.is_none() && manners == Manners::Waits {
            goodbye = Some(Instant::now() + BETWEEN);
        }
    }
}

/// close_notify, then a FIN; returns when the next of them is due.
fn say_goodbye(peer: &mut impl Peer, said: &mut bool) -> Option<Instant> {
    if !*said {
        *said = true;
        peer.notify();
        return Some(Instant::now() + BEFORE_FIN);
    }
    fin(peer.conn());
    None
}

fn fin<L: Layer>(conn: &mut Connection<L>) {
    if !conn.story().has("> FIN") {
        let _ = conn.fin();
    }
}

/// Waits until the server has let go, as long as patience lasts.
pub fn held<L: Layer>(conn: &mut Connection<L>, stage: &Stage) -> Held {
    if !stage.sees_descriptors {
        return match conn.ending().end {
            End::Reset(at) => Held::Until(at),
            _ => Held::Unknown,
        };
    }
    let (server, client) = (conn.peer_addr(), conn.local_addr());
    let (began, now) = (Instant::now(), conn.now());
    let Some(at) = wait_let_go(server, client, stage.deadline) else {
        return Held::Still;
    };
    conn.note("server let go of its descriptor");
    Held::Until(now + at.saturating_duration_since(began))
}

/// What has been seen by now, but for the answer.
pub fn see(peer: &mut impl Peer, held: Held) -> Seen {
    let goaway = peer.has_goaway();
    let conn = peer.conn();
    let ending = conn.ending();
    let events = timeline::events(conn.story());
    Seen {
        answer: None,
        close_delimited: false,
        close_notify: ending.close_notify,
        alert: ending.alert.map(|(kind, _)| format!("{kind:?}")),
        end: ending.end,
        late_reset: ending.late_reset,
        client_ended: client_ended(&events),
        goaway,
        declined: false,
        held,
        ended: conn.now(),
        too_much: conn.is_full(),
        remark: None,
        events,
    }
}

/// Whether the client ended its side before the server did.
fn client_ended(events: &[Event]) -> bool {
    let ends = |event: &&Event| matches!(event.kind, Kind::CloseNotify | Kind::Fin | Kind::Rst);
    events
        .iter()
        .find(ends)
        .is_some_and(|event| event.from == Side::Client)
}
