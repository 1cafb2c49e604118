//! What is kept, and for how long it may be used: moka bounds the memory, [`fences`] say what is still true.
//!
//! One moka cache holds three kinds of things under one bound, so that `cache.memory` is the one number there is:
//! responses, the names that a resource's responses vary on, and bodies by content hash, each once however many
//! responses hold it. A response whose body is gone is a miss. Freshness is not decided here.

pub mod fences;
pub mod first_seen;
pub mod flight;

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::policy::{EntityId, RouteId};
use crate::semantics::cache_key::{self, CacheKey};
use crate::semantics::cache_status::Detail;
use crate::semantics::invalidation::Invalidation;
use crate::semantics::reuse::Standing;
use crate::semantics::stored_response::{ContentHash, Response};
use crate::semantics::storing::{Seen, Storable};
use bytes::Bytes;
use fences::{Epoch, Fences, Mark, Slots};
use first_seen::FirstSeen;
use moka::policy::EvictionPolicy;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What moka, its deque nodes and our own allocations add to an entry, measured and rounded up.
const OVERHEAD: usize = 320;

/// From this part of the bound on, a key is stored from its second request.
const NEARLY_FULL: f64 = 0.9;

/// Bits of the doorkeeper.
const DOORS: usize = 1 << 16;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    Resource(CacheKey),
    Body(ContentHash),
}

#[derive(Clone)]
enum Held {
    Response(Arc<Stored>),
    /// The responses of this resource vary on these request fields.
    Varies(Arc<[String]>),
    Body(Bytes),
    /// Nothing of this resource can be stored: why, and until when (boot time in milliseconds) that is believed.
    Unstorable {
        why: Unstorable,
        until: u64,
        seen: Option<Arc<Seen>>,
    },
}

/// What is remembered of a resource that cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unstorable {
    /// It streams or is too large: the next request for it is streamed without looking.
    Streams(Detail),
    /// It may not be stored: the next requests for it do not wait for each other.
    Refused(Detail),
}

/// A stored response and what it stands and falls with.
#[derive(Debug)]
pub struct Stored {
    pub response: Response,
    pub slots: Slots,
    pub mark: Mark,
    pub place: Place,
}

/// Where a response belongs: what an operator's purge can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub route: RouteId,
    pub entity: EntityId,
    pub id: Option<String>,
    /// In matching form.
    pub path: String,
    pub query: String,
}

/// What the store has for a request.
pub enum Selected {
    /// A complete response; whether it may be used is for `semantics::reuse`.
    Response {
        stored: Arc<Stored>,
        body: Bytes,
        standing: Standing,
    },
    /// Nothing; `variants` tells whether the resource has other variants, `seen` what its content last was.
    Nothing {
        variants: bool,
        seen: Option<Arc<Seen>>,
    },
    Unstorable {
        why: Unstorable,
        seen: Option<Arc<Seen>>,
    },
}

/// The right to store what a fetch brings: made before its request is written.
#[derive(Clone, Debug)]
pub struct Ticket {
    mark: Mark,
}

impl Ticket {
    /// The mark that the fetch noted.
    pub fn mark(&self) -> Mark {
        self.mark
    }
}

/// Proof that an invalidation was carried out, and its number.
#[derive(Debug)]
pub struct Invalidated {
    sequence: u64,
    invalidation: Invalidation,
}

impl Invalidated {
    /// Its place in the one sequence, which also numbers the change log.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What was invalidated.
    pub fn invalidation(&self) -> &Invalidation {
        &self.invalidation
    }
}

/// Everything that is kept.
pub struct Store {
    held: moka::sync::Cache<Name, Held>,
    capacity: u64,
    doors: Box<[AtomicU64]>,
    hash: std::collections::hash_map::RandomState,
    pub fences: Fences,
    pub first_seen: FirstSeen,
}

