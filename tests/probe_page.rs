//! The probe's page, without a server: `page/tests.rs` beside it has the cases.
//!
//! They run from here since an example that cargo tests is one that it does not build for use.

#![allow(dead_code)]

#[path = "../examples/probe/page/mod.rs"]
mod page;
#[path = "../examples/probe/run.rs"]
mod run;
