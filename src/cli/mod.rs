//! The commands.

pub mod admin_client;
pub mod check;
pub mod demo;
pub mod purge;
pub mod stats;
