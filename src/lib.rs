//! End TLS connections properly.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod acceptor;
mod builder;
mod connection;
pub mod layer;
mod observe;
mod serve;
mod shutdown;
mod stream;
mod teardown;
mod transport;
mod vigil;

#[cfg(feature = "signal")]
pub use shutdown::signal;

pub use accept::Accept;
pub use acceptor::{Acceptor, HandshakeError};
pub use builder::{BuildError, Builder, Drain, GracefulTls, PlainHttp};
pub use connection::TlsConnection;
pub use layer::GracefulTlsLayer;
pub use shutdown::{Phase, Report, Trigger};
pub use stream::GracefulStream;
pub use teardown::{Cause, Outcome};
