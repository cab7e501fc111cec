//! What the benches have in common: `rig` is what they measure, `apart` runs it in a process of its own, `strace`
//! counts system calls, `chart` shows what came of it.

pub mod apart;
pub mod chart;
pub mod rig;
pub mod strace;
