pub mod access_log;
pub mod admin;
pub mod advice;
pub mod dashboard;
pub mod latency;
pub mod learn;
pub mod metrics;
#[cfg(test)]
mod sample;
pub mod shown_policy;
