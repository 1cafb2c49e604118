//! What is kept, and for how long it may be used: moka bounds the memory, [`fences`] say what is still true.
//!
//! One moka cache holds three kinds of things under one bound, so that `cache.memory` is the one number there is:
//! responses, the names that a resource's responses vary on, and bodies by content hash, each once however many
//! responses hold it. A response whose body is gone is a miss. Freshness is not decided here.

pub mod fences;
pub mod first_seen;
pub mod flight;
pub mod sync;
pub mod variants;

use crate::clock::Timestamp;
use crate::field::Fields;
use crate::policy::{Coding, EntityId, RouteId};
use crate::semantics::cache_key::{self, CacheKey, FIELD_NAMES};
use crate::semantics::cache_status::Detail;
use crate::semantics::invalidation::Invalidation;
use crate::semantics::request::CallerKey;
use crate::semantics::reuse::Standing;
use crate::semantics::stored_response::{ContentHash, Response};
use crate::semantics::storing::{Seen, Storable};
use bytes::Bytes;
use fences::{Epoch, Fences, Mark, Slots};
use first_seen::FirstSeen;
use moka::Entry;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// What moka, its deque nodes and our own allocations add to an entry, measured and rounded up.
const OVERHEAD: usize = 320;

/// Eviction catches up whenever this part of the bound has been put: what is held exceeds the bound by no more.
const UNSETTLED: u64 = 64;

/// From this part of the bound on, a key is stored from its second request.
const NEARLY_FULL: f64 = 0.9;

/// Bits of the doorkeeper.
const DOORS: usize = 1 << 16;

/// At each of so many questions the doorkeeper forgets one word of 64 bits, in turn, so that it remembers a key for 2^15
/// questions, and never knows more than two fifths of all doors.
const QUESTIONS_PER_WORD: usize = 32;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    Resource(CacheKey),
    Body(ContentHash),
    /// A body in a content coding made here.
    Coded(ContentHash, Coding),
}

#[derive(Clone)]
enum Held {
    Response(Arc<Stored>),
    /// The responses of this resource vary on these request fields.
    Varies(Arc<[String]>),
    Body(Bytes),
    /// A content coding that would save nothing.
    Futile,
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
    /// What is stored of it is each caller's own, and stands under the caller's own key.
    Apart,
}

/// A stored response and what it stands and falls with.
#[derive(Clone, Debug)]
pub struct Stored {
    pub response: Response,
    /// What was told since and could not be stored.
    pub since: Option<Seen>,
    /// Whether a HEAD has told that the origin has something else now, so that it is stale whatever its age.
    pub outdated: bool,
    pub slots: Slots,
    pub mark: Mark,
    pub place: Place,
}

impl Stored {
    /// What was last seen of the resource.
    pub fn last_seen(&self) -> Option<Seen> {
        self.since.clone().or_else(|| Seen::of(&self.response))
    }
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
    /// Whose request it answered first.
    pub fetched_by: CallerKey,
}

impl Place {
    /// In memory of just its size.
    fn compact(self) -> Self {
        // Copies: what shrinks in place may keep a block twice as large.
        let copy = |text: &String| text.as_str().to_owned();
        Place { path: copy(&self.path), query: copy(&self.query), id: self.id.as_ref().map(copy), ..self }
    }
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
    creations: u64,
}

impl Ticket {
    /// The mark that the fetch noted.
    pub fn mark(&self) -> Mark {
        self.mark
    }

