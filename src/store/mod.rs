//! What is kept, and for how long it may be used: moka bounds the memory, [`fences`] say what is still true.
//!
//! One moka cache holds three kinds of things under one bound, so that `cache.memory` is the one number there is:
//! responses, the names that a resource's responses vary on, and bodies that several responses hold. A body that one
//! response alone holds is part of it. A response whose body is gone is a miss. Freshness is not decided here.

pub mod fences;
pub mod first_seen;
pub mod flight;
mod holders;
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
use holders::Holders;
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

/// Under which name something is held. Keys are compared octet by octet: two whose hashes are equal never cross.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    Resource(CacheKey),
    /// A body that several responses hold.
    Body(ContentHash),
    /// A body in a content coding made here.
    Coded(ContentHash, Coding),
}

/// moka keeps one beside each response: what is large is behind a pointer.
#[derive(Clone)]
enum Held {
    Response(Arc<Stored>),
    /// The responses of this resource vary on these request fields.
    Varies(Arc<Vec<String>>),
    Body(Arc<Bytes>),
    /// A content coding that would save nothing.
    Futile,
    Unstorable(Arc<Refused>),
}

/// Nothing of this resource can be stored.
struct Refused {
    why: Unstorable,
    /// The boot time in milliseconds until which that is believed.
    until: u64,
    seen: Option<Arc<Seen>>,
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
    /// Its body, where no other response holds the same.
    body: Option<Bytes>,
    /// What was told since and could not be stored.
    pub since: Option<Box<Seen>>,
    /// Whether a HEAD has told that the origin has something else now, so that it is stale whatever its age.
    pub outdated: bool,
    pub slots: Slots,
    pub mark: Mark,
    pub place: Place,
}

impl Stored {
    /// What was last seen of the resource.
    pub fn last_seen(&self) -> Option<Seen> {
        self.since.as_deref().cloned().or_else(|| Seen::of(&self.response))
    }
}

/// Where a response belongs: what an operator's purge can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub route: RouteId,
    pub entity: EntityId,
    /// Whose request it answered first.
    pub fetched_by: CallerKey,
    /// Path, query and id behind each other: one piece of memory for each response.
    text: Box<str>,
    path: u32,
    query: u32,
    has_id: bool,
}

impl Place {
    /// The path is in matching form.
    pub fn new(
        (route, entity): (RouteId, EntityId),
        (path, query): (&str, &str),
        id: Option<&str>,
        fetched_by: CallerKey,
    ) -> Self {
        let length = |text: &str| u32::try_from(text.len()).expect("a head is far shorter than 4 GiB");
        Place {
            route,
            entity,
            fetched_by,
            text: [path, query, id.unwrap_or_default()].concat().into(),
            path: length(path),
            query: length(query),
            has_id: id.is_some(),
        }
    }

    /// The path, in matching form.
    pub fn path(&self) -> &str {
        &self.text[..self.path as usize]
    }

    /// The query, as it is keyed; empty where there is none.
    pub fn query(&self) -> &str {
        &self.text[self.path as usize..][..self.query as usize]
    }

