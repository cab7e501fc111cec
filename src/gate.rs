//! Who may come in, decided before anything is spent on them.
//!
//! A filter of the user's is asked first; then those of one address are counted, until their
//! descriptors are closed. Whoever is refused has their socket closed at once: no handshake, no alert,
//! and no line in the log that a stranger could fill it with.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What a [`connection_filter`](crate::Builder::connection_filter) says of a client.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Admission {
    /// It may come in, unless its address has
    /// [`max_connections_per_client`](crate::Builder::max_connections_per_client) already.
    #[default]
    Admit,
    /// It may come in, however many connections its address has, and is not counted among them.
    Exempt,
    /// Its socket is closed at once.
    Refuse,
}

pub(crate) type Filter = Arc<dyn Fn(SocketAddr) -> Admission + Send + Sync>;

/// The gate of one server.
pub(crate) struct Gate {
    filter: Option<Filter>,
    /// How many connections an address may have.
    most: Option<usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
    refused: AtomicU64,
}

impl Gate {
    pub(crate) fn new(filter: Option<Filter>, most: Option<usize>) -> Self {
        Self {
            filter,
            most,
            open: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether a client may come in. One without an address may.
    pub(crate) fn admit(self: &Arc<Self>, client: Option<SocketAddr>) -> Option<Pass> {
        let pass = match client {
            Some(client) => self.ask(client),
            None => Some(Pass::default()),
        };
        if pass.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(peer = client.map(display), "refused");
        }
        pass
    }

    /// How many have been refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn ask(self: &Arc<Self>, mut client: SocketAddr) -> Option<Pass> {
        client.set_ip(client.ip().to_canonical());
        let admission = self.filter.as_ref().map(|filter| filter(client));
        match (admission.unwrap_or_default(), self.most) {
            (Admission::Refuse, _) => None,
            (Admission::Admit, Some(most)) => self.count(network(client.ip()), most),
            (Admission::Admit, None) | (Admission::Exempt, _) => Some(Pass::default()),
        }
    }

    fn count(self: &Arc<Self>, network: IpAddr, most: usize) -> Option<Pass> {
        let mut open = self.lock();
        let count = open.entry(network).or_default();
        // One that has none open is below any cap: nothing is left behind of those that are refused.
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Pass(Some((self.clone(), network))))
    }

    fn leave(&self, network: IpAddr) {
        let mut open = self.lock();
        if let Some(count) = open.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&network);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("most", &self.most)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// What is one client: in IPv6 whoever has an address has the 64 bits behind its network.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// One that has come in; counted until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Pass(Option<(Arc<Gate>, IpAddr)>);

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((gate, network)) = self.0.take() {
            gate.leave(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(ip: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(ip.parse().unwrap(), 1))
    }

    #[test]
    fn an_address_has_so_many() {
        let gate = Arc::new(Gate::new(None, Some(2)));
        for (one, same, other) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8:0:0:ffff::2", "2001:db8:0:1::1"),
        ] {
            let first = gate.admit(from(one));
            let second = gate.admit(from(same));
            assert!(first.is_some() && second.is_some(), "{one}");
            assert!(gate.admit(from(one)).is_none() && gate.admit(from(same)).is_none());
            assert!(gate.admit(from(other)).is_some());
            drop(first);
            assert!(gate.admit(from(same)).is_some());
        }
        assert_eq!(gate.refused(), 4);
        assert!(gate.lock().is_empty());
        // Nobody knows whose it is.
        assert!(
            [(); 3]
                .map(|()| gate.admit(None))
                .iter()
                .all(Option::is_some)
        );
    }

    #[test]
    fn the_filter_refuses_and_exempts() {
        let filter = |client: SocketAddr| match client.ip().to_string().as_str() {
            "192.0.2.1" => Admission::Refuse,
            "192.0.2.2" => Admission::Exempt,
            _ => Admission::Admit,
        };
        let gate = Arc::new(Gate::new(Some(Arc::new(filter)), Some(1)));
        let admits = |ip: &str| {
            [(); 2]
                .map(|()| gate.admit(from(ip)))
                .map(|pass| pass.is_some())
        };
        assert_eq!(admits("::ffff:192.0.2.1"), [false, false]);
        let kept = [(); 2].map(|()| gate.admit(from("192.0.2.2")));
        assert!(kept.iter().all(Option::is_some));
        let kept = gate.admit(from("192.0.2.3"));
        assert!(kept.is_some());
        assert_eq!(admits("192.0.2.3"), [false, false]);
    }
}
