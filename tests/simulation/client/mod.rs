//! One client, driven by hand: rustls on raw bytes, HTTP on top, and a script that says what to do.
//!
//! It knows at any time what was asked, what came whole, what in part, and how the connection ended
//! (`seen`). `plan` is its script, `roles` and `rude` make one up, `act` goes through it, `receive` takes
//! in what comes, `http1` and `http2` speak the protocols.

mod act;
mod choice;
pub mod http1;
pub mod http2;
pub mod plan;
mod receive;
pub mod roles;
mod rude;
pub mod seen;

use std::{
    future::Future,
    io::{Read, Write},
    mem,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use rustls::{ClientConnection, pki_types::ServerName};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::{
    plan::{Plan, Reading},
    seen::{Own, Seen},
};
use crate::{net::ClientEnd, tls, trace::event};

enum Protocol {
    Http1(http1::Reader),
    Http2(http2::Reader),
}

/// Something that comes round.
#[derive(Clone, Copy)]
struct Tick {
    next: Instant,
    every: Duration,
}

impl Tick {
    fn new(every: Duration) -> Self {
        let next = Instant::now() + every;
        Self { next, every }
    }

    fn strikes(&mut self) -> bool {
        let due = self.next <= Instant::now();
        if due {
            self.next = Instant::now() + self.every;
        }
        due
    }
}

/// A running client.
pub struct Client {
    conn: usize,
    plan: Plan,
    end: ClientEnd,
    tls: ClientConnection,
    protocol: Protocol,
    seen: Seen,
    over: CancellationToken,
    /// Raw bytes that are no whole record yet.
    raw: Vec<u8>,
    /// Raw bytes to be written, and how many there have been in all.
    out: Vec<u8>,
    produced: u64,
    step: usize,
    /// What a frame that the script has written in part keeps waiting.
    replies: Vec<u8>,
    /// The end of the step's pause.
    until: Option<Instant>,
    /// How much of each upload is written, and how much is to be.
    uploaded: Vec<u64>,
    wanted: Vec<u64>,
    reading: Reading,
    allowance: usize,
    read_tick: Option<Tick>,
    flood_tick: Option<Tick>,
    window_tick: Option<Tick>,
    last: Instant,
}

impl Client {
    pub fn new(conn: usize, plan: Plan, end: ClientEnd, over: CancellationToken) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let config = tls::client(plan.tls12, plan.http2 || plan.lies);
        let protocol = match plan.http2 {
            true => Protocol::Http2(http2::Reader {
                opens: plan.window_tick.is_none() && !plan.never_opens,
                stalled: plan.stalled.clone(),
                deaf_to_pings: plan.deaf_to_pings,
                credit: http2::Credit::new(plan.asks.len()),
                ..http2::Reader::default()
            }),
            false => Protocol::Http1(http1::Reader::default()),
        };
        let asks = plan.asks.clone();
        let mut tls = ClientConnection::new(config, name).unwrap();
        tls.set_buffer_limit(None);
        Self {
            conn,
            end,
            tls,
            protocol,
            uploaded: vec![0; asks.len()],
            wanted: vec![0; asks.len()],
            seen: Seen {
                asks,
                ..Seen::default()
            },
            over,
            raw: Vec::new(),
            out: Vec::new(),
            produced: 0,
            step: 0,
            replies: Vec::new(),
            until: None,
            reading: Reading::Eager,
            allowance: 0,
            read_tick: None,
            flood_tick: None,
            window_tick: None,
            last: Instant::now(),
            plan,
        }
    }

    /// Runs the script to its end.
    pub async fn run(mut self) -> Seen {
        if let Some(cut) = self.plan.handshake_cut {
            self.begin_handshake(cut);
        }
        if self.plan.plain {
            self.speak_plainly();
        }
        while !self.over.is_cancelled() {
            self.receive();
            self.tick();
            let done = self.seen.handshake.is_some() && self.act();
            self.encrypt();
            self.transmit();
            if done || self.is_finished() {
                break;
            }
            self.wait().await;
        }
        self.end.close(false);
        if self.plan.plain {
            self.seen.plain = String::from_utf8_lossy(&self.raw).into_owned();
        }
        self.seen
    }

    /// Sends `cut` bytes of a hello, and no more.
    fn begin_handshake(&mut self, cut: usize) {
        self.encrypt();
        self.out.truncate(cut);
        self.plan.mute = true;
        self.transmit();
    }

    /// A request without TLS.
    fn speak_plainly(&mut self) {
        self.out = b"GET / HTTP/1.1\r\nhost: s\r\n\r\n".to_vec();
        self.plan.mute = true;
        self.transmit();
    }

    /// The server has ended, and the client has nothing against it.
    fn is_finished(&self) -> bool {
        self.seen.is_over() && (!self.plan.holds || self.seen.rst.is_some())
    }

    async fn wait(&mut self) {
        let ticks = [self.read_tick, self.flood_tick, self.window_tick];
        let ticks = ticks.iter().flatten().map(|tick| tick.next);
        let next = ticks.chain(self.until).min();
        let mut sleep: Option<Pin<Box<Sleep>>> = next.map(|at| Box::pin(sleep_until(at)));
        let over = self.over.clone();
        let mut over = Box::pin(over.cancelled());
        let end = &mut self.end;
        let mut first = true;
        std::future::poll_fn(|cx| {
            if !mem::take(&mut first) {
                return Poll::Ready(());
            }
            end.watch(cx);
            let timer = sleep
                .as_mut()
                .is_some_and(|s| s.as_mut().poll(cx).is_ready());
            match timer || over.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    fn tick(&mut self) {
        if let (Some(tick), Reading::Rate(n, _)) = (&mut self.read_tick, self.reading) {
            if tick.strikes() {
                self.allowance = n;
                self.receive();
            }
        }
        if self.flood_tick.as_mut().is_some_and(Tick::strikes) {
            if let Some((_, n, what)) = self.plan.flood {
                self.say(&what.frames(n));
            }
        }
        if self.window_tick.as_mut().is_some_and(Tick::strikes) {
            self.open_windows();
        }
    }

    /// Opens the window of every answer that is still to come a bit.
    fn open_windows(&mut self) {
        let Some((_, n)) = self.plan.window_tick else {
            return;
        };
        let asks = self.seen.asks.iter().enumerate();
        let open = asks.filter(|(_, ask)| ask.head.is_some() && !ask.answer.is_over());
        let streams: Vec<u32> = open.map(|(number, _)| http2::stream(number)).collect();
        for stream in streams {
            self.say(&http2::window_update(stream, n));
            self.say(&http2::window_update(0, n));
            let now = crate::trace::now();
            self.seen.opened.open(n, now);
            self.seen.asks[http2::number(stream)]
                .answer
                .opened
                .open(n, now);
        }
    }

    fn shaken(&mut self) {
        self.seen.handshake = Some(event(self.conn, "client's handshake is over", 0));
        self.last = Instant::now();
        self.encrypt();
        self.seen.shaken = self.produced;
        self.flood_tick = self.plan.flood.map(|(every, ..)| Tick::new(every));
        self.window_tick = self.plan.window_tick.map(|(every, _)| Tick::new(every));
        if self.plan.http2 {
            self.say(&http2::preface(self.plan.window));
            self.widen();
        }
    }

    /// Opens the connection's window beyond all that will come.
    fn widen(&mut self) {
        if self.plan.wide {
            self.say(&http2::window_update(0, 1 << 20));
            self.seen.opened.open(1 << 20, crate::trace::now());
        }
    }

    fn notified(&mut self, begins: u64) {
        let now = event(self.conn, "client sees close_notify", begins);
        self.seen.notify = Some((now, begins));
        if let Protocol::Http1(reader) = &mut self.protocol {
            reader.closed(now, &mut self.seen);
        }
    }

    fn plaintext(&mut self) {
        let mut data = Vec::new();
        // Would block where there is no more: what was read before counts.
        let _ = self.tls.reader().read_to_end(&mut data);
        if data.is_empty() {
            return;
        }
        let now = event(self.conn, "client gets plaintext", data.len() as u64);
        self.last = Instant::now();
        match &mut self.protocol {
            Protocol::Http1(reader) => reader.feed(&data, now, &mut self.seen),
            Protocol::Http2(reader) => {
                reader.feed(&data, now, &mut self.seen, &mut self.replies);
                self.reply();
            }
        }
    }

    /// Says what the protocol asks for, when the script is not in the middle of a frame.
    fn reply(&mut self) {
        if !self.plan.is_within_raw(self.step) {
            let replies = mem::take(&mut self.replies);
            self.say(&replies);
            (0..self.wanted.len()).for_each(|number| self.go_on(number));
        }
    }

    /// Encrypts `plaintext`, unless the client has said that it says no more.
    fn say(&mut self, plaintext: &[u8]) {
        if self.seen.own(Own::Notify).is_some() || plaintext.is_empty() {
            return;
        }
        let _ = self.tls.writer().write_all(plaintext);
        self.encrypt();
    }

    fn encrypt(&mut self) {
        if self.plan.mute {
            return;
        }
        while self.tls.wants_write() {
            let n = self.tls.write_tls(&mut self.out).unwrap();
            self.produced += n as u64;
        }
    }

    fn transmit(&mut self) {
        while !self.out.is_empty() {
            match self.end.write(&self.out) {
                None => return self.out.clear(),
                Some(0) => return,
                Some(n) => drop(self.out.drain(..n)),
            }
        }
    }
}