impl Store {
    /// A store of at most `memory` bytes, for routes of `entities` entities.
    pub fn new(memory: u64, entities: usize) -> Self {
        let held = moka::sync::Cache::builder()
            .max_capacity(memory)
            .weigher(|name: &Name, held: &Held| u32::try_from(weight(name, held)).unwrap_or(u32::MAX))
            // TinyLFU's admission shuts large entries out of a store full of small ones.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Store {
            held,
            capacity: memory,
            doors: bytemuck::zeroed_slice_box(DOORS / 64),
            hash: Default::default(),
            fences: Fences::new(entities),
            first_seen: FirstSeen::default(),
        }
    }

    /// What is held for a request whose primary key is `key`.
    pub fn select(&self, key: &CacheKey, fields: &Fields, now: Timestamp) -> Selected {
        match self.held.get(&Name::Resource(key.clone())) {
            Some(Held::Varies(names)) => {
                let variant = cache_key::variant(key, &names, fields);
                match self.held.get(&Name::Resource(variant)) {
                    Some(held) => self.selected(held, true, now),
                    None => Selected::Nothing { variants: true, seen: None },
                }
            }
            Some(held) => self.selected(held, false, now),
            None => Selected::Nothing { variants: false, seen: None },
        }
    }

    fn selected(&self, held: Held, variants: bool, now: Timestamp) -> Selected {
        match held {
            Held::Response(stored) => match self.held.get(&Name::Body(stored.response.content)) {
                Some(Held::Body(body)) => {
                    let standing = self.fences.standing(&stored.slots, stored.mark, &stored.place.path);
                    Selected::Response { stored, body, standing }
                }
                _ => Selected::Nothing { variants, seen: Seen::of(&stored.response).map(Arc::new) },
            },
            Held::Unstorable { why, until, seen } if now.boot_ms < until => Selected::Unstorable { why, seen },
            Held::Unstorable { seen, .. } => Selected::Nothing { variants, seen },
            Held::Varies(_) | Held::Body(_) => Selected::Nothing { variants, seen: None },
        }
    }

    /// The key under which requests that select the same variant as `fields` meet: what is known to vary, told apart.
    pub fn variant_key(&self, key: &CacheKey, fields: &Fields) -> CacheKey {
        match self.held.get(&Name::Resource(key.clone())) {
            Some(Held::Varies(names)) => cache_key::variant(key, &names, fields),
            _ => key.clone(),
        }
    }

    /// A fetch begins.
    pub fn begin(&self, now: Timestamp) -> Ticket {
        Ticket { mark: self.fences.mark(now) }
    }

    /// Stores a response, unless something that it shows was invalidated since its fetch began.
    ///
    /// # Errors
    /// Why it was not stored.
    pub fn put(
        &self,
        ticket: &Ticket,
        key: &CacheKey,
        fields: &Fields,
        storable: &Storable,
        slots: Slots,
        place: Place,
    ) -> Result<(), Detail> {
        // What it varies on is learned even if it is not stored, or its variants would wait for each other in vain.
        let key = self.varying(key, storable.vary(), fields);
        match self.fences.standing(&slots, ticket.mark, &place.path) {
            Standing::Unsettled => return Err(Detail::Mutation),
            Standing::Invalidated => return Err(Detail::Overtaken),
            Standing::Valid | Standing::Expired => {}
        }
        let name = Name::Resource(key);
        if self.nearly_full() && !self.held.contains_key(&name) && !self.asked_before(&name) {
            return Err(Detail::NearlyFull);
        }
        let response = storable.response().clone();
        let body = Name::Body(response.content);
        if !self.held.contains_key(&body) {
            self.held.insert(body, Held::Body(storable.body().clone()));
        }
        self.held.insert(name, Held::Response(Arc::new(Stored { response, slots, mark: ticket.mark, place })));
        Ok(())
    }

    /// The key of the variant that a response is, after the resource has learned what it varies on. What it varied on
    /// before stays: a request may still meet the older responses.
    fn varying(&self, key: &CacheKey, vary: &[String], fields: &Fields) -> CacheKey {
        let known = match self.held.get(&Name::Resource(key.clone())) {
            Some(Held::Varies(names)) => names,
            _ if vary.is_empty() => return key.clone(),
            _ => Arc::from([]),
        };
        let mut names: Vec<String> = known.iter().chain(vary).cloned().collect();
        names.sort();
        names.dedup();
        if names.len() > known.len() {
            self.held.insert(Name::Resource(key.clone()), Held::Varies(names.clone().into()));
        }
        cache_key::variant(key, &names, fields)
    }

    /// Remembers that a resource cannot be stored.
    pub fn unstorable(&self, key: &CacheKey, why: Unstorable, seen: Option<Seen>, now: Timestamp, for_: Duration) {
        let until = (now + for_).boot_ms;
        self.held.insert(Name::Resource(key.clone()), Held::Unstorable { why, until, seen: seen.map(Arc::new) });
    }

    /// Carries an invalidation out: the only way anything becomes invalid.
    pub fn invalidate(&self, invalidation: Invalidation, soft: bool) -> Invalidated {
        let slots = self.fences.slots(&invalidation.keys);
        let sequence = if soft { self.fences.expire(&slots) } else { self.fences.invalidate(&slots) };
        Invalidated { sequence, invalidation }
    }

    /// The same for every path that begins with `prefix`.
    pub fn invalidate_prefix(&self, prefix: &str, soft: bool) -> Invalidated {
        let sequence = self.fences.invalidate_prefix(prefix, soft);
        Invalidated { sequence, invalidation: Invalidation::default() }
    }

    /// Whether a collapsed fetch may be handed to a waiter.
    pub fn may_hand_over(&self, slots: &Slots, ticket: &Ticket, joined: Epoch, path: &str) -> bool {
        self.fences.may_hand_over(slots, ticket.mark, joined, path)
    }

    /// How many stored responses could be used and stand where `at` says. Looks at every one.
    pub fn count(&self, at: impl Fn(&Place) -> bool) -> usize {
        self.held
            .iter()
            .filter(|(_, held)| match held {
                Held::Response(stored) if at(&stored.place) => {
                    let standing = self.fences.standing(&stored.slots, stored.mark, &stored.place.path);
                    matches!(standing, Standing::Valid | Standing::Expired)
                }
                _ => false,
            })
            .count()
    }

    /// How many things are held, and the bytes they weigh; both lag a little behind.
    pub fn figures(&self) -> (u64, u64) {
        (self.held.entry_count(), self.held.weighted_size())
    }

    fn nearly_full(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a share of the memory needs no exact bytes")]
        let share = self.held.weighted_size() as f64 / self.capacity as f64;
        share > NEARLY_FULL
    }

    /// A flood of keys that are asked for once must not wash out those that are asked for often.
    fn asked_before(&self, name: &Name) -> bool {
        let hash = self.hash.hash_one(name);
        let door = usize::try_from(hash % DOORS as u64).expect("below 2^16");
        // One in 2^14 first requests wipes the word it stands in, so the doorkeeper forgets about as fast as it learns.
        if hash >> 50 == 0 {
            self.doors[door / 64].store(0, Relaxed);
        }
        let bit = 1 << (door % 64);
        self.doors[door / 64].fetch_or(bit, Relaxed) & bit != 0
    }
}

/// The bytes that an entry holds.
fn weight(name: &Name, held: &Held) -> usize {
    let name = match name {
        Name::Resource(key) => key.len(),
        Name::Body(_) => 0,
    };
    let held = match held {
        Held::Response(stored) => {
            let fields: usize = stored.response.fields.iter().map(|(n, v)| n.len() + v.len() + 64).sum();
            fields + std::mem::size_of::<Stored>() + stored.place.path.len() + stored.place.query.len()
        }
        Held::Varies(names) => names.iter().map(|n| n.len() + 24).sum(),
        Held::Body(body) => body.len(),
        Held::Unstorable { .. } => 64,
    };
    name + held + OVERHEAD
}
