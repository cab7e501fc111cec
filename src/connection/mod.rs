//! What everybody who has to do with one connection knows of it.
//!
//! The stream writes here how many requests have begun and are in flight, for the report and for
//! handlers; handlers and the shutdown write what they want of it, and wake it. Handlers take the
//! record from their request as [`TlsConnection`] and read from it what TLS agreed on: `facts`.
//! Operators ask what it is doing: `state`, and on which requests: `tracked`.
//!
//! It knows its server's [`Context`] and nothing else of it.
//!
//! What polls look at are atomics. The wakers' mutex is taken when a stream moves to another task, and
//! when it is told something.

mod facts;
mod fake;
mod state;
mod tracked;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

#[cfg(feature = "tonic")]
use ::tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use http::HeaderValue;
use tokio::time::Instant;
use tokio_rustls::rustls::{ProtocolVersion, SupportedCipherSuite, pki_types::CertificateDer};
use tracing::{Span, field::Empty};

use crate::{
    context::Context,
    departures::{self, Departures},
    ending::Cause,
    phase::Phase,
};

pub(crate) use facts::Facts;
pub use fake::FakeConnection;
pub(crate) use state::Used;
pub use state::{ConnectionStats, Protocol, State, WaitsFor};
use tracked::Tracked;
pub use tracked::TrackedRequest;
pub(crate) use tracked::Tracking;

/// One connection, as handlers see it.
///
/// Found in the extensions of every request served by this crate. Cloning is cheap and every
/// clone means the same connection.
#[derive(Clone)]
pub struct TlsConnection {
    shared: Arc<Shared>,
    /// What the request that carries this handle has met.
    met: u32,
}

/// A connection that is remembered, and not kept: neither its record nor its span.
#[derive(Debug)]
pub(crate) struct Remembered(Weak<Shared>);

impl Remembered {
    /// The connection, if anybody has to do with it still.
    pub(crate) fn get(&self) -> Option<TlsConnection> {
        let shared = self.0.upgrade()?;
        Some(TlsConnection {
            shared,
            met: NOTHING,
        })
    }
}

/// What a request has met: a layer, after which a second one stays out of the way; somebody who watches
/// it; and from here on, what it is tracked by.
const NOTHING: u32 = 0;
const LAYER: u32 = 1;
const WATCHER: u32 = 2;
/// Beside that: the span is entered until the handle is dropped.
const ENTERED: u32 = 1 << 31;

struct Shared {
    id: u64,
    /// Of its server: its place where connections go one after the other.
    number: u32,
    facts: Facts,
    established: Instant,
    /// Until when the first request may come although the server drains.
    first_request_by: Option<Instant>,
    /// Requests begun, in the upper half; in flight, in the lower. Only the stream writes it.
    requests: AtomicU64,
    /// Answers that the server has broken off while the connection went on.
    failed: AtomicU32,
    /// gRPC calls that the deadline has ended.
    last_calls: AtomicU32,
    /// When it became idle, as of [`TlsConnection::became_idle`], or what it is [`Used`] for.
    since: AtomicU64,
    /// When it began to end.
    closing_since: AtomicU64,
    flags: AtomicU32,
    /// One more than how many requests had begun when nothing was going on, and the server need not keep what it
    /// has for that; else 0.
    rests: AtomicU32,
    /// What handlers log falls under it, where anybody wants to see it.
    span: Option<Box<Span>>,
    tracked: Option<Box<Tracked>>,
    wakers: Mutex<Wakers>,
    context: Arc<Context>,
}

/// The task that reads and the task that writes; one and the same but for split tunnels.
#[derive(Default)]
struct Wakers {
    read: Option<Waker>,
    write: Option<Waker>,
}

/// Which half of the stream a waker belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// How many requests a connection has begun, and how many of them are in flight.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Requests {
    pub(crate) begun: u32,
    pub(crate) in_flight: u32,
}

impl Requests {
    fn pack(self) -> u64 {
        u64::from(self.begun) << 32 | u64::from(self.in_flight)
    }

    #[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits")]
    fn unpack(packed: u64) -> Self {
        Self {
            begun: (packed >> 32) as u32,
            in_flight: packed as u32,
        }
    }
}

