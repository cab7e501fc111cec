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

use std::{
    fmt, future::pending, os::unix::net::UnixStream, pin::pin, process, sync::Arc, time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Settings,
    control::{Hello, Origin, Word},
    listener::Hold,
    signals::{Request, Signals},
    sockets::{Listening, SocketFile},
    successor::{Failed, Legacy, News, Program, Successor},
    systemd,
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
    /// Until then this process takes over again if the new one dies.
    pub(super) undo_until: Option<Instant>,
    /// Another restart is to follow the one under way.
    pub(super) again: bool,
    /// The new process has died, and nobody serves.
    pub(super) is_orphaned: bool,
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

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Serving,
    /// Another process serves: this one finishes what it has begun.
    Replaced,
    Stopping,
}

/// The start of another process, while it lasts.
#[derive(Debug, Default)]
pub(super) struct Starting(Option<JoinHandle<Result<Box<Successor>, Failed>>>);

impl Starting {
    fn is_under_way(&self) -> bool {
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
    pub async fn run(mut self, tls: &GracefulTls) -> Report {
        let report = self.run_until_closed(tls).await;
        self.finish().await;
        report
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
                event = self.next() => {
                    // One that was replaced may have hours, but not once it is told to stop.
                    if event == Event::Stop && tls.phase() > Phase::Serving {
                        hurry_at = Some(Instant::now() + tls.shutdown_timeout());
                    }
                    self.has_come(event, tls);
                }
                () = hurry => {
                    hurry_at = None;
                    tls.shutdown_now();
                }
                report = &mut closed => return report,
            }
        }
    }

    fn has_come(&self, event: Event, tls: &GracefulTls) {
        match event {
            Event::Handover => {
                let timeout = self.settings.old_process_timeout;
                let timeout = timeout.unwrap_or_else(|| tls.shutdown_timeout());
                tls.handover_within(self.settings.undo_within, timeout);
            }
            Event::Undo if tls.resume() => {}
            Event::Undo => tracing::error!("nobody serves any more: it was too late to go on"),
            Event::Stop => tls.shutdown(),
            Event::Hurry => tls.shutdown_now(),
        }
    }

    /// Waits for a restart that is still under way, so that its end is not missed. Call it when the last
    /// connection has ended. A signal to stop is obeyed at once.
    pub async fn finish(mut self) {
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
        tokio::select! {
            biased;
            () = check => Happened::Checked,
            request = self.signals.next() => Happened::Asked(request),
            Some(()) = self.asked.recv() => Happened::Asked(Request::Restart),
            ended = self.starting.ended() => Happened::Started(ended),
            news = news => Happened::News(news),
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
            Happened::News(News::Said(Word::TooMany)) => {
                let most = self.settings.max_old_processes;
                tracing::warn!("more than {most} old processes: this is the oldest, it ends now");
                Some(Event::Hurry)
            }
            Happened::News(News::Said(Word::Replaced)) => self.is_replaced_after_all(),
            Happened::News(News::Gone) => {
                self.successor = None;
                None
            }
            Happened::News(News::Said(Word::Ready { .. })) => None,
            Happened::UndoIsOver => {
                self.let_go();
                None
            }
            Happened::News(News::Ended(status)) => {
                let failed = !status.as_ref().is_ok_and(|status| status.success());
                let shown = status.map_or_else(|error| error.to_string(), |of| of.to_string());
                self.successor_ended(failed, &shown)
            }
        }
    }

    fn restart(&mut self) -> Option<Event> {
        match self.stage {
            // What has changed meanwhile may come too late for that one.
            Stage::Serving if self.starting.is_under_way() => {
                tracing::info!("a restart is under way already, another follows");
                self.again = true;
            }
            // As in a container.
            Stage::Serving if process::id() == 1 => {
                self.started(Err(
                    "this is process 1, and all others end with it: start another container".into(),
                ));
            }
            Stage::Serving => {
                tracing::info!("restarting: starting a new process");
                systemd::reloading();
                let program = Program::of_this_process(self.settings.ready_within);
                let start = start(program, self.legacy(), self.stopping.clone());
                self.starting.0 = Some(tokio::spawn(start));
            }
            Stage::Replaced => self.pass_on(),
            Stage::Stopping => tracing::warn!("stopping: no restart any more"),
        }
        None
    }

    /// Whoever asks for a restart may know this process only, as systemd does as long as it can be undone.
    fn pass_on(&self) {
        let successor = self.successor.as_ref().and_then(|of| of.id());
        let successor = successor.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        match successor.map(|id| kill_process(id, Signal::USR2)) {
            Some(Ok(())) => {
                tracing::info!("this process has been replaced: passing it on to the next")
            }
            _ => tracing::warn!("this process has been replaced: signal the one that serves now"),
        }
    }

    fn legacy(&self) -> Result<Legacy, Failed> {
        let sockets = self
            .sockets
            .iter()
            .filter_map(|of| Some((of, of.socket.as_ref()?)));
        let (kept, sockets): (Vec<_>, Vec<_>) = sockets.unzip();
        let sockets: Result<_, _> = sockets.into_iter().map(Listening::descriptor).collect();
        let older = self.before.iter().map(|of| Ok(of.try_clone()?.into()));
        let named = kept
            .into_iter()
            .map(|of| (of.name.clone(), of.origin.clone()));
        Ok(Legacy {
            hello: Hello {
                sockets: named.collect(),
                ticket_keys: self.ticket_keys.as_ref().map(TicketKeys::export),
            },
            sockets: sockets.map_err(Failed::PassOn)?,
            older: older.collect::<Result<_, _>>().map_err(Failed::PassOn)?,
        })
    }

    /// SIGTERM.
    fn stop(&mut self) -> Option<Event> {
        let before = std::mem::replace(&mut self.stage, Stage::Stopping);
        self.stopping.cancel();
        match before {
            Stage::Stopping => return Some(Event::Hurry),
            Stage::Replaced => {}
            Stage::Serving if self.starting.is_under_way() => tracing::warn!(
                "stopping during a restart: if the new process gets ready, it serves on; signal it to stop it \
                 too"
            ),
            Stage::Serving => systemd::stopping(),
        }
        self.let_go();
        Some(Event::Stop)
    }

    /// The new process is ready, or this is why it is not.
    fn started(&mut self, ended: Result<Box<Successor>, String>) -> Option<Event> {
        let stops = self.stage == Stage::Stopping;
        match ended {
            Ok(successor) => return self.hand_over(successor),
            Err(why) if stops => {
                tracing::error!("restart failed, and nobody serves any more: {why}");
            }
            Err(why) => {
                tracing::error!("restart failed, this process goes on serving: {why}");
                self.serves(&format!("; restart failed: {why}"));
                if std::mem::take(&mut self.again) {
                    return self.restart();
                }
            }
        }
        None
    }

    fn hand_over(&mut self, successor: Box<Successor>) -> Option<Event> {
        let id = successor.id();
        for (number, kept) in self.sockets.iter_mut().enumerate() {
            if successor.taken.contains(&number) {
                kept.hold.send_replace(Hold::Waits);
            }
        }
        self.successor = Some(successor);
        self.undo_until = Some(Instant::now() + self.settings.undo_within);
        tracing::info!(
            successor = id,
            "the new process serves: finishing what is in flight here"
        );
        if self.stage == Stage::Stopping {
            self.let_go();
            return None;
        }
        self.stage = Stage::Replaced;
        if std::mem::take(&mut self.again) {
            self.pass_on();
        }
        Some(Event::Handover)
    }

    /// A process that the new one has started serves, whatever has become of that one.
    fn is_replaced_after_all(&mut self) -> Option<Event> {
        let serves = self.stage == Stage::Serving;
        if serves {
            tracing::info!("a newer process serves: finishing what is in flight here");
            self.stage = Stage::Replaced;
        }
        for kept in &self.sockets {
            kept.hold.send_replace(Hold::Waits);
        }
        self.let_go();
        if let Some(successor) = &mut self.successor {
            successor.forget_the_first();
        }
        serves.then_some(Event::Handover)
    }

    /// The new process has ended: by itself, and on purpose, or so that this one has to take over again.
    fn successor_ended(&mut self, failed: bool, status: &str) -> Option<Event> {
        let in_time = self.undo_until.is_some_and(|until| Instant::now() < until);
        if in_time && failed {
            tracing::error!("the new process has died ({status}), this one takes over again");
            self.undo_until = None;
            self.stage = Stage::Serving;
            for kept in &self.sockets {
                kept.hold.send_replace(Hold::Accepts);
            }
            self.serves(&format!("; the new process has died ({status})"));
            return Some(Event::Undo);
        }
        self.let_go();
        if !failed {
            return None;
        }
        tracing::error!("the new process has died ({status}), too late for this one to take over");
        if self.stage == Stage::Stopping || !systemd::is_there() {
            return None;
        }
        // It restarts the service when its main process fails.
        systemd::main_process(process::id());
        self.is_orphaned = true;
        Some(Event::Hurry)
    }

    /// Nothing is taken back any more: no socket is kept, those that were taken are the new process's alone.
    fn let_go(&mut self) {
        if self.undo_until.take().is_some() {
            if let Some(successor) = self.successor.as_ref().and_then(|of| of.id()) {
                systemd::main_process(successor);
            }
        }
        for kept in &mut self.sockets {
            kept.socket = None;
            if *kept.hold.borrow() == Hold::Waits {
                kept.hold.send_replace(Hold::Released);
            }
        }
    }

    /// Says that this process serves, to whoever watches it.
    fn serves(&self, but: &str) {
        if let Some(pid_file) = &self.settings.pid_file {
            if let Err(error) = pid_file.write() {
                tracing::error!("{error}");
            }
        }
        systemd::ready(&format!("listening on {}{but}", self.addresses()));
    }

    /// Says to those before that this process serves now, and to the oldest if there are too many.
    pub(super) fn announce(&mut self, taken: Vec<usize>) {
        if let Some((last, older)) = self.before.split_last() {
            if !(Word::Ready { taken }).tell(last) {
                tracing::warn!("the process before is gone: serving without a word to it");
            }
            for process in older {
                Word::Replaced.tell(process);
            }
        }
        self.before.retain(|process| !has_ended(process));
        let most = self.settings.max_old_processes;
        for process in &self.before[..self.before.len().saturating_sub(most)] {
            Word::TooMany.tell(process);
        }
    }
}

/// The one that checks and starts the program, in a task of its own.
async fn start(
    program: Program,
    legacy: Result<Legacy, Failed>,
    stopping: CancellationToken,
) -> Result<Box<Successor>, Failed> {
    tokio::select! {
        checked = program.check() => checked?,
        () = stopping.cancelled() => return Err(Failed::Stopped),
    }
    program.start(legacy?).await.map(Box::new)
}

/// Whether nobody is at the other end any more: those before say nothing.
fn has_ended(process: &UnixStream) -> bool {
    let socket = socket2::SockRef::from(process);
    let mut nothing = [std::mem::MaybeUninit::uninit(); 1];
    let peeked = socket
        .set_nonblocking(true)
        .and_then(|()| socket.peek(&mut nothing));
    matches!(peeked, Ok(0))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.let_go();
        if let Some(pid_file) = &self.settings.pid_file {
            pid_file.remove();
        }
        // The process before would take over again, and needs the files.
        if self.before.last().is_some_and(|of| !has_ended(of)) {
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

/// What [`Settings::undo_within`] is at first.
pub(super) const UNDO: Duration = Duration::from_secs(10);
