//! The servers that the guarantee comes with, one a file.
//!
//! They are thin: the stream, the layer and the shutdown's phases do the work. `hyper` is
//! [`GracefulTls::serve`](crate::GracefulTls::serve), with everything included. The others lend
//! the streams to a server that drives them itself: `incoming` to any, the rest to one framework
//! each, behind its cargo feature.

mod attached;
mod corked;
mod hyper;
mod incoming;
mod layered;
mod parking;
mod turns;

pub use incoming::Incoming;
pub use layered::Layered;

#[cfg(feature = "axum")]
pub mod axum;
#[cfg(feature = "axum-server")]
pub mod axum_server;
#[cfg(feature = "tonic")]
pub mod tonic;
