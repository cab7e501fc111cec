//! [`Running`]: the life of one process, from when it serves until it is stopped or replaced.
//!
//! ```text
//!              SIGUSR2, SIGHUP           the new one says that it is ready
//!  Serving ───────────────▶ (starting) ─────────────────────────────────▶ Replaced ──▶ done
//!   ▲  │                        │                                           │
//!   │  │ SIGTERM                │ it fails                                  │ it dies soon
//!   │  ▼                        ▼                                           ▼
//!   │ Stopping ──▶ done      Serving                                     (undo)
//!   └───────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! What a process is told, and what it learns of the others, is one [`Event`] after the other for whoever
//! serves its connections. [`Running::run`] is that for a [`GracefulTls`].

use std::{fmt, future::pending, os::unix::net::UnixStream, pin::pin, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    RestartError,
    builder::Settings,
    control::{Origin, Word},
    listener::Hold,
    signals::{Request, Signals},
    sockets::{Listening, SocketFile},
    stage::{Stage, has_ended},
    successor::{Failed, News, Successor},
};
use crate::{graceful_tls::GracefulTls, phase::Phase, shutdown::Report, tickets::TicketKeys};

/// What has become of this process, for whoever serves its connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Another process serves: finish what has begun here, and accept nothing more.
    ///
    /// The [`Listener`](super::Listener)s see to the latter themselves.
    Handover,
    /// The other process has died: serve on. Listeners accept again.
    ///
    /// A server that has dropped them can't, and has to set
    /// [`undo_within`](super::RestartBuilder::undo_within) to zero.
    Undo,
    /// Finish what has begun, and end.
    Stop,
    /// End at once what is left.
    Hurry,
}

/// A process that serves, and what may become of it.
#[derive(Debug)]
#[must_use = "nobody obeys signals without `run` or `next`"]
pub struct Running {
    pub(super) settings: Arc<Settings>,
    pub(super) sockets: Vec<Kept>,
    pub(super) signals: Signals,
    /// Restarts that the program asks for itself.
    pub(super) asked: mpsc::UnboundedReceiver<()>,
    /// The ways to the processes before this one, the oldest first.
    pub(super) before: Vec<UnixStream>,
    pub(super) starting: Starting,
    pub(super) successor: Option<Box<Successor>>,
    /// One whose process has died, while another that it had started may still come.
    pub(super) orphans: Option<Box<Successor>>,
    /// Until then this process takes over again if the new one dies.
    pub(super) undo_until: Option<Instant>,
    /// Another restart is to follow the one under way.
    pub(super) again: bool,
    /// The new process has died, and nobody serves.
    pub(super) is_orphaned: bool,
    /// It was said that there are too many old processes, and this may still have to take over again.
    pub(super) is_one_too_many: bool,
    /// This process serves again, and nobody was told yet: what else there is to say of it.
    pub(super) serves_again: Option<String>,
    pub(super) stopping: CancellationToken,
    pub(super) stage: Stage,
    pub(super) ticket_keys: Option<TicketKeys>,
}

/// A listening socket, as it is kept to be passed on.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) address: String,
    /// As long as another process may want it.
    pub(super) socket: Option<Listening>,
    /// Of a Unix socket that the program has bound.
    pub(super) file: Option<SocketFile>,
    pub(super) hold: watch::Sender<Hold>,
}

/// The start of another process, while it lasts.
#[derive(Debug, Default)]
pub(super) struct Starting(pub(super) Option<JoinHandle<Result<Box<Successor>, Failed>>>);

impl Starting {
    pub(super) fn is_under_way(&self) -> bool {
        self.0.is_some()
    }

    /// Cancel safe.
    async fn ended(&mut self) -> Result<Box<Successor>, String> {
        let Some(starting) = &mut self.0 else {
            return pending().await;
        };
        let ended = starting.await;
        self.0 = None;
        let ended = ended.map_err(|error| error.to_string())?;
        ended.map_err(|error| error.to_string())
    }
}

/// What has happened to a process.
enum Happened {
    Asked(Request),
    Started(Result<Box<Successor>, String>),
    News(News),
    /// Of those that one has left which has died.
    Orphans(News),
    UndoIsOver,
    /// There is nothing to serve.
    Checked,
}

impl Running {
    /// Where it listens, for people to read.
    pub fn addresses(&self) -> impl fmt::Display + use<> {
        let addresses: Vec<_> = self.sockets.iter().map(|of| of.address.clone()).collect();
        addresses.join(" ")
    }

    /// What has become of this process, when something has. Cancel safe.
    ///
    /// Nobody obeys signals, and no restart goes on, but while this is polled.
    pub async fn next(&mut self) -> Event {
        // Whoever comes back has heard of it.
        if let Some(but) = self.serves_again.take() {
            self.serves(&but);
        }
        loop {
            let happened = self.happens().await;
            if let Some(event) = self.obey(happened) {
                return event;
            }
        }
    }

