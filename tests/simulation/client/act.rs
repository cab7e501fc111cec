//! Takes the steps of a client's script.

use tokio::time::Instant;

use super::{
    Client, Protocol, Tick, http1, http2,
    plan::{Reading, Step},
    seen::{Ask, Own},
};
use crate::trace::{Stamp, event};

/// What came of a step.
enum Taken {
    Done,
    Waits,
    Leaves,
}

impl Client {
    /// Goes on with the script as far as it can; `true` when the client is to let go.
    pub(super) fn act(&mut self) -> bool {
        while let Some(step) = self.plan.steps.get(self.step).cloned() {
            match self.take_step(&step) {
                Taken::Done => {
                    self.step += 1;
                    self.until = None;
                    self.reply();
                }
                Taken::Waits => return false,
                Taken::Leaves => return true,
            }
        }
        false
    }

    fn take_step(&mut self, step: &Step) -> Taken {
        self.seen.half |= matches!(step, Step::HalfHead(_) | Step::Raw(_));
        match *step {
            Step::Head(n) => self.ask(n),
            Step::HalfHead(n) => self.begin_to_ask(n),
            Step::Raw(ref bytes) => self.say(bytes),
            Step::Junk(n) => self.babble(n),
            Step::Body(n, bytes) => self.upload(n, bytes),
            Step::Pause(pause) => return self.pause(Instant::now() + pause),
            Step::Edge(after) => return self.pause(self.last + after),
            Step::At(at) => return self.pause(self.plan.start + at),
            Step::Answers => {
                let due = |ask: &Ask| ask.head.is_some() && !ask.answer.is_over();
                let waits = self.seen.asks.iter().any(due) && self.seen.notify.is_none();
                if waits && !self.seen.is_over() {
                    return Taken::Waits;
                }
            }
            Step::Begun(n) => {
                let ask = &self.seen.asks[n];
                let waits = ask.head.is_some() && ask.answer.begun.is_none();
                if waits && self.seen.notify.is_none() && !self.seen.is_over() {
                    return Taken::Waits;
                }
            }
            Step::Read(reading) => self.read(reading),
            Step::Notify => self.notify(),
            Step::Fin => {
                self.encrypt();
                self.transmit();
                if !self.out.is_empty() && !self.seen.is_over() {
                    return Taken::Waits;
                }
                self.did(Own::Fin);
                self.end.fin();
            }
            Step::Rst => {
                self.did(Own::Rst);
                self.end.close(true);
                return Taken::Leaves;
            }
            Step::Close => {
                self.transmit();
                self.did(Own::Close);
                return Taken::Leaves;
            }
        }
        Taken::Done
    }

    fn did(&mut self, what: Own) -> Stamp {
        let stamp = event(self.conn, what.name(), 0);
        if !self.seen.is_over() {
            self.seen.own.push((what, stamp));
        }
        stamp
    }

    /// Waits until `at`, which counts from the first time it is asked.
    fn pause(&mut self, at: Instant) -> Taken {
        let until = *self.until.get_or_insert(at);
        match until <= Instant::now() || self.seen.is_over() {
            true => Taken::Done,
            false => Taken::Waits,
        }
    }

    fn read(&mut self, reading: Reading) {
        self.reading = reading;
        self.read_tick = match reading {
            Reading::Rate(_, every) => Some(Tick::new(every)),
            Reading::Eager | Reading::Never => None,
        };
        self.receive();
    }

    fn notify(&mut self) {
        self.did(Own::Notify);
        (self.flood_tick, self.window_tick) = (None, None);
        self.tls.send_close_notify();
        self.encrypt();
        self.seen.own_notify = Some(self.produced);
    }

    fn chunked(&self, number: usize) -> bool {
        let ask = &self.seen.asks[number];
        self.plan.chunked && !ask.http10 && !ask.endpoint.is_tunnel()
    }

    /// Writes what is no TLS.
    fn babble(&mut self, n: usize) {
        self.encrypt();
        self.out.extend(std::iter::repeat_n(23, n));
        self.produced += n as u64;
    }

    /// Whether the request carries something behind its head.
    fn goes_on(&self, number: usize) -> bool {
        let endpoint = self.seen.asks[number].endpoint;
        endpoint.takes_upload() || endpoint.is_tunnel()
    }

    fn head(&self, number: usize) -> Vec<u8> {
        let ask = &self.seen.asks[number];
        let chunked = self.chunked(number);
        match self.plan.http2 {
            true => http2::head(self.conn, number, ask.endpoint, !self.goes_on(number)),
            false => http1::head(self.conn, number, ask, chunked).into_bytes(),
        }
    }

    /// Whether the client may write a request: the server has not said that it takes no more.
    fn may_ask(&self, number: usize) -> bool {
        let begun = self.seen.asks[number].begun.is_some();
        self.seen.own(Own::Notify).is_none() && (begun || !self.seen.closing())
    }

    /// Writes half of a request's head.
    fn begin_to_ask(&mut self, number: usize) {
        if self.may_ask(number) {
            let head = self.head(number);
            self.say(&head[..head.len() / 2]);
            self.seen.asks[number].begun = Some(self.produced);
        }
    }

    /// Writes a request's head, or what is missing of it.
    fn ask(&mut self, number: usize) {
        if !self.may_ask(number) {
            return;
        }
        let head = self.head(number);
        let written = match self.seen.asks[number].begun {
            Some(_) => head.len() / 2,
            None => 0,
        };
        self.say(&head[written..]);
        let complete = !self.goes_on(number);
        let ask = &mut self.seen.asks[number];
        ask.asked = Some(event(self.conn, "client asks", number as u64));
        ask.head = Some(self.produced);
        if complete {
            ask.complete = Some(self.produced);
        }
        self.seen.useful = self.produced;
        self.last = Instant::now();
    }

    /// Writes some of an upload; with the last of it the request is complete.
    fn upload(&mut self, number: usize, bytes: u64) {
        let asked = self.seen.asks[number].head.is_some();
        let complete = self.seen.asks[number].complete.is_some();
        if !asked || complete || self.seen.own(Own::Notify).is_some() {
            return;
        }
        let wanted = self.wanted[number].saturating_add(bytes);
        self.wanted[number] = wanted.min(self.seen.asks[number].upload);
        if self.wanted[number] == 0 {
            // There is nothing to wait for.
            return self.write_body(number, 0);
        }
        self.go_on(number);
    }

    /// Writes what the server's windows let through of an upload.
    pub(super) fn go_on(&mut self, number: usize) {
        let wanted = self.wanted[number] - self.uploaded[number];
        if wanted == 0 || self.seen.own(Own::Notify).is_some() {
            return;
        }
        let n = match &mut self.protocol {
            Protocol::Http1(_) => wanted,
            Protocol::Http2(reader) => reader.credit.take(number, wanted),
        };
        let ask = &mut self.seen.asks[number];
        ask.waits = n < wanted && !ask.answer.is_reset();
        ask.waited |= ask.waits;
        if n > 0 {
            self.write_body(number, n);
        }
    }

    fn write_body(&mut self, number: usize, n: u64) {
        let left = self.seen.asks[number].upload - self.uploaded[number];
        let body = match self.plan.http2 {
            true => http2::body(number, n, left - n),
            false => http1::body(n, left - n, self.chunked(number)),
        };
        self.say(&body);
        self.uploaded[number] += n;
        if n == left {
            self.seen.asks[number].complete = Some(self.produced);
        }
        self.seen.useful = self.produced;
        self.last = Instant::now();
    }
}
