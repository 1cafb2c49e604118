//! Sockets: what stands between clients and the pipeline.
//!
//! [`listener`] accepts, [`lane`] speaks HTTP/1.1 to clients, [`proxy`] is what Pingora asks when it streams a request
//! or serves HTTP/2. All of them ask one [`Pipeline`](crate::pipeline::Pipeline).

pub mod access_log;
pub mod admin;
pub mod advice;
pub mod connections;
pub mod dashboard;
pub mod draft;
pub mod gathered;
pub mod handover;
pub mod head;
pub mod http2;
pub mod lane;
pub mod latency;
pub mod learn;
pub mod listener;
pub mod metrics;
pub mod operator;
pub mod pace;
pub mod proxy;
#[cfg(test)]
mod sample;
pub mod shown_policy;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod writer;
