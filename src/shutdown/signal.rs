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
/// On Unix `shutdown_on` installs the handlers before it returns, on a runtime with IO enabled. If that
/// fails, the reason is logged and the trigger never fires.
#[derive(Debug)]
pub struct Terminate {
    _private: (),
}

#[cfg(unix)]
impl Trigger for Terminate {
    // Not an async fn: a signal that comes before the future is first polled would kill the process.
    fn run(self, mut fire: impl FnMut() + Send) -> impl Future<Output = ()> + Send {
        use tokio::signal::unix::{SignalKind, signal};

        let signals = signal(SignalKind::terminate())
            .and_then(|term| Ok((term, signal(SignalKind::interrupt())?)))
            .inspect_err(|error| tracing::error!(%error, "no signal handler could be installed"));
        async move {
            let Ok((mut term, mut interrupt)) = signals else {
                return;
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
