//! A blocking HTTPS client which looks at the wire, for the probe and for the tests.
//!
//! An HTTP library answers "did the request work?".  Who judges a server's *endings* asks
//! something else: was there a close_notify, did a FIN follow it, did a RST come instead, and does
//! the server process still hold the descriptor?  This client reads the TCP socket itself, hands
//! the bytes to rustls one TLS record at a time, and keeps each of those answers apart, in order
//! and with the time at which it was read.
//!
//! - [`Client`] speaks TLS, [`RawTcp`] speaks nothing at all; both are a [`Connection`].
//! - [`H2`] puts hand-written HTTP/2 frames on top of either.
//! - [`Ending`] says what was on the wire.  Its `Debug` output tells the whole story, so that
//!   `assert!(ending.is_proper(), "{ending:?}")` is all that a test has to write; its [`Story`]
//!   can be read line by line, too.
//!
//! Every wait is bounded: by the timeout given to the call, or by [`Options::timeout`].
//!
//! Times are relative to the moment the TCP connection was made, and are those at which this client
//! *read* an event.  A client which does not read learns of nothing, as on any other machine.

mod any_certificate;
mod connection;
mod ending;
mod frame;
mod h2;
mod h2_read;
mod h2_stream;
mod hpack;
mod hpack_tables;
mod http1;
mod layer;
mod options;
mod proc_net;
mod raw;
mod records;
mod socket;
mod story;
mod tls;

pub use any_certificate::AnyCertificate;
pub use connection::{Connection, Pumped};
pub use ending::{End, Ending};
pub use frame::{Frame, PREFACE, flag, kind, setting};
pub use h2::{H2, H2Options};
pub use h2_stream::H2Stream;
pub use hpack::encode as header_block;
pub use http1::{Framing, Response};
pub use layer::{Layer, Plain};
pub use options::{Options, Version};
pub use proc_net::{Owned, Row, server_row};
pub use raw::{RawTcp, half_client_hello};
pub use story::{Line, Story};
pub use tls::{Client, Tls};

use std::time::Duration;

/// How long anything may take unless the caller says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
