//! freshgate: an ETag-validating caching reverse proxy.
#![forbid(unsafe_code)]

pub mod changes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod edge;
pub mod field;
pub mod identity;
pub mod message;
pub mod origin;
pub mod pipeline;
pub mod policy;
pub mod semantics;
pub mod store;
