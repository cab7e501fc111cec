//! What is in flight on an HTTP/2 connection, read from the frames themselves.
//!
//! [`Http2`] reads the frame headers (RFC 9113 4.1) of both directions of a server's connection,
//! as plaintext, after they went by. So whoever owns the stream under a server knows which
//! requests have begun, which answers are out and which the peer holds up, whatever the server is
//! and without a word from it. There is no IO and no clock in here, and nothing is altered.
//!
//! Payloads are skipped, except the few bytes of SETTINGS, WINDOW_UPDATE, RST_STREAM and GOAWAY
//! that say something. Header blocks are not decoded: an interim answer (1xx) looks like one that
//! has begun, and padding looks like body. What the peers have to judge themselves, such as frame
//! sizes, padding and overrun windows, is not judged: whatever the server makes of it, GOAWAY or
//! RST_STREAM, is read like anything else.

mod frame;
mod stream;

use std::{collections::VecDeque, mem, time::Duration};

use tokio::time::Instant;

use self::frame::{
    ACK, END_STREAM, FLOW_CONTROL_ERROR, GOAWAY, HEADERS, Head, PING, PING_LEN, PRIORITY,
    PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, Reader, SETTINGS, Side, Step, TYPE_AT,
    WINDOW_UPDATE,
};
pub(crate) use self::stream::Progress;
use self::stream::{HeldBy, Sent, Stream, Tally, Way};
use crate::{
    ending::{Cause, Resets},
    pace::Rate,
};

pub(crate) use self::frame::{
    ENHANCE_YOUR_CALM, MAX_31_BITS, NO_ERROR, SETTINGS_FRAME, UNKNOWN_TYPE, blames_peer, goaway,
    ping, ping_ack, rst_stream,
};

/// How many streams may be open at once before the connection is no longer followed. It bounds
/// memory and nothing else: the server refuses what is above its own limit long before.
const MAX_STREAMS: usize = 65_536;

/// Every window before anybody has said otherwise (RFC 9113 6.9.2).
const DEFAULT_WINDOW: i64 = 65_535;

/// What [`Http2::stalled`] found.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Stalled {
    /// The streams that are stalled.
    pub(crate) streams: Vec<u32>,
    /// Tunnels through which nothing goes: see [`Http2::late_uploads`].
    pub(crate) tunnels: Vec<u32>,
    /// The client has begun a request since one of them was held: it lives, and goes on without.
    pub(crate) outlived: bool,
    /// When the first of the other held streams will be if nothing moves. `None` if there is none.
    pub(crate) next: Option<Instant>,
}

/// How long a client may take to send on, and whether the server waits for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) body: Duration,
    pub(crate) tunnel: Option<Duration>,
    pub(crate) rate: Rate,
    /// What has come that the ledger has not been told of.
    pub(crate) beside: u64,
    /// The server has asked for more.
    pub(crate) asked: bool,
    /// There is more, and it has read nothing since the last look.
    pub(crate) held_up: bool,
    /// How far what was sent has come.
    pub(crate) progress: Progress,
}