    /// How many mutations of the resource or of its collection had begun by then.
    pub fn creations(&self) -> u64 {
        self.creations
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
    /// Bytes that were put since eviction last caught up.
    unsettled: AtomicU64,
    doors: Box<[AtomicU64]>,
    questions: AtomicUsize,
    hash: std::collections::hash_map::RandomState,
    pub fences: Fences,
    pub first_seen: FirstSeen,
    under_way: Arc<variants::UnderWay>,
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
            unsettled: AtomicU64::new(0),
            doors: bytemuck::zeroed_slice_box(DOORS / 64),
            questions: AtomicUsize::new(0),
            hash: Default::default(),
            fences: Fences::new(entities),
            first_seen: FirstSeen::default(),
            under_way: Arc::default(),
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
                    let standing = match self.fences.standing(&stored.slots, stored.mark, &stored.place.path) {
                        Standing::Valid if stored.outdated => Standing::Expired,
                        standing => standing,
                    };
                    Selected::Response { stored, body, standing }
                }
                _ => Selected::Nothing { variants, seen: stored.last_seen().map(Arc::new) },
            },
            Held::Unstorable { why, until, seen } if now.boot_ms < until => Selected::Unstorable { why, seen },
            Held::Unstorable { seen, .. } => Selected::Nothing { variants, seen },
            Held::Varies(_) | Held::Body(_) | Held::Futile => Selected::Nothing { variants, seen: None },
        }
    }

    /// The key under which requests that select the same variant as `fields` meet: what is known to vary, told apart.
    pub fn variant_key(&self, key: &CacheKey, fields: &Fields) -> CacheKey {
        match self.held.get(&Name::Resource(key.clone())) {
            Some(Held::Varies(names)) => cache_key::variant(key, &names, fields),
            _ => key.clone(),
        }
    }

    /// A fetch begins; its answer, were it a 404, would stand behind these fences.
    pub fn begin(&self, negative: &Slots, now: Timestamp) -> Ticket {
        Ticket { mark: self.fences.mark(now), creations: self.fences.begun(negative) }
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
        let key = self.varying(key, storable.vary(), fields).ok_or(Detail::Status)?;
        let name = Name::Resource(key);
        let refused = match self.fences.standing(&slots, ticket.mark, &place.path) {
            Standing::Unsettled => Some(Detail::Mutation),
            Standing::Invalidated => Some(Detail::Overtaken),
            Standing::Valid | Standing::Expired => None,
        };
        if let Some(why) = refused {
            self.remember_seen(name, ticket.mark, storable.response());
            return Err(why);
        }
        if self.nearly_full() && !self.held.contains_key(&name) && !self.asked_before(&name) {
            return Err(Detail::NearlyFull);
        }
        // Copies, of just their size: what came lies in the buffers that it was read into, and these would stay.
        let came = storable.response();
        let (fields, reason) = (came.fields.compact(), Bytes::copy_from_slice(&came.reason));
        let response = Response { fields, reason, ..came.clone() };
        let place = place.compact();
        let body = Name::Body(response.content);
        if !self.held.contains_key(&body) {
            self.hold(body, Held::Body(Bytes::copy_from_slice(storable.body())));
        }
        let stored = Stored { response, since: None, outdated: false, slots, mark: ticket.mark, place };
        self.hold(name, Held::Response(Arc::new(stored)));
        Ok(())
    }

    /// What came was told and is not stored: it is what was last seen, or its date would go back when an older content
    /// comes again. In one step, since something newer may be stored meanwhile.
    fn remember_seen(&self, name: Name, mark: Mark, came: &Response) {
        let Some(seen) = Seen::of(came) else { return };
        self.held.entry(name).and_compute_with(|held| match held.map(Entry::into_value) {
            Some(Held::Response(stored)) if stored.mark.earlier(mark) == stored.mark => {
                Op::Put(Held::Response(Arc::new(Stored { since: Some(seen), ..(*stored).clone() })))
            }
            Some(Held::Unstorable { why, until, .. }) => {
                Op::Put(Held::Unstorable { why, until, seen: Some(Arc::new(seen)) })
            }
            _ => Op::Nop,
        });
    }

    /// Counts `stored`, where it is still held, as expired. Its age stays what it is: that is how long it has been since
    /// the origin generated or validated it (RFC 9111 §5.1), and nobody does so by having something else.
    pub fn outdate(&self, key: &CacheKey, fields: &Fields, stored: &Arc<Stored>) {
        let name = Name::Resource(self.variant_key(key, fields));
        self.held.entry(name).and_compute_with(|held| match held.map(Entry::into_value) {
            Some(Held::Response(held)) if Arc::ptr_eq(&held, stored) => {
                Op::Put(Held::Response(Arc::new(Stored { outdated: true, ..(*held).clone() })))
            }
            _ => Op::Nop,
        });
    }

    /// The key of the variant that a response is, after the resource has learned what it varies on. What it varied on
    /// before stays: a request may still meet the older responses.
    ///
    /// What may speak of one request's fields alone is told apart by all their names. It does so among its kind only: it
    /// has no place, `None`, beside what is told to everybody, and gives its own to that.
    fn varying(&self, key: &CacheKey, vary: &[String], fields: &Fields) -> Option<CacheKey> {
        let by_names = |names: &[String]| names.iter().any(|name| name == FIELD_NAMES);
        let odd = by_names(vary);
        let known = match self.held.get(&Name::Resource(key.clone())) {
            Some(Held::Varies(names)) if odd && !by_names(&names) => return None,
            Some(Held::Response(_)) if odd => return None,
            Some(Held::Varies(names)) => names,
            _ => Arc::from([]),
        };
        let mut names: Vec<String> = known.iter().chain(vary).cloned().collect();
        names.sort();
        names.dedup();
        names.retain(|name| odd || name != FIELD_NAMES);
        if *names != *known {
            self.hold(Name::Resource(key.clone()), Held::Varies(names.clone().into()));
        }
        Some(if names.is_empty() { key.clone() } else { cache_key::variant(key, &names, fields) })
    }

    /// Remembers that a resource cannot be stored.
    pub fn unstorable(&self, key: &CacheKey, why: Unstorable, seen: Option<Seen>, now: Timestamp, for_: Duration) {
        let until = (now + for_).boot_ms;
        self.hold(Name::Resource(key.clone()), Held::Unstorable { why, until, seen: seen.map(Arc::new) });
    }

    /// moka lets 64 writes wait before it evicts, and 64 bodies may be more than all that there is room for.
    fn hold(&self, name: Name, held: Held) {
        let weight = weight(&name, &held) as u64;
        self.held.insert(name, held);
        if self.unsettled.fetch_add(weight, Relaxed) + weight > self.capacity / UNSETTLED {
            self.unsettled.store(0, Relaxed);
            self.held.run_pending_tasks();
        }
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

    /// How many things are held, and the bytes they weigh.
    pub fn figures(&self) -> (u64, u64) {
        // Both lag behind what was written last.
        self.held.run_pending_tasks();
        (self.held.entry_count(), self.held.weighted_size())
    }

    pub(crate) fn nearly_full(&self) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a share of the memory needs no exact bytes")]
        let share = self.held.weighted_size() as f64 / self.capacity as f64;
        share > NEARLY_FULL
    }

    /// A flood of keys that are asked for once must not wash out those that are asked for often.
    fn asked_before(&self, name: &Name) -> bool {
        let question = self.questions.fetch_add(1, Relaxed);
        if question.is_multiple_of(QUESTIONS_PER_WORD) {
            self.doors[question / QUESTIONS_PER_WORD % self.doors.len()].store(0, Relaxed);
        }
        let door = usize::try_from(self.hash.hash_one(name) % DOORS as u64).expect("below 2^16");
        let bit = 1 << (door % 64);
        self.doors[door / 64].fetch_or(bit, Relaxed) & bit != 0
    }
}

