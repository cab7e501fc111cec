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
        self.orphans = self.successor.replace(successor).or(self.orphans.take());
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

    /// What the new process says, or another that it has started.
    pub(super) fn was_told(&mut self, word: Word) -> Option<Event> {
        match word {
            Word::Ready { pid, .. } => return self.orphan_is_ready(pid),
            // The new one has died as soon as it was replaced itself.
            Word::Replaced { pid } if self.stage == Stage::Serving => {
                return self.orphan_is_ready(pid);
            }
            Word::Replaced { .. } | Word::Stopping => self.give_up_the_new(),
            Word::TooMany => {
                self.is_one_too_many = true;
                if self.undo_until.is_none() {
                    return self.hurry_if_too_many();
                }
            }
            Word::Serve | Word::TooLate => {}
        }
        None
    }

    pub(super) fn hurry_if_too_many(&mut self) -> Option<Event> {
        if !std::mem::take(&mut self.is_one_too_many) {
            return None;
        }
        let most = self.settings.max_old_processes;
        tracing::warn!("more than {most} old processes: this is the oldest, it ends now");
        Some(Event::Hurry)
    }

    /// A process is ready that was started by one that has died since: it asks the one before that. There is room for
    /// it only if this one serves, and has not started another.
    pub(super) fn orphan_is_ready(&mut self, pid: u32) -> Option<Event> {
        let takes_over = self.stage == Stage::Serving && !self.starting.is_under_way();
        let orphans = self.orphans.as_mut().or(self.successor.as_mut())?;
        if !takes_over {
            orphans.answer(&Word::TooLate);
            return None;
        }
        orphans.answer(&Word::Serve);
        orphans.becomes(pid);
        tracing::info!(
            successor = pid,
            "a newer process serves: finishing what is in flight here"
        );
        for kept in &self.sockets {
            kept.hold.send_replace(Hold::Waits);
        }
        self.stage = Stage::Replaced;
        systemd::main_process(pid);
        self.let_go();
        Some(Event::Handover)
    }

    /// The new process has ended, and was not told to.
    pub(super) fn successor_ended(&mut self, how: &str) -> Option<Event> {
        let in_time = self.undo_until.is_some_and(|until| Instant::now() < until);
        if in_time && self.stage == Stage::Replaced {
            tracing::error!("the new process has died ({how}), this one takes over again");
            self.undo_until = None;
            self.is_one_too_many = false;
            self.stage = Stage::Serving;
            for kept in &self.sockets {
                kept.hold.send_replace(Hold::Accepts);
            }
            self.serves_again = Some(format!("; the new process has died ({how})"));
            return Some(Event::Undo);
        }
        self.let_go();
        tracing::error!("the new process has died ({how}), too late for this one to take over");
        self.end_the_last()
    }

    /// The connections can't go on any more.
    pub(super) fn has_failed_to_undo(&mut self) {
        tracing::error!("it was too late to go on");
        self.serves_again = None;
        self.stage = Stage::Replaced;
        for kept in &self.sockets {
            kept.hold.send_replace(Hold::Waits);
        }
        self.let_go();
        self.is_orphaned = true;
    }

    /// systemd starts the service again when its main process fails.
    fn end_the_last(&mut self) -> Option<Event> {
        if self.stage == Stage::Stopping || !systemd::is_there() {
            return None;
        }
        systemd::main_process(process::id());
        self.is_orphaned = true;
        Some(Event::Hurry)
    }

    /// What becomes of the new process is no concern any more.
    pub(super) fn give_up_the_new(&mut self) {
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
    pub(super) fn serves(&self, but: &str) {
        if let Some(pid_file) = &self.settings.pid_file {
            if let Err(error) = pid_file.write() {
                tracing::error!("{error}");
            }
        }
        systemd::ready(&format!("listening on {}{but}", self.addresses()));
    }

    /// Says to those before that this process serves now, and to the oldest if there are too many. The last that is
    /// there has a say.
    pub(super) fn announce(&mut self, taken: Vec<usize>) -> Result<(), RestartError> {
        let pid = process::id();
        let ready = Word::Ready { pid, taken };
        let mut asked = self.before.iter().rev();
        let answer = asked.find_map(|process| {
            ready.tell(process);
            control::answer(process)
        });
        match answer {
            Some(Word::TooLate) => {
                // They are the other's.
                self.sockets.iter_mut().for_each(|of| of.file = None);
                return Err(RestartError::Predecessor(control::LATE.into()));
            }
            None if !self.before.is_empty() => {
                tracing::warn!("the process before is gone: serving without a word to it");
            }
            _ => asked.for_each(|older| {
                Word::Replaced { pid }.tell(older);
            }),
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
