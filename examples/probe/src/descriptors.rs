//! Whether the server still holds a connection: one look at the kernel's table for all who ask.
//!
//! A hundred scenarios that each read the table for themselves would be slower than what they
//! measure.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use wire::Owned;

/// How old a look may be.
const FRESH: Duration = Duration::from_millis(10);

static LAST: Mutex<Option<Look>> = Mutex::new(None);

#[derive(Clone)]
struct Look {
    /// When it began.
    at: Instant,
    /// When it was over, since it may take its time.
    done: Instant,
    owned: Arc<Owned>,
}

/// Waits until no process owns the server's socket: when that was, or `None` if not by the deadline.
pub fn wait_let_go(server: SocketAddr, client: SocketAddr, deadline: Instant) -> Option<Instant> {
    let mut gone: Option<Instant> = None;
    loop {
        let look = look();
        match gone {
            _ if look.owned.has(server, client) => gone = None,
            None => gone = Some(look.at),
            // The table is not read in one piece and may miss a row: only another look is certain.
            Some(at) if look.at > at => return Some(at),
            Some(_) => {}
        }
        if gone.is_none() && Instant::now() >= deadline {
            return None;
        }
        sleep(FRESH);
    }
}

/// The last look, or a new one if that is old.
fn look() -> Look {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some(look) if look.done.elapsed() < FRESH => look.clone(),
        _ => {
            let at = Instant::now();
            let owned = Arc::new(Owned::look());
            let done = Instant::now();
            last.insert(Look { at, done, owned }).clone()
        }
    }
}
