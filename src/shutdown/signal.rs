//! Shutdown on SIGTERM and Ctrl-C.

use super::Trigger;

/// SIGTERM or Ctrl-C (SIGINT) on Unix, Ctrl-C elsewhere.
///
/// The first one starts the shutdown, every further one skips to the deadline.
///
/// ```no_run
/// # fn f(tls: &graceful_tls::GracefulTls) {
/// tls.shutdown_on(graceful_tls::signal::terminate());
/// # }
/// ```
pub fn terminate() -> Terminate {
    Terminate { _private: () }
}

/// The [`Trigger`] that [`terminate`] makes.
///
/// The handlers are installed when the shutdown begins to wait for them. If that fails, the
/// reason is logged and the trigger never fires.
#[derive(Debug)]
pub struct Terminate {
    _private: (),
}

#[cfg(unix)]
impl Trigger for Terminate {
    async fn run(self, mut fire: impl FnMut() + Send) {
        use tokio::signal::unix::{SignalKind, signal};

        let term = signal(SignalKind::terminate());
        let interrupt = signal(SignalKind::interrupt());
        let (mut term, mut interrupt) = match term.and_then(|term| Ok((term, interrupt?))) {
            Ok(both) => both,
            Err(error) => {
                tracing::error!(%error, "signal handlers could not be installed");
                return;
            }
        };
        loop {
            let signal = tokio::select! {
                signal = term.recv() => signal,
                signal = interrupt.recv() => signal,
            };
            if signal.is_none() {
                return;
            }
            fire();
        }
    }
}

#[cfg(not(unix))]
impl Trigger for Terminate {
    async fn run(self, mut fire: impl FnMut() + Send) {
        while let Ok(()) = tokio::signal::ctrl_c().await {
            fire();
        }
        tracing::error!("the Ctrl-C handler could not be installed");
    }
}
