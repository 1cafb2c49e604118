//! Dates for computed Last-Modified fields: no two contents of one URL ever get the same one.
//!
//! Two contents within one second would share a date, and a client that has the first would be told that it is current.
//! So each new content takes a date later than any that was given before, even if that lies a second ahead; it is shown
//! only once it has come. The dates given are remembered by a hash of the key in fixed memory; a collision moves a date
//! forward, which is always safe.

use crate::field::date::HttpDate;
use crate::semantics::cache_key::CacheKey;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

const STRIPES: usize = 1 << 18;

/// The newest date given so far, per stripe; zero where none was.
pub struct FirstSeen {
    given: Box<[AtomicI64]>,
    hash: RandomState,
}

impl Default for FirstSeen {
    fn default() -> Self {
        FirstSeen { given: bytemuck::zeroed_slice_box(STRIPES), hash: RandomState::new() }
    }
}

impl FirstSeen {
    /// `wanted`, or a later date if that one may have been given to another content of this URL.
    pub fn claim(&self, key: &CacheKey, wanted: HttpDate) -> HttpDate {
        let stripe = usize::try_from(self.hash.hash_one(key) % STRIPES as u64).expect("below 2^18");
        let later = |given: i64| wanted.0.max(given.saturating_add(1));
        let given = self.given[stripe]
            .fetch_update(Relaxed, Relaxed, |given| Some(later(given)))
            .expect("the update is never declined");
        HttpDate(later(given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::cache_key::{self, Partition};
    use crate::semantics::sample::{plain, request};

    fn key(target: &str) -> CacheKey {
        cache_key::of(&request("GET", target, &[]), &plain(), Partition::Public)
    }

    #[test]
    fn no_date_is_given_twice_and_none_is_earlier_than_the_last() {
        let seen = FirstSeen::default();
        let claim = |wanted| seen.claim(&key("/"), HttpDate(wanted)).0;
        assert_eq!([claim(100), claim(100), claim(100), claim(50)], [100, 101, 102, 103]);
        assert_eq!([claim(104), claim(200), claim(199)], [104, 200, 201]);
    }

    #[test]
    fn another_url_has_its_own_dates() {
        let seen = FirstSeen::default();
        let first = seen.claim(&key("/0"), HttpDate(100));
        // A collision would only move a date forward; not each of a thousand collides.
        let unmoved = (1..1000).filter(|n| seen.claim(&key(&format!("/{n}")), HttpDate(100)) == first).count();
        assert!(unmoved > 900, "{unmoved}");
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        let seen = FirstSeen::default();
        for _ in 0..2 {
            assert_eq!(seen.claim(&key("/"), HttpDate(i64::MAX)), HttpDate(i64::MAX));
        }
    }

    #[test]
    fn claims_that_race_get_different_dates() {
        let seen = FirstSeen::default();
        let claims = || (0..1000).map(|_| seen.claim(&key("/"), HttpDate(100)).0).collect::<Vec<_>>();
        let mut all: Vec<i64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(claims)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no claim panics")).collect()
        });
        all.sort_unstable();
        assert_eq!(all, (100..4100).collect::<Vec<_>>());
    }
}