/// The bytes that an entry takes.
fn weight(name: &Name, held: &Held) -> usize {
    let name = match name {
        Name::Resource(key) => allocated(COUNTS + key.size()),
        Name::Body(_) | Name::Coded(..) => 0,
    };
    let held = match held {
        Held::Response(stored) => {
            let Stored { slots, place, response, since, .. } = &**stored;
            let [text, lines] = response.fields.size();
            let tag = response.validator.entity_tag().map_or(0, |tag| tag.opaque.len());
            let place = [place.path.len(), place.query.len(), place.id.as_ref().map_or(0, String::len)];
            let since = since.as_ref().map_or(0, |seen| seen.tag.opaque.len());
            [COUNTS + size_of::<Stored>(), text, lines, response.reason.len(), tag, since]
                .into_iter()
                .chain(place)
                .chain([slots.size()])
                .map(allocated)
                .sum()
        }
        Held::Varies(names) => {
            allocated(COUNTS + size_of_val(&**names)) + names.iter().map(|name| allocated(name.len())).sum::<usize>()
        }
        Held::Body(body) => allocated(body.len()),
        Held::Unstorable { seen: Some(seen), .. } => {
            allocated(COUNTS + size_of::<Seen>()) + allocated(seen.tag.opaque.len()) + allocated(2 * COUNTS)
        }
        Held::Futile | Held::Unstorable { seen: None, .. } => 0,
    };
    name + held + OVERHEAD
}

