//! [`Stage`]: what each thing that happens means for a process, by how far it has come.

use std::{os::unix::net::UnixStream, process};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    RestartError,
    control::{self, Hello, Word},
    listener::Hold,
    running::{Event, Running},
    sockets::Listening,
    successor::{Failed, Legacy, Program, Successor},
    systemd,
};
use crate::tickets::TicketKeys;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    Serving,
    /// Another process serves: this one finishes what it has begun.
    Replaced,
    Stopping,
}

impl Running {
    pub(super) fn restart(&mut self) -> Option<Event> {
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
    pub(super) fn stop(&mut self) -> Option<Event> {
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
        self.tell_stopping();
        Some(Event::Stop)
    }

    /// This process ends because it was told to: nobody is to take over from it.
    pub(super) fn tell_stopping(&self) {
        if let Some(before) = self.before.last() {
            Word::Stopping.tell(before);
        }
    }

    /// The new process is ready, or this is why it is not.
    pub(super) fn started(&mut self, ended: Result<Box<Successor>, String>) -> Option<Event> {
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
    pub(super) fn is_replaced_after_all(&mut self) -> Option<Event> {
        let serves = self.stage == Stage::Serving;
        if serves {
            tracing::info!("a newer process serves: finishing what is in flight here");
            self.stage = Stage::Replaced;
        }
        for kept in &self.sockets {
            kept.hold.send_replace(Hold::Waits);
        }
        self.is_rid();
        serves.then_some(Event::Handover)
    }

    /// The new process has ended, and was not told to.
    pub(super) fn successor_ended(&mut self, status: &str) -> Option<Event> {
        if self.undo_until.is_some_and(|until| Instant::now() < until) {
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
        tracing::error!("the new process has died ({status}), too late for this one to take over");
        if self.stage == Stage::Stopping || !systemd::is_there() {
            return None;
        }
        // It restarts the service when its main process fails.
        systemd::main_process(process::id());
        self.is_orphaned = true;
        Some(Event::Hurry)
    }

    /// What becomes of the new process is no concern any more.
    pub(super) fn is_rid(&mut self) {
        self.let_go();
        if let Some(successor) = &mut self.successor {
            successor.forget_the_first();
        }
    }

    /// Nothing is taken back any more: no socket is kept, those that were taken are the new process's alone.
    pub(super) fn let_go(&mut self) {
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

    /// Says to those before that this process serves now, and to the oldest if there are too many. The one just
    /// before has a say.
    pub(super) fn announce(&mut self, taken: Vec<usize>) -> Result<(), RestartError> {
        if let Some((last, older)) = self.before.split_last() {
            (Word::Ready { taken }).tell(last);
            match control::answer(last) {
                Some(Word::TooLate) => {
                    return Err(RestartError::Predecessor(control::LATE.into()));
                }
                Some(_) => {}
                None => tracing::warn!("the process before is gone: serving without a word to it"),
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
        Ok(())
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
pub(super) fn has_ended(process: &UnixStream) -> bool {
    let socket = socket2::SockRef::from(process);
    let mut nothing = [std::mem::MaybeUninit::uninit(); 1];
    let peeked = socket
        .set_nonblocking(true)
        .and_then(|()| socket.peek(&mut nothing));
    matches!(peeked, Ok(0))
}
