//! The requests that a connection works on, by name.
//!
//! The ledger knows how many are in flight, and not what they are called; the layer sees their names, and
//! not when the last byte is sent. Over HTTP/1 requests are answered in their order, so that the one whose
//! handler is over is known until its answer is sent. Over HTTP/2 answers end in any order: there those whose
//! handlers are over are named only as long as all of them must be in flight, and forgotten together where one
//! of them is sent. Either way there may be requests that pass no layer, and whichever those are, no request is
//! named that was answered.
//!
//! It is done where it was asked for: see [`Builder::track_requests`](crate::Builder::track_requests).

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use http::{Method, Request, StatusCode};
use tokio::time::Instant;

use super::{ENTERED, Protocol, Requests, TlsConnection, WATCHER};

/// How much of a path is remembered, in bytes: it is for people to read.
const LONGEST_PATH: usize = 256;

/// A request that is in flight, as the layer saw it: see [`TlsConnection::tracked_requests`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TrackedRequest {
    /// Its method.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub method: Method,
    /// The beginning of its path, without the query; of CONNECT, the host and port that it asks for.
    pub path: String,
    /// How long ago its handler was called.
    pub age: Duration,
    /// Whether its answer has begun.
    pub answering: bool,
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.as_str())
}

/// `GET /path, 12.3 s`.
impl fmt::Display for TrackedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, path) = (beginning(self.method.as_str()), self.path.escape_debug());
        write!(f, "{method} {path}, {:.1} s", self.age.as_secs_f64())
    }
}

/// Those of one connection, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Tracked(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    /// Over HTTP/1 the number of the last one, or less. Over HTTP/2 how many have passed the layer.
    called: u32,
    known: VecDeque<Entry>,
    /// gRPC calls that the deadline has ended, and whose status is sent.
    last_calls: Vec<TrackedRequest>,
}

#[derive(Debug)]
struct Entry {
    number: u32,
    method: Method,
    path: String,
    since: Instant,
    answering: bool,
    /// Its answer has made a tunnel of an HTTP/1 connection.
    tunnel: bool,
    /// It is a gRPC call that the deadline ends.
    last_call: bool,
    /// The layer has nothing more to do with it.
    over: bool,
}

impl Entry {
    fn shown(&self) -> TrackedRequest {
        TrackedRequest {
            method: self.method.clone(),
            path: self.path.clone(),
            age: self.since.elapsed(),
            answering: self.answering,
        }
    }
}

impl Tracked {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn find(&mut self, number: u32) -> Option<&mut Entry> {
        let at = self.known.binary_search_by_key(&number, |of| of.number);
        self.known.get_mut(at.ok()?)
    }

    /// The number of a request that has come.
    fn next(&mut self, connection: &TlsConnection) -> u32 {
        if connection.protocol() != Some(Protocol::Http2) {
            // Those before it that have passed no layer.
            self.called = self.called.max(connection.requests_served());
        }
        self.called += 1;
        self.called
    }

    /// Forgets those whose answers are sent.
    fn forget(&mut self, connection: &TlsConnection) {
        if connection.protocol() != Some(Protocol::Http2) {
            let sent = connection.requests_served();
            // What a tunnel is known by is the request that has made it.
            let is_sent = |of: &Entry| of.number <= sent && !of.tunnel;
            while self.known.front().is_some_and(is_sent) {
                self.known.pop_front();
            }
        } else {
            let Requests { begun, in_flight } = connection.requests();
            // All those that have passed no layer, or not yet, may be in flight.
            let unseen = begun.saturating_sub(self.called);
            let seen = in_flight.saturating_sub(unseen) as usize;
            if self.known.len() > seen {
                let known = mem::take(&mut self.known).into_iter();
                let (over, known): (VecDeque<_>, _) = known.partition(|of| of.over);
                self.known = known;
                let ended = over.iter().filter(|of| of.last_call);
                self.last_calls.extend(ended.map(Entry::shown));
            }
        }
    }
}

/// The connection of one request, from its handler's call to the end of its answer's body.
///
/// What the request is to whoever watches is in the handle, so that it costs no look at the connection.
#[derive(Debug)]
pub(crate) struct Tracking(TlsConnection);

impl Tracking {
    /// Of a request on a connection that nobody watches.
    #[inline]
    pub(crate) fn none(connection: TlsConnection) -> Self {
        Self(connection)
    }

    /// From now on `request` is known by its name, where that was asked for.
    pub(crate) fn new<B>(mut connection: TlsConnection, request: &Request<B>) -> Self {
        let uri = request.uri();
        let target = match uri.path() {
            // CONNECT has none.
            "" => uri.authority().map_or("", |authority| authority.as_str()),
            path => path,
        };
        let number = connection.track(request.method(), target);
        connection.met = number.unwrap_or(WATCHER);
        Self(connection)
    }

