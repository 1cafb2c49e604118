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
