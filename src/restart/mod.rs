//! Restarts that lose no request: a new process takes over the listening sockets of the old one.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use graceful_tls::{GracefulTls, restart::Restart};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let restart = Restart::builder()
//!         .listen("https", "0.0.0.0:443".parse()?)
//!         .pid_file("/run/hello.pid")
//!         .open()?; // before there are threads
//!     tokio::runtime::Runtime::new()?.block_on(async {
//!         let tls = GracefulTls::from_pem_files("cert.pem", "key.pem")?;
//!         let app = Router::new().route("/", get(|| async { "hello\n" }));
//!         println!("{}", restart.serve(&tls, app).await?);
//!         Ok(())
//!     })
//! }
//! ```
//!
//! SIGUSR2, or SIGHUP, starts the program anew, from the same path and with the same arguments: a binary,
//! certificate or setting that has been replaced there takes effect.
//!
//! 1. The program is run to **check** its settings: it does all that it does at a start, until it would serve
//!    ([`Restart::is_check`]). If that fails, this is the end of it.
//! 2. It is started with the listening sockets, which are **inherited**. Connections wait in the same queue for
//!    whoever accepts them.
//! 3. It says that it is **ready**, once it is about to serve.
//! 4. The old process accepts nothing more. It **hands over** ([`GracefulTls::handover`]): what has begun is
//!    finished, and idle connections are held until their clients were told.
//! 5. If the new process dies in its first seconds, the old one takes over again.
//!
//! If 1, 2 or 3 fails the old process goes on serving, and the log says why. SIGTERM or Ctrl-C stops the
//! process that gets it; a second one skips to the deadline.
//!
//! systemd's sockets are taken where it passes some, and it is told of readiness, reloads and the end
//! (sd_listen_fds(3), sd_notify(3); `Type=notify` or `Type=notify-reload`, with `NotifyAccess=all`). The old process stays
//! the main one as long as it would take over again.
//!
//! # What stands where
//!
//! `builder` has the settings. `sockets` opens the listeners, each a [`Listener`]; `control` is what two processes say to
//! each other; `successor` starts the new one; `running` is the life of one process, by what `signals` ask for, in
//! `stage`s, of which `systemd` and `pid_file` tell others. Descriptors are passed by `command-fds` and taken by `listenfd`, as systemd passes them but
//! for where they begin (`LISTEN_FDS_FIRST_FD`). (`ecdysis` does both, but in 5 s at most, it does not say how
//! the new process has ended, and after one that could not be run it starts none any more.)

mod address;
mod builder;
mod control;
mod error;
mod listener;
mod pid_file;
mod running;
mod signals;
mod sockets;
mod stage;
mod successor;
mod systemd;

use std::{error::Error as StdError, fmt, io, process, sync::Arc};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming as RequestBody;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tower_service::Service;

pub use address::{InvalidListenAddress, ListenAddress};
pub use builder::RestartBuilder;
pub use error::RestartError;
pub use listener::{Inherited, Listener};
pub use running::{Event, Running};

use crate::{
    graceful_tls::GracefulTls,
    shutdown::Report,
    tickets::{TicketKeys, TicketKeysError},
};
use builder::Settings;
use listener::Hold;
use pid_file::PidFile;
use running::{Kept, Starting};
use signals::Signals;
use sockets::{Listening, Open, SocketFile, Sockets};
use stage::Stage;

type BoxError = Box<dyn StdError + Send + Sync>;

/// The listeners of a process that another one can replace: see [the module](self).
#[derive(Debug)]
#[must_use = "nothing is served without `serve`"]
pub struct Restart {
    settings: Arc<Settings>,
    sockets: Sockets,
    /// Those of them that nobody has taken to serve.
    untaken: Vec<bool>,
    holds: Vec<watch::Sender<Hold>>,
    ask: mpsc::UnboundedSender<()>,
    asked: mpsc::UnboundedReceiver<()>,
    ticket_keys: Option<TicketKeys>,
}

impl Restart {
    /// Begins to set one up.
    pub fn builder() -> RestartBuilder {
        RestartBuilder::new()
    }

    fn new(settings: Settings, sockets: Sockets) -> Self {
        let (ask, asked) = mpsc::unbounded_channel();
        let open = sockets.open.iter();
        Self {
            untaken: open.clone().map(|_| true).collect(),
            holds: open.map(|_| watch::Sender::new(Hold::Accepts)).collect(),
            settings: Arc::new(settings),
            sockets,
            ask,
            asked,
            ticket_keys: None,
        }
    }

