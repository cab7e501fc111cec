//! The servers the guarantee comes with, one a file.
//!
//! They are thin: the stream, the layer and the shutdown's phases do the work. `hyper` is
//! [`GracefulTls::serve`](crate::GracefulTls::serve), with everything included. The others lend
//! the streams to a server that drives them itself, and each needs its cargo feature; what they
//! share, an accept loop that never waits for a handshake, is in `streams`.

mod hyper;
#[cfg(any(feature = "axum", feature = "tonic"))]
mod streams;

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "axum-server")]
pub mod axum_server;
#[cfg(feature = "tonic")]
pub mod tonic;
