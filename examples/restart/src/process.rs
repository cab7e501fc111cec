//! The life of one process: it takes over, serves, and is replaced or stopped.

use std::{io::Write, process, sync::Arc};

use ecdysis::Ecdysis;
use futures_util::StreamExt;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;

use crate::{
    pid_file, replacement,
    server::Server,
    settings::Settings,
    shared::HandedOver,
    signals::{self, Request},
    sockets::Sockets,
    systemd,
};

/// Serves until every connection has ended.
pub(crate) async fn run(
    settings: &Settings,
    config: ServerConfig,
    ecdysis: Ecdysis,
    mut sockets: Sockets,
) -> Result<(), String> {
    // First of all: a signal that nobody catches would end the process.
    let mut requests = signals::requests()?;
    let server = Server::new(settings, config)?;
    let listeners = std::mem::take(&mut sockets.listeners);
    let listeners: Result<Vec<_>, _> = listeners.into_iter().map(TcpListener::from_std).collect();
    let listeners = listeners.map_err(|error| error.to_string())?;

    let mut process = Process::take_over(settings, server, ecdysis, sockets)?;
    let mut served = process.server.serve(listeners, &process.handed_over);
    let report = loop {
        tokio::select! {
            Some(request) = requests.next() => process.obey(request),
            ended = process.replacement.ended() => process.replaced(ended),
            report = &mut served => break report?,
        }
    };
    process.leave().await;
    say(&report);
    Ok(())
}

struct Process<'a> {
    settings: &'a Settings,
    server: Server,
    ecdysis: Arc<Ecdysis>,
    sockets: Arc<Sockets>,
    handed_over: HandedOver,
    replacement: Replacement,
    stopping: CancellationToken,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Serving,
    /// Another process serves: this one finishes what it has begun.
    Replaced,
    Stopping,
}

/// The start of another process, while it lasts.
struct Replacement(Option<JoinHandle<Result<(), String>>>);

impl Replacement {
    async fn ended(&mut self) -> Result<(), String> {
        let Some(starting) = &mut self.0 else {
            return std::future::pending().await;
        };
        let ended = starting.await;
        self.0 = None;
        ended.map_err(|error| error.to_string())?
    }
}

impl<'a> Process<'a> {
    /// Says that this process serves: to its predecessor, to systemd, and to whoever reads.
    fn take_over(
        settings: &'a Settings,
        server: Server,
        mut ecdysis: Ecdysis,
        sockets: Sockets,
    ) -> Result<Self, String> {
        pid_file::write(settings)?;
        if let Err(error) = ecdysis.ready() {
            tracing::warn!(%error, "the process before is gone: serving without a word to it");
        }
        let status = format!(
            "listening on {} (pid {})",
            sockets.addresses(),
            process::id()
        );
        systemd::ready(&status);
        say(&status);
        Ok(Self {
            settings,
            server,
            ecdysis: Arc::new(ecdysis),
            sockets: Arc::new(sockets),
            handed_over: HandedOver::default(),
            replacement: Replacement(None),
            stopping: CancellationToken::new(),
            stage: Stage::Serving,
        })
    }

    fn obey(&mut self, request: Request) {
        match (request, self.stage) {
            (Request::Restart, Stage::Serving) if self.replacement.0.is_some() => {
                tracing::warn!("a restart is under way already, this one is ignored");
            }
            (Request::Restart, Stage::Serving) => self.restart(),
            (Request::Restart, Stage::Replaced) => {
                tracing::warn!("this process has been replaced: signal the one that serves now");
            }
            (Request::Restart, Stage::Stopping) => {
                tracing::warn!("stopping: no restart any more");
            }
            (Request::Stop, Stage::Stopping) => self.server.stop(true),
            (Request::Stop, stage) => self.stop(stage),
            (Request::Unknown(signal), _) => tracing::warn!(
                "{signal} means nothing here: SIGUSR2 or SIGHUP restarts, SIGTERM stops"
            ),
        }
    }

    fn restart(&mut self) {
        tracing::info!("restarting: starting a new process");
        systemd::reloading();
        let starting = replacement::start(
            self.ecdysis.clone(),
            self.sockets.clone(),
            self.stopping.clone(),
        );
        self.replacement.0 = Some(tokio::spawn(starting));
    }

    /// SIGTERM. Of one that finishes anyway it takes two to hurry it.
    fn stop(&mut self, before: Stage) {
        self.stage = Stage::Stopping;
        self.stopping.cancel();
        if before == Stage::Replaced {
            return;
        }
        if self.replacement.0.is_some() {
            tracing::warn!(
                "stopping during a restart: if the new process gets ready, it serves on; signal it \
                 to stop it too"
            );
        } else {
            self.ecdysis.quit();
            systemd::stopping();
        }
        self.server.stop(false);
    }

    /// The new process is ready, or this is why it is not.
    fn replaced(&mut self, ended: Result<(), String>) {
        match ended {
            Ok(()) => {
                tracing::info!("the new process serves: finishing what is in flight here");
                self.handed_over.set();
                // Else the sockets would stay open when the new process closes them.
                self.ecdysis.quit();
                if self.stage == Stage::Serving {
                    self.stage = Stage::Replaced;
                }
                self.server.hand_over();
            }
            Err(why) if self.stage == Stage::Stopping => {
                tracing::error!("restart failed, and nobody serves any more: {why}");
                self.ecdysis.quit();
            }
            Err(why) => self.go_on(&why),
        }
    }

    fn go_on(&self, why: &str) {
        tracing::error!("restart failed, this process goes on serving: {why}");
        if let Err(error) = pid_file::write(self.settings) {
            tracing::error!("{error}");
        }
        systemd::ready(&format!(
            "listening on {}; restart failed: {why}",
            self.sockets.addresses()
        ));
    }

    /// Waits for a restart that is still under way, so that its end is not missed.
    async fn leave(&mut self) {
        if self.replacement.0.is_some() {
            let ended = self.replacement.ended().await;
            self.replaced(ended);
        }
        pid_file::remove(self.settings);
    }
}

/// Writes a line to standard output at once. Whoever has closed it does not want it.
fn say(line: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
