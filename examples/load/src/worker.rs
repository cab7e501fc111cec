//! Sends one request after the other, each until it is answered or lost.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{exchange, lane::Lane, mix::Kind, schedule::Schedule, tally::Tally, verdict::Attempt};

/// Before a request that was refused twice or more is sent again.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) async fn run(lane: Arc<Lane>, schedule: Arc<Schedule>, tally: Arc<Tally>) {
    let authority = lane.connector.authority();
    while let Some(due) = schedule.due().await {
        let kind = lane.next();
        let limit = lane.connector.timeout;
        let outcome = match timeout(limit, until_settled(&lane, kind, &authority, &tally)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer within {limit:?}")),
        };
        tally.settled(due, kind, outcome);
    }
}

/// Sends a request until it is not refused. An error says why it was lost.
async fn until_settled(
    lane: &Lane,
    kind: &Kind,
    authority: &str,
    tally: &Tally,
) -> Result<(), String> {
    let mut refused = 0;
    loop {
        match once(lane, kind, authority).await {
            Attempt::Answered => return Ok(()),
            Attempt::Lost(why) => return Err(why),
            Attempt::Refused(refusal) => tally.refused(refusal),
        }
        refused += 1;
        if refused > 1 {
            sleep(PAUSE).await;
        }
    }
}

async fn once(lane: &Lane, kind: &Kind, authority: &str) -> Attempt {
    let mut link = match lane.link().await {
        Ok(link) => link,
        Err(attempt) => return attempt,
    };
    let attempt = exchange::attempt(&mut link, kind, authority).await;
    match attempt {
        Attempt::Answered => lane.give_back(link).await,
        _ => lane.forget(&link.wire).await,
    }
    attempt
}
