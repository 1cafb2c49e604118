//! P6: "Memory follows `cache.memory` in real bytes, whatever the traffic". The real program under floods, over sockets,
//! and the store alone under writes that meet.
//!
//! Each test runs for seconds here, and for as long as `SOAK_SECONDS` says where that is set. Every figure is printed.

mod bulk;
mod connections;
mod eviction;
mod flood;
#[expect(dead_code, reason = "the live tests use the rest of it")]
#[path = "../live/proxy.rs"]
mod proxy;
mod sample;
#[expect(dead_code, reason = "the live tests use the rest of it")]
#[path = "../live/wire.rs"]
mod wire;

use freshgate::clock::{Clock, SystemClock, Timestamp};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: u64 = 1 << 20;

fn now() -> Timestamp {
    SystemClock.now()
}

/// How long a test runs that could run for ever.
fn soak(usually: u64) -> Duration {
    let seconds = std::env::var("SOAK_SECONDS").ok().map(|text| text.parse().expect("SOAK_SECONDS is a number"));
    Duration::from_secs(seconds.unwrap_or(usually))
}