/// Why a connection is to end once nothing is in use, as of one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    /// That is wanted of this one, at once, and for this reason.
    pub(crate) retired: Option<Cause>,
    /// The shutdown wants it of all.
    departures: Option<Departures>,
    http2: bool,
    share: f32,
}

impl Leaving {
    /// When the shutdown began that it is because of.
    pub(crate) fn shutdown(&self) -> Option<Instant> {
        self.departures.map(|departures| departures.begun)
    }

    /// When it has to go although nothing has told its client: what an idle one is held for, or one
    /// at work.
    pub(crate) fn departs(&self, at_work: bool) -> Option<Instant> {
        let departures = self.departures.filter(|_| self.retired.is_none())?;
        Some(departures.of(self.http2, at_work, self.share))
    }
}

/// The connection is to end as soon as nothing is in flight, and its answers are to say so.
const RETIRED: u32 = 1;
/// Another connection needs the place among those that drain.
const EVICTED: u32 = 1 << 1;
/// Something has happened that no poll tells: a timer, a phase, a word of somebody's. Whoever wakes
/// the tasks sets it.
const NEWS: u32 = 1 << 2;
/// A shutdown has begun, so that every poll has to look.
const SHUTS_DOWN: u32 = 1 << 3;
/// Another connection needs its place, if it is idle.
const WANTED: u32 = 1 << 4;
/// Its descriptor is closed.
const GONE: u32 = 1 << 5;
/// It makes room, but not at once.
const LATER: u32 = 1 << 6;

/// Beside [`RETIRED`]: because of its age, or of how much it was asked.
const AGED: u32 = 1 << 7;
const SPENT: u32 = 1 << 8;

/// One of its requests has passed a layer.
const LAYERED: u32 = 1 << 9;
/// It has a span, or its requests are tracked.
const WATCHED: u32 = 1 << 16;

// What it is doing, for whoever asks.
/// What it was seen to speak.
const HTTP1: u32 = 1 << 10;
const HTTP2: u32 = 1 << 11;
/// Its client has said close_notify.
const HALF_CLOSED: u32 = 1 << 12;
/// It ends.
const CLOSING: u32 = 1 << 13;
/// Something waits for the client to take it.
const BLOCKED: u32 = 1 << 14;
/// A request is coming in, and the server waits for the rest.
const COMING: u32 = 1 << 15;
/// What has gone through it is counted with those that have ended.
const COUNTED: u32 = 1 << 17;