/// The two counts of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();

/// What an allocation of so many bytes takes: mimalloc has four sizes between a power of two and the next.
fn allocated(bytes: usize) -> usize {
    match bytes {
        0..=64 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(bytes.next_power_of_two() / 8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Framing, Head};
    use crate::policy::SetCookie;
    use crate::semantics::cache_key::Partition;
    use crate::semantics::invalidation::FenceKey;
    use crate::semantics::sample::{at, fields, fresh, plain, request};
    use crate::semantics::stored_response::Modified;
    use crate::semantics::storing::{self, Received};

    const MIB: u64 = 1 << 20;
    const ITEMS: EntityId = EntityId(0);

    fn store(memory: u64) -> Store {
        Store::new(memory, 1)
    }

    fn key(target: &str, caller: u8) -> CacheKey {
        cache_key::of(&request("GET", target, &[]), &fresh(), &Partition::Caller([caller; 16]))
    }

    fn storable(body: &str, lines: &[(&str, &str)]) -> Storable {
        let route = crate::policy::Route { set_cookie: SetCookie::Strip, ..fresh() };
        let head = Head { status: 200, reason: Bytes::new(), fields: fields(lines) };
        let received = Received {
            head: &head,
            framing: Framing::Chunked,
            body: Bytes::copy_from_slice(body.as_bytes()),
            request_time: at(0),
            response_time: at(0),
        };
        let response =
            storing::received(&received, &route, None, |_, date, first_seen| Modified::Computed { date, first_seen });
        storing::decide(&request("GET", "/", &[]), &received, response, &route, &Partition::Public, &[])
            .expect("it may be stored")
    }

    fn place(path: &str) -> Place {
        Place { route: RouteId(0), entity: ITEMS, id: None, path: path.into(), query: String::new(), fetched_by: None }
    }

    fn slots(store: &Store) -> Slots {
        store.fences.slots(&[FenceKey::All, FenceKey::Entity(ITEMS)])
    }

    fn begin(store: &Store) -> Ticket {
        store.begin(&slots(store), at(0))
    }

    /// Stores `body` as fetched just now.
    fn put(store: &Store, key: &CacheKey, body: &str, lines: &[(&str, &str)]) -> Result<(), Detail> {
        put_at(store, &begin(store), key, body, lines)
    }

    fn put_at(
        store: &Store,
        ticket: &Ticket,
        key: &CacheKey,
        body: &str,
        lines: &[(&str, &str)],
    ) -> Result<(), Detail> {
        let asked = fields(&[("X-Colour", "red")]);
        store.put(ticket, key, &asked, &storable(body, lines), slots(store), place("/a"))
    }

    fn red() -> Fields {
        fields(&[("X-Colour", "red")])
    }

    /// The body that is selected, and its standing.
    fn selected(store: &Store, key: &CacheKey, asked: &Fields) -> Option<(String, Standing)> {
        match store.select(key, asked, at(0)) {
            Selected::Response { body, standing, .. } => {
                Some((String::from_utf8(body.to_vec()).expect("tests store text"), standing))
            }
            Selected::Nothing { .. } | Selected::Unstorable { .. } => None,
        }
    }

    #[test]
    fn what_is_put_is_selected() {
        let store = store(MIB);
        let key = key("/", 0);
        assert!(matches!(store.select(&key, &red(), at(0)), Selected::Nothing { variants: false, seen: None }));
        assert_eq!(put(&store, &key, "one", &[]), Ok(()));
        assert_eq!(selected(&store, &key, &red()), Some(("one".into(), Standing::Valid)));
        assert_eq!(put(&store, &key, "two", &[]), Ok(()));
        assert_eq!(selected(&store, &key, &red()), Some(("two".into(), Standing::Valid)));
    }

    #[test]
    fn a_body_is_held_once_however_many_callers_hold_it() {
        let store = store(8 * MIB);
        let body = "x".repeat(100_000);
        for caller in 0..50 {
            assert_eq!(put(&store, &key("/", caller), &body, &[]), Ok(()));
        }
        let (entries, bytes) = store.figures();
        assert_eq!(entries, 51);
        assert!((100_000..200_000).contains(&bytes), "{bytes} bytes");
        for caller in 0..50 {
            assert_eq!(selected(&store, &key("/", caller), &red()), Some((body.clone(), Standing::Valid)));
        }
    }

    /// What came in one buffer with much else would keep all of it in memory, and count for its own octets alone.
    #[test]
    fn what_is_stored_holds_on_to_nothing_else() {
        let store = store(MIB);
        let buffer = Bytes::from(format!("X-Line a value {}", "x".repeat(100_000)));
        let within = |part: &[u8]| buffer.as_ptr_range().contains(&part.as_ptr());
        let lines = [(buffer.slice(..6), buffer.slice(7..14))].into_iter().collect();
        let head = Head { status: 200, reason: buffer.slice(..1), fields: lines };
        let received = Received {
            head: &head,
            framing: Framing::Chunked,
            body: buffer.slice(..14),
            request_time: at(0),
            response_time: at(0),
        };
        let response =
            storing::received(&received, &plain(), None, |_, date, first_seen| Modified::Computed { date, first_seen });
        let storable =
            storing::decide(&request("GET", "/", &[]), &received, response, &plain(), &Partition::Public, &[])
                .expect("storable");
        let key = key("/", 0);
        let put = store.put(&begin(&store), &key, &red(), &storable, slots(&store), place("/a"));
        assert_eq!(put, Ok(()));
        let Selected::Response { stored, body, .. } = store.select(&key, &red(), at(0)) else { panic!("it is stored") };
        assert_eq!((&body[..], stored.response.fields.get("x-line")), (&b"X-Line a value"[..], Some(&b"a value"[..])));
        assert!(!within(&body) && !within(&stored.response.reason));
        assert!(!stored.response.fields.iter().any(|(name, value)| within(name) || within(value)));
    }

    #[test]
    fn a_response_whose_body_is_gone_is_a_miss_that_remembers_the_content() {
        let store = store(MIB);
        assert_eq!(put(&store, &key("/", 0), "one", &[]), Ok(()));
        let storable = storable("one", &[]);
        store.held.invalidate(&Name::Body(storable.response().content));
        let Selected::Nothing { seen: Some(seen), .. } = store.select(&key("/", 0), &red(), at(0)) else {
            panic!("it is a miss that remembers")
        };
        assert_eq!(Some(&seen.tag), storable.response().validator.entity_tag());
    }

    #[test]
    fn the_fences_keep_out_what_they_overtake() {
        let store = store(MIB);
        let (key, ticket) = (key("/", 0), begin(&store));
        let slots = slots(&store);
        store.invalidate(Invalidation::of_key(FenceKey::Entity(ITEMS)), true);
        assert_eq!(put_at(&store, &ticket, &key, "expired", &[]), Ok(()));
        assert_eq!(selected(&store, &key, &red()), Some(("expired".into(), Standing::Expired)));
        store.invalidate(Invalidation::of_key(FenceKey::Entity(ITEMS)), false);
        assert_eq!(put_at(&store, &ticket, &key, "old", &[]), Err(Detail::Overtaken));
        assert_eq!(selected(&store, &key, &red()), Some(("expired".into(), Standing::Invalidated)));
        store.fences.raise(&slots);
        assert_eq!(put(&store, &key, "maybe", &[]), Err(Detail::Mutation));
        assert_eq!(selected(&store, &key, &red()), Some(("expired".into(), Standing::Unsettled)));
        store.fences.lower(&slots);
        assert_eq!(put(&store, &key, "new", &[]), Ok(()));
        assert_eq!(selected(&store, &key, &red()), Some(("new".into(), Standing::Valid)));
    }

    #[test]
    fn an_invalidation_says_what_it_did_under_which_number() {
        let store = store(MIB);
        let invalidation = Invalidation::of_key(FenceKey::All);
        for (soft, number) in [(false, 1), (true, 2)] {
            let invalidated = store.invalidate(invalidation.clone(), soft);
            assert_eq!((invalidated.sequence(), invalidated.invalidation()), (number, &invalidation));
        }
        assert_eq!(store.invalidate_prefix("/", false).sequence(), 3);
    }

    #[test]
    fn variants_are_told_apart_by_all_that_was_ever_named() {
        let store = store(MIB);
        let key = key("/", 0);
        assert_eq!(store.variant_key(&key, &red()), key);
        assert_eq!(put(&store, &key, "red", &[("Vary", "X-Colour")]), Ok(()));
        let blue = fields(&[("X-Colour", "blue")]);
        assert_eq!(selected(&store, &key, &red()), Some(("red".into(), Standing::Valid)));
        assert!(matches!(store.select(&key, &blue, at(0)), Selected::Nothing { variants: true, .. }));
        assert_ne!(store.variant_key(&key, &red()), store.variant_key(&key, &blue));
        // A response that names less is still one variant among them.
        assert_eq!(put(&store, &key, "plain", &[]), Ok(()));
        assert_eq!(selected(&store, &key, &red()), Some(("plain".into(), Standing::Valid)));
        assert_eq!(selected(&store, &key, &blue), None);
        // One that names more splits them further.
        assert_eq!(put(&store, &key, "small", &[("Vary", "X-Size")]), Ok(()));
        assert_eq!(selected(&store, &key, &red()), Some(("small".into(), Standing::Valid)));
        assert_eq!(selected(&store, &key, &fields(&[("X-Colour", "red"), ("X-Size", "9")])), None);
    }

    #[test]
    fn what_came_and_was_not_stored_is_what_was_last_seen() {
        let store = store(MIB);
        let (key, early) = (key("/", 0), begin(&store));
        let seen = || match store.select(&key, &red(), at(0)) {
            Selected::Response { stored, .. } => stored.last_seen().map(|seen| seen.tag),
            Selected::Nothing { seen, .. } | Selected::Unstorable { seen, .. } => seen.map(|seen| seen.tag.clone()),
        };
        let tag = |body| storable(body, &[]).response().validator.entity_tag().cloned();
        assert_eq!(put(&store, &key, "one", &[]), Ok(()));
        store.fences.quarantine(&slots(&store), at(60));
        for (body, second) in [("two", 0), ("three", 1), ("one", 2)] {
            let ticket = store.begin(&slots(&store), at(second));
            assert_eq!(put_at(&store, &ticket, &key, body, &[]), Err(Detail::Mutation));
            assert_eq!(seen(), tag(body));
            assert_eq!(selected(&store, &key, &red()), Some(("one".into(), Standing::Unsettled)), "it is still there");
        }
        store.invalidate(Invalidation::of_key(FenceKey::All), false);
        let late = store.begin(&slots(&store), at(60));
        assert_eq!(put_at(&store, &late, &key, "four", &[]), Ok(()));
        assert_eq!(put_at(&store, &early, &key, "two", &[]), Err(Detail::Mutation));
        assert_eq!(seen(), tag("four"), "what was fetched before is no news");
        let seen_of = storing::Seen::of(storable("one", &[]).response());
        store.unstorable(&key, Unstorable::Refused(Detail::NoStore), seen_of, at(0), Duration::from_secs(60));
        assert_eq!(put(&store, &key, "five", &[]), Err(Detail::Mutation));
        assert_eq!(seen(), tag("five"));
    }

    #[test]
    fn what_varies_is_learned_from_what_is_not_stored() {
        let store = store(MIB);
        let (key, ticket) = (key("/", 0), begin(&store));
        store.invalidate(Invalidation::of_key(FenceKey::All), false);
        assert_eq!(put_at(&store, &ticket, &key, "red", &[("Vary", "X-Colour")]), Err(Detail::Overtaken));
        assert_ne!(store.variant_key(&key, &red()), key);
    }

    #[test]
    fn what_cannot_be_stored_is_remembered_for_as_long_as_it_was_said() {
        let store = store(MIB);
        let key = key("/", 0);
        let seen = storing::Seen::of(storable("one", &[]).response());
        let why = Unstorable::Refused(Detail::NoStore);
        store.unstorable(&key, why, seen, at(0), Duration::from_secs(60));
        let Selected::Unstorable { why: found, seen: Some(_) } = store.select(&key, &red(), at(59)) else {
            panic!("it is remembered")
        };
        assert_eq!(found, why);
        let Selected::Nothing { seen: Some(_), variants: false } = store.select(&key, &red(), at(60)) else {
            panic!("only the content is")
        };
        assert_eq!(put(&store, &key, "one", &[]), Ok(()));
        assert!(selected(&store, &key, &red()).is_some());
    }

    #[test]
    fn what_could_be_used_is_counted_by_its_place() {
        let store = store(MIB);
        let counted = |path: &str| store.count(|at| at.path == path);
        assert_eq!(put(&store, &key("/1", 0), "one", &[("Vary", "X-Colour")]), Ok(()));
        assert_eq!(put(&store, &key("/2", 0), "two", &[]), Ok(()));
        assert_eq!((counted("/a"), counted("/b")), (2, 0));
        store.invalidate(Invalidation::of_key(FenceKey::All), true);
        assert_eq!(counted("/a"), 2);
        store.invalidate(Invalidation::of_key(FenceKey::All), false);
        assert_eq!(counted("/a"), 0);
    }

    #[test]
    fn an_entry_weighs_all_that_it_holds() {
        let (name, long) = (Name::Resource(key("/", 0)), Name::Resource(key(&"/long".repeat(50), 0)));
        let stored = |lines: &[(&str, &str)], path: &str| {
            let store = store(MIB);
            let (response, mark) = (storable("body", lines).response().clone(), begin(&store).mark());
            let slots = store.fences.slots(&[const { FenceKey::All }; 5]);
            Held::Response(Arc::new(Stored { response, since: None, outdated: false, slots, mark, place: place(path) }))
        };
        let base = weight(&name, &stored(&[], "/a"));
        // What is stored and its one line, Date; that line's octets and its place, the entity-tag, the path, the fences.
        let entry = allocated(16 + key("/", 0).size()) + allocated(16 + size_of::<Stored>());
        assert_eq!(base, entry + 48 + 16 + 32 + 16 + 48 + OVERHEAD);
        let more =
            |weight: usize, low: usize| assert!((low..2 * low).contains(&(weight - base)), "{weight} and {base}");
        more(weight(&long, &stored(&[], "/a")), 200);
        more(weight(&name, &stored(&[("X", &"y".repeat(1000))], "/a")), 1000);
        more(weight(&name, &stored(&[("X", "y"); 100], "/a")), 100 * 14);
        more(weight(&name, &stored(&[], &"/a".repeat(100))), 190);
        for length in 1..=16 {
            let key = key(&"/".repeat(length), 0);
            let bytes = allocated(16 + key.size());
            assert_eq!(weight(&Name::Resource(key), &Held::Body(Bytes::new())), bytes + OVERHEAD);
        }
        let body = Name::Body(ContentHash([0; 32]));
        assert_eq!(weight(&body, &Held::Body(Bytes::from("body"))), 16 + OVERHEAD);
        let names = Held::Varies(Arc::from(["accept".to_owned()]));
        assert_eq!(weight(&body, &names), 16 + 16 + 24 + 8 + OVERHEAD);
        let unstorable = Held::Unstorable { why: Unstorable::Streams(Detail::Streaming), until: 0, seen: None };
        assert_eq!(weight(&body, &unstorable), OVERHEAD);
        let seen = storing::Seen::of(storable("body", &[]).response()).map(Arc::new);
        let unstorable = Held::Unstorable { why: Unstorable::Streams(Detail::Streaming), until: 0, seen };
        assert_eq!(weight(&body, &unstorable), allocated(16 + size_of::<Seen>()) + 32 + 32 + OVERHEAD);
    }

    #[test]
    fn an_allocation_takes_the_next_of_four_sizes_to_a_power_of_two() {
        let sizes = [0, 1, 16, 17, 64, 65, 80, 81, 128, 129, 1024, 1025, 100_000];
        assert_eq!(sizes.map(allocated), [0, 16, 16, 32, 64, 80, 80, 96, 128, 160, 1024, 1280, 114_688]);
    }

    /// A store of 100 kB that is filled over nine tenths.
    fn nearly_full() -> Store {
        let store = store(100_000);
        let body = |n: u8| format!("{n}").repeat(20_000);
        for number in 0..4 {
            assert_eq!(put(&store, &key("/", number), &body(number), &[]), Ok(()));
        }
        assert!(!store.nearly_full());
        assert_eq!(put(&store, &key("/", 4), &"4".repeat(6_000), &[]), Ok(()));
        store.figures();
        store
    }

    #[test]
    fn when_nearly_full_a_key_is_stored_from_its_second_request() {
        let store = nearly_full();
        assert!(store.nearly_full());
        assert_eq!(put(&store, &key("/new", 0), "new", &[]), Err(Detail::NearlyFull));
        assert_eq!(put(&store, &key("/new", 0), "new", &[]), Ok(()));
        assert_eq!(put(&store, &key("/", 4), "what is held already may be renewed", &[]), Ok(()));
    }

    #[test]
    fn memory_stays_within_its_bound_whatever_is_stored() {
        let store = store(100_000);
        for number in 0..1000 {
            // Twice, past the doorkeeper.
            let key = key(&format!("/{number}"), 0);
            for _ in 0..2 {
                let stored = put(&store, &key, &format!("{number}").repeat(500), &[]);
                assert!(matches!(stored, Ok(()) | Err(Detail::NearlyFull)));
            }
        }
        let (entries, bytes) = store.figures();
        assert!(bytes <= 100_000 && entries > 20, "{entries} entries of {bytes} bytes");
    }

    /// What waits to be evicted is in memory too.
    #[test]
    fn large_bodies_exceed_the_bound_by_little() {
        let store = store(4 * MIB);
        for number in 0..40 {
            // Twice, past the doorkeeper.
            for _ in 0..2 {
                let stored = put(&store, &key(&format!("/{number}"), 0), &format!("{number:02}").repeat(250_000), &[]);
                assert!(matches!(stored, Ok(()) | Err(Detail::NearlyFull)));
            }
            let held: usize = store.held.iter().map(|(name, held)| weight(&name, &held)).sum();
            assert!(held as u64 <= 4 * MIB, "{held} bytes after {number}");
        }
    }

    #[test]
    fn eviction_catches_up_whenever_more_than_a_64th_of_the_bound_was_put() {
        let name = |octet: u8| Name::Body(ContentHash([octet; 32]));
        let (small, large) = (|| Held::Body(Bytes::new()), || Held::Body(Bytes::from(vec![b'x'; 1000])));
        let store = store(UNSETTLED * weight(&name(0), &small()) as u64);
        let lags = |octet, held| {
            store.hold(name(octet), held);
            store.unsettled.load(Relaxed) != 0
        };
        assert_eq!([0, 1, 2, 3].map(|octet| lags(octet, small())), [true, false, true, false]);
        assert!(!lags(4, large()));
    }

    #[test]
    fn the_doorkeeper_knows_a_key_that_comes_again_and_few_that_do_not() {
        let store = store(MIB);
        let name = |number: u32| Name::Resource(key(&format!("/{number}"), 0));
        let mut strangers_known = 0;
        for number in 0..200_000 {
            strangers_known += u32::from(store.asked_before(&name(number)));
            assert!(store.asked_before(&name(number)), "it just came");
        }
        assert!(strangers_known < 100_000, "{strangers_known} of 200,000 new keys were taken for known");
    }
}