    pub(crate) fn connection(&self) -> &TlsConnection {
        &self.0
    }

    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.0.met >= WATCHER
    }

    /// What is dropped between now and this falls under the connection's span.
    #[inline]
    pub(crate) fn enter_for_drop(&mut self) {
        if self.is_watched() {
            self.enter();
        }
    }

    #[cold]
    fn enter(&mut self) {
        if let Some(span) = self.0.span() {
            mem::forget(span.enter());
            self.0.met |= ENTERED;
        }
    }

    #[cold]
    fn leave(&mut self) {
        if self.0.met & ENTERED != 0 {
            self.0.met &= !ENTERED;
            let span = self.0.span();
            span.map(|span| span.with_subscriber(|(id, subscriber)| subscriber.exit(id)));
        }
    }

    /// Its answer has begun.
    pub(crate) fn answers(&self, status: StatusCode) {
        self.change(|of| {
            of.answering = true;
            // RFC 9110 9.3.6 and 15.2.2.
            of.tunnel = status == StatusCode::SWITCHING_PROTOCOLS
                || of.method == Method::CONNECT && status.is_success();
        });
    }

    /// It is a gRPC call that the deadline ends, by a status.
    pub(crate) fn note_last_call(&self) {
        self.0.shared.last_calls.fetch_add(1, Ordering::AcqRel);
        self.change(|of| of.last_call = true);
    }

    #[cold]
    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let Some(tracked) = &self.0.shared.tracked else {
            return;
        };
        let mut entries = tracked.lock();
        if let Some(entry) = entries.find(self.0.met - WATCHER) {
            change(entry);
        }
        entries.forget(&self.0);
    }
}

impl Drop for Tracking {
    #[inline]
    fn drop(&mut self) {
        if self.is_watched() {
            self.leave();
            self.change(|of| of.over = true);
        }
    }
}

impl TlsConnection {
    /// The requests in flight that have passed the layer, oldest first; none unless
    /// [`Builder::track_requests`](crate::Builder::track_requests) is on.
    ///
    /// None of them has been answered to the last byte; but some that have not may be missing. Over HTTP/2
    /// nobody knows which answers are on their way still, only how many: those whose handlers are over are
    /// forgotten together when one of their answers is out. A route outside of the layer is none of these, and
    /// may hide those whose handlers are over.
    pub fn tracked_requests(&self) -> Vec<TrackedRequest> {
        let Some(tracked) = &self.shared.tracked else {
            return Vec::new();
        };
        let mut entries = tracked.lock();
        entries.forget(self);
        entries.known.iter().map(Entry::shown).collect()
    }

    /// What is lost if the connection ends now, as far as it is known by name.
    pub(crate) fn cut_requests(&self) -> Vec<TrackedRequest> {
        let mut cut = self.tracked_requests();
        if let Some(tracked) = &self.shared.tracked {
            cut.extend(tracked.lock().last_calls.iter().cloned());
        }
        cut
    }

    /// How this request is known from now on.
    fn track(&self, method: &Method, path: &str) -> Option<u32> {
        let tracked = self.shared.tracked.as_ref()?;
        let mut entries = tracked.lock();
        let number = entries.next(self);
        entries.known.push_back(Entry {
            number,
            method: method.clone(),
            path: beginning(path).to_owned(),
            since: Instant::now(),
            answering: false,
            tunnel: false,
            last_call: false,
            over: false,
        });
        entries.forget(self);
        Some(WATCHER + number)
    }
}

fn beginning(path: &str) -> &str {
    let end = (0..=LONGEST_PATH.min(path.len())).rev();
    let end = end.into_iter().find(|at| path.is_char_boundary(*at));
    &path[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{context::Context, settings::Settings};

    fn connection() -> TlsConnection {
        let settings = Settings {
            track_requests: true,
            ..Settings::default()
        };
        let context = std::sync::Arc::new(Context::new(settings, 1 << 14));
        crate::connection::FakeConnection::new(context).build()
    }

    fn names(connection: &TlsConnection) -> Vec<String> {
        let tracked = connection.tracked_requests();
        tracked.into_iter().map(|of| of.path).collect()
    }

    #[test]
    fn what_is_over_is_known_until_it_is_sent() {
        let connection = connection();
        let request = |path| Request::get(path).body(()).unwrap();
        let in_flight = |begun, in_flight| connection.set_requests(Requests { begun, in_flight });

        in_flight(1, 1);
        let track = |path| Tracking::new(connection.clone(), &request(path));
        drop(track("/a?secret"));
        assert_eq!(names(&connection), ["/a"]);
        in_flight(2, 2);
        let second = track("/b");
        second.answers(StatusCode::OK);
        assert_eq!(names(&connection), ["/a", "/b"]);
        // One of them is sent: it was the one that nobody has to do with any more.
        in_flight(2, 1);
        assert_eq!(names(&connection), ["/b"]);
        assert!(connection.tracked_requests()[0].answering);
        in_flight(2, 0);
        drop(second);
        assert_eq!(names(&connection), [""; 0]);
    }

    #[test]
    fn long_paths_are_cut_between_letters() {
        let path = "ä".repeat(LONGEST_PATH);
        assert_eq!(beginning(&path).len(), LONGEST_PATH);
        assert_eq!(beginning(&path[2..]).len(), LONGEST_PATH);
        assert_eq!(beginning(&format!("/{path}")).len(), LONGEST_PATH - 1);
        assert_eq!(beginning("/"), "/");
    }
}