    /// Whether this process is only to look whether it could serve: the one that wants to be replaced runs the
    /// program so first. There are no listeners then, and [`serve`](Self::serve) returns at once.
    ///
    /// Ask before you do what must not be done twice, such as migrating a database.
    pub fn is_check(&self) -> bool {
        self.settings.is_check
    }

    /// Asks for restarts, as SIGUSR2 does: from a page for operators, say.
    pub fn trigger(&self) -> RestartTrigger {
        RestartTrigger(self.ask.clone())
    }

    /// Takes the listeners of this name, to serve them yourself: [`Listener::serve`], or any other server. None in
    /// a [check](Self::is_check).
    ///
    /// ```no_run
    /// # use graceful_tls::{GracefulTls, restart::{Listener, Restart}};
    /// # use axum::Router;
    /// # async fn f(mut restart: Restart, tls: GracefulTls, app: Router) -> Result<(), Box<dyn std::error::Error>> {
    /// for listener in restart.listeners("https")? {
    ///     if let Listener::Tcp(listener) = listener {
    ///         let server = axum::serve(tls.listener(listener), tls.service(app.clone()))
    ///             .with_graceful_shutdown(tls.drained());
    ///         tokio::spawn(async { server.await });
    ///     }
    /// }
    /// let report = restart.ready()?.run(&tls).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// There is none of that name, or no tokio runtime.
    pub fn listeners(&mut self, name: &str) -> Result<Vec<Listener>, RestartError> {
        let taken = self.take(|of| of.name == name)?;
        let is_wanted = self.settings.wanted.iter().any(|of| of.name == name);
        if !taken.is_empty() || self.is_check() && is_wanted {
            return Ok(taken);
        }
        let names = self.settings.wanted.iter().map(|of| of.name.as_str());
        Err(RestartError::Unknown {
            name: name.into(),
            known: sockets::known(names),
        })
    }

    fn take(&mut self, which: impl Fn(&Open) -> bool) -> Result<Vec<Listener>, RestartError> {
        in_a_runtime()?;
        let open = self.sockets.open.iter().zip(&self.holds);
        let mut taken = Vec::new();
        for ((of, hold), untaken) in open.zip(&mut self.untaken) {
            if *untaken && which(of) {
                *untaken = false;
                taken.push(listener(of, hold).map_err(RestartError::Runtime)?);
            }
        }
        Ok(taken)
    }

    /// Keys for session tickets that are handed over with the sockets, for
    /// [`Builder::ticket_keys`](crate::Builder::ticket_keys): clients resume their sessions with the new process.
    ///
    /// They go from process to process through a socket that nobody else has, and are never written anywhere.
    /// Servers of one process share them, each in a [`scope`](TicketKeys::scope) of its own. Where the new process has another
    /// crypto provider, which seals in another way, clients do full handshakes.
    ///
    /// ```no_run
    /// # use graceful_tls::{GracefulTls, restart::Restart, rustls::ServerConfig};
    /// # fn f(mut restart: Restart, config: ServerConfig) -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = restart.ticket_keys(config.crypto_provider())?;
    /// let tls = GracefulTls::builder(config).ticket_keys(keys).build()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`TicketKeys::new`].
    pub fn ticket_keys(
        &mut self,
        provider: &CryptoProvider,
    ) -> Result<TicketKeys, TicketKeysError> {
        if let Some(keys) = &self.ticket_keys {
            return Ok(keys.clone());
        }
        let keys = TicketKeys::new(provider)?;
        if let Some(before) = self.sockets.ticket_keys.take() {
            if let Err(error) = keys.import(&before) {
                tracing::warn!(%error, "the ticket keys of the process before can't be used");
            }
        }
        self.ticket_keys = Some(keys.clone());
        Ok(keys)
    }

