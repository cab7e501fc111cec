//! How old keys and tickets are, in this process and the next.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The seconds since the epoch, as the system had them when this was first asked for, and tokio's clock
/// has gone on. So a clock that is set neither ends what is good nor keeps what is over, and a test's stands
/// still with the others.
pub(super) fn now() -> u64 {
    static BEGUN: OnceLock<(Duration, Instant)> = OnceLock::new();
    let (epoch, since) = BEGUN.get_or_init(|| {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        (epoch.unwrap_or_default(), Instant::now())
    });
    (*epoch + since.elapsed()).as_secs()
}
