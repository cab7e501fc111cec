//! What systemd is told (sd_notify(3)). Without systemd all of it does nothing.

use std::env;

use sd_notify::{NotifyState, notify};

pub(super) fn is_there() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// The service serves, whichever process of it.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// This process is the service from now on: when it ends, systemd ends the others. So the old one is, as long as
/// it would take over again.
pub(super) fn main_process(id: u32) {
    tell(&[NotifyState::MainPid(id)]);
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
