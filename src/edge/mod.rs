pub mod access_log;
pub mod admin;
pub mod advice;
pub mod dashboard;
pub mod latency;
pub mod learn;
pub mod metrics;
pub mod shown_policy;
