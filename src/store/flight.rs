//! Collapsed requests (RFC 9111 §4): concurrent misses of one key wait for one fetch.
//!
//! A flight belongs to no client. `L` is what its waiters are told when it lands; `L::default()` is what they are told
//! when it ends without a word.

use crate::semantics::cache_key::CacheKey;
use crate::store::fences::Epoch;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The flights under way.
pub struct Flights<L> {
    under_way: Arc<Mutex<HashMap<CacheKey, Flight<L>>>>,
}

struct Flight<L> {
    epoch: Epoch,
    landing: watch::Receiver<Option<L>>,
}

/// What a request that misses is to do.
pub enum Boarding<L: Default> {
    /// Fetch, and tell the others.
    Lead(Pilot<L>),
    /// Wait for somebody else's fetch.
    Wait(watch::Receiver<Option<L>>),
}

impl<L> Default for Flights<L> {
    fn default() -> Self {
        Flights { under_way: Arc::default() }
    }
}

impl<L: Default> Flights<L> {
    /// Joins the flight of `key` if `may_join` approves of when it began; else begins one, which takes its place.
    pub fn board(&self, key: &CacheKey, epoch: Epoch, may_join: impl FnOnce(Epoch) -> bool) -> Boarding<L> {
        let mut flights = self.under_way.lock().expect("no holder of this lock panics");
        if let Some(flight) = flights.get(key)
            && may_join(flight.epoch)
        {
            return Boarding::Wait(flight.landing.clone());
        }
        let (tell, landing) = watch::channel(None);
        flights.insert(key.clone(), Flight { epoch, landing: landing.clone() });
        Boarding::Lead(Pilot { under_way: self.under_way.clone(), key: key.clone(), landing, tell })
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.under_way.lock().expect("no holder of this lock panics").len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The duty to tell the waiters.
pub struct Pilot<L: Default> {
    under_way: Arc<Mutex<HashMap<CacheKey, Flight<L>>>>,
    key: CacheKey,
    landing: watch::Receiver<Option<L>>,
    tell: watch::Sender<Option<L>>,
}

impl<L: Default> Pilot<L> {
    /// Ends the flight: first nobody new can join, then all who wait are told. Only the first word counts.
    pub fn land(&self, landing: L) {
        self.leave();
        self.tell.send_if_modified(|told| {
            let first = told.is_none();
            if first {
                *told = Some(landing);
            }
            first
        });
    }

    /// A younger flight may have taken this one's place.
    fn leave(&self) {
        let mut flights = self.under_way.lock().expect("no holder of this lock panics");
        if flights.get(&self.key).is_some_and(|flight| flight.landing.same_channel(&self.landing)) {
            flights.remove(&self.key);
        }
    }
}

impl<L: Default> Drop for Pilot<L> {
    fn drop(&mut self) {
        self.land(L::default());
    }
}
