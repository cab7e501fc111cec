//! Whether the server process still owns its end of a connection, as the kernel sees it.
//!
//! A test runs client and server on one machine, so that the server's socket is a row of
//! `/proc/net/tcp` or `/proc/net/tcp6`.  The row's inode is non-zero for as long as a descriptor
//! refers to the socket, and zero once the kernel is left alone with it (FIN_WAIT, LAST_ACK,
//! TIME_WAIT), or while the connection has not been accepted yet.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One socket in the kernel's table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row {
    /// The TCP state, as in `/proc/net/tcp`: 1 is ESTABLISHED, 8 is CLOSE_WAIT, and so on.
    pub state: u8,
    /// The socket's inode, zero if no process owns it.
    pub inode: u64,
    /// Bytes sent and not acknowledged yet.
    pub unacked: u64,
    /// Bytes received which the process has not read.
    pub unread: u64,
}

/// The row of the server's socket for the connection between these two addresses.
pub fn server_row(server: SocketAddr, client: SocketAddr) -> Option<Row> {
    let tables = [("/proc/net/tcp", false), ("/proc/net/tcp6", true)];
    tables.iter().find_map(|&(path, six)| {
        let wanted = (hex(server, six)?, hex(client, six)?);
        let table = fs::read_to_string(path).ok()?;
        table.lines().find_map(|line| parse(line, &wanted))
    })
}

/// Whether a process owns the server's socket.
///
/// The kernel's table is not read in one piece and may miss a row while others come and go, so that
/// only a second look makes "no" certain.
pub(super) fn holds(server: SocketAddr, client: SocketAddr) -> bool {
    let owned = || server_row(server, client).is_some_and(|row| row.inode != 0);
    owned() || owned()
}

/// Every socket that a process owns, as of one look: for who has many connections to ask about.
#[derive(Debug)]
pub struct Owned(HashSet<(String, String)>);

impl Owned {
    pub fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let tables = [read("/proc/net/tcp"), read("/proc/net/tcp6")];
        let lines = tables.iter().flat_map(|table| table.lines().skip(1));
        Self(lines.filter_map(owned).collect())
    }

    /// Whether a process owns the server's socket of this connection.
    pub fn has(&self, server: SocketAddr, client: SocketAddr) -> bool {
        [false, true].iter().any(|&six| {
            let ends = hex(server, six).zip(hex(client, six));
            ends.is_some_and(|ends| self.0.contains(&ends))
        })
    }
}

fn owned(line: &str) -> Option<(String, String)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let ends = (fields.next()?, fields.next()?);
    // Most rows of a busy machine are in TIME_WAIT, which no process owns.
    let waits = fields.next()? == "06";
    let owned = !waits && fields.nth(5)? != "0";
    owned.then(|| (ends.0.into(), ends.1.into()))
}

fn parse(line: &str, (local, remote): &(String, String)) -> Option<Row> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    if fields.get(1)? != local || fields.get(2)? != remote {
        return None;
    }
    let (unacked, unread) = fields.get(4)?.split_once(':')?;
    Some(Row {
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
        unacked: u64::from_str_radix(unacked, 16).ok()?,
        unread: u64::from_str_radix(unread, 16).ok()?,
    })
}

/// An address as the table prints it: words in host order, the port as a number.
fn hex(addr: SocketAddr, six: bool) -> Option<String> {
    let octets = match (addr.ip(), six) {
        (IpAddr::V4(ip), false) => ip.octets().to_vec(),
        (IpAddr::V4(ip), true) => ip.to_ipv6_mapped().octets().to_vec(),
        (IpAddr::V6(ip), false) => mapped(&ip.octets())?.octets().to_vec(),
        (IpAddr::V6(ip), true) => ip.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| {
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        format!("{word:08X}")
    });
    Some(format!("{}:{:04X}", words.collect::<String>(), addr.port()))
}

fn mapped(octets: &[u8; 16]) -> Option<Ipv4Addr> {
    std::net::Ipv6Addr::from(*octets).to_ipv4_mapped()
}
