//! HTTP/2 streams that wait for the peer, and a peer that makes noise.
//!
//! A stream that its client does not bring on is broken off, and the others go on: one whose window stays
//! shut, and one whose request does not come in. The ledger says which.

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{GracefulStream, State};
use crate::{
    ending::Cause,
    ledger::{Patience, Progress},
    lifetime::{Limits, Windows},
};

impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> GracefulStream<IO> {
    /// How far what was sent has come.
    fn progress(&self) -> Progress {
        let State::Open(tls, _) = &self.state else {
            return Progress::default();
        };
        let (io, session) = tls.get_ref();
        Progress {
            written: io.written(),
            // It may be less than a record that is not of the server's.
            held: self.backlog().max(session.wants_write().into()),
            acknowledged: io.acknowledged(),
        }
    }

    /// Breaks off the HTTP/2 streams whose requests do not come on. When to look again.
    pub(super) fn look_at_uploads(&mut self, now: Instant) -> Option<Instant> {
        self.watches_uploads = self.ledger.has_uploads();
        if !self.watches_uploads {
            return None;
        }
        let limits = self.limits();
        let late = self.ledger.late_uploads(
            now,
            &Patience {
                body: limits.body,
                tunnel: limits.tunnel,
                rate: limits.rate,
                beside: self.parts + self.unread,
                asked: self.reads,
                held_up: self.held_up,
                progress: self.progress(),
            },
        );
        self.reset(late.streams, Cause::BodyTimeout);
        self.reset(late.tunnels, Cause::TunnelTimeout);
        // One that is not waited for now may be at any moment.
        let shortest = limits.tunnel.map_or(limits.body, |it| it.min(limits.body));
        let soon = now + Limits::every(shortest);
        Some(late.next.map_or(soon, |next| next.min(soon)))
    }

    /// Which HTTP/2 streams has the peer's window held up for too long?
    pub(super) fn look_at_windows(&mut self, now: Instant) -> Windows {
        let Limits { write, rate, .. } = self.limits();
        let progress = self.progress();
        let stalled = self.ledger.stalled(now, write, rate, &progress);
        let next = stalled
            .next
            .map(|next| next.min(now + Limits::every(write)));
        self.watches_windows = next.is_some();
        if stalled.streams.is_empty() {
            self.may_open = None;
            return Windows::Patient(next);
        }
        // What would open them may have arrived, while nobody had the time to read.
        let (read, arrived) = self.transport().map_or((0, 0), |io| {
            (io.read(), io.read() + io.readable().unwrap_or(0))
        });
        if read < *self.may_open.get_or_insert(arrived) {
            self.watches_windows = true;
            self.connection.wake();
            return Windows::Patient(Some(now + Limits::every(write)));
        }
        self.may_open = None;
        // The client may go on with others, an answer may be on its way still, or an upload: then only
        // the streams end.
        let all = !stalled.outlived && stalled.streams.len() >= self.ledger.open_streams();
        if all && progress.held == 0 {
            return Windows::AllStalled;
        }
        self.reset(stalled.streams, Cause::Stalled);
        Windows::Patient(next)
    }

    /// There are more frames that say nothing than there may be.
    #[cold]
    pub(super) fn judge_noise(&mut self) {
        let now = Instant::now();
        let begun = now.checked_sub(self.connection.age()).unwrap_or(now);
        if let Some(http2) = self.ledger.http2() {
            if http2.is_flood(now, begun) {
                self.lifetime.force(Cause::Flood);
                self.connection.wake();
            }
        }
    }

    fn reset(&mut self, streams: Vec<u32>, cause: Cause) {
        if streams.is_empty() {
            return;
        }
        let frames = self.frames.get_or_insert_default();
        for stream in streams {
            frames.reset(stream, cause, &mut self.ledger);
        }
        self.publish();
        self.connection.wake();
    }

    /// Marks the HTTP/2 streams that wait for the peer now.
    #[cold]
    pub(super) fn watch_streams(&mut self) {
        let now = Instant::now();
        let uploads = self.look_at_uploads(now);
        let windows = self.look_at_windows(now).next();
        self.tell_waits();
        if let Some(next) = uploads.into_iter().chain(windows).min() {
            self.timer.fires_by(next, &self.connection);
        }
    }
}
