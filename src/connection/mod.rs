//! What the layer and the stream of one connection know of one another.
//!
//! The layer writes here what the exchange is doing: how many are in flight, whether an answer
//! ends only with the connection, whether its peer lets it send. The stream reads it when it has
//! to decide how to end. Handlers take the same record from their request as [`TlsConnection`]
//! and read from it what TLS agreed on.
//!
//! `exchange` is the layer's end of it, `facts` what the handshake left behind.
//!
//! Everything here is an atomic, written without a lock. The one mutex guards the wakers and is
//! taken when a stream moves to another task, and when the connection is told to end.

mod exchange;
mod facts;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use tokio::time::Instant;
use tokio_rustls::rustls::{ProtocolVersion, SupportedCipherSuite, pki_types::CertificateDer};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{server::Server, shutdown::Phase};

pub(crate) use exchange::{Exchange, Tally};
pub(crate) use facts::Facts;

/// One connection, as handlers see it.
///
/// Found in the extensions of every request served by this crate. Cloning is cheap and every
/// clone means the same connection.
#[derive(Clone)]
pub struct TlsConnection {
    shared: Arc<Shared>,
    /// Whether the request that carries this handle is counted already: a second layer sees it
    /// and stays out of the way.
    tracked: bool,
}

struct Shared {
    id: u64,
    facts: Facts,
    accepted: Instant,
    /// Exchanges begun, in the upper half; in flight, in the lower.
    exchanges: AtomicU64,
    /// The same of bodies that gave a frame and were not polled since: the peer's HTTP/2 window
    /// holds them up.
    held: AtomicU64,
    flags: AtomicU32,
    wakers: Mutex<Wakers>,
    fresh: Mutex<Option<TaskTrackerToken>>,
    server: Arc<Server>,
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

/// An exchange passed through the layer, so its framing is known.
const LAYERED: u32 = 1;
/// An answer has begun that ends only with the connection (RFC 9112 6.3, rule 8).
const CLOSE_DELIMITED: u32 = 1 << 1;
/// The connection carries a tunnel: traffic, not exchanges, shows that it is in use.
const TUNNEL: u32 = 1 << 2;
/// The exchange has a request body, which may never be read to its end.
const UPLOAD: u32 = 1 << 3;
/// A request was HTTP/2, whatever ALPN said.
const HTTP2: u32 = 1 << 4;
/// The answer in flight is to be the last.
const LAST: u32 = 1 << 5;
/// Another connection needs the place among those that drain.
const EVICTED: u32 = 1 << 6;
/// Idle for too long; whoever serves it should say GOAWAY.
const EXPIRED: u32 = 1 << 7;
/// `serve` looks at `EXPIRED`.
const MANAGED: u32 = 1 << 8;
/// The peer has sent close_notify and waits for answers.
const HALF_CLOSED: u32 = 1 << 9;
/// Accepted while shutting down, and no request seen yet.
const FRESH: u32 = 1 << 10;
/// The service failed, or the body did: the answer will be cut short.
const CUT: u32 = 1 << 11;

impl TlsConnection {
    pub(crate) fn new(
        id: u64,
        facts: Facts,
        server: Arc<Server>,
        fresh: Option<TaskTrackerToken>,
    ) -> Self {
        let http2 = facts.alpn.as_deref() == Some(b"h2");
        let mut flags = 0;
        if http2 {
            flags |= HTTP2;
        }
        if fresh.is_some() {
            flags |= FRESH;
        }
        Self {
            shared: Arc::new(Shared {
                id,
                facts,
                accepted: Instant::now(),
                exchanges: AtomicU64::new(0),
                held: AtomicU64::new(0),
                flags: AtomicU32::new(flags),
                wakers: Mutex::default(),
                fresh: Mutex::new(fresh),
                server,
            }),
            tracked: false,
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

    /// The server's address on this connection; `None` where the transport has none.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.shared.facts.addresses.local
    }

    /// How long ago the handshake ended.
    pub fn age(&self) -> Duration {
        self.shared.accepted.elapsed()
    }

    /// Requests that are over, answered or not, as far as the layer saw them.
    pub fn requests_served(&self) -> u32 {
        let tally = self.tally();
        tally.begun.wrapping_sub(tally.in_flight)
    }

    /// Whether the server has begun to drain.
    ///
    /// True from the moment it no longer accepts connections, not yet in the lame-duck phase.
    pub fn is_draining(&self) -> bool {
        self.shared.server.shutdown.phase() >= Phase::Draining
    }

    /// Resolves when the server begins to drain; at once if it has.
    ///
    /// A handler of an endless answer should end it then: with the `futures` crate an SSE stream
    /// does by `events.take_until(connection.draining())`. Cancel safe.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let server = self.shared.server.clone();
        async move { server.shutdown.reached(Phase::Draining).await }
    }