/// One server connection, as its frames show it.
///
/// Tell it of all plaintext, in any pieces: [`received`](Self::received) what the server was
/// handed, [`sent`](Self::sent) what TLS has accepted. Every answer is O(1) unless it says
/// otherwise. Once [`is_followed`](Self::is_followed) is false no more requests are counted; where it was the
/// client that has broken the protocol, the server's answers are still read.
#[derive(Debug)]
pub(crate) struct Http2 {
    inbound: Reader,
    outbound: Reader,
    followed: bool,
    /// See [`answers_are_followed`](Self::answers_are_followed).
    answers_followed: bool,
    /// See [`was_cut`](Self::was_cut).
    cut: bool,
    resets: Resets,
    goaway: Option<u32>,
    /// For which error of the connection the server ends it, as far as that is known.
    error: Option<u32>,
    begun: u32,
    last_stream: u32,
    received_body: u64,
    sent_body: u64,
    /// The streams that are open, by id. Streams end at the front or were refused at the back,
    /// most of them, and there a removal moves next to nothing.
    streams: VecDeque<Stream>,
    /// Where the stream of the last frame was: most often the next one's is the same.
    recent: usize,
    tally: Tally,
    /// The client's SETTINGS_INITIAL_WINDOW_SIZE.
    initial: i64,
    /// The window of the connection.
    window: i64,
    /// The server's SETTINGS_INITIAL_WINDOW_SIZE.
    our_initial: i64,
    /// How much the client may send on the connection.
    our_window: i64,
    /// The PINGs of the server that were not acknowledged: it has at most one that shows that its
    /// peer lives, and one that goes with a GOAWAY.
    pings: [Option<[u8; 8]>; 2],
    /// The last of them asks whether the peer lives, and nobody has asked for it yet.
    asks_for_life: Option<[u8; 8]>,
    /// See [`has_news`](Self::has_news).
    has_news: bool,
    /// The next one asks whether a GOAWAY has been heard, which nobody but the peer knows.
    asks_for_heard: bool,
    /// A PING of the stream's own, by [`HEARD`], was not acknowledged.
    awaits_pong: bool,
    /// The server's first SETTINGS were.
    settings_heard: bool,
    is_served: bool,
    /// Frames of the client that neither begin a request nor bring one on, less what answers have given
    /// it reason for.
    noise: i64,
    /// Since when, if not since the beginning.
    noise_since: Option<Instant>,
}

/// In how much time the noise is counted.
const NOISE_WINDOW: Duration = Duration::from_secs(10);

/// How many frames a client may have reason for by an answer, and by a part of one: it opens two
/// windows, and asks by a PING how long the way is.
const BY_ANSWER: i64 = 16;
const BY_DATA: i64 = 4;

/// How many it may have to send yet for what it has got.
const MOST_DUE: i64 = 65_536;

/// What the stream's own PINGs carry.
pub(crate) const HEARD: [u8; 8] = *b"goodbye?";

impl Http2 {
    pub(crate) fn new() -> Self {
        Self {
            inbound: Reader::new(Side::Client),
            outbound: Reader::new(Side::Server),
            followed: true,
            answers_followed: true,
            cut: false,
            resets: Resets::default(),
            goaway: None,
            error: None,
            begun: 0,
            last_stream: 0,
            received_body: 0,
            sent_body: 0,
            streams: VecDeque::new(),
            recent: 0,
            tally: Tally::default(),
            initial: DEFAULT_WINDOW,
            window: DEFAULT_WINDOW,
            our_initial: DEFAULT_WINDOW,
            our_window: DEFAULT_WINDOW,
            pings: [None; 2],
            asks_for_life: None,
            has_news: false,
            asks_for_heard: false,
            awaits_pong: false,
            settings_heard: false,
            is_served: false,
            noise: 0,
            noise_since: None,
        }
    }

    /// The client's bytes that are for the server. Where in them the type is of the last PING
    /// acknowledgement that the server knows nothing of, if there is one and its head is whole.
    pub(crate) fn received(&mut self, mut bytes: &[u8]) -> Option<usize> {
        let len = bytes.len();
        let mut stray = None;
        while self.followed && !bytes.is_empty() {
            match self.inbound.step(&mut bytes) {
                Some(Step::Data(id, n, ends)) => self.data_received(id, n, ends),
                Some(Step::Frame(head, _)) if head.kind == PING && head.has(ACK) => {
                    let end = len - bytes.len();
                    if !self.ping_answered() {
                        self.count_noise();
                        stray = end.checked_sub(PING_LEN - TYPE_AT).or(stray);
                    }
                }
                Some(Step::Frame(head, value)) => self.frame_received(head, value),
                Some(Step::Lost) => self.note_breach(),
                None => {}
            }
        }
        stray
    }

