//! Time, and the one place that reads it.
//!
//! Every decision takes `now` as an argument; only a [`Clock`] makes one. A [`Timestamp`] holds two readings of the
//! same instant. Wall time is what HTTP writes into fields. Boot time never jumps, so lifetimes, acceptance and
//! quarantine run on it: a corrected system clock neither ages nor revives what is stored.

use std::ops::{Add, Sub};
use std::sync::Mutex;
use std::time::Duration;

/// One instant, read on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z. May jump when the system clock is corrected.
    pub wall_ms: i64,
    /// Milliseconds since the machine booted, time asleep included. Never goes backwards.
    pub boot_ms: u64,
}

impl Timestamp {
    /// Wall time in whole seconds, the grain of HTTP-date (RFC 9110 §5.6.7).
    pub fn wall_seconds(self) -> i64 {
        self.wall_ms.div_euclid(1000)
    }

    /// How long ago `earlier` was, by boot time; zero if it is not in the past.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.boot_ms.saturating_sub(earlier.boot_ms))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, rhs: Duration) -> Timestamp {
        let ms = u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX);
        Timestamp {
            wall_ms: self.wall_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)),
            boot_ms: self.boot_ms.saturating_add(ms),
        }
    }
}

impl Sub<Timestamp> for Timestamp {
    type Output = Duration;
    fn sub(self, rhs: Timestamp) -> Duration {
        self.since(rhs)
    }
}

/// Where `now` comes from.
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // HTTP's dates are whole seconds, and the coarse clock, a few milliseconds late, costs a tenth of a reading.
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let ms = |t: rustix::time::Timespec| t.tv_sec * 1000 + t.tv_nsec / 1_000_000;
        Timestamp { wall_ms: ms(wall), boot_ms: u64::try_from(ms(boot)).unwrap_or(0) }
    }
}

/// A clock that moves only when told to: for scenarios and simulations.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock standing at `at`.
    pub fn new(at: Timestamp) -> Self {
        ManualClock(Mutex::new(at))
    }

    /// Moves both readings forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("no holder of this lock panics");
        *now = *now + by;
    }

    /// Sets the wall reading alone, as a corrected system clock does.
    pub fn set_wall(&self, wall_ms: i64) {
        self.0.lock().expect("no holder of this lock panics").wall_ms = wall_ms;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no holder of this lock panics")
    }
}
