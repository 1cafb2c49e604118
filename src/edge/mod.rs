//! Sockets: what stands between clients and the pipeline.
//!
//! [`listener`] accepts, [`lane`] speaks HTTP/1.1 to clients, [`proxy`] is what Pingora asks when it streams a request
//! or serves HTTP/2. All of them ask one [`Pipeline`](crate::pipeline::Pipeline).

pub mod handover;
pub mod head;
pub mod http2;
pub mod lane;
pub mod listener;
pub mod proxy;
pub mod rescue;
#[cfg(test)]
mod tests;
pub mod writer;
