//! The guide: how to get here from what you run today, how to run it, and why it does what it does.
//!
//! | to | read |
//! |---|---|
//! | change over | [from axum-server](from_axum_server), [from tokio-rustls by hand](from_tokio_rustls), [from tonic's own TLS](from_tonic) |
//! | run it | [shutdowns and restarts](shutdowns), [what is going on](what_is_going_on), [certificates and ACME](certificates), [limits] |
//! | write handlers, and test them | [long-lived handlers](long_lived_handlers), [testing] |
//! | understand it | [what a client sees](what_a_client_sees), [how it works](how_it_works) |
//!
//! Every program on these pages is compiled by the crate's tests.

// The pages are files, beside this one. They exist for rustdoc alone, and only where every feature is on,
// since they speak of all of them.

#[doc = include_str!("guide/from_axum_server.md")]
pub mod from_axum_server {}

#[doc = include_str!("guide/from_tokio_rustls.md")]
pub mod from_tokio_rustls {}

#[doc = include_str!("guide/from_tonic.md")]
pub mod from_tonic {}

#[doc = include_str!("guide/shutdowns.md")]
pub mod shutdowns {}

#[doc = include_str!("guide/what_is_going_on.md")]
pub mod what_is_going_on {}

#[doc = include_str!("guide/certificates.md")]
pub mod certificates {}

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/long_lived_handlers.md")]
pub mod long_lived_handlers {}

#[doc = include_str!("guide/limits.md")]
pub mod limits {}

#[doc = include_str!("guide/what_a_client_sees.md")]
pub mod what_a_client_sees {}

#[doc = include_str!("guide/how_it_works.md")]
pub mod how_it_works {}
