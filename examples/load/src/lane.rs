//! A lane keeps one connection open, and makes a new one whenever that has ended.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Mutex;

use crate::{
    connect::{Connector, Link, Sender},
    mix::{Kind, Protocol},
    settings::Settings,
    tally::Tally,
    verdict::Attempt,
    wire::Wire,
};

#[derive(Debug)]
pub(crate) struct Lane {
    protocol: Protocol,
    /// As often as their weights say.
    kinds: Vec<Kind>,
    next: AtomicUsize,
    pub(crate) connector: Arc<Connector>,
    tally: Arc<Tally>,
    idle: Mutex<Option<Link>>,
}

/// Lanes for every protocol of the mix, as many as the weights of its kinds say, at least one each.
pub(crate) fn spread(
    settings: &Settings,
    connector: &Arc<Connector>,
    tally: &Arc<Tally>,
) -> Vec<Arc<Lane>> {
    let total: usize = settings.mix.iter().map(|kind| kind.weight).sum();
    let mut lanes = Vec::new();
    for protocol in Protocol::ALL {
        let kinds: Vec<Kind> = settings
            .mix
            .iter()
            .filter(|kind| kind.protocol == protocol)
            .flat_map(|kind| std::iter::repeat_n(kind.clone(), kind.weight))
            .collect();
        if kinds.is_empty() {
            continue;
        }
        let count = (settings.connections * kinds.len()).div_ceil(total);
        for number in 0..count {
            lanes.push(Arc::new(Lane {
                protocol,
                kinds: kinds.clone(),
                next: AtomicUsize::new(number * 7),
                connector: connector.clone(),
                tally: tally.clone(),
                idle: Mutex::new(None),
            }));
        }
    }
    lanes
}

impl Lane {
    /// How many requests it has in flight at once.
    pub(crate) fn streams(&self, http2: usize) -> usize {
        match self.protocol {
            Protocol::Http2 => http2,
            _ => 1,
        }
    }

    /// What to send next.
    pub(crate) fn next(&self) -> &Kind {
        &self.kinds[self.next.fetch_add(1, Ordering::Relaxed) % self.kinds.len()]
    }

    /// The connection, if it is still good, or a new one.
    pub(crate) async fn link(&self) -> Result<Link, Attempt> {
        let mut idle = self.idle.lock().await;
        if let Some(mut link) = idle.take() {
            if link.is_ready().await {
                *idle = link.share();
                return Ok(link);
            }
        }
        let link = self.connector.connect(self.protocol, &self.tally).await?;
        *idle = link.share();
        Ok(link)
    }

    /// Gives a connection back that can be used again.
    pub(crate) async fn give_back(&self, link: Link) {
        if self.protocol == Protocol::Http1 {
            *self.idle.lock().await = Some(link);
        }
    }

    /// Sends nothing more over this connection.
    pub(crate) async fn forget(&self, wire: &Arc<Wire>) {
        let mut idle = self.idle.lock().await;
        idle.take_if(|link| Arc::ptr_eq(&link.wire, wire));
    }
}

impl Link {
    async fn is_ready(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// The same connection for others to use at the same time, in HTTP/2.
    fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Self {
                sender: Sender::Http2(sender.clone()),
                wire: self.wire.clone(),
            }),
        }
    }
}