    /// Serves on until the connections of `tls` have all ended, because this process was stopped or replaced.
    ///
    /// Whoever serves them does so beside this: see [`Restart::serve`](super::Restart::serve) for both.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the connections to themselves, and nobody obeys signals any more.
    ///
    /// # Errors
    ///
    /// [`RestartError::SuccessorDied`].
    pub async fn run(mut self, tls: &GracefulTls) -> Result<Report, RestartError> {
        let report = self.run_until_closed(tls).await;
        self.end(report).await
    }

    pub(super) async fn end(self, report: Report) -> Result<Report, RestartError> {
        let is_orphaned = self.is_orphaned;
        self.finish().await;
        match is_orphaned {
            true => Err(RestartError::SuccessorDied),
            false => Ok(report),
        }
    }

    pub(super) async fn run_until_closed(&mut self, tls: &GracefulTls) -> Report {
        let mut closed = pin!(tls.closed());
        let mut hurry_at = None;
        loop {
            let hurry = async {
                match hurry_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                event = self.next() => hurry_at = self.has_come(event, tls).or(hurry_at),
                () = hurry => {
                    hurry_at = None;
                    tls.shutdown_now();
                }
                report = &mut closed => return report,
            }
        }
    }

    /// Has the connections know; when this process has to hurry, if it has longer at first than it may take.
    fn has_come(&mut self, event: Event, tls: &GracefulTls) -> Option<Instant> {
        match event {
            Event::Handover => {
                let timeout = self.settings.old_process_timeout;
                let timeout = timeout.unwrap_or_else(|| tls.shutdown_timeout());
                tls.handover_within(self.settings.undo_within, timeout);
            }
            Event::Undo if !tls.resume() => self.has_failed_to_undo(),
            Event::Undo => {}
            // It has nothing to wait for, as long as it could have taken over again.
            Event::Stop if tls.phase() == Phase::Serving || tls.resume() => tls.shutdown(),
            Event::Stop => {
                let time = tls.shutdown_timeout();
                tracing::info!("told to stop: what is left has {} s", time.as_secs_f64());
                return Some(Instant::now() + time);
            }
            Event::Hurry => tls.shutdown_now(),
        }
        None
    }

    /// Waits for a restart that is still under way, so that its end is not missed. Call it when the last
    /// connection has ended. A signal to stop is obeyed at once.
    pub async fn finish(mut self) {
        self.tell_stopping();
        while self.starting.is_under_way() {
            tokio::select! {
                ended = self.starting.ended() => drop(self.started(ended)),
                request = self.signals.next() => if request == Request::Stop {
                    break;
                }
            }
        }
    }

    async fn happens(&mut self) -> Happened {
        let undo = async {
            match self.undo_until {
                Some(until) => sleep_until(until).await,
                None => pending().await,
            }
        };
        let check = async {
            match self.settings.is_check && self.stage == Stage::Serving {
                true => {}
                false => pending().await,
            }
        };
        let news = async {
            match &mut self.successor {
                Some(successor) => successor.news().await,
                None => pending().await,
            }
        };
        let orphans = async {
            match &mut self.orphans {
                Some(orphans) => orphans.news().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = check => Happened::Checked,
            request = self.signals.next() => Happened::Asked(request),
            Some(()) = self.asked.recv() => Happened::Asked(Request::Restart),
            ended = self.starting.ended() => Happened::Started(ended),
            news = news => Happened::News(news),
            news = orphans => Happened::Orphans(news),
            () = undo => Happened::UndoIsOver,
        }
    }

    fn obey(&mut self, happened: Happened) -> Option<Event> {
        match happened {
            Happened::Checked => {
                self.stage = Stage::Stopping;
                Some(Event::Hurry)
            }
            Happened::Asked(Request::Restart) => self.restart(),
            Happened::Asked(Request::Stop) => self.stop(),
            Happened::Started(ended) => self.started(ended),
            Happened::UndoIsOver => {
                self.let_go();
                self.hurry_if_too_many()
            }
            Happened::News(News::Ended(how)) => self.successor_ended(&how),
            Happened::News(News::Said(word)) => self.was_told(word),
            Happened::News(News::Gone) => {
                self.successor = None;
                None
            }
            Happened::Orphans(News::Said(Word::Ready { pid, .. })) => self.orphan_is_ready(pid),
            Happened::Orphans(News::Gone) => {
                self.orphans = None;
                None
            }
            Happened::Orphans(_) => None,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.let_go();
        if let Some(pid_file) = &self.settings.pid_file {
            pid_file.remove();
        }
        // Another needs the files: the one that is about to serve, or the one before, which would take over again.
        if self.starting.is_under_way() || self.before.last().is_some_and(|of| !has_ended(of)) {
            return;
        }
        let own = |of: &&Kept| *of.hold.borrow() == Hold::Accepts;
        for kept in self.sockets.iter().filter(own) {
            if let Some(file) = &kept.file {
                file.remove();
            }
        }
    }
}
