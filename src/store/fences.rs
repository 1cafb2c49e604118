//! Fences: what keeps anything fetched before a mutation from being stored, served or handed on after it.
//!
//! There is one sequence. Per [`FenceKey`] a slot holds the sequence number of its last invalidation, how many mutations
//! of it are in flight, and until when it is in quarantine. A fetch notes the sequence before it writes its request
//! ([`Mark`]); a response may be used only while, for every key that it shows, the last invalidation is not newer than
//! the mark, nothing is in flight, and the fetch began after any quarantine ended. The check at serving is the one that
//! counts; the one at storing only saves memory.
//!
//! Routes' keys have slots of their own. Items, paths and callers share 2^20 slots by hash: a collision can only
//! invalidate too much. Invalidating is a handful of atomic stores, however much is stored.

use crate::clock::Timestamp;
use crate::policy::EntityId;
use crate::semantics::invalidation::FenceKey;
use crate::semantics::reuse::Standing;
use bytemuck::Zeroable;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// Slots shared by items, paths and callers.
const STRIPES: usize = 1 << 20;

/// The slot of everything.
const ALL: u32 = 0;

/// Prefixes that are fenced at a time; when one more comes, the oldest becomes everything.
const MAX_PREFIXES: usize = 32;

/// One value per slot. All zeros is "nothing ever happened", so that pages nobody touches cost no memory.
struct Column<T>(Box<[T]>);

impl<T: Zeroable> Column<T> {
    fn new(slots: usize) -> Self {
        Column(bytemuck::zeroed_slice_box(slots))
    }

    fn of<'c>(&'c self, slots: &'c Slots) -> impl Iterator<Item = &'c T> {
        slots.0.iter().map(|index| self.at(*index))
    }

    fn at(&self, index: u32) -> &T {
        &self.0[index as usize]
    }
}

/// Where the keys of one response, or of one mutation, stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots(Box<[u32]>);

/// The point before which nothing that a fetch learned can be newer: noted before its request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    sequence: u64,
    at: Timestamp,
}

/// How many mutations had begun, and the sequence, when a flight began or was joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    raised: u64,
    sequence: u64,
}

struct Prefix {
    text: String,
    last: u64,
    expired: u64,
}

/// All fences of a process.
pub struct Fences {
    sequence: AtomicU64,
    exact: usize,
    /// The sequence number of the last invalidation.
    last: Column<AtomicU64>,
    /// The sequence number of the last soft purge.
    expired: Column<AtomicU64>,
    /// The boot time in milliseconds at which the quarantine ends.
    quarantine: Column<AtomicU64>,
    /// Mutations that ever began.
    raised: Column<AtomicU32>,
    /// Mutations in flight.
    in_flight: Column<AtomicU32>,
    hash: RandomState,
    prefixes: RwLock<Vec<Prefix>>,
    /// The newest of the prefixes' sequence numbers: most responses are newer, and need not look at the list.
    newest_prefix: AtomicU64,
}

impl Fences {
    /// Fences for routes of `entities` entities.
    pub fn new(entities: usize) -> Self {
        let exact = 1 + 2 * entities;
        let slots = exact + STRIPES;
        Fences {
            // 0 is "never", so the first event has number 1.
            sequence: AtomicU64::new(0),
            exact,
            last: Column::new(slots),
            expired: Column::new(slots),
            quarantine: Column::new(slots),
            raised: Column::new(slots),
            in_flight: Column::new(slots),
            hash: RandomState::new(),
            prefixes: RwLock::new(Vec::new()),
            newest_prefix: AtomicU64::new(0),
        }
    }

    /// Where `keys` stand.
    pub fn slots(&self, keys: &[FenceKey]) -> Slots {
        Slots(keys.iter().map(|key| self.slot(key)).collect())
    }

    fn slot(&self, key: &FenceKey) -> u32 {
        let index = match key {
            FenceKey::All => ALL as usize,
            FenceKey::Entity(EntityId(entity)) => 1 + 2 * usize::from(*entity),
            FenceKey::Collections(EntityId(entity)) => 2 + 2 * usize::from(*entity),
            other => {
                let hash = usize::try_from(self.hash.hash_one(other) % STRIPES as u64).expect("below 2^20");
                self.exact + hash
            }
        };
        u32::try_from(index).expect("routes and stripes are far fewer than 2^32")
    }

    /// What a fetch notes before it writes its request.
    pub fn mark(&self, now: Timestamp) -> Mark {
        Mark { sequence: self.sequence.load(SeqCst), at: now }
    }

