//! What the benches have in common: `rig` is what they measure, `apart` runs it in a process of its own, `strace`
//! counts system calls, `latency` compares, `chart` shows what came of it.

pub mod apart;
pub mod chart;
pub mod latency;
pub mod rig;
pub mod strace;