    /// The server's bytes that TLS has accepted, and the frames put between them.
    pub(crate) fn sent(&mut self, mut bytes: &[u8]) {
        while self.answers_followed && !bytes.is_empty() {
            match self.outbound.step(&mut bytes) {
                Some(Step::Data(id, n, ends)) => self.data_sent(id, n, ends),
                Some(Step::Frame(head, value)) => self.frame_sent(head, value),
                Some(Step::Lost) => self.lose_track(),
                None => {}
            }
        }
    }

    /// Whether all of it could be understood so far. False after anything but HTTP/2 in either
    /// direction, a frame that can't be, or more than 65,536 open streams; and then for good.
    pub(crate) fn is_followed(&self) -> bool {
        self.followed
    }

    /// Requests begun: their header block is complete. Those above a GOAWAY that was said don't
    /// count, servers ignore them.
    pub(crate) fn begun(&self) -> u32 {
        self.begun
    }

    /// Streams whose answer is not fully out: no END_STREAM of ours, no RST_STREAM either way, not
    /// above a GOAWAY that was said.
    pub(crate) fn in_flight(&self) -> u32 {
        self.tally.in_flight
    }

    /// Streams whose request is not fully in, answered or not: no END_STREAM of the client's, no
    /// RST_STREAM either way.
    pub(crate) fn uploads(&self) -> u32 {
        self.tally.uploads
    }

    /// Whether a client that is not done with a request waits for the server to open a window.
    /// O(streams).
    pub(crate) fn awaits_window(&self) -> bool {
        let waits = |stream: &Stream| {
            !stream.received && (self.our_window <= 0 || !stream.may_send(self.our_initial))
        };
        self.streams.iter().any(waits)
    }

    /// Streams of which something is to come still, the answer or the rest of the request.
    pub(crate) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Gives back the room of streams that are over: there may have been many at once, long ago.
    pub(crate) fn trim(&mut self) {
        self.streams.shrink_to_fit();
    }

    /// Of those in flight, the ones whose request is fully in. A client that has half-closed is
    /// still owed these.
    pub(crate) fn complete(&self) -> u32 {
        // What is open and fully in is not answered: it would be closed.
        self.streams.len() as u32 - self.tally.uploads
    }

    /// Of those in flight, the ones that can't go on because the peer's window is used up, the
    /// stream's or the connection's. Whether there is an answer to send already, nobody knows.
    pub(crate) fn held(&self) -> u32 {
        match self.window <= 0 {
            true => self.tally.in_flight,
            false => self.tally.held,
        }
    }

    /// Bytes of request bodies, on streams whose request was not fully in. Padding counts.
    pub(crate) fn received_body(&self) -> u64 {
        self.received_body
    }

    /// The highest stream that has begun, 0 if none has.
    pub(crate) fn last_stream(&self) -> u32 {
        self.last_stream
    }

    /// For which error of the connection the server ends it (RFC 9113 5.4.1), as its GOAWAY says; where the
    /// connection is not followed any more because of what the client has sent, that is one.
    pub(crate) fn error(&self) -> Option<u32> {
        self.error
    }

    /// The lowest last stream of any GOAWAY that is out.
    pub(crate) fn goaway_said(&self) -> Option<u32> {
        self.goaway
    }

    /// DATA sent so far, with its padding.
    pub(crate) fn sent_body(&self) -> u64 {
        self.sent_body
    }

    /// Whether the server has said nothing yet: SETTINGS have to come first (RFC 9113 3.4).
    pub(crate) fn is_silent(&self) -> bool {
        self.followed && self.outbound.is_untouched()
    }

    /// Whether a frame could be put before the server's next byte.
    pub(crate) fn may_speak(&self) -> bool {
        self.followed && self.outbound.is_between_frames()
    }

    /// Whether a frame could be put before the client's next byte.
    pub(crate) fn may_inject(&self) -> bool {
        self.followed && self.inbound.is_between_frames()
    }

    /// Whether a PING of the server's was not acknowledged.
    pub(crate) fn awaits_life(&self) -> bool {
        self.pings.iter().any(Option::is_some)
    }

    /// Whether it is known what is in flight. Also behind a client's breach of the protocol, after which servers
    /// take no more requests; one that answers another has seen no breach, and knows better.
    pub(crate) fn answers_are_followed(&self) -> bool {
        self.answers_followed
    }