    /// The number of the last invalidation of anything.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(SeqCst)
    }

    /// A mutation of these keys begins: nothing of them is served from the store, or stored, until it is lowered.
    pub fn raise(&self, slots: &Slots) {
        for count in self.in_flight.of(slots) {
            count.fetch_add(1, SeqCst);
        }
        for count in self.raised.of(slots) {
            count.fetch_add(1, SeqCst);
        }
    }

    /// The mutation has ended; call after [`invalidate`](Self::invalidate).
    pub fn lower(&self, slots: &Slots) {
        for count in self.in_flight.of(slots) {
            count.fetch_sub(1, SeqCst);
        }
    }

    /// Makes everything fetched so far that shows one of these keys unusable; returns the event's number.
    pub fn invalidate(&self, slots: &Slots) -> u64 {
        let number = self.sequence.fetch_add(1, SeqCst) + 1;
        // Two invalidations may race; a plain store could take the number back.
        for last in self.last.of(slots) {
            last.fetch_max(number, SeqCst);
        }
        number
    }

    /// Makes it count as expired: it may still be served where stale may.
    pub fn expire(&self, slots: &Slots) -> u64 {
        let number = self.sequence.fetch_add(1, SeqCst) + 1;
        for last in self.expired.of(slots) {
            last.fetch_max(number, SeqCst);
        }
        number
    }

    /// Keeps whatever is fetched before `until` from being stored or served.
    pub fn quarantine(&self, slots: &Slots, until: Timestamp) {
        for end in self.quarantine.of(slots) {
            end.fetch_max(until.boot_ms, SeqCst);
        }
    }

    /// Fences every path that begins with `prefix`, in matching form.
    pub fn invalidate_prefix(&self, prefix: &str, soft: bool) -> u64 {
        let mut prefixes = self.prefixes.write().expect("no holder of this lock panics");
        let number = self.sequence.fetch_add(1, SeqCst) + 1;
        if prefixes.len() == MAX_PREFIXES && !prefixes.iter().any(|p| p.text == prefix) {
            let oldest = prefixes.remove(0);
            self.last.at(ALL).fetch_max(oldest.last, SeqCst);
            self.expired.at(ALL).fetch_max(oldest.expired, SeqCst);
        }
        let mut fence = match prefixes.iter().position(|p| p.text == prefix) {
            Some(at) => prefixes.remove(at),
            None => Prefix { text: prefix.to_owned(), last: 0, expired: 0 },
        };
        *(if soft { &mut fence.expired } else { &mut fence.last }) = number;
        prefixes.push(fence);
        self.newest_prefix.fetch_max(number, SeqCst);
        number
    }

    /// What may be done with a response that was fetched at `mark`, shows `slots` and stands at `path`.
    pub fn standing(&self, slots: &Slots, mark: Mark, path: &str) -> Standing {
        // In-flight is read before the last invalidation: a mutation that ends between the two reads has invalidated
        // before it lowers its barrier.
        let changing = self.in_flight.of(slots).any(|count| count.load(SeqCst) > 0);
        if changing || self.quarantine.of(slots).any(|end| end.load(SeqCst) > mark.at.boot_ms) {
            return Standing::Unsettled;
        }
        let (purged, prefix_expired) = self.prefixed(mark.sequence, path);
        if purged || self.last.of(slots).any(|last| last.load(SeqCst) > mark.sequence) {
            return Standing::Invalidated;
        }
        let expired = prefix_expired || self.expired.of(slots).any(|last| last.load(SeqCst) > mark.sequence);
        if expired { Standing::Expired } else { Standing::Valid }
    }

    /// Whether a prefix of `path` was purged, and purged softly, after `sequence`. To be asked before the slots are: a
    /// prefix leaves the list only when the slot of everything has taken its numbers over.
    fn prefixed(&self, sequence: u64, path: &str) -> (bool, bool) {
        if self.newest_prefix.load(SeqCst) <= sequence {
            return (false, false);
        }
        let prefixes = self.prefixes.read().expect("no holder of this lock panics");
        let later = |number: fn(&Prefix) -> u64| {
            prefixes.iter().any(|prefix| path.starts_with(&prefix.text) && number(prefix) > sequence)
        };
        (later(|prefix| prefix.last), later(|prefix| prefix.expired))
    }

    /// Where a waiter or a flight stands when it begins.
    pub fn epoch(&self, slots: &Slots) -> Epoch {
        let raised = self.raised.of(slots).map(|count| u64::from(count.load(SeqCst))).sum();
        Epoch { raised, sequence: self.sequence.load(SeqCst) }
    }

    /// Whether a request that begins now may wait for a flight that began at `then`: only if no mutation of what it
    /// shows has begun since, and nothing of it was invalidated since. Otherwise the flight may carry what the request
    /// must no longer see.
    pub fn may_join(&self, slots: &Slots, then: Epoch, path: &str) -> bool {
        self.epoch(slots).raised == then.raised && !self.overtaken(slots, then.sequence, path)
    }

    /// Whether what was fetched at `mark` may be handed to a waiter that joined at `joined`: nothing of it was
    /// invalidated since the fetch began, or else only after the waiter had come, whose own request is then as old.
    pub fn may_hand_over(&self, slots: &Slots, mark: Mark, joined: Epoch, path: &str) -> bool {
        let prefixed = self.newest_prefix.load(SeqCst) > mark.sequence && {
            let prefixes = self.prefixes.read().expect("no holder of this lock panics");
            prefixes.iter().any(|p| path.starts_with(&p.text) && p.last > mark.sequence && joined.sequence >= p.last)
        };
        !prefixed
            && self
                .last
                .of(slots)
                .map(|last| last.load(SeqCst))
                .all(|last| last <= mark.sequence || joined.sequence < last)
    }

    fn overtaken(&self, slots: &Slots, sequence: u64, path: &str) -> bool {
        self.prefixed(sequence, path).0 || self.last.of(slots).any(|last| last.load(SeqCst) > sequence)
    }
}
