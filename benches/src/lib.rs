//! What the benches have in common: `rig` is what they measure, `chart` shows what came of it.

pub mod chart;
pub mod rig;
