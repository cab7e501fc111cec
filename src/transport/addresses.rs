//! [`Addresses`]: whose connection it is, as its socket or its listener tells.

use std::{any::Any, mem, net::SocketAddr};

use tokio::net::{TcpListener, TcpStream};

/// The two addresses of a connection, where its transport has some.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) local: Option<SocketAddr>,
    /// Of the balancer that told the client's.
    pub(crate) balancer: Option<SocketAddr>,
}

impl Addresses {
    /// Whoever is at the other end of the transport says who the client is.
    pub(crate) fn set_client(&mut self, client: Option<SocketAddr>) {
        let teller = mem::replace(&mut self.remote, client);
        self.balancer = teller.filter(|_| teller != client);
    }
}

/// The addresses of a TCP socket, but for the client's where accepting has told it, and for its own where
/// its listener has.
pub(crate) fn addresses<IO: 'static>(
    io: &IO,
    remote: Option<SocketAddr>,
    local: Option<SocketAddr>,
) -> Addresses {
    let tcp = (io as &dyn Any).downcast_ref::<TcpStream>();
    Addresses {
        remote: remote.or_else(|| tcp?.peer_addr().ok()),
        local: local.or_else(|| tcp?.local_addr().ok()),
        balancer: None,
    }
}

/// The address of every socket that `listener` accepts, which saves asking each. `None` where they have
/// several, or that can't be known.
pub(crate) fn local_of_accepted<A: 'static>(listener: &A) -> Option<SocketAddr> {
    let tcp = (listener as &dyn Any).downcast_ref::<TcpListener>()?;
    let own = tcp.local_addr().ok()?;
    let is_any = own.ip().to_canonical().is_unspecified();
    (!is_any && is_final(tcp)).then_some(own)
}

/// Whether it gets nothing but what was sent to its own address: a transparent proxy gets what others were
/// sent.
#[cfg(target_os = "linux")]
fn is_final(listener: &TcpListener) -> bool {
    // Of IPv6 too: it is one flag of the socket.
    let transparent = socket2::SockRef::from(listener).ip_transparent_v4();
    transparent.is_ok_and(|transparent| !transparent)
}

#[cfg(not(target_os = "linux"))]
fn is_final(_: &TcpListener) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_tells_where_all_are_alike() {
        let known = async |addr| {
            let listener = TcpListener::bind(addr).await.unwrap();
            local_of_accepted(&listener) == listener.local_addr().ok()
        };
        assert!(known("127.0.0.1:0").await);
        assert!(!known("0.0.0.0:0").await);
        // Where there is no IPv6 there is nothing to ask.
        if TcpListener::bind("[::1]:0").await.is_ok() {
            assert!(known("[::1]:0").await);
            assert!(!known("[::]:0").await && !known("[::ffff:0.0.0.0]:0").await);
        }
        let transparent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let set = socket2::SockRef::from(&transparent).set_ip_transparent_v4(true);
        // Not everybody may.
        assert!(set.is_err() || local_of_accepted(&transparent).is_none());
    }
}
