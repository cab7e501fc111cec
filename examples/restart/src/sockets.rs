//! Where the listening sockets come from: the process before this one, systemd, or the settings.
//!
//! `ecdysis` passes sockets on by their addresses, and the port of one bound to port 0, or made by
//! systemd, is not in the settings. So a process tells the next one its addresses.

use std::{
    env, io,
    net::{SocketAddr, TcpListener as StdListener},
    os::unix::net::UnixDatagram,
    time::Duration,
};

use ecdysis::Ecdysis;
use listenfd::ListenFd;
use socket2::SockRef;

use crate::settings::Settings;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long the addresses may take to come from the process before.
const PATIENCE: Duration = Duration::from_secs(2);

/// Listening sockets, and what tells the next process of them.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) listeners: Vec<StdListener>,
    addresses: Vec<SocketAddr>,
    next: UnixDatagram,
}

/// Takes over the sockets of the process before, takes those of systemd, or makes new ones.
pub(crate) fn open(ecdysis: &Ecdysis, settings: &Settings) -> Result<Sockets, String> {
    // First, or a descriptor of our own could be taken for one that was passed.
    let passed = from_systemd(ecdysis)?;
    let (before, next) = ecdysis.unix_datagram_pair("addresses".into());
    let next = next.map_err(|error| format!("no socket for the next process: {error}"))?;
    let listeners = match before {
        Some(before) => inherited(ecdysis, &before)?,
        None if passed.is_empty() => bound(ecdysis, settings)?,
        None => passed,
    };
    let mut addresses = Vec::with_capacity(listeners.len());
    for listener in &listeners {
        let unusable = |error| format!("a listening socket can't be used: {error}");
        listener.set_nonblocking(true).map_err(unusable)?;
        addresses.push(listener.local_addr().map_err(unusable)?);
    }
    next.set_nonblocking(true)
        .map_err(|error| error.to_string())?;
    Ok(Sockets {
        listeners,
        addresses,
        next,
    })
}

impl Sockets {
    pub(crate) fn addresses(&self) -> String {
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        addresses.join(" ")
    }

    /// Leaves the addresses where the next process looks for them.
    pub(crate) fn tell_next(&self) -> io::Result<()> {
        match self.next.send(self.addresses().as_bytes()) {
            // What failed restarts have left unread says the same.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent.map(drop),
        }
    }
}

fn inherited(ecdysis: &Ecdysis, before: &UnixDatagram) -> Result<Vec<StdListener>, String> {
    let untold = |error| format!("the process before did not say where it listens: {error}");
    let mut buffer = [0; 4096];
    before.set_read_timeout(Some(PATIENCE)).map_err(untold)?;
    let length = before.recv(&mut buffer).map_err(untold)?;
    let told = String::from_utf8_lossy(&buffer[..length]);
    let take = |address: &str| {
        let address: SocketAddr = address
            .parse()
            .map_err(|_| format!("{address:?}: no address"))?;
        let missing = || io::Error::other("the process before did not pass it on");
        let listener = ecdysis.build_listen_tcp(address, |_, _| Err(missing()));
        listener.map_err(|error| format!("the socket of {address}: {error}"))
    };
    told.split(' ').map(take).collect()
}

/// The sockets of a systemd socket unit (sd_listen_fds(3)), if there are any.
fn from_systemd(ecdysis: &Ecdysis) -> Result<Vec<StdListener>, String> {
    let Ok(count) = env::var("LISTEN_FDS") else {
        return Ok(Vec::new());
    };
    if count.parse::<u16>().is_err() {
        return Err(format!("LISTEN_FDS={count}: not a number of sockets"));
    }
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let wrong = |error: io::Error| {
            format!(
                "LISTEN_FDS={count}: {error}: pass listening TCP sockets only, from descriptor 3 on"
            )
        };
        let taken = passed.take_tcp_listener(index).and_then(|listener| {
            let listener = listener.ok_or_else(|| io::Error::other("taken already"))?;
            is_listening(&listener, index)?;
            ecdysis.build_listen_tcp(listener.local_addr()?, |_, _| Ok(listener))
        });
        listeners.push(taken.map_err(wrong)?);
    }
    Ok(listeners)
}

fn is_listening(listener: &StdListener, index: usize) -> io::Result<()> {
    match SockRef::from(listener).is_listener()? {
        true => Ok(()),
        false => {
            let message = format!("fd {} is a socket that does not listen", index + 3);
            Err(io::Error::other(message))
        }
    }
}

fn bound(ecdysis: &Ecdysis, settings: &Settings) -> Result<Vec<StdListener>, String> {
    let bind = |address: &SocketAddr| {
        let listener = ecdysis.build_listen_tcp(*address, |socket, address| {
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        });
        listener.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "--listen {address}: in use: stop what listens there, or choose another; port 0 \
                 takes a free one"
            ),
            _ => format!("--listen {address}: {error}: give an address of this machine"),
        })
    };
    settings.listen.iter().map(bind).collect()
}
