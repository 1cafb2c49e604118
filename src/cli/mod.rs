//! The commands.

pub mod admin_client;
pub mod check;
pub mod demo;
pub mod explain;
pub mod purge;
pub mod serve;
pub mod stats;
