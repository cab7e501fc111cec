//! Room for the next connection.
//!
//! At the cap, and when there are no descriptors, somebody has to make room: see `register`. Where
//! nobody is idle a handshake gives way, if one has to: see `handshakes`. Everything here waits for
//! events, and no longer than whoever makes room may take. What is said of it is said once.

use std::{io, pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout};

use crate::{context::Context, register::PATIENCE, server::Server};

/// What goes on although nothing was short for so long is another shortage.
const QUIET: Duration = Duration::from_secs(10);

/// Makes room, and waits for it.
pub(super) struct Room {
    server: Arc<Server>,
    /// Since when there is none, and when that was last so.
    short: Option<(Instant, Instant)>,
}

impl Room {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            short: None,
        }
    }

    /// Resolves when one more connection may come in. Cancel safe.
    pub(super) async fn for_one_more(&mut self) {
        if !self.has_some() {
            self.note_shortage(|context| match context.is_full() {
                true => {
                    let max = context.max_connections;
                    tracing::warn!(max, "max_connections is reached: idle ones make room");
                }
                false => tracing::warn!("max_handshakes is reached: the next ones wait"),
            });
            self.wait().await;
        }
    }

    /// Resolves when a descriptor may have come free, or after `pause`. Cancel safe.
    pub(super) async fn for_descriptor(&mut self, error: &io::Error, pause: Duration) {
        self.note_shortage(|_| {
            tracing::error!(
                %error,
                "out of descriptors (see `ulimit -n`): idle connections make room"
            );
        });
        let waiting = self.server.context.room.wait();
        let mut changed = pin!(waiting.changed());
        changed.as_mut().enable();
        if !self.server.register.make_room() {
            self.server.handshakes.evict();
        }
        let _ = timeout(pause, changed).await;
    }

    /// A connection was accepted, with nothing short.
    pub(super) fn suffices(&mut self) {
        let over = |(_, last): &mut (Instant, Instant)| last.elapsed() > QUIET;
        if let Some((since, last)) = self.short.take_if(over) {
            let seconds = (last - since).as_secs_f64();
            tracing::info!(seconds, "there is room for connections again");
        }
    }

    /// A handshake that is one too many takes the place of another.
    fn has_some(&self) -> bool {
        let swaps = || self.server.handshakes.is_full();
        self.server.handshakes.next_may_begin().is_ok()
            && (!self.server.context.is_full() || swaps())
    }

    async fn wait(&self) {
        let waiting = self.server.context.room.wait();
        loop {
            let mut changed = pin!(waiting.changed());
            changed.as_mut().enable();
            if self.has_some() {
                return;
            }
            let due = match self.server.handshakes.next_may_begin() {
                Err(due) => Some(due),
                Ok(()) if self.server.register.make_room() => Some(Instant::now() + PATIENCE),
                Ok(()) => self.server.handshakes.evict(),
            };
            tokio::select! {
                () = changed => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    fn note_shortage(&mut self, say: impl FnOnce(&Context)) {
        let now = Instant::now();
        match &mut self.short {
            Some((_, last)) => *last = now,
            short => {
                *short = Some((now, now));
                say(&self.server.context);
            }
        }
    }
}
