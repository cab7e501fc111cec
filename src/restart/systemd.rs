//! What systemd is told (sd_notify(3)). Without systemd all of it does nothing.

use std::process;

use sd_notify::{NotifyState, notify};

/// Serving; this process is the service now, whichever started it.
pub(super) fn ready(status: &str) {
    tell(&[
        NotifyState::Ready,
        NotifyState::MainPid(process::id()),
        NotifyState::Status(status),
    ]);
}

/// A restart has begun: `Type=notify-reload` waits for READY=1, of the new process or this one.
pub(super) fn reloading() {
    let Ok(now) = NotifyState::monotonic_usec_now() else {
        return;
    };
    tell(&[
        NotifyState::Reloading,
        now,
        NotifyState::Status("restarting"),
    ]);
}

pub(super) fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("finishing what is in flight"),
    ]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::warn!(%error, "systemd can't be told, is NOTIFY_SOCKET right?");
    }
}