    /// Makes the answer in flight the last one on this connection.
    ///
    /// HTTP/1 answers carry `Connection: close` (RFC 9112 9.6); an HTTP/2 connection gets a GOAWAY
    /// (RFC 9113 6.8) where [`GracefulTls::serve`](crate::GracefulTls::serve) drives it.
    pub fn close(&self) {
        self.set(LAST | EXPIRED);
        self.wake();
    }

    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.shared.server
    }

    #[inline]
    fn flags(&self) -> u32 {
        self.shared.flags.load(Ordering::Acquire)
    }

    #[inline]
    fn has(&self, flag: u32) -> bool {
        self.flags() & flag != 0
    }

    fn set(&self, flags: u32) {
        self.shared.flags.fetch_or(flags, Ordering::AcqRel);
    }

    /// `false` the first time it is asked of the handle in a request, `true` ever after.
    pub(crate) fn track(&mut self) -> bool {
        std::mem::replace(&mut self.tracked, true)
    }

    #[inline]
    pub(crate) fn tally(&self) -> Tally {
        Tally::unpack(self.shared.exchanges.load(Ordering::Acquire))
    }

    /// Counts an exchange as begun; it ends when the result is dropped.
    #[inline]
    pub(crate) fn begin(self, http2: bool, upload: bool) -> Exchange {
        self.shared
            .exchanges
            .fetch_add(exchange::BEGUN + 1, Ordering::AcqRel);
        let mut wanted = LAYERED;
        if http2 {
            wanted |= HTTP2;
        }
        if upload {
            wanted |= UPLOAD;
        }
        let flags = self.flags();
        if flags & wanted != wanted {
            self.set(wanted);
        }
        if flags & UPLOAD != 0 && !upload {
            self.shared.flags.fetch_and(!UPLOAD, Ordering::AcqRel);
        }
        if flags & FRESH != 0 {
            self.settle();
        }
        Exchange::new(self, http2)
    }

    /// The connection is no longer one that has yet to send its first request.
    pub(crate) fn settle(&self) {
        self.shared.flags.fetch_and(!FRESH, Ordering::AcqRel);
        let token = self
            .shared
            .fresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(token);
    }

    pub(crate) fn is_layered(&self) -> bool {
        self.has(LAYERED)
    }

    #[inline]
    pub(crate) fn is_http2(&self) -> bool {
        self.has(HTTP2)
    }

    pub(crate) fn is_tls13(&self) -> bool {
        self.shared.facts.version == Some(ProtocolVersion::TLSv1_3)
    }

    pub(crate) fn has_upload(&self) -> bool {
        self.has(UPLOAD)
    }

    pub(crate) fn set_close_delimited(&self) {
        self.set(CLOSE_DELIMITED);
    }

    pub(crate) fn is_close_delimited(&self) -> bool {
        self.has(CLOSE_DELIMITED)
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.has(CUT)
    }

    pub(crate) fn set_tunnel(&self) {
        self.set(TUNNEL);
    }

    #[inline]
    pub(crate) fn is_tunnel(&self) -> bool {
        self.has(TUNNEL)
    }

    pub(crate) fn set_half_closed(&self) {
        self.set(HALF_CLOSED);
    }

    pub(crate) fn set_managed(&self) {
        self.set(MANAGED);
    }

    pub(crate) fn is_managed(&self) -> bool {
        self.has(MANAGED)
    }

    /// Asks whoever serves the connection to end it at the next chance.
    pub(crate) fn expire(&self) {
        self.set(EXPIRED);
        self.wake();
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.has(EXPIRED)
    }

    /// Whether an HTTP/1 answer that begins now has to say `Connection: close`.
    pub(crate) fn is_last(&self) -> bool {
        self.shared.server.shutdown.phase() >= Phase::LameDuck || self.has(LAST)
    }

    pub(crate) fn evict(&self) {
        self.set(EVICTED);
        self.wake();
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.has(EVICTED)
    }

    /// Bodies held up by the peer's window: how often that began, and how many are now.
    pub(crate) fn held(&self) -> Tally {
        Tally::unpack(self.shared.held.load(Ordering::Acquire))
    }

    /// Remembers whom to wake. Call it when the task has changed, before looking at any flag.
    pub(crate) fn register(&self, interest: Interest, waker: &Waker) {
        let mut wakers = self.lock_wakers();
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

    /// The connection has ended: a handler that keeps its handle must not keep the task.
    pub(crate) fn forget_tasks(&self) {
        *self.lock_wakers() = Wakers::default();
    }

    fn lock_wakers(&self) -> std::sync::MutexGuard<'_, Wakers> {
        self.shared
            .wakers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn wake_tasks(&self) {
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
        let tally = self.tally();
        f.debug_struct("TlsConnection")
            .field("id", &self.id())
            .field("remote_addr", &self.remote_addr())
            .field("version", &self.version())
            .field("requests_begun", &tally.begun)
            .field("requests_in_flight", &tally.in_flight)
            .finish_non_exhaustive()
    }
}