    /// Says that this process serves: to the one before it, which hands over, to systemd, and in the pid file
    /// and the log. From here on signals are caught.
    ///
    /// # Errors
    ///
    /// The pid file can't be written, there is no tokio runtime, or the process before has not waited so long. It goes
    /// on serving.
    pub fn ready(self) -> Result<Running, RestartError> {
        in_a_runtime()?;
        let signals = Signals::catch().map_err(RestartError::Runtime)?;
        let is_check = self.is_check();
        let settings = self.settings.clone();
        let pid_file = settings.pid_file.as_ref().filter(|_| !is_check);
        let prepared = pid_file.map(PidFile::prepare).transpose()?;
        let Sockets {
            open,
            before,
            taken,
            older,
            ..
        } = self.sockets;
        let mut running = Running {
            sockets: open.into_iter().zip(self.holds).map(kept).collect(),
            signals,
            asked: self.asked,
            before: older.into_iter().chain(before).collect(),
            starting: Starting::default(),
            successor: None,
            orphans: None,
            undo_until: None,
            again: false,
            is_orphaned: false,
            is_one_too_many: false,
            serves_again: None,
            stopping: Default::default(),
            stage: Stage::Serving,
            settings: self.settings,
            ticket_keys: self.ticket_keys,
        };
        if is_check {
            return Ok(running);
        }
        running.announce(taken)?;
        if let (Some(pid_file), Some(prepared)) = (pid_file, prepared) {
            pid_file.put(prepared)?;
        }
        let addresses = running.addresses();
        if running.before.is_empty() {
            systemd::main_process(process::id());
        }
        systemd::ready(&format!("listening on {addresses}"));
        tracing::info!(%addresses, pid = process::id(), "this process serves");
        Ok(running)
    }

    /// Serves `service` to every connection of the listeners that were not [taken](Self::listeners), until this
    /// process has been stopped or replaced and the last connection of `tls` has ended.
    ///
    /// See [`GracefulTls::serve`] for what it does with `service`. Call it when everything is set up: from here on
    /// this process is the one that serves.
    ///
    /// # Errors
    ///
    /// See [`RestartError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listeners and leaves the open connections to themselves.
    pub async fn serve<S, B>(
        mut self,
        tls: &GracefulTls,
        service: S,
    ) -> Result<Served, RestartError>
    where
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        if self.is_check() {
            return Ok(Served::Checked);
        }
        let listeners = self.take(|_| true)?;
        let mut running = self.ready()?;
        let mut serving = JoinSet::new();
        for listener in listeners {
            let (tls, service) = (tls.clone(), service.clone());
            serving.spawn(async move { listener.serve(&tls, service).await });
        }
        let broken = async {
            while let Some(ended) = serving.join_next().await {
                if let Err(error) = ended.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                    tls.shutdown();
                    return Some(error);
                }
            }
            None
        };
        // Not told to: the process before may take over again.
        match tokio::join!(running.run_until_closed(tls), broken) {
            (_, Some(error)) => Err(RestartError::Broken(error)),
            (report, None) => running.end(report).await.map(Served::Closed),
        }
    }
}

fn kept((of, hold): (Open, watch::Sender<Hold>)) -> Kept {
    let address = of.socket.address();
    Kept {
        file: SocketFile::of(&of.origin),
        name: of.name,
        origin: of.origin,
        address: address.unwrap_or_else(|error| error.to_string()),
        socket: Some(of.socket),
        hold,
    }
}

/// tokio would panic.
fn in_a_runtime() -> Result<(), RestartError> {
    let handle = tokio::runtime::Handle::try_current();
    handle
        .map(drop)
        .map_err(|error| RestartError::Runtime(io::Error::other(error)))
}

fn listener(of: &Open, hold: &watch::Sender<Hold>) -> io::Result<Listener> {
    let hold = hold.subscribe();
    Ok(match of.socket.try_clone()? {
        Listening::Tcp(socket) => {
            Listener::Tcp(Inherited::new(TcpListener::from_std(socket)?, hold))
        }
        Listening::Unix(socket) => {
            Listener::Unix(Inherited::new(UnixListener::from_std(socket)?, hold))
        }
    })
}

/// Asks for restarts: see [`Restart::trigger`]. Clones ask the same process.
#[derive(Clone, Debug)]
pub struct RestartTrigger(mpsc::UnboundedSender<()>);

impl RestartTrigger {
    /// Restarts, as SIGUSR2 does. How it goes is in the log. Does nothing once this process has ended to serve.
    pub fn restart(&self) {
        let _ = self.0.send(());
    }
}

/// How [`Restart::serve`] has ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Served {
    /// There was nothing to serve: this process was only to check its settings, and they can be used.
    Checked,
    /// Every connection has ended.
    Closed(Report),
}

/// The report, or that the settings can be used.
impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checked => f.write_str("the settings can be used"),
            Self::Closed(report) => report.fmt(f),
        }
    }
}
