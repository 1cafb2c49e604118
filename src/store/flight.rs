//! Collapsed requests (RFC 9111 §4): concurrent misses of one key wait for one fetch.
//!
//! A flight belongs to no client. `L` is what its waiters are told when it lands; `L::default()` is what they are told
//! when it ends without a word.

use crate::semantics::cache_key::CacheKey;
use crate::store::fences::Epoch;
use crate::store::sync::{Arc, Mutex, watch};
use std::collections::HashMap;

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
    /// Whether anybody waits. Two ears are its own: this one's, and that of the flight, which others board by.
    pub fn is_awaited(&self) -> bool {
        self.tell.receiver_count() > 2
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::cache_key::{self, Partition};
    use crate::semantics::sample::{plain, request};
    use crate::store::fences::Fences;

    fn key(target: &str) -> CacheKey {
        cache_key::of(&request("GET", target, &[]), &plain(), &Partition::Public)
    }

    fn epoch() -> Epoch {
        let fences = Fences::new(1);
        fences.epoch(&fences.slots(&[]))
    }

    #[track_caller]
    fn leads(flights: &Flights<u8>, target: &str, may_join: bool) -> Pilot<u8> {
        match flights.board(&key(target), epoch(), |_| may_join) {
            Boarding::Lead(pilot) => pilot,
            Boarding::Wait(_) => panic!("it waits"),
        }
    }

    #[track_caller]
    fn waits(flights: &Flights<u8>, target: &str) -> watch::Receiver<Option<u8>> {
        match flights.board(&key(target), epoch(), |_| true) {
            Boarding::Lead(_) => panic!("it leads"),
            Boarding::Wait(landing) => landing,
        }
    }

    #[test]
    fn the_first_leads_and_the_others_are_told() {
        let flights = Flights::default();
        let pilot = leads(&flights, "/", true);
        let (one, other) = (waits(&flights, "/"), waits(&flights, "/"));
        assert_eq!((flights.len(), flights.is_empty(), *one.borrow()), (1, false, None));
        pilot.land(7);
        assert_eq!((*one.borrow(), *other.borrow()), (Some(7), Some(7)));
        assert!(flights.is_empty());
    }

    #[test]
    fn keys_fly_apart() {
        let flights = Flights::default();
        let _a = leads(&flights, "/a", true);
        let _b = leads(&flights, "/b", true);
        assert_eq!(flights.len(), 2);
    }

    #[test]
    fn only_the_first_word_counts() {
        let flights = Flights::default();
        let pilot = leads(&flights, "/", true);
        let waiter = waits(&flights, "/");
        pilot.land(1);
        pilot.land(2);
        drop(pilot);
        assert_eq!(*waiter.borrow(), Some(1));
    }

    #[test]
    fn a_flight_that_ends_without_a_word_tells_so() {
        let flights = Flights::default();
        let pilot = leads(&flights, "/", true);
        let waiter = waits(&flights, "/");
        drop(pilot);
        assert_eq!(*waiter.borrow(), Some(u8::default()));
        assert!(flights.is_empty());
    }

    #[test]
    fn one_that_may_not_be_joined_gives_its_place_to_a_younger_one() {
        let flights = Flights::default();
        let older = leads(&flights, "/", true);
        let of_older = waits(&flights, "/");
        let younger = leads(&flights, "/", false);
        let of_younger = waits(&flights, "/");
        older.land(1);
        assert_eq!((*of_older.borrow(), *of_younger.borrow()), (Some(1), None));
        assert_eq!(flights.len(), 1, "the end of the older does not end the younger");
        drop(older);
        younger.land(2);
        assert_eq!(*of_younger.borrow(), Some(2));
        assert!(flights.is_empty());
    }

    #[test]
    fn whoever_boards_is_judged_by_when_the_flight_began() {
        let fences = Fences::new(1);
        let slots = fences.slots(&[]);
        let (flights, began) = (Flights::<u8>::default(), fences.epoch(&slots));
        let _pilot = flights.board(&key("/"), began, |_| panic!("there is nothing to join"));
        fences.invalidate(&slots);
        let now = fences.epoch(&slots);
        assert_ne!(now, began);
        let boarding = flights.board(&key("/"), now, |then| then == began);
        assert!(matches!(boarding, Boarding::Wait(_)));
    }
}
