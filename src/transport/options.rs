//! The options that a TLS server wants on its TCP sockets.
//!
//! On Linux what is accepted has the options of its listener, so that they are set once, there, and
//! cost a connection nothing; the first one is looked at for that. Elsewhere, and where there is only an
//! accepted socket, they are set on that.
//!
//! * `TCP_NODELAY`, because close_notify must not wait for the acknowledgement of the answer before
//!   it (RFC 9293 3.7.4).
//! * `TCP_NOTSENT_LOWAT`: see [`NOTSENT_LOWAT`].
//! * `SO_KEEPALIVE` and its like: see `keepalive`.

use std::{any::Any, io};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use crate::keepalive::TcpKeepalive;

/// How much may wait in the kernel unsent before the socket stops being writable.
///
/// What HTTP/2 has to say besides, a GOAWAY or a PING whose answer it wants within a second, waits
/// behind it; without it that would be megabytes.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOTSENT_LOWAT: u32 = 128 * 1024;

/// Sets the options on an accepted socket. Any other transport is left as it is.
pub(crate) fn prepare<IO: 'static>(io: &IO, keepalive: Option<TcpKeepalive>) {
    if let Some(tcp) = (io as &dyn Any).downcast_ref::<TcpStream>() {
        set(&SockRef::from(tcp), keepalive);
    }
}

/// Sets the options on a listener; whether what it accepts has them too.
///
/// What is in its queue by then has not.
pub(crate) fn prepare_listener<A: 'static>(listener: &A, keepalive: Option<TcpKeepalive>) -> bool {
    let inherited = cfg!(any(target_os = "linux", target_os = "android"));
    match (listener as &dyn Any).downcast_ref::<TcpListener>() {
        Some(tcp) if inherited => {
            set(&SockRef::from(tcp), keepalive);
            true
        }
        _ => false,
    }
}

/// Whether a socket has the options already, by one that no socket has of itself.
pub(crate) fn is_prepared<IO: 'static>(io: &IO) -> bool {
    let tcp = (io as &dyn Any).downcast_ref::<TcpStream>();
    tcp.is_some_and(|tcp| tcp.nodelay().unwrap_or(false))
}

fn set(socket: &SockRef<'_>, keepalive: Option<TcpKeepalive>) {
    let results = [
        ("TCP_NODELAY", socket.set_tcp_nodelay(true)),
        ("TCP_NOTSENT_LOWAT", limit_unsent(socket)),
        ("SO_KEEPALIVE", keep_alive(socket, keepalive)),
    ];
    for (option, result) in results {
        if let Err(error) = result {
            tracing::debug!(option, %error, "an option of a socket could not be set");
        }
    }
}

/// A socket that is kept alive already is so by somebody's wish, which the default does not know
/// better than.
fn keep_alive(socket: &SockRef<'_>, keepalive: Option<TcpKeepalive>) -> io::Result<()> {
    let Some(keepalive) = keepalive else {
        return Ok(());
    };
    if keepalive == TcpKeepalive::default() && socket.keepalive()? {
        return Ok(());
    }
    let asked = socket2::TcpKeepalive::new().with_time(keepalive.idle);
    // Not every system lets itself be told more.
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku")))]
    let asked = asked.with_interval(keepalive.interval);
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", windows)))]
    let asked = asked.with_retries(keepalive.count);
    socket.set_tcp_keepalive(&asked)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_unsent(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_unsent(_: &SockRef<'_>) -> io::Result<()> {
    Ok(())
}
