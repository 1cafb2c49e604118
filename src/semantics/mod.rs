//! Pure decisions, a file per section of the RFCs. Nothing here does I/O, reads a clock or locks.

pub mod answer;
pub mod cache_key;
pub mod cache_status;
pub mod content_coding;
pub mod forwarding;
pub mod freshness;
pub mod invalidation;
pub mod precondition;
pub mod request;
pub mod reuse;
#[cfg(test)]
pub(crate) mod sample;
pub mod stored_response;
pub mod storing;
pub mod validation;
pub mod validator;