    /// Whether a client was the cause that something of its own was broken off: an answer or an upload that it
    /// did not bring on, or one with which the server has found fault.
    pub(crate) fn was_cut(&self) -> bool {
        self.cut
    }

    /// How many answers were broken off, by why. What of an answer is complete when its stream is reset is not
    /// among them: NO_ERROR stops an upload then (RFC 9113 8.1). Nor is what the server has REFUSED.
    pub(crate) fn resets(&self) -> Resets {
        self.resets
    }

    /// Whether the server has broken off an answer or asked for a sign of life, since this was last asked.
    #[inline]
    pub(crate) fn has_news(&mut self) -> bool {
        mem::take(&mut self.has_news)
    }

    /// The PING by which the server has asked whether its peer lives, if it has since this was called.
    pub(crate) fn asks_for_life(&mut self) -> Option<[u8; 8]> {
        self.asks_for_life.take()
    }

    /// Whether a PING of the stream's own was not acknowledged.
    pub(crate) fn awaits_pong(&self) -> bool {
        self.awaits_pong
    }

    /// Whether a service has answered: with more than fields, which servers also send by themselves.
    #[inline]
    pub(crate) fn is_served(&self) -> bool {
        self.is_served
    }

    /// Whether the client has acknowledged the server's first SETTINGS.
    #[inline]
    pub(crate) fn settings_heard(&self) -> bool {
        self.settings_heard
    }

    /// The server has been given an acknowledgement of its PING: the peer's is one too many.
    pub(crate) fn forget_ping(&mut self, payload: [u8; 8]) {
        let known = self.pings.iter_mut().find(|ping| **ping == Some(payload));
        known.map(Option::take);
    }

    /// A PING of the server that was not acknowledged, to be so on behalf of a peer that can't.
    pub(crate) fn take_ping(&mut self) -> Option<[u8; 8]> {
        self.pings.iter_mut().find_map(Option::take)
    }

    /// RST_STREAM of our own has been written both ways on this stream, for this reason. It is closed, and
    /// whatever was not over of it is cut.
    pub(crate) fn break_off(&mut self, id: u32, cause: Cause) {
        let Some(at) = self.find(id) else { return };
        // Through a tunnel that ends for its silence nothing went.
        self.cut |= cause != Cause::TunnelTimeout;
        if !self.streams[at].answered {
            self.resets.count(cause);
        }
        self.close(id);
    }

    /// The server has said RST_STREAM on this stream. It is closed, and broken off if it was in flight.
    fn reset(&mut self, id: u32, code: u32) {
        if let Some(at) = self.find(id).filter(|at| !self.streams[*at].answered) {
            // A proxy's answer may break off with the code that its own peer has sent it.
            let possible = !self.streams[at].is_blameless() || code == FLOW_CONTROL_ERROR;
            match blames_peer(code) && possible {
                true => (self.cut, self.resets.protocol) = (true, self.resets.protocol + 1),
                false => self.resets.failed += 1,
            }
            self.has_news = true;
            self.count_noise();
        }
        self.close(id);
    }

    /// The held streams on which no DATA has gone out, or less than the rate asks, and all that did
    /// has been acknowledged by the peer, for `timeout` as far as calls have found them so. O(streams).
    /// Nothing once the connection is not followed.
    pub(crate) fn stalled(
        &mut self,
        now: Instant,
        timeout: Duration,
        rate: Rate,
        progress: &Progress,
    ) -> Stalled {
        let mut found = Stalled::default();
        if !self.followed {
            return found;
        }
        for stream in &mut self.streams {
            // The window of the connection is everybody's: while DATA goes out on any stream the
            // client opens it, and one that has nothing to send is not held up by it.
            let by = match (stream.is_held(self.initial), self.window <= 0) {
                (true, _) => HeldBy::Itself,
                (false, true) if !stream.answered => HeldBy::Connection,
                _ => {
                    stream.mark = None;
                    continue;
                }
            };
            let sent = Sent {
                stream: stream.sent,
                connection: self.sent_body,
            };
            // Before its head is out an answer waits for the handler: no window holds that up.
            let since = match stream.answering {
                true => stream.held_since(now, by, sent, self.begun, progress, rate),
                false => None,
            };
            let stalls_at = since.unwrap_or(now).checked_add(timeout);
            if since.is_some() && stalls_at.is_some_and(|due| now >= due) {
                found.streams.push(stream.id);
                found.outlived |= stream.is_outlived(self.begun);
            } else if let Some(due) = stalls_at {
                found.next = Some(found.next.map_or(due, |next| next.min(due)));
            }
        }
        found
    }

