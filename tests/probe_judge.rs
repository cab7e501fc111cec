//! The probe's verdicts, without a connection: `judge/tests.rs` beside the judge has the cases.
//!
//! They run from here since an example that cargo tests is one that it does not build for use.

#![allow(dead_code)]

#[path = "../examples/probe/judge/mod.rs"]
mod judge;
#[path = "../examples/probe/run.rs"]
mod run;
#[path = "../examples/probe/seen.rs"]
mod seen;
#[path = "../examples/probe/wire/mod.rs"]
mod wire;
