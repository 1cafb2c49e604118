//! Collapsed requests (RFC 9111 §4): concurrent misses of one key wait for one fetch.
//!
//! A flight belongs to no client. What it brings is shared only if it is `Storable`; otherwise every waiter is told at
//! once to fetch alone, so that an uncacheable answer neither is shared nor makes a queue.

use crate::origin::OriginError;
use crate::semantics::cache_key::CacheKey;
use crate::semantics::storing::Storable;
use crate::store::Ticket;
use crate::store::fences::Epoch;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// What a flight's waiters are told.
#[derive(Clone, Debug)]
pub enum Landing {
    /// A response that may be shared, with what the origin said of its own: its status.
    Shared(Arc<Shared>),
    /// What came is not to be shared, or not yet whole.
    Alone,
    /// Nothing came.
    Failed(OriginError),
}

/// A response that waiters may be handed, after their own checks.
#[derive(Debug)]
pub struct Shared {
    pub storable: Storable,
    /// Which variant it is: a waiter that selects another must not have it.
    pub variant: CacheKey,
    pub ticket: Ticket,
    pub origin_status: u16,
    pub stored: bool,
}

/// The flights under way.
#[derive(Default)]
pub struct Flights {
    under_way: Arc<Mutex<HashMap<CacheKey, Flight>>>,
}

struct Flight {
    epoch: Epoch,
    landing: watch::Receiver<Option<Landing>>,
}

/// What a request that misses is to do.
pub enum Boarding {
    /// Fetch, and tell the others.
    Lead(Pilot),
    /// Wait for somebody else's fetch.
    Wait(watch::Receiver<Option<Landing>>),
}

impl Flights {
    /// Joins the flight of `key` if `may_join` approves of when it began; else begins one, which takes its place.
    pub fn board(&self, key: &CacheKey, epoch: Epoch, may_join: impl FnOnce(Epoch) -> bool) -> Boarding {
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

/// The duty to tell the waiters. Dropped without a word, it tells them to go alone.
pub struct Pilot {
    under_way: Arc<Mutex<HashMap<CacheKey, Flight>>>,
    key: CacheKey,
    landing: watch::Receiver<Option<Landing>>,
    tell: watch::Sender<Option<Landing>>,
}

impl Pilot {
    /// Ends the flight: first nobody new can join, then all who wait are told. Only the first word counts.
    pub fn land(&self, landing: Landing) {
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

impl Drop for Pilot {
    fn drop(&mut self) {
        self.land(Landing::Alone);
    }
}
