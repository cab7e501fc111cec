//! The accept loop.
//!
//! It waits for room, survives errors such as running out of descriptors, and
//! empties the listener's queue before it lets the listener go, because closing a listener resets
//! what waits in it.

use std::{
    fmt,
    future::{Future, pending, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Acceptor, arrival::Arrival, room::Room};
use crate::{
    accept::{Accept, Preface},
    gate::Pass,
    keepalive::TcpKeepalive,
    server::Server,
    shutdown::SWEEP,
    tally::Tally,
    transport,
};

/// The pause after the first error in a row; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long what is on its way to the queue gets before the last look at it.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

/// One connection that has been accepted.
#[derive(Debug)]
pub(crate) struct Accepted<IO> {
    pub(crate) io: IO,
    /// What it says before TLS, and by that who its client is.
    pub(crate) preface: Option<Preface<IO>>,
    pub(crate) arrival: Arrival,
}

#[cfg(feature = "axum-server")]
impl<IO> Accepted<IO> {
    /// Whoever is at the other end, as far as is known yet.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.arrival.begun.addresses.remote
    }
}

/// The accept loop.
pub(crate) struct AcceptLoop<A: Accept> {
    /// `None` once it is closed.
    open: Option<Open<A>>,
    preface: Option<Preface<A::Io>>,
    tally: Arc<Tally>,
    acceptor: Acceptor,
    room: Room,
    /// What has been let in and waits for room.
    in_hand: Option<Admitted<A::Io>>,
    pause: Duration,
    state: State,
    /// When the sweep has taken long enough.
    swept_by: Option<Instant>,
}

/// What the gate has let in.
struct Admitted<IO> {
    io: IO,
    remote: Option<SocketAddr>,
    pass: Pass,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Accepting,
    /// The server stops: what is in the queue is still taken.
    Sweeping,
    /// The next look at an empty queue is the last.
    Closing,
}

/// Where accepted sockets have their options from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Options {
    /// They are set on each.
    Each,
    /// From their listener, but for those that were in its queue before it had them.
    Queued,
    /// From their listener, if the next one has them.
    Untried,
    /// From their listener.
    Listener,
}

/// A listener, and what tells the shutdown that it is open.
#[derive(Debug)]
struct Open<A> {
    listener: A,
    options: Options,
    /// Of all that it accepts, where that is known.
    local: Option<SocketAddr>,
    _token: TaskTrackerToken,
}

impl<A: Accept> Open<A> {
    async fn accept(open: &mut Option<Self>) -> io::Result<(A::Io, Option<SocketAddr>)> {
        match open {
            Some(open) => open.next().await,
            None => pending().await,
        }
    }

    async fn next(&mut self) -> io::Result<(A::Io, Option<SocketAddr>)> {
        if self.options == Options::Queued {
            match self.listener.accept_now() {
                Some(queued) => return queued,
                // What comes from now on comes after they were set.
                None => self.options = Options::Untried,
            }
        }
        self.listener.accept().await
    }

    /// Sets the options of what was accepted, unless it has them.
    fn prepare(&mut self, io: &A::Io, keepalive: Option<TcpKeepalive>) {
        if self.options == Options::Untried {
            self.options = match transport::is_prepared(io) {
                true => Options::Listener,
                false => Options::Each,
            };
        }
        if self.options != Options::Listener {
            transport::prepare(io, keepalive);
        }
    }
}

impl<A: Accept> AcceptLoop<A> {
    pub(crate) fn new(listener: A, acceptor: Acceptor) -> Self {
        let context = &acceptor.server().context;
        let _token = context.phases.listeners.token();
        let keepalive = context.settings.tcp_keepalive;
        let options = match transport::prepare_listener(&listener, keepalive) {
            true => Options::Queued,
            false => Options::Each,
        };
        Self {
            preface: listener.preface(),
            tally: acceptor.server().tally(listener.local_addr()),
            open: Some(Open {
                local: transport::local_of_accepted(&listener),
                listener,
                options,
                _token,
            }),
            room: Room::new(acceptor.server().clone()),
            acceptor,
            in_hand: None,
            pause: FIRST_PAUSE,
            state: State::Accepting,
            swept_by: None,
        }
    }