    /// The streams whose request has not come on, or less than the rate asks, for the time-out of
    /// bodies although its client may send: it has window. One that is open both ways by now is a
    /// tunnel, or as good as one, and has the time-out of tunnels, if there is one. O(streams).
    pub(crate) fn late_uploads(&mut self, now: Instant, patience: &Patience) -> Stalled {
        let mut found = Stalled::default();
        // What nobody has told the ledger of belongs to it if it is the only one.
        let beside = match self.tally.uploads {
            1 => patience.beside,
            _ => 0,
        };
        let may_send = patience.asked && self.our_window > 0;
        for stream in self.streams.iter_mut().filter(|stream| !stream.received) {
            let way = stream.way();
            let (limit, rate, moved) = match way {
                Way::Both => (patience.tunnel, Rate(0), stream.got + stream.sent),
                Way::In => (Some(patience.body), patience.rate, stream.got),
            };
            let waits = way == Way::Both || may_send && stream.may_send(self.our_initial);
            let Some(limit) = limit.filter(|_| waits) else {
                stream.late = None;
                continue;
            };
            let moved = moved.unsigned_abs() + if way == Way::In { beside } else { 0 };
            // Through a tunnel something goes as long as it is on its way, which the write time-out bounds.
            let goes = way == Way::Both && stream.is_on_its_way(&patience.progress);
            let held_up = patience.held_up || goes;
            let due = stream.late_since(now, way, moved, rate, held_up) + limit;
            match now >= due {
                true if way == Way::Both => found.tunnels.push(stream.id),
                true => found.streams.push(stream.id),
                false => found.next = Some(found.next.map_or(due, |next| next.min(due))),
            }
        }
        found
    }

    /// How many frames of the client were noise, more than answers give it reason for.
    #[inline]
    pub(crate) fn noise(&self) -> i64 {
        self.noise
    }

    /// There is more noise than there may be: whether all that came within [`NOISE_WINDOW`]. Else it is
    /// counted anew. `begun` is when the connection began.
    pub(crate) fn is_flood(&mut self, now: Instant, begun: Instant) -> bool {
        let since = self.noise_since.unwrap_or(begun);
        if now.saturating_duration_since(since) < NOISE_WINDOW {
            return true;
        }
        (self.noise, self.noise_since) = (0, Some(now));
        false
    }

    #[inline]
    fn expect_noise(&mut self, frames: i64) {
        self.noise = (self.noise - frames).max(-MOST_DUE);
    }

    fn count_noise(&mut self) {
        self.noise += 1;
    }

    /// How much is in of a header block that is not all in, where nothing else is in flight.
    #[inline]
    pub(crate) fn header_block(&self) -> Option<u64> {
        match self.streams.is_empty() && self.followed {
            true => self.inbound.header_block(),
            false => None,
        }
    }

    fn data_received(&mut self, id: u32, n: u32, ends: bool) {
        self.our_window -= i64::from(n);
        if n == 0 && !ends {
            self.count_noise();
        }
        let Some(at) = self.find(id) else { return };
        self.streams[at].got += i64::from(n);
        self.streams[at].meddles();
        if !self.streams[at].received {
            self.received_body += u64::from(n);
            if ends {
                self.end(at, true, false);
            }
        }
    }

