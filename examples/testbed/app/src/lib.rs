//! What the testbed serves, for everything that serves the same: the peers, the benches and the
//! restart example.
//!
//! `routes` has the endpoints, `bodies` the bodies that end as they should and those that don't,
//! `tunnel` what CONNECT asks for; `tls` makes or reads the certificate; `command_line` says in one
//! line what can't work.

pub mod bodies;
pub mod command_line;
pub mod routes;
pub mod tls;
mod tunnel;
