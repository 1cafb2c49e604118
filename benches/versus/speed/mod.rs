//! What `make bench` is made of: an origin, two generators of load, what a server's processes have used, and the rows.

pub mod client;
pub mod h2load;
pub mod least;
pub mod origin;
pub mod report;
pub mod rows;
pub mod server;
pub mod special;

use std::time::Instant;

/// The one clock of the measurements; that of the product counts milliseconds.
#[expect(clippy::disallowed_methods, reason = "what is measured are microseconds")]
pub fn now() -> Instant {
    Instant::now()
}

/// Microseconds since then.
pub fn micros_since(then: Instant) -> f64 {
    now().duration_since(then).as_secs_f64() * 1e6
}

/// The value below which a share of them lies, by the nearest rank; they are sorted by this.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(&mut values.into_iter().collect::<Vec<_>>(), 0.5)
}