    fn frame_received(&mut self, head: Head, value: Option<u32>) {
        if head.kind == HEADERS && head.id > self.last_stream {
            return self.open(head);
        }
        self.count_noise();
        let opens_nothing = value.is_some_and(|n| n & MAX_31_BITS == 0);
        if matches!(head.kind, HEADERS | PRIORITY) || head.kind == WINDOW_UPDATE && opens_nothing {
            self.meddles(head.id);
        }
        match (head.kind, value) {
            (HEADERS, _) if head.has(END_STREAM) => self.end_by_id(head.id, true, false),
            (RST_STREAM, _) => self.close(head.id),
            (SETTINGS, Some(value)) => self.set_initial(value),
            (SETTINGS, None) if head.has(ACK) => self.settings_heard = true,
            (WINDOW_UPDATE, Some(value)) => self.grant(head.id, i64::from(value & MAX_31_BITS)),
            _ => {}
        }
    }

    fn data_sent(&mut self, id: u32, n: u32, ends: bool) {
        self.window -= i64::from(n);
        self.sent_body += u64::from(n);
        self.expect_noise(BY_DATA);
        let Some(at) = self.find(id) else {
            return self.note_answer(id);
        };
        let stream = &mut self.streams[at];
        if stream.answered {
            return;
        }
        let window = stream.window(self.initial);
        stream.sent += i64::from(n);
        self.tally.held += u32::from(window > 0 && window <= i64::from(n));
        if ends {
            self.end(at, false, true);
        }
    }

    fn frame_sent(&mut self, head: Head, value: Option<u32>) {
        match (head.kind, value) {
            (HEADERS, _) if head.has(END_STREAM) => self.end_by_id(head.id, false, true),
            (HEADERS, _) => {
                self.is_served = true;
                self.note_answer(head.id);
                self.answer(head.id);
            }
            (RST_STREAM, Some(REFUSED_STREAM)) if !self.is_answering(head.id) => {
                self.count_noise();
                self.close(head.id);
            }
            (RST_STREAM, Some(code)) => self.reset(head.id, code),
            (GOAWAY, Some(last)) => {
                let error = self.outbound.error();
                self.error = (error != NO_ERROR).then_some(error);
                // Where it names no stream yet, a PING follows, and another GOAWAY behind its answer.
                self.asks_for_heard = last & MAX_31_BITS == MAX_31_BITS;
                self.dismiss(last & MAX_31_BITS);
            }
            (PING, _) if !head.has(ACK) => match self.outbound.ping() {
                HEARD => (self.awaits_pong, self.asks_for_heard) = (true, false),
                ping => {
                    self.pings = [self.pings[1], Some(ping)];
                    let asks_for_heard = mem::take(&mut self.asks_for_heard);
                    self.asks_for_life = Some(ping).filter(|_| !asks_for_heard);
                    self.has_news = true;
                }
            },
            (SETTINGS, Some(value)) => self.our_initial = i64::from(value),
            (WINDOW_UPDATE, Some(value)) => self.allow(head.id, i64::from(value & MAX_31_BITS)),
            _ => {}
        }
    }

    fn answer(&mut self, id: u32) {
        if let Some(at) = self.find(id) {
            let stream = &mut self.streams[at];
            stream.was_all_in |= stream.received && !stream.answering;
            stream.answering = true;
        }
    }

    /// The server answers on this stream: was that a request that has not been counted?
    fn note_answer(&mut self, id: u32) {
        if !self.followed && id > self.last_stream {
            self.lose_track();
        }
    }

    fn is_answering(&mut self, id: u32) -> bool {
        self.find(id).is_some_and(|at| self.streams[at].answering)
    }

    fn meddles(&mut self, id: u32) {
        if let Some(at) = self.find(id) {
            self.streams[at].meddles();
        }
    }

    /// The server opens a window.
    fn allow(&mut self, id: u32, n: i64) {
        match (id, self.find(id)) {
            (0, _) => self.our_window = self.our_window.saturating_add(n),
            (_, Some(at)) => {
                let allowed = &mut self.streams[at].allowed;
                *allowed = allowed.saturating_add(n);
            }
            _ => {}
        }
    }

