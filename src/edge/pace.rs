//! How long a client may take over a body that is held here until it is whole.

use crate::clock::Timestamp;
use std::time::Duration;

/// Octets a second that also the slowest of uplinks carries. Apache asks for as many by default (mod_reqtimeout,
/// `body=20,MinRate=500`).
const LEAST_RATE: u64 = 500;

/// The pace of one body.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    began: Timestamp,
    /// Zero means no limit.
    idle: Duration,
}

impl Pace {
    /// Of a body that is read from now on; `idle` is `server.limits.idle_timeout`.
    pub fn from(began: Timestamp, idle: Duration) -> Self {
        Pace { began, idle }
    }

    /// How long more of it is waited for at `now`, `received` octets having come: so long as nothing may come from an idle
    /// client, and for all of it that time and a second for every `LEAST_RATE` octets. Else an octet now and then would
    /// hold a connection, and what has come, for ever.
    pub fn patience(self, received: usize, now: Timestamp) -> Duration {
        if self.idle.is_zero() {
            return Duration::MAX;
        }
        let carried = Duration::from_millis((received as u64).saturating_mul(1000) / LEAST_RATE);
        self.idle.min(self.idle.saturating_add(carried).saturating_sub(now.since(self.began)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(received: usize, after: u64, patience: u64) {
        let began = Timestamp { wall_ms: 0, boot_ms: 1000 };
        let pace = Pace::from(began, Duration::from_secs(60));
        let patience = Duration::from_secs(patience);
        assert_eq!(pace.patience(received, began + Duration::from_secs(after)), patience);
        assert_eq!(Pace::from(began, Duration::ZERO).patience(received, began), Duration::MAX);
    }

    #[test]
    fn silence_has_its_bound() {
        check(0, 0, 60);
        check(1_000_000, 0, 60);
    }

    #[test]
    fn what_drips_has_one_as_well() {
        check(500, 21, 40);
        check(500, 61, 0);
        check(1000, 90, 0);
    }

    #[test]
    fn a_slow_uplink_has_the_time_it_takes() {
        check(600 * 1000, 1000, 60);
        check(500 * 1000, 1000, 60);
        check(500 * 1000, 1030, 30);
    }
}
