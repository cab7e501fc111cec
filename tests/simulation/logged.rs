//! What the crate's log says of connections that ended, for the oracles.

use std::{cell::RefCell, fmt::Debug};

use graceful_tls::Outcome;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::trace::{Stamp, now};

/// One line of it.
#[derive(Clone, Debug, Default)]
pub struct Logged {
    pub at: Stamp,
    /// The number of the client: its port.
    pub conn: Option<usize>,
    pub id: u64,
    pub cause: String,
    pub outcome: String,
}

impl Logged {
    pub fn is(&self, outcome: Outcome) -> bool {
        self.outcome == format!("{outcome:?}")
    }

    /// All that was sent has reached the client, it says.
    pub fn claims_all(&self) -> bool {
        let claims = [Outcome::Clean, Outcome::PeerSilent, Outcome::DrainCut];
        claims.into_iter().any(|outcome| self.is(outcome))
    }
}

thread_local! {
    static LINES: RefCell<Vec<Logged>> = const { RefCell::new(Vec::new()) };
}

/// Takes what was logged on this thread since last time.
pub fn take() -> Vec<Logged> {
    LINES.with(RefCell::take)
}

impl Visit for Logged {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "id" {
            self.id = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "cause" => self.cause = value,
            "outcome" => self.outcome = value,
            "peer" => {
                let port = value.trim_end_matches(')').rsplit(':').next();
                self.conn = port.and_then(|port| port.parse().ok());
            }
            _ => {}
        }
    }
}

/// Keeps the lines about connections that ended.
#[derive(Debug)]
pub struct Keeper;

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "graceful_tls::observe" && metadata.is_event()
    }

    fn event(&self, event: &Event<'_>) {
        let at = now();
        let mut logged = Logged {
            at,
            ..Logged::default()
        };
        event.record(&mut logged);
        LINES.with(|lines| lines.borrow_mut().push(logged));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