    /// Whether that was the server's.
    fn ping_answered(&mut self) -> bool {
        let payload = self.inbound.ping();
        self.awaits_pong &= payload != HEARD;
        let mut pings = self.pings.iter_mut();
        let answered = pings.find(|ping| **ping == Some(payload));
        answered.and_then(Option::take).is_some()
    }

    /// A client's first header block on a stream. It may have come after GOAWAY.
    fn open(&mut self, head: Head) {
        if self.goaway.is_some_and(|last| head.id > last) {
            return self.count_noise();
        }
        if self.streams.len() == MAX_STREAMS {
            return self.lose_track();
        }
        self.begun += 1;
        self.last_stream = head.id;
        let stream = Stream::new(head.id, head.has(END_STREAM));
        self.tally += stream.tally(self.initial);
        self.streams.push_back(stream);
    }

    fn close(&mut self, id: u32) {
        self.end_by_id(id, true, true);
    }

    /// Nobody knows what is in flight from here on.
    fn lose_track(&mut self) {
        (self.followed, self.answers_followed) = (false, false);
    }

    /// The client has sent what is not HTTP/2: the server will end the connection for it.
    fn note_breach(&mut self) {
        self.followed = false;
        self.error = Some(PROTOCOL_ERROR);
    }

    /// GOAWAY is out. What began above it, before it was, the server will not look at.
    fn dismiss(&mut self, last: u32) {
        self.goaway = Some(self.goaway.map_or(last, |said| said.min(last)));
        let kept = self.streams.partition_point(|s| s.id <= last);
        for stream in self.streams.drain(kept..) {
            self.begun -= u32::from(!stream.answered);
            self.tally -= stream.tally(self.initial);
        }
    }

    /// The client's SETTINGS may not hold a larger window than there is (RFC 9113 6.5.2).
    fn set_initial(&mut self, value: u32) {
        if value > MAX_31_BITS {
            self.note_breach();
        } else if i64::from(value) != self.initial {
            self.initial = i64::from(value);
            let held = self.streams.iter().filter(|s| s.is_held(self.initial));
            self.tally.held = held.count() as u32;
        }
    }

    fn grant(&mut self, id: u32, n: i64) {
        match id {
            0 => self.window = self.window.saturating_add(n),
            _ => self.grant_stream(id, n),
        }
    }

    fn grant_stream(&mut self, id: u32, n: i64) {
        let Some(at) = self.find(id) else { return };
        let stream = &mut self.streams[at];
        let before = stream.is_held(self.initial);
        stream.granted = stream.granted.saturating_add(n);
        self.tally.held -= u32::from(before && !stream.is_held(self.initial));
    }

    fn end_by_id(&mut self, id: u32, request: bool, answer: bool) {
        if let Some(at) = self.find(id) {
            self.end(at, request, answer);
        }
    }

    /// A stream's request is fully in, or its answer out, or both.
    fn end(&mut self, at: usize, request: bool, answer: bool) {
        if answer && !request {
            self.expect_noise(BY_ANSWER);
        }
        let stream = &mut self.streams[at];
        self.tally -= stream.tally(self.initial);
        stream.received |= request;
        stream.answered |= answer;
        match (stream.is_closed(), at) {
            // Almost always, and much less to do.
            (true, 0) => drop(self.streams.pop_front()),
            (true, _) => drop(self.streams.remove(at)),
            (false, _) => self.tally += stream.tally(self.initial),
        }
    }

    /// Where the stream is, if it is open.
    fn find(&mut self, id: u32) -> Option<usize> {
        let is_at = |at: usize| self.streams.get(at).is_some_and(|s| s.id == id);
        if id > self.last_stream {
            return None;
        }
        if !is_at(self.recent) {
            let last = self.streams.len().saturating_sub(1);
            self.recent = match is_at(last) {
                true => last,
                false => self.streams.binary_search_by_key(&id, |s| s.id).ok()?,
            };
        }
        Some(self.recent)
    }
}

#[cfg(test)]
mod tests;