    /// Which item it is.
    pub fn id(&self) -> Option<&str> {
        self.has_id.then(|| &self.text[self.path as usize + self.query as usize..])
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
    holders: Arc<Holders>,
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
        let holders = Arc::<Holders>::default();
        let forgetting = holders.clone();
        let held = moka::sync::Cache::builder()
            .max_capacity(memory)
            .weigher(|name: &Name, held: &Held| u32::try_from(weight(name, held)).unwrap_or(u32::MAX))
            // TinyLFU's admission shuts large entries out of a store full of small ones.
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |name, held, _| forgetting.forget(&name, &held))
            .build();
        Store {
            held,
            holders,
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
            Held::Response(stored) => match self.body_of(&stored) {
                Some(body) => {
                    let standing = match self.fences.standing(&stored.slots, stored.mark, stored.place.path()) {
                        Standing::Valid if stored.outdated => Standing::Expired,
                        standing => standing,
                    };
                    Selected::Response { stored, body, standing }
                }
                None => Selected::Nothing { variants, seen: stored.last_seen().map(Arc::new) },
            },
            Held::Unstorable(refused) => match (refused.why, refused.seen.clone()) {
                (why, seen) if now.boot_ms < refused.until => Selected::Unstorable { why, seen },
                (_, seen) => Selected::Nothing { variants, seen },
            },
            Held::Varies(_) | Held::Body(_) | Held::Futile => Selected::Nothing { variants, seen: None },
        }
    }

    fn body_of(&self, stored: &Stored) -> Option<Bytes> {
        stored.body.clone().or_else(|| match self.held.get(&Name::Body(stored.response.content)) {
            Some(Held::Body(body)) => Some((*body).clone()),
            _ => None,
        })
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
        let name = Name::Resource(key.clone());
        let refused = match self.fences.standing(&slots, ticket.mark, place.path()) {
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
        let reason = usual_reason(came).unwrap_or_else(|| Bytes::copy_from_slice(&came.reason));
        let fields = came.fields.compact();
        let response = Response { fields, reason, ..came.clone() };
        let body = self.own_body(&key, response.content, storable.body());
        let stored = Stored { response, body, since: None, outdated: false, slots, mark: ticket.mark, place };
        self.hold(name, Held::Response(Arc::new(stored)));
        Ok(())
    }

    /// What came was told and is not stored: it is what was last seen, or its date would go back when an older content
    /// comes again. In one step, since something newer may be stored meanwhile.
    fn remember_seen(&self, name: Name, mark: Mark, came: &Response) {
        let Some(seen) = Seen::of(came) else { return };
        self.replace(name, |held| match held {
            Held::Response(stored) if stored.mark.earlier(mark) == stored.mark => {
                Some(Held::Response(Arc::new(Stored { since: Some(Box::new(seen)), ..(*stored).clone() })))
            }
            Held::Unstorable(refused) => {
                let Refused { why, until, .. } = *refused;
                Some(Held::Unstorable(Arc::new(Refused { why, until, seen: Some(Arc::new(seen)) })))
            }
            _ => None,
        });
    }

    /// Counts `stored`, where it is still held, as expired. Its age stays what it is: that is how long it has been since
    /// the origin generated or validated it (RFC 9111 §5.1), and nobody does so by having something else.
    pub fn outdate(&self, key: &CacheKey, fields: &Fields, stored: &Arc<Stored>) {
        let name = Name::Resource(self.variant_key(key, fields));
        // It may be held in another form by now: its body has moved, or something was told since.
        let same = |held: &Stored| held.mark == stored.mark && held.response.content == stored.response.content;
        self.replace(name, |held| match held {
            Held::Response(held) if same(&held) => {
                Some(Held::Response(Arc::new(Stored { outdated: true, ..(*held).clone() })))
            }
            _ => None,
        });
    }

    /// Puts what `change` makes of what is held under `name` in its place, in one step.
    fn replace(&self, name: Name, change: impl FnOnce(Held) -> Option<Held>) {
        let mut put = None;
        self.held.entry(name.clone()).and_compute_with(|held| {
            put = held.map(Entry::into_value).and_then(change);
            put.clone().map_or(Op::Nop, Op::Put)
        });
        put.iter().for_each(|put| self.announce(&name, put));
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
            _ => Arc::default(),
        };
        let mut names: Vec<String> = known.iter().chain(vary).cloned().collect();
        names.sort();
        names.dedup();
        names.retain(|name| odd || name != FIELD_NAMES);
        if *names != *known {
            self.hold(Name::Resource(key.clone()), Held::Varies(Arc::new(names.clone())));
        }
        Some(if names.is_empty() { key.clone() } else { cache_key::variant(key, &names, fields) })
    }

    /// Remembers that a resource cannot be stored.
    pub fn unstorable(&self, key: &CacheKey, why: Unstorable, seen: Option<Seen>, now: Timestamp, for_: Duration) {
        let until = (now + for_).boot_ms;
        self.hold(
            Name::Resource(key.clone()),
            Held::Unstorable(Arc::new(Refused { why, until, seen: seen.map(Arc::new) })),
        );
    }

    /// moka lets 64 writes wait before it evicts, and 64 bodies may be more than all that there is room for.
    fn hold(&self, name: Name, held: Held) {
        let weight = weight(&name, &held) as u64;
        self.held.insert(name.clone(), held.clone());
        self.announce(&name, &held);
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
                    let standing = self.fences.standing(&stored.slots, stored.mark, stored.place.path());
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

/// The reason phrase of a response without memory of its own, where it is the one that RFC 9110 §15 gives its status.
fn usual_reason(response: &Response) -> Option<Bytes> {
    let usual = http::StatusCode::from_u16(response.status).ok()?.canonical_reason()?;
    (response.reason == usual).then(|| Bytes::from_static(usual.as_bytes()))
}

/// The bytes that an entry takes.
fn weight(name: &Name, held: &Held) -> usize {
    let name = match name {
        Name::Resource(key) => allocated(COUNTS + key.size()),
        Name::Body(_) | Name::Coded(..) => 0,
    };
    let held = match held {
        Held::Response(stored) => {
            let Stored { slots, place, response, since, body, .. } = &**stored;
            let [text, lines] = response.fields.size();
            let reason = if usual_reason(response).is_some() { 0 } else { response.reason.len() };
            let tag = response.validator.entity_tag().map_or(0, |tag| tag.opaque.apart());
            let since =
                since.as_ref().map_or(0, |seen| allocated(size_of::<Seen>()) + allocated(seen.tag.opaque.apart()));
            let body = body.as_ref().map_or(0, |body| holders::REMEMBERED + body_weight(body));
            [COUNTS + size_of::<Stored>(), text, lines, reason, tag, place.text.len(), slots.size()]
                .into_iter()
                .map(allocated)
                .sum::<usize>()
                + since
                + body
        }
        Held::Varies(names) => {
            let each = names.iter().map(|name| allocated(name.len())).sum::<usize>();
            allocated(COUNTS + size_of::<Vec<String>>()) + allocated(size_of_val(&***names)) + each
        }
        Held::Body(body) => allocated(COUNTS + size_of::<Bytes>()) + body_weight(body),
        Held::Unstorable(refused) => {
            let seen = |seen: &Arc<Seen>| allocated(COUNTS + size_of::<Seen>()) + allocated(seen.tag.opaque.apart());
            allocated(COUNTS + size_of::<Refused>()) + refused.seen.as_ref().map_or(0, seen)
        }
        Held::Futile => 0,
    };
    name + held + OVERHEAD
}

/// A body, and what `Bytes` adds once it is cloned.
fn body_weight(body: &Bytes) -> usize {
    allocated(body.len()) + 32
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
    use crate::semantics::sample::{Colliding, at, fields, fresh, plain, request};
    use crate::semantics::stored_response::{ContentHash, Modified};
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
        Place::new((RouteId(0), ITEMS), (path, ""), None, None)
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
        assert_eq!(entries, 51, "and one for the body");
        assert!((100_000..200_000).contains(&bytes), "{bytes} bytes");
        for caller in 0..50 {
            assert_eq!(selected(&store, &key("/", caller), &red()), Some((body.clone(), Standing::Valid)));
        }
    }

    /// How many responses are remembered for their bodies, and how many hold one.
    fn holders(store: &Store) -> (usize, usize) {
        store.figures();
        let own = |held: &Held| matches!(held, Held::Response(stored) if stored.body.is_some());
        (store.holders.count(), store.held.iter().filter(|(_, held)| own(held)).count())
    }

    #[test]
    fn a_body_is_part_of_the_one_response_that_holds_it_and_stands_apart_once_another_does() {
        let store = store(MIB);
        for (caller, entries, own) in [(0, 1, 1), (0, 1, 1), (1, 3, 0), (2, 4, 0)] {
            assert_eq!(put(&store, &key("/", caller), "one", &[]), Ok(()));
            assert_eq!((store.figures().0, holders(&store)), (entries, (own, own)));
        }
        for caller in 0..3 {
            assert_eq!(selected(&store, &key("/", caller), &red()), Some(("one".into(), Standing::Valid)));
        }
        // One that was evicted is brought by the next.
        store.held.invalidate(&Name::Body(storable("one", &[]).response().content));
        assert_eq!(selected(&store, &key("/", 0), &red()), None);
        assert_eq!(put(&store, &key("/", 0), "one", &[]), Ok(()));
        assert_eq!(selected(&store, &key("/", 0), &red()), Some(("one".into(), Standing::Valid)));
    }

    #[test]
    fn a_response_that_comes_again_keeps_its_body() {
        let store = store(MIB);
        let body = || match store.select(&key("/", 0), &red(), at(0)) {
            Selected::Response { body, .. } => body,
            _ => panic!("it is stored"),
        };
        assert_eq!(put(&store, &key("/", 0), "one", &[]), Ok(()));
        let first = body();
        assert_eq!(put(&store, &key("/", 0), "one", &[]), Ok(()));
        assert_eq!(body().as_ptr(), first.as_ptr());
        assert_eq!(put(&store, &key("/", 1), "one", &[]), Ok(()));
        assert_eq!(body().as_ptr(), first.as_ptr(), "it has moved, and was not copied");
    }

    #[test]
    fn who_holds_a_body_is_forgotten_with_it() {
        let store = store(100_000);
        let (one, other) = (key("/1", 0), key("/2", 0));
        assert_eq!(put(&store, &one, "one", &[]), Ok(()));
        assert_eq!(put(&store, &one, "two", &[]), Ok(()));
        assert_eq!(put(&store, &other, "other", &[]), Ok(()));
        assert_eq!(holders(&store), (2, 2), "it was replaced");
        store.unstorable(&other, Unstorable::Refused(Detail::NoStore), None, at(0), Duration::from_secs(60));
        assert_eq!(holders(&store), (1, 1), "it is no response any more");
        store.fences.quarantine(&slots(&store), at(60));
        assert_eq!(put(&store, &one, "three", &[]), Err(Detail::Mutation));
        assert_eq!(holders(&store), (1, 1), "something was told since");
        store.outdate(&one, &red(), &stored(&store, &one));
        assert_eq!(holders(&store), (1, 1), "it is outdated");
        for number in 0..1000 {
            // Twice, past the doorkeeper.
            for _ in 0..2 {
                let (ticket, body) = (store.begin(&slots(&store), at(60)), number.to_string());
                let stored = put_at(&store, &ticket, &key(&format!("/{number}"), 1), &body, &[]);
                assert!(matches!(stored, Ok(()) | Err(Detail::NearlyFull)));
            }
        }
        let (remembered, held) = holders(&store);
        assert_eq!(remembered, held, "they were evicted");
        assert!((20..200).contains(&held), "{held}");
    }

    fn stored(store: &Store, key: &CacheKey) -> Arc<Stored> {
        match store.select(key, &red(), at(0)) {
            Selected::Response { stored, .. } => stored,
            _ => panic!("it is stored"),
        }
    }

    #[test]
    fn a_response_is_outdated_though_its_body_has_moved_meanwhile() {
        let store = store(MIB);
        let standing = |caller| selected(&store, &key("/", caller), &red()).map(|(_, standing)| standing);
        assert_eq!(put(&store, &key("/", 0), "one", &[]), Ok(()));
        let told_of = stored(&store, &key("/", 0));
        assert_eq!(put(&store, &key("/", 1), "one", &[]), Ok(()));
        store.outdate(&key("/", 0), &red(), &told_of);
        assert_eq!((standing(0), standing(1)), (Some(Standing::Expired), Some(Standing::Valid)));
        assert_eq!(put(&store, &key("/", 0), "two", &[]), Ok(()));
        store.outdate(&key("/", 0), &red(), &told_of);
        assert_eq!(standing(0), Some(Standing::Valid), "it was told of another");
    }

    #[test]
    fn responses_that_bring_one_body_at_once_leave_nothing_behind() {
        let store = store(100_000);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..2000_u32 {
                        let (caller, body) =
                            (u8::try_from(number % 50).expect("below 50"), (number / 7 % 40).to_string());
                        let stored = put(store, &key(&format!("/{thread}"), caller), &body, &[]);
                        assert!(matches!(stored, Ok(()) | Err(Detail::NearlyFull)));
                    }
                });
            }
        });
        let (remembered, held) = holders(&store);
        assert!(remembered <= held, "{remembered} are remembered, and {held} hold a body");
    }

    #[test]
    fn a_place_tells_its_parts_apart() {
        let at = (RouteId(1), ITEMS);
        for (path, query, id) in [("/items/7", "a=1", Some("7")), ("/items", "", None), ("/items", "a=1", Some(""))] {
            let place = Place::new(at, (path, query), id, None);
            assert_eq!((place.path(), place.query(), place.id()), (path, query, id));
        }
    }

    #[test]
    fn a_reason_is_kept_as_it_came() {
        for (status, reason) in [(200, "OK"), (200, "Fine"), (200, ""), (404, "Not Found"), (404, "OK")] {
            let response = Response { reason: reason.into(), ..crate::semantics::sample::response(status, &[]) };
            let usual = (status, reason) == (200, "OK") || (status, reason) == (404, "Not Found");
            assert_eq!(usual_reason(&response), usual.then(|| reason.into()), "{status} {reason}");
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
        for caller in 0..2 {
            assert_eq!(put(&store, &key("/", caller), "one", &[]), Ok(()));
        }
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
        let counted = |path: &str| store.count(|at| at.path() == path);
        assert_eq!(put(&store, &key("/1", 0), "one", &[("Vary", "X-Colour")]), Ok(()));
        assert_eq!(put(&store, &key("/2", 0), "two", &[]), Ok(()));
        assert_eq!((counted("/a"), counted("/b")), (2, 0));
        store.invalidate(Invalidation::of_key(FenceKey::All), true);
        assert_eq!(counted("/a"), 2);
        store.invalidate(Invalidation::of_key(FenceKey::All), false);
        assert_eq!(counted("/a"), 0);
    }

    #[test]
    fn names_with_equal_hashes_never_cross() {
        let colliding = std::hash::BuildHasherDefault::<Colliding>::default();
        let held = moka::sync::Cache::builder().build_with_hasher(colliding);
        let content = ContentHash([0; 32]);
        let resources = ["/a", "/b"].map(|target| Name::Resource(key(target, 0)));
        let names = resources.into_iter().chain([key("/a", 1)].map(Name::Resource)).chain([Name::Body(content)]);
        let names: Vec<Name> = names.chain(Coding::ALL.map(|coding| Name::Coded(content, coding))).collect();
        names.iter().enumerate().for_each(|(number, name)| held.insert(name.clone(), number));
        for (number, name) in names.iter().enumerate() {
            assert_eq!(held.get(name), Some(number), "{name:?}");
        }
        assert_eq!(held.get(&Name::Resource(key("/c", 0))), None);
    }

    /// Holders are found by 64 bits of the content's hash.
    #[test]
    fn contents_whose_hashes_begin_alike_never_cross() {
        let store = store(MIB);
        let [one, other] = [1, 2].map(|last| {
            let mut hash = [7; 32];
            hash[31] = last;
            ContentHash(hash)
        });
        let response = Response { content: one, ..storable("one", &[]).response().clone() };
        let (slots, mark, place) = (slots(&store), begin(&store).mark(), place("/a"));
        let body = Some(Bytes::from_static(b"one"));
        let held = Stored { response, body, since: None, outdated: false, slots, mark, place };
        store.hold(Name::Resource(key("/a", 0)), Held::Response(Arc::new(held)));
        for target in ["/a", "/b"] {
            let own = store.own_body(&key(target, 0), other, &Bytes::from_static(b"other"));
            assert_eq!(own.as_deref(), Some(&b"other"[..]), "{target}");
        }
        assert_eq!(store.own_body(&key("/a", 0), one, &Bytes::from_static(b"one")).as_deref(), Some(&b"one"[..]));
        assert_eq!(store.own_body(&key("/b", 0), one, &Bytes::from_static(b"one")), None, "it stands apart now");
    }

    #[test]
    fn an_entry_weighs_all_that_it_holds() {
        let stored = |lines: &[(&str, &str)], path: &str| {
            let store = store(MIB);
            let (response, mark) = (storable("body", lines).response().clone(), begin(&store).mark());
            let slots = store.fences.slots(&[const { FenceKey::All }; 5]);
            let place = place(path);
            Held::Response(Arc::new(Stored { response, body: None, since: None, outdated: false, slots, mark, place }))
        };
        let (name, long) = (Name::Resource(key("/", 0)), Name::Resource(key(&"/long".repeat(50), 0)));
        let nameless = Name::Body(ContentHash([0; 32]));
        let base = weight(&name, &stored(&[], "/a"));
        // The key; what is stored and its one line, Date; that line's octets and its place, the path, the fences.
        let entry = allocated(16 + key("/", 0).size()) + allocated(16 + size_of::<Stored>());
        assert_eq!(base, entry + 48 + 16 + 16 + 48 + OVERHEAD);
        let more =
            |weight: usize, low: usize| assert!((low..2 * low).contains(&(weight - base)), "{weight} and {base}");
        more(weight(&long, &stored(&[], "/a")), 200);
        more(weight(&name, &stored(&[("X", &"y".repeat(1000))], "/a")), 1000);
        more(weight(&name, &stored(&[("X", "y"); 100], "/a")), 100 * 14);
        more(weight(&name, &stored(&[], &"/a".repeat(100))), 190);
        assert_eq!(weight(&nameless, &Held::Body(Arc::new(Bytes::from("body")))), 48 + 16 + 32 + OVERHEAD);
        let names = Held::Varies(Arc::new(vec!["accept".to_owned()]));
        assert_eq!(weight(&nameless, &names), 48 + 32 + 16 + OVERHEAD);
        let why = Unstorable::Streams(Detail::Streaming);
        let unstorable = |seen| weight(&nameless, &Held::Unstorable(Arc::new(Refused { why, until: 0, seen })));
        assert_eq!(unstorable(None), allocated(16 + size_of::<Refused>()) + OVERHEAD);
        let seen = storing::Seen::of(storable("body", &[]).response()).map(Arc::new);
        assert_eq!(unstorable(seen) - unstorable(None), allocated(16 + size_of::<Seen>()));
        assert_eq!(size_of::<Held>(), 16, "moka's own entry is the smaller for it");
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
        let body = |length| Held::Body(Arc::new(Bytes::from(vec![b'x'; length])));
        let (small, large) = (|| body(0), || body(1000));
        let name = |octet| Name::Body(ContentHash([octet; 32]));
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
