//! Live: the real program, over sockets. Few tests per promise, since the decisions have their own below the socket;
//! these show that the wiring holds.
//!
//! Nothing here sleeps or tries again. What must happen first is waited for, and every wait on a socket has a bound, so
//! that a hang is a failed test.

mod callers;
mod codings;
mod demo;
mod faults;
mod first_run;
mod http2;
mod json_server;
mod lifecycle;
mod octets;
mod origin_faults;
mod outage;
mod pass_through;
mod proxy;
mod scripted;
mod shutdown;
mod slow_readers;
mod tls;
mod truncation;
mod updates;
mod validators;
mod wire;
