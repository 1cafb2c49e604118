//! Live: the real program, over sockets. Few tests per promise, since the decisions have their own below the socket;
//! these show that the wiring holds.
//!
//! Nothing here sleeps or tries again. What must happen first is waited for, and every wait on a socket has a bound, so
//! that a hang is a failed test.

mod demo;
mod first_run;
mod http2;
mod json_server;
mod lifecycle;
mod octets;
mod origin_faults;
mod pass_through;
mod proxy;
mod scripted;
mod tls;
mod validators;
mod wire;