    /// The next connection; `None` once the server has stopped accepting, the queue is empty and
    /// the listener closed.
    ///
    /// # Errors
    ///
    /// The listener is broken for good.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Accepted<A::Io>>> {
        while self.open.is_some() {
            let accepted = match self.state {
                State::Accepting => self.wait().await?,
                State::Sweeping | State::Closing => self.sweep().await?,
            };
            if accepted.is_some() {
                return Ok(accepted);
            }
        }
        Ok(None)
    }

    /// Waits for a connection; `None` to be called again.
    async fn wait(&mut self) -> io::Result<Option<Accepted<A::Io>>> {
        let server = self.acceptor.server();
        let stop = &server.context.phases.stop_accepting;
        let (open, in_hand, room) = (&mut self.open, &mut self.in_hand, &mut self.room);
        let is_told = self.preface.is_none();
        let next = async {
            while in_hand.is_none() {
                let accepted = Open::accept(open).await?;
                *in_hand = admit(server, accepted, is_told);
            }
            room.for_one_more().await;
            Ok(in_hand.take())
        };
        let accepted = tokio::select! {
            biased;
            // First, or a listener that is always ready would hide it. The sweep takes what is there.
            () = stop.cancelled() => {
                self.state = State::Sweeping;
                return Ok(None);
            }
            accepted = next => accepted,
        };
        match accepted {
            Ok(accepted) => {
                self.pause = FIRST_PAUSE;
                self.room.suffices();
                Ok(accepted.map(|admitted| self.accepted(admitted)))
            }
            Err(error) => self.survive(error).await.map(|()| None),
        }
    }

    /// What is in the queue; `None` where it is empty, and after the second time closed.
    ///
    /// Nobody waits for room here: what is still in the queue when its time is up is reset.
    async fn sweep(&mut self) -> io::Result<Option<Accepted<A::Io>>> {
        if let Some(in_hand) = self.in_hand.take() {
            return Ok(Some(self.accepted(in_hand)));
        }
        match poll_fn(|cx| Poll::Ready(self.look(cx))).await {
            Some(Ok(accepted)) => {
                self.state = State::Sweeping;
                let admitted = admit(self.acceptor.server(), accepted, self.preface.is_none());
                Ok(admitted.map(|admitted| self.accepted(admitted)))
            }
            Some(Err(error)) => self.survive(error).await.map(|()| None),
            None => {
                self.state = State::Closing;
                sleep(SWEEP_PAUSE).await;
                Ok(None)
            }
        }
    }

    /// One look at the queue, and where it is the last, not a moment passes before the close.
    fn look(&mut self, cx: &mut Context<'_>) -> Option<io::Result<(A::Io, Option<SocketAddr>)>> {
        let now = Instant::now();
        let is_late = now >= *self.swept_by.get_or_insert(now + SWEEP);
        let heard = match pin!(Open::accept(&mut self.open)).poll(cx) {
            Poll::Ready(accepted) => Some(accepted),
            Poll::Pending => None,
        };
        let now = |open: &mut Open<A>| open.listener.accept_now();
        let accepted = heard.or_else(|| self.open.as_mut().and_then(now));
        if is_late || accepted.is_none() && self.state == State::Closing {
            self.open = None;
        }
        accepted
    }

    fn accepted(&mut self, admitted: Admitted<A::Io>) -> Accepted<A::Io> {
        let Admitted { io, remote, pass } = admitted;
        let keepalive = self.acceptor.server().context.settings.tcp_keepalive;
        match &mut self.open {
            Some(open) => open.prepare(&io, keepalive),
            None => transport::prepare(&io, keepalive),
        }
        let local = self.open.as_ref().and_then(|open| open.local);
        let addresses = transport::addresses(&io, remote, local);
        let tally = self.tally.clone();
        Accepted {
            io,
            preface: self.preface.clone(),
            arrival: self.acceptor.arrival(pass, tally, addresses),
        }
    }

    /// Logs an error and pauses, unless it concerns one connection only, or the listener for good.
    async fn survive(&mut self, error: io::Error) -> io::Result<()> {
        if concerns_one_connection(&error) {
            tracing::debug!(%error, "a client was gone before it was accepted");
            return Ok(());
        }
        if is_fatal(&error) {
            tracing::error!(%error, "the listener is broken");
            return Err(error);
        }
        if is_out_of_descriptors(&error) {
            self.room.for_descriptor(&error, self.pause).await;
        } else {
            let pause_s = self.pause.as_secs_f64();
            tracing::error!(%error, pause_s, "no connection could be accepted, trying again");
            sleep(self.pause).await;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// Where the client's address is yet to be told, the gate is asked then.
fn admit<IO>(
    server: &Server,
    (io, remote): (IO, Option<SocketAddr>),
    is_told: bool,
) -> Option<Admitted<IO>> {
    let pass = server.admit(remote.filter(|_| is_told))?;
    Some(Admitted { io, remote, pass })
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    // ENFILE and EMFILE: this system's, and this process's. Nor have these a kind.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

fn is_fatal(error: &io::Error) -> bool {
    // EBADF and ENOTSOCK have no kind of their own; their numbers are those of Linux and macOS.
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::NotConnected | io::ErrorKind::Unsupported
    ) || (cfg!(unix) && matches!(error.raw_os_error(), Some(9 | 38 | 88)))
}

impl<A: Accept> fmt::Debug for AcceptLoop<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptLoop")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
