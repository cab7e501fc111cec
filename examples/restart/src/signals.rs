//! What a signal asks for.

use std::pin::Pin;

use futures_util::{
    Stream, StreamExt,
    stream::{select_all, unfold},
};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    Restart,
    Stop,
    /// A signal that has no meaning here, and would end the process if nobody caught it.
    Unknown(&'static str),
}

pub(crate) type Requests = Pin<Box<dyn Stream<Item = Request> + Send>>;

/// Catches the signals from now on.
pub(crate) fn requests() -> Result<Requests, String> {
    let signals = [
        (SignalKind::user_defined2(), Request::Restart),
        (SignalKind::hangup(), Request::Restart),
        (SignalKind::terminate(), Request::Stop),
        (SignalKind::interrupt(), Request::Stop),
        (SignalKind::user_defined1(), Request::Unknown("SIGUSR1")),
        (SignalKind::alarm(), Request::Unknown("SIGALRM")),
        (SignalKind::io(), Request::Unknown("SIGIO")),
    ];
    let mut streams = Vec::with_capacity(signals.len());
    for (kind, request) in signals {
        let signal = signal(kind)
            .map_err(|error| format!("no signal handler could be installed: {error}"))?;
        let stream = unfold(signal, move |mut signal| async move {
            signal.recv().await.map(|()| (request, signal))
        });
        streams.push(stream.boxed());
    }
    Ok(select_all(streams).boxed())
}
