//! [`Listener`]: a listening socket that another process may be accepting from.
//!
//! Closing a listening socket resets what waits in its queue, so a server takes all of that first. Of one
//! that was handed over nothing is reset, and all of it is the new process's business. As long as that can be
//! undone the socket stays open here, and nobody accepts from it: who comes waits, if the new process dies.

use std::{io, net::SocketAddr};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};

use crate::{accept::Accept, graceful_tls::GracefulTls};

/// What this process has to do with a listening socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hold {
    /// It accepts.
    Accepts,
    /// Another process does. This one would take over again.
    Waits,
    /// Another process does, and may close it: it must not stay open here.
    Released,
}

/// A listening socket, by its kind: see [`Restart::listeners`](super::Restart::listeners).
#[derive(Debug)]
#[non_exhaustive]
pub enum Listener {
    /// TCP.
    Tcp(Inherited<TcpListener>),
    /// A Unix socket.
    Unix(Inherited<UnixListener>),
}

/// A listener from which nothing more is accepted once it was handed over to another process, not even by the
/// last look before it is closed.
#[derive(Debug)]
pub struct Inherited<L> {
    listener: Option<L>,
    hold: watch::Receiver<Hold>,
}

impl<L> Inherited<L> {
    pub(super) fn new(listener: L, hold: watch::Receiver<Hold>) -> Self {
        Self {
            listener: Some(listener),
            hold,
        }
    }

    /// The listener itself, for a server that takes nothing else: that server has to stop accepting at
    /// [`Event::Handover`](super::Event::Handover), and to drop the listener. `None` once it was handed over.
    pub fn into_inner(mut self) -> Option<L> {
        self.held();
        self.listener
    }

    fn held(&mut self) -> Hold {
        let held = *self.hold.borrow_and_update();
        if held == Hold::Released {
            self.listener = None;
        }
        held
    }
}

impl<L: Accept> Accept for Inherited<L> {
    type Io = L::Io;

    async fn accept(&mut self) -> io::Result<(Self::Io, Option<SocketAddr>)> {
        loop {
            let accepts = self.held() == Hold::Accepts;
            let (listener, hold) = (&mut self.listener, &mut self.hold);
            let accept = async {
                match listener {
                    Some(listener) if accepts => listener.accept().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                // Whoever would change it may be gone.
                Ok(()) = hold.changed() => {}
                accepted = accept => return accepted,
            }
        }
    }

    fn accept_now(&mut self) -> Option<io::Result<(Self::Io, Option<SocketAddr>)>> {
        match self.held() {
            Hold::Accepts => self.listener.as_mut()?.accept_now(),
            Hold::Waits | Hold::Released => None,
        }
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr()
    }
}

impl Listener {
    /// What `tls.serve(listener, service)` does, for either kind.
    ///
    /// # Errors
    ///
    /// The listener is broken for good.
    pub async fn serve<S, B>(self, tls: &GracefulTls, service: S) -> io::Result<crate::Report>
    where
        S: tower_service::Service<
                http::Request<hyper::body::Incoming>,
                Response = http::Response<B>,
            > + Clone
            + Send
            + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self {
            Self::Tcp(listener) => tls.serve(listener, service).await,
            Self::Unix(listener) => tls.serve(listener, service).await,
        }
    }
}
