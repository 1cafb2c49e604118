//! How long answers took: counts in buckets that grow with the value, so that a percentile is off by at most an eighth.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Eight buckets for every doubling.
const STEPS: usize = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Covers 0 µs to 2^36 µs, about 19 hours; longer counts as that.
const BUCKETS: usize = STEPS * (37 - STEP_BITS as usize);

/// The bounds told to Prometheus, as powers of two in µs: 128 µs to about 34 s.
const BOUNDS: std::ops::RangeInclusive<u32> = 7..=25;

/// The counters, written by every exchange.
#[derive(Debug)]
pub struct Latency {
    buckets: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

/// What was counted up to some moment.
#[derive(Clone, Debug)]
pub struct Measured {
    buckets: Vec<u64>,
    sum_us: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Latency { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), sum_us: AtomicU64::new(0) }
    }
}

impl Latency {
    /// Counts one.
    pub fn record(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket_of(us)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// All counts.
    pub fn read(&self) -> Measured {
        Measured { buckets: self.buckets.iter().map(|b| b.load(Relaxed)).collect(), sum_us: self.sum_us.load(Relaxed) }
    }
}

impl Default for Measured {
    fn default() -> Self {
        Measured { buckets: vec![0; BUCKETS], sum_us: 0 }
    }
}

impl Measured {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Measured) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, more)| *mine += more);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Seconds in all.
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_micros(self.sum_us).as_secs_f64()
    }

    /// The latency in milliseconds that a share of `percent` (1 to 100) did not exceed, rounded up to the end of its
    /// bucket; `None` where nothing was counted.
    pub fn percentile_ms(&self, percent: u64) -> Option<f64> {
        let rank = (self.count() * percent).div_ceil(100);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|n| {
            seen += n;
            seen >= rank && seen > 0
        })?;
        Some(Duration::from_micros(end_of(bucket)).as_secs_f64() * 1000.0)
    }

    /// For Prometheus: upper bounds in seconds, each with how many lie below it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        BOUNDS.map(|power| {
            let below = self.buckets[..bucket_of(1 << power)].iter().sum();
            (Duration::from_micros(1 << power).as_secs_f64(), below)
        })
    }
}

/// Values below eight have a bucket each; above, the three bits after the leading one choose among eight.
fn bucket_of(us: u64) -> usize {
    let leading = us.max(1).ilog2();
    if leading < STEP_BITS {
        return usize::try_from(us).unwrap_or(0);
    }
    let shift = leading - STEP_BITS;
    let step = usize::try_from(us >> shift).map_or(0, |top| top - STEPS);
    (STEPS * (shift as usize + 1) + step).min(BUCKETS - 1)
}

/// The first value above the bucket, in µs.
fn end_of(bucket: usize) -> u64 {
    let (double, step) = (bucket / STEPS, bucket % STEPS);
    match double {
        0 => step as u64 + 1,
        _ => ((STEPS + step) as u64 + 1) << (double - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_the_bucket_is_narrow() {
        for us in (0..100_000).chain([1 << 20, (1 << 20) + 1, (1 << 36) - 1]) {
            let bucket = bucket_of(us);
            let begin = if bucket == 0 { 0 } else { end_of(bucket - 1) };
            assert!(begin <= us && us < end_of(bucket), "{us} µs in bucket {bucket}");
            assert!(end_of(bucket) - begin <= 1 + us / 8, "bucket {bucket} of {us} µs is too wide");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    /// Of `ms`, the percentile is within an eighth above `expected`.
    #[track_caller]
    fn check(ms: impl IntoIterator<Item = u64>, percent: u64, expected: Option<f64>) {
        let latency = Latency::default();
        ms.into_iter().for_each(|ms| latency.record(Duration::from_millis(ms)));
        let got = latency.read().percentile_ms(percent);
        let near = match (got, expected) {
            (Some(got), Some(expected)) => got >= expected && got <= expected * 1.126,
            (got, expected) => got == expected,
        };
        assert!(near, "{got:?} is not {expected:?}");
    }

    #[test]
    fn percentiles() {
        check([], 50, None);
        check([7], 50, Some(7.0));
        check([7], 99, Some(7.0));
        check(1..=100, 50, Some(50.0));
        check(1..=100, 90, Some(90.0));
        check(1..=100, 99, Some(99.0));
        check([1, 1, 1, 1000], 50, Some(1.0));
        check([1, 1, 1, 1000], 99, Some(1000.0));
    }

    #[test]
    fn sums_and_cumulative_counts() {
        let latency = Latency::default();
        [100, 200, 3_000_000].into_iter().for_each(|us| latency.record(Duration::from_micros(us)));
        let mut measured = latency.read();
        measured.add(&latency.read());
        let below = |seconds: f64| measured.cumulative().find(|(bound, _)| *bound >= seconds).map(|(_, n)| n);
        assert_eq!(measured.count(), 6);
        assert_eq!(measured.sum_seconds(), 6.0006);
        assert_eq!((below(0.000_128), below(0.000_256), below(1.0), below(4.0)), (Some(2), Some(4), Some(4), Some(6)));
    }
}
