//! What happened to a connection, for the log.
//!
//! Ends that a peer may bring about at will are logged at `debug`: a log must not fill at a
//! stranger's word. A truncated answer is the one thing an operator has to know of.

use crate::{
    connection::TlsConnection,
    ending::{Cause, Outcome},
};

/// Whether a peer can bring this about at will.
fn peers_doing(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::PeerClosed
            | Cause::Abandoned
            | Cause::Vanished
            | Cause::Stalled
            | Cause::HeaderTimeout
            | Cause::BodyTimeout
            | Cause::TunnelTimeout
            | Cause::Flood
            | Cause::Idle
            | Cause::Evicted
            | Cause::Handshake
            | Cause::HandshakeEvicted
    )
}

/// One line for one ended connection.
pub(crate) fn ended(connection: &TlsConnection, cause: Cause, outcome: Outcome) {
    let id = connection.id();
    let peer = connection.remote_addr();
    let requests = connection.requests_served();
    match outcome {
        Outcome::Truncated if !peers_doing(cause) => tracing::info!(
            id,
            ?peer,
            requests,
            ?cause,
            ?outcome,
            "connection ended with an exchange cut short"
        ),
        _ => tracing::debug!(id, ?peer, requests, ?cause, ?outcome, "connection ended"),
    }
}
