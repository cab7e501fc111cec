//! Carries the bytes of one link, until both ends are gone and nothing is on its way.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::time::{Instant, sleep_until};

use super::{Client, End, Link, Parcel, Server, Side, State, log};
use crate::trace::event;

const SEGMENT: usize = 16 << 10;

impl Link {
    /// Runs the link.
    pub async fn pump(self) {
        let mut sleep = pin!(sleep_until(Instant::now()));
        std::future::poll_fn(|cx| {
            loop {
                let (next, over) = self.carry(cx);
                if over {
                    return Poll::Ready(());
                }
                let Some(next) = next else {
                    return Poll::Pending;
                };
                sleep.as_mut().reset(next);
                if Pin::new(&mut sleep).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Moves what can be moved; says when there is more, and whether there never will be.
    fn carry(&self, cx: &Context<'_>) -> (Option<Instant>, bool) {
        let mut state = self.lock();
        state.pump = Some(cx.waker().clone());
        let mut wakers = Vec::new();
        while state.step(Client, &mut wakers) | state.step(Server, &mut wakers) {}
        if state.hears.take_if(|at| *at <= Instant::now()).is_some() {
            wakers.extend(state.ends[Server as usize].reader.take());
        }
        let over = state.ends.iter().all(|end| end.dropped)
            && state
                .ways
                .iter()
                .all(|way| way.flight.is_empty() && way.queued.is_empty());
        let arrivals = state.ways.iter().filter_map(|way| way.flight.front());
        let next = arrivals.map(|(at, _)| *at).chain(state.hears).min();
        state.rng.shuffle(&mut wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        (next, over)
    }
}

impl State {
    /// One round of what `from` sends; whether anything moved.
    fn step(&mut self, from: Side, wakers: &mut Vec<Waker>) -> bool {
        let moved = self.send(from) | self.arrive(from, wakers);
        if moved && self.rng.u8(..100) < self.nature.spurious {
            let end = &mut self.ends[self.rng.usize(..2)];
            wakers.extend(end.reader.take());
            wakers.extend(end.writer.take());
        }
        moved
    }

    /// Sends what the window allows, and behind the last byte the FIN.
    fn send(&mut self, from: Side) -> bool {
        let at = Instant::now() + self.nature.delay;
        let way = &mut self.ways[from as usize];
        let window = self
            .nature
            .receive_buffer
            .saturating_sub(way.unread + way.in_flight);
        let n = way.queued.len().min(window).min(SEGMENT);
        if n > 0 {
            let segment = way.queued.split_to(n).freeze();
            way.in_flight += n;
            way.flight.push_back((at, Parcel::Bytes(segment)));
        }
        let fin = way.closing && way.queued.is_empty() && !way.fin_sent;
        if fin {
            way.fin_sent = true;
            way.flight.push_back((at, Parcel::Fin));
        }
        n > 0 || fin
    }

    fn arrive(&mut self, from: Side, wakers: &mut Vec<Waker>) -> bool {
        let way = &mut self.ways[from as usize];
        if way
            .flight
            .front()
            .is_none_or(|(at, _)| *at > Instant::now())
        {
            return false;
        }
        let Some((_, parcel)) = way.flight.pop_front() else {
            return false;
        };
        match parcel {
            Parcel::Bytes(bytes) => self.bytes_arrive(from, bytes, wakers),
            Parcel::Fin => self.fin_arrives(from),
            Parcel::Rst => self.rst_arrives(from, wakers),
        }
        if from == Client && !self.nature.late.is_zero() {
            let hears = Instant::now() + self.nature.late;
            self.hears.get_or_insert(hears);
        } else {
            wakers.extend(self.ends[from.other() as usize].reader.take());
        }
        true
    }

    fn bytes_arrive(&mut self, from: Side, bytes: bytes::Bytes, wakers: &mut Vec<Waker>) {
        let n = bytes.len();
        let way = &mut self.ways[from as usize];
        way.in_flight = way.in_flight.saturating_sub(n);
        if self.ends[from.other() as usize].dropped {
            return self.answer_with_rst(from.other());
        }
        way.inbox.push_back(bytes);
        way.unread += n;
        let unacknowledged = way.unacknowledged();
        let stamp = event(self.conn, name(from, "server got", "client got"), n as u64);
        match from {
            Client => log::add(&mut self.log.arrived, n, stamp),
            Server => log::add(&mut self.log.acknowledged, n, stamp),
        }
        let free = self.nature.send_buffer.saturating_sub(unacknowledged);
        let enough = match self.nature.lazy && from == Server {
            true => self.nature.send_buffer / 3,
            false => 1,
        };
        if free >= enough {
            wakers.extend(self.ends[from as usize].writer.take());
        }
    }

    /// Bytes for a socket that is closed.
    fn answer_with_rst(&mut self, side: Side) {
        if std::mem::replace(&mut self.ways[side as usize].rst_sent, true) {
            return;
        }
        let stamp = event(self.conn, name(side, "client resets", "server resets"), 0);
        if side == Server {
            self.log.reset_sent.get_or_insert(stamp);
        }
        let at = Instant::now() + self.nature.delay;
        let way = &mut self.ways[side as usize];
        way.clear();
        way.flight.push_back((at, Parcel::Rst));
        self.ways[side.other() as usize].clear();
    }

    fn fin_arrives(&mut self, from: Side) {
        self.ways[from as usize].fin_arrived = true;
        let stamp = event(
            self.conn,
            name(from, "client's FIN", "server's FIN arrives"),
            0,
        );
        if from == Client {
            self.log.fin_arrived = Some(stamp);
        }
    }

    fn rst_arrives(&mut self, from: Side, wakers: &mut Vec<Waker>) {
        let to = from.other();
        let stamp = event(
            self.conn,
            name(from, "client's RST", "server's RST arrives"),
            0,
        );
        if from == Client {
            self.log.rst_arrived = Some(stamp);
        }
        self.ways[from as usize].destroy_unread();
        self.ways[to as usize].clear();
        let End { reset, writer, .. } = &mut self.ends[to as usize];
        *reset = true;
        wakers.extend(writer.take());
    }
}

fn name(side: Side, client: &'static str, server: &'static str) -> &'static str {
    match side {
        Client => client,
        Server => server,
    }
}
