//! The commands.

pub mod check;
pub mod demo;
pub mod purge;
pub mod stats;
