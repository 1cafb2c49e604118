//! The house's turns, over loom's parts.

#[path = "../../src/pipeline/turns.rs"]
pub mod turns;