/// Why one connection is to end as soon as nothing is in flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum Retirement {
    /// Somebody wants it to.
    Wanted = RETIRED,
    Age = RETIRED | AGED,
    Requests = RETIRED | SPENT,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl TlsConnection {
    /// `first_request_by` says until when a request is awaited although the server drains.
    pub(crate) fn new(
        facts: Facts,
        context: Arc<Context>,
        first_request_by: Option<Instant>,
    ) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let span = span(id, &facts).map(Box::new);
        let tracked = context.settings.track_requests.then(Box::default);
        let watched = match span.is_some() || tracked.is_some() {
            true => WATCHED,
            false => 0,
        };
        Self {
            shared: Arc::new(Shared {
                id,
                number: context.next_number(),
                facts,
                established: Instant::now(),
                first_request_by,
                requests: AtomicU64::new(0),
                failed: AtomicU32::new(0),
                last_calls: AtomicU32::new(0),
                since: AtomicU64::new(Used::Request as u64),
                closing_since: AtomicU64::new(0),
                // The first poll looks: the phase may have changed before anybody knew of it.
                flags: AtomicU32::new(NEWS | watched),
                rests: AtomicU32::new(0),
                span,
                tracked,
                wakers: Mutex::default(),
                context,
            }),
            met: NOTHING,
        }
    }

    /// A number that no other connection of this process has.
    pub fn id(&self) -> u64 {
        self.shared.id
    }

    /// The name the client asked for (SNI, RFC 6066 3), if it named one.
    pub fn server_name(&self) -> Option<&str> {
        self.shared.facts.server_name.as_deref()
    }

    /// The application protocol agreed on (ALPN, RFC 7301), such as `b"h2"`.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.shared.facts.alpn.as_deref()
    }

    /// The TLS version.
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.shared.facts.version
    }

    /// The cipher suite.
    pub fn cipher_suite(&self) -> Option<SupportedCipherSuite> {
        self.shared.facts.cipher_suite
    }

    /// The client's certificates, its own first; `None` unless it authenticated with some.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.shared.facts.peer_certificates.as_deref()
    }

    /// The client's address; `None` where the transport has none.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.shared.facts.addresses.remote
    }

    /// The address of the balancer in front, if that has told the client's: see
    /// [`Accept::preface`](crate::Accept::preface).
    pub fn balancer_addr(&self) -> Option<SocketAddr> {
        self.shared.facts.addresses.balancer
    }

    /// The server's address on this connection; `None` where the transport has none.
    ///
    /// On Linux that is the address of a `TcpListener` which has one: an eBPF program of the type `sk_lookup`
    /// that sends it what was meant for others is not seen. Let it listen on a wildcard address then.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.shared.facts.addresses.local
    }

    /// How long ago the handshake ended.
    pub fn age(&self) -> Duration {
        self.shared.established.elapsed()
    }

    /// Requests that are over: answered to the last byte, or broken off.
    pub fn requests_served(&self) -> u32 {
        let requests = self.requests();
        requests.begun.wrapping_sub(requests.in_flight)
    }

    /// For the stream alone: nothing is going on.
    pub(crate) fn rests(&self) {
        let begun = self.requests().begun;
        self.shared
            .rests
            .store(begun.wrapping_add(1), Ordering::Relaxed);
    }

    /// Whether nothing is going on; once each time that it was found so. A request that has begun since may be over
    /// on the wire, and not for the server.
    #[inline]
    pub(crate) fn takes_rest(&self) -> bool {
        let rests = &self.shared.rests;
        rests.load(Ordering::Relaxed) != 0
            && rests.swap(0, Ordering::Relaxed) == self.requests().begun.wrapping_add(1)
    }

    /// Whether the server has begun to drain.
    ///
    /// True from the moment it no longer accepts connections, not yet in the lame-duck phase.
    pub fn is_draining(&self) -> bool {
        self.shared.context.phases.now() >= Phase::Draining
    }

    /// Resolves when the server begins to drain; at once if it has.
    ///
    /// A handler of an endless answer should end it then: with the `futures` crate an SSE stream
    /// does by `events.take_until(connection.draining())`. Cancel safe.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let context = self.shared.context.clone();
        async move { context.phases.reached(Phase::Draining).await }
    }

    /// Ends the connection as soon as nothing is in flight.
    ///
    /// HTTP/1 answers that begin from now on carry `Connection: close` (RFC 9112 9.6). An HTTP/2
    /// connection in use gets a GOAWAY (RFC 9113 6.8) at once that announces the end, and when it is
    /// idle one that names the last stream.
    pub fn close(&self) {
        self.retire(Retirement::Wanted);
        self.wake();
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.shared.context
    }

    pub(crate) fn remember(&self) -> Remembered {
        Remembered(Arc::downgrade(&self.shared))
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.shared.context.phases.now()
    }

    #[inline]
    fn has(&self, flag: u32) -> bool {
        self.shared.flags.load(Ordering::Acquire) & flag != 0
    }

    fn set(&self, flag: u32) {
        self.shared.flags.fetch_or(flag, Ordering::AcqRel);
    }

    fn unset(&self, flag: u32) {
        self.shared.flags.fetch_and(!flag, Ordering::AcqRel);
    }

    /// Whether there is something to look at: all that a poll asks on its way.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        self.has(NEWS | RETIRED | SHUTS_DOWN)
    }

    /// To be called before looking, so that what happens meanwhile is news again.
    pub(crate) fn take_news(&self) {
        self.unset(NEWS);
        match self.phase() > Phase::Serving {
            true => self.set(SHUTS_DOWN),
            false => self.unset(SHUTS_DOWN),
        }
    }

    /// `false` the first time it is asked of the handle in a request, `true` ever after.
    #[inline]
    pub(crate) fn see_layer(&mut self) -> bool {
        if !self.is_layered() {
            self.set(LAYERED);
        }
        std::mem::replace(&mut self.met, LAYER) != NOTHING
    }

    /// Whether any of its requests has passed a layer.
    #[inline]
    pub(crate) fn is_layered(&self) -> bool {
        self.has(LAYERED)
    }

    /// Whether anything has to be done for its requests that costs.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.has(WATCHED)
    }

    pub(crate) fn span(&self) -> Option<&Span> {
        self.shared.span.as_deref()
    }

    #[inline]
    pub(crate) fn requests(&self) -> Requests {
        Requests::unpack(self.shared.requests.load(Ordering::Acquire))
    }

    /// For the stream alone.
    #[inline]
    pub(crate) fn set_requests(&self, requests: Requests) {
        self.shared
            .requests
            .store(requests.pack(), Ordering::Release);
    }

    /// The server has broken off an answer, and the connection goes on. For the stream alone.
    pub(crate) fn fails(&self) {
        self.shared.failed.fetch_add(1, Ordering::AcqRel);
    }

    /// How many gRPC calls the deadline has ended, each by a status.
    pub(crate) fn last_calls(&self) -> u32 {
        self.shared.last_calls.load(Ordering::Acquire)
    }

    #[cfg(feature = "tonic")]
    pub(crate) fn tonic(&self) -> Option<&TlsConnectInfo<TcpConnectInfo>> {
        self.shared.facts.tonic.as_deref()
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.alpn() == Some(b"h2")
    }

    pub(crate) fn is_tls13(&self) -> bool {
        self.shared.facts.version == Some(ProtocolVersion::TLSv1_3)
    }

    pub(crate) fn first_request_by(&self) -> Option<Instant> {
        self.shared.first_request_by
    }

    /// What [`close`](Self::close) does, without a wake. The first reason stays.
    pub(crate) fn retire(&self, why: Retirement) {
        if !self.is_retired() {
            self.set(why as u32);
        }
    }

    /// Why it ends, where it was retired.
    pub(crate) fn why_retired(&self) -> Option<Cause> {
        let has = |flag| self.has(flag);
        has(RETIRED).then(|| match () {
            () if has(AGED) => Cause::MaxAge,
            () if has(SPENT) => Cause::MaxRequests,
            () => Cause::Retired,
        })
    }

    /// When it is old enough to be retired. Those that came together do not go together.
    pub(crate) fn retires(&self) -> Option<Instant> {
        let age = self.shared.context.settings.max_connection_age?;
        let share = departures::share(self.shared.number);
        Some(self.shared.established + age.mul_f32(0.9 + 0.2 * share))
    }

    /// When it is so old that it ends whatever is in flight.
    pub(crate) fn overstays(&self) -> Option<Instant> {
        let grace = self.shared.context.settings.max_connection_age_grace?;
        Some(self.retires()? + grace)
    }

    #[inline]
    pub(crate) fn is_retired(&self) -> bool {
        self.has(RETIRED)
    }

    /// Whether it is to end when nothing is in use, at once or by and by.
    #[inline]
    pub(crate) fn leaving(&self) -> Option<Leaving> {
        let retired = self.is_retired();
        let shuts_down = self.shared.context.phases.is_past(Phase::LameDuck);
        match retired || shuts_down {
            true => self.why_leaving(),
            false => None,
        }
    }

    #[cold]
    fn why_leaving(&self) -> Option<Leaving> {
        let retired = self.why_retired();
        let (draining, http2) = (self.is_draining(), self.is_http2());
        // Once read: a lame duck may be called off at any moment.
        let departures = self.context().departures();
        let departures = departures.filter(|of| draining || http2 && of.in_lame_duck);
        (retired.is_some() || departures.is_some()).then(|| Leaving {
            retired,
            departures,
            http2,
            share: departures::share(self.shared.number),
        })
    }

    /// What an HTTP/1 answer says of how long the connection is kept, where that is announced.
    #[inline]
    pub(crate) fn keep_alive_header(&self) -> Option<&HeaderValue> {
        self.shared.context.keep_alive_header.as_ref()
    }

    /// Whether an HTTP/1 answer that begins now has to say `Connection: close`.
    pub(crate) fn is_last(&self) -> bool {
        self.phase() >= Phase::LameDuck || self.is_retired()
    }

    pub(crate) fn evict(&self) {
        self.set(EVICTED);
        self.wake();
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.has(EVICTED)
    }

    /// For the stream alone.
    #[inline]
    pub(crate) fn became_idle(&self, now: Instant) {
        let context = &self.shared.context;
        let since = state::moment(context, now);
        self.shared.since.store(since, Ordering::Relaxed);
        context.room.change();
    }

    /// When it became idle, in no unit, if it is.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        let since = self.idle_moment()?;
        // Its first request is on its way.
        let awaited = || {
            let by = self.first_request_by();
            self.requests().begun == 0 && by.is_some_and(|by| Instant::now() < by)
        };
        (!self.is_told() && !awaited()).then_some(since)
    }

    /// Another needs its place. It ends if it really is idle, or has drained enough, and
    /// [`stays`](Self::stays) if not.
    pub(crate) fn want(&self) {
        self.set(WANTED);
        self.wake();
    }

    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        self.has(WANTED)
    }

    /// Whether it was told that its place is wanted, and has it still.
    pub(crate) fn is_told(&self) -> bool {
        self.has(WANTED | GONE | LATER)
    }

    /// It is in use: another has to make room.
    pub(crate) fn stays(&self) {
        self.use_for(Used::Request);
        self.unset(WANTED);
        self.shared.context.room.change();
    }

    /// Its client has not got all of its answers: another has to make room, until it has.
    pub(crate) fn stays_for_now(&self) {
        if !self.has(LATER) {
            self.set(LATER);
            self.shared.context.room.change();
        }
    }

    /// Whether it has been told to make room, and has yet to do so.
    pub(crate) fn makes_room(&self) -> bool {
        self.has(WANTED) && !self.has(GONE | LATER)
    }

    /// Remembers whom to wake. Call it when the task has changed, before looking at any flag.
    pub(crate) fn set_waker(&self, interest: Interest, waker: &Waker) {
        let mut wakers = self.lock(|shared| &shared.wakers);
        let slot = match interest {
            Interest::Read => &mut wakers.read,
            Interest::Write => &mut wakers.write,
        };
        match slot {
            Some(old) => old.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }

    /// Wakes the connection's tasks, so that they look at the flags and the phase.
    pub(crate) fn wake(&self) {
        self.shared.wake_tasks();
    }

    /// A waker that wakes the connection's tasks, whichever they are by then.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(self.shared.clone())
    }

    /// The connection has ended: a handler that keeps its handle must keep neither its task nor
    /// the shutdown.
    pub(crate) fn forget_tasks(&self) {
        self.set(GONE);
        *self.lock(|shared| &shared.wakers) = Wakers::default();
    }

    fn lock<T>(&self, which: impl FnOnce(&Shared) -> &Mutex<T>) -> MutexGuard<'_, T> {
        which(&self.shared)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The span of a connection whose handshake is over, if there is a subscriber who wants it.
fn span(id: u64, facts: &Facts) -> Option<Span> {
    facts.version?;
    let span = tracing::info_span!(
        "connection",
        id,
        peer = facts.addresses.remote.map(display),
        server_name = facts.server_name.as_deref(),
        protocol = Empty,
    );
    (!span.is_disabled()).then_some(span)
}

impl Shared {
    fn wake_tasks(&self) {
        self.flags.fetch_or(NEWS, Ordering::AcqRel);
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, write) = (wakers.read.clone(), wakers.write.clone());
        drop(wakers);

        let same = matches!((&read, &write), (Some(r), Some(w)) if r.will_wake(w));
        if let (Some(write), false) = (write, same) {
            write.wake();
        }
        if let Some(read) = read {
            read.wake();
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_tasks();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_tasks();
    }
}

impl fmt::Debug for TlsConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = self.requests();
        f.debug_struct("TlsConnection")
            .field("id", &self.id())
            .field("remote_addr", &self.remote_addr())
            .field("version", &self.version())
            .field("requests_begun", &requests.begun)
            .field("requests_in_flight", &requests.in_flight)
            .finish_non_exhaustive()
    }
}
