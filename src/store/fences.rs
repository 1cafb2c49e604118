//! Fences: what keeps anything fetched before a mutation from being stored, served or handed on after it.
//!
//! There is one sequence. Per [`FenceKey`] a slot holds the sequence number of its last invalidation, how many mutations
//! of it are in flight, and until when it is in quarantine. A fetch notes the sequence before it writes its request
//! ([`Mark`]); a response may be used only while, for every key that it shows, the last invalidation is not newer than
//! the mark, nothing is in flight, and the fetch began after any quarantine ended. The check at serving is the one that
//! counts; the one at storing only saves memory.
//!
//! Routes' keys have a slot of their own. Items, paths and callers share 2^20 by hash, and each stands in two: one in
//! either half. What is written of a key is written to both, so each of them alone knows all that happened to it, and the
//! other one may only clear it of what happened to others. Two keys that meet in both, once in 2^38, invalidate too much,
//! never too little. Invalidating is a handful of atomic stores, however much is stored.

use crate::clock::Timestamp;
use crate::policy::EntityId;
use crate::semantics::invalidation::FenceKey;
use crate::semantics::reuse::Standing;
use crate::store::sync::{AtomicU32, AtomicU64, MAX_PREFIXES, RwLock, STRIPES, SeqCst, Zeroable, zeroed_slice_box};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// The slot of everything.
const ALL: u32 = 0;

/// One value per slot. All zeros is "nothing ever happened", so that pages nobody touches cost no memory.
struct Column<T>(Box<[T]>);

impl<T: Zeroable> Column<T> {
    fn new(slots: usize) -> Self {
        Column(zeroed_slice_box(slots))
    }

    /// Each slot of each key once: what is written is written to all.
    fn of<'c>(&'c self, slots: &'c Slots) -> impl Iterator<Item = &'c T> {
        let each = |&Slot(one, other): &Slot| [Some(one), (other != one).then_some(other)];
        slots.0.iter().flat_map(each).flatten().map(|index| self.at(index))
    }

    /// Whether it is so of a key: both its slots say so. Most keys are cleared by the first.
    fn any(&self, slots: &Slots, is: impl Fn(&T) -> bool) -> bool {
        slots.0.iter().any(|&Slot(one, other)| is(self.at(one)) && (other == one || is(self.at(other))))
    }

    fn at(&self, index: u32) -> &T {
        &self.0[index as usize]
    }
}

/// Where one key stands; the same twice where the slot is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(u32, u32);

/// Where the keys of one response, or of one mutation, stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slots(Box<[Slot]>);

impl Slots {
    /// How many bytes they take.
    pub fn size(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// The point before which nothing that a fetch learned can be newer: noted before its request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    sequence: u64,
    at: Timestamp,
}

impl Mark {
    /// Before anything happened.
    pub const BEGINNING: Mark = Mark { sequence: 0, at: Timestamp { wall_ms: 0, boot_ms: 0 } };

    /// The number of the last event before it.
    pub fn sequence(self) -> u64 {
        self.sequence
    }

    /// The one of two before which fewer events were.
    pub fn earlier(self, other: Mark) -> Mark {
        if other.sequence < self.sequence { other } else { self }
    }

    /// When it was noted.
    pub fn at(self) -> Timestamp {
        self.at
    }
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
    /// Mutations that ever began, and answers that may have shown one.
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

    fn slot(&self, key: &FenceKey) -> Slot {
        let of_its_own = |index: u32| Slot(index, index);
        match key {
            FenceKey::All => of_its_own(ALL),
            FenceKey::Entity(EntityId(entity)) => of_its_own(1 + 2 * u32::from(*entity)),
            FenceKey::Collections(EntityId(entity)) => of_its_own(2 + 2 * u32::from(*entity)),
            shared => self.stripes(shared),
        }
    }

    /// One stripe of either half, by either half of the hash.
    fn stripes(&self, key: &FenceKey) -> Slot {
        let (hash, half) = (self.hash.hash_one(key), STRIPES as u64 / 2);
        let slot = |stripe: u64| {
            let index = usize::try_from(stripe).expect("below 2^20") + self.exact;
            u32::try_from(index).expect("routes and stripes are far fewer than 2^32")
        };
        Slot(slot((hash >> 32) % half), slot(half + (hash & u64::from(u32::MAX)) % half))
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
        self.part(slots);
    }

    /// Whoever comes from here on joins no fetch of these keys from before.
    pub fn part(&self, slots: &Slots) {
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
        // before it lowers its barrier. Either slot of a key is enough to clear it, and another may be for each question:
        // a mutation has raised both before it is sent, and has told both before it lowers either.
        let changing = self.in_flight.any(slots, |count| count.load(SeqCst) > 0);
        if changing || self.quarantine.any(slots, |end| end.load(SeqCst) > mark.at.boot_ms) {
            return Standing::Unsettled;
        }
        let (purged, prefix_expired) = self.prefixed(mark.sequence, path);
        if purged || self.invalidated_since(slots, mark) {
            return Standing::Invalidated;
        }
        let expired = prefix_expired || self.expired.any(slots, |last| last.load(SeqCst) > mark.sequence);
        if expired { Standing::Expired } else { Standing::Valid }
    }

    /// Whether one of these keys itself was invalidated after `mark`.
    pub fn invalidated_since(&self, slots: &Slots, mark: Mark) -> bool {
        self.last.any(slots, |last| last.load(SeqCst) > mark.sequence)
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
        Epoch { raised: self.begun(slots), sequence: self.sequence.load(SeqCst) }
    }

    /// Counts the mutations of these keys that ever began: it is another number after each. One that shares a stripe
    /// counts too, which parts a flight in vain; the lesser of two counts that may wrap would say nothing for sure.
    pub fn begun(&self, slots: &Slots) -> u64 {
        self.raised.of(slots).map(|count| u64::from(count.load(SeqCst))).sum()
    }

    /// Whether a request that begins now may wait for a flight that began at `then`: only if no mutation of what it
    /// shows has begun since, and nothing of it was invalidated since. Otherwise the flight may carry what the request
    /// must no longer see.
    pub fn may_join(&self, slots: &Slots, then: Epoch, path: &str) -> bool {
        self.epoch(slots).raised == then.raised && !self.overtaken(slots, then.sequence, path)
    }

    /// When each of these keys was last invalidated: no later than the lesser of its slots says.
    fn last(&self, slots: &Slots) -> impl Iterator<Item = u64> {
        slots.0.iter().map(|&Slot(one, other)| {
            let [one, other] = [one, other].map(|index| self.last.at(index).load(SeqCst));
            one.min(other)
        })
    }

    /// When one of these keys was last invalidated.
    pub fn last_invalidated(&self, slots: &Slots) -> u64 {
        self.last(slots).max().unwrap_or_default()
    }

    /// Whether what was fetched at `mark` may be handed to a waiter that joined at `joined`: nothing of it was
    /// invalidated since the fetch began, or else only after the waiter had come, whose own request is then as old.
    pub fn may_hand_over(&self, slots: &Slots, mark: Mark, joined: Epoch, path: &str) -> bool {
        let prefixed = self.newest_prefix.load(SeqCst) > mark.sequence && {
            let prefixes = self.prefixes.read().expect("no holder of this lock panics");
            prefixes.iter().any(|p| path.starts_with(&p.text) && p.last > mark.sequence && joined.sequence >= p.last)
        };
        !prefixed && self.last(slots).all(|last| last <= mark.sequence || joined.sequence < last)
    }

    fn overtaken(&self, slots: &Slots, sequence: u64, path: &str) -> bool {
        self.prefixed(sequence, path).0 || self.last.any(slots, |last| last.load(SeqCst) > sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::sample::at;
    use std::time::Duration;

    const ITEMS: EntityId = EntityId(0);
    const OTHERS: EntityId = EntityId(1);
    const PATH: &str = "/items/5";

    fn fences() -> Fences {
        Fences::new(2)
    }

    /// The fences that an item stands behind.
    fn item(fences: &Fences) -> Slots {
        fences.slots(&[FenceKey::All, FenceKey::Entity(ITEMS), FenceKey::Item(ITEMS, "5".into())])
    }

    fn one(fences: &Fences, key: FenceKey) -> Slots {
        fences.slots(&[key])
    }

    #[test]
    fn routes_have_slots_of_their_own_and_everything_else_shares_one_of_either_half() {
        let fences = fences();
        let exact = [
            FenceKey::All,
            FenceKey::Entity(ITEMS),
            FenceKey::Collections(ITEMS),
            FenceKey::Entity(OTHERS),
            FenceKey::Collections(OTHERS),
        ];
        assert_eq!(fences.slots(&exact).0[..], [0, 1, 2, 3, 4].map(|index| Slot(index, index)));
        for number in 0..10_000 {
            let key = FenceKey::Path(number.to_string());
            let Slot(one, other) = fences.slot(&key);
            assert!((5..5 + STRIPES / 2).contains(&(one as usize)));
            assert!((5 + STRIPES / 2..5 + STRIPES).contains(&(other as usize)));
            assert_eq!(Slot(one, other), fences.slot(&key));
        }
    }

    /// A path that shares the first slot of `key` and not the other one, and a path that shares the other one alone.
    fn neighbours(fences: &Fences, key: &FenceKey) -> [Slots; 2] {
        let Slot(one, other) = fences.slot(key);
        [(true, false), (false, true)].map(|shared| {
            let mut paths = (0_u32..).map(|number| fences.slot(&FenceKey::Path(number.to_string())));
            let path = paths.find(|path| (path.0 == one, path.1 == other) == shared).expect("each slot is some path's");
            Slots([path].into())
        })
    }

    type Act = fn(&Fences, &Slots);

    /// What may be done to a key, and what becomes of its responses.
    const DONE: [(Act, Standing); 4] = [
        (|fences, slots| fences.raise(slots), Standing::Unsettled),
        (|fences, slots| fences.quarantine(slots, at(60)), Standing::Unsettled),
        (|fences, slots| _ = fences.invalidate(slots), Standing::Invalidated),
        (|fences, slots| _ = fences.expire(slots), Standing::Expired),
    ];

    #[test]
    fn only_what_shares_both_slots_with_a_key_touches_it() {
        let (seed, key) = (fences(), FenceKey::Path(PATH.into()));
        let [left, right] = neighbours(&seed, &key);
        let slots = one(&seed, key);
        for (act, touched) in DONE {
            // Two that share one each look like one that shares both.
            for (done, standing) in [
                (&[&left, &left][..], Standing::Valid),
                (&[&right, &right], Standing::Valid),
                (&[&left, &right], touched),
                (&[&slots], touched),
            ] {
                let fences = Fences { hash: seed.hash.clone(), ..fences() };
                let mark = fences.mark(at(0));
                done.iter().for_each(|done| act(&fences, done));
                assert_eq!(fences.standing(&slots, mark, PATH), standing);
            }
        }
    }

    #[test]
    fn what_shares_a_slot_with_a_key_makes_no_invalidation_of_it_look_younger() {
        let (fences, key) = (fences(), FenceKey::Path(PATH.into()));
        let neighbours = neighbours(&fences, &key);
        let slots = one(&fences, key);
        for neighbour in neighbours {
            let mark = fences.mark(at(0));
            let early = fences.epoch(&slots);
            fences.invalidate(&slots);
            let late = fences.epoch(&slots);
            fences.invalidate(&neighbour);
            let handed = |joined| fences.may_hand_over(&slots, mark, joined, PATH);
            assert!(handed(early) && !handed(late));
            assert!(fences.may_hand_over(&slots, fences.mark(at(0)), late, PATH));
        }
    }

    #[test]
    fn an_invalidation_voids_what_was_fetched_before_it_and_nothing_else() {
        let fences = fences();
        let (slots, before) = (item(&fences), fences.mark(at(0)));
        for key in [FenceKey::All, FenceKey::Entity(ITEMS), FenceKey::Item(ITEMS, "5".into())] {
            let before = fences.mark(at(0));
            assert_eq!(fences.standing(&slots, before, PATH), Standing::Valid);
            let number = fences.invalidate(&one(&fences, key));
            assert_eq!(number, fences.sequence());
            assert_eq!(fences.standing(&slots, before, PATH), Standing::Invalidated);
            assert_eq!(fences.standing(&slots, fences.mark(at(0)), PATH), Standing::Valid);
        }
        let after = fences.mark(at(0));
        for key in [FenceKey::Collections(ITEMS), FenceKey::Entity(OTHERS)] {
            fences.invalidate(&one(&fences, key));
        }
        assert_eq!(fences.standing(&slots, after, PATH), Standing::Valid);
        assert_eq!(fences.standing(&slots, before, PATH), Standing::Invalidated);
    }

    #[test]
    fn numbers_count_from_one_without_gaps_whatever_is_invalidated() {
        let fences = fences();
        let slots = item(&fences);
        assert_eq!(fences.sequence(), 0);
        let numbers = [
            fences.invalidate(&slots),
            fences.expire(&slots),
            fences.invalidate_prefix("/a", false),
            fences.invalidate_prefix("/a", true),
        ];
        assert_eq!((numbers, fences.sequence()), ([1, 2, 3, 4], 4));
    }

    #[test]
    fn invalidations_that_race_never_take_a_number_back() {
        let fences = fences();
        let slots = item(&fences);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).map(|_| fences.invalidate(&slots)).max());
            }
        });
        assert_eq!(fences.sequence(), 40_000);
        assert!(fences.last.of(&slots).all(|last| last.load(SeqCst) == 40_000));
    }

    #[test]
    fn while_mutations_are_in_flight_nothing_stands() {
        let fences = fences();
        let (slots, touched) = (item(&fences), one(&fences, FenceKey::Item(ITEMS, "5".into())));
        let unsettled = || fences.standing(&slots, fences.mark(at(9)), PATH) == Standing::Unsettled;
        fences.raise(&touched);
        fences.raise(&touched);
        assert!(unsettled());
        fences.lower(&touched);
        assert!(unsettled(), "the other one is still in flight");
        fences.lower(&touched);
        assert!(!unsettled());
        fences.raise(&one(&fences, FenceKey::Collections(ITEMS)));
        assert!(!unsettled(), "it does not touch the item");
    }

    #[test]
    fn what_began_within_a_quarantine_never_stands() {
        let fences = fences();
        let slots = item(&fences);
        fences.quarantine(&slots, at(60));
        fences.quarantine(&slots, at(10));
        assert_eq!(fences.standing(&slots, fences.mark(at(59)), PATH), Standing::Unsettled);
        assert_eq!(fences.standing(&slots, fences.mark(at(60)), PATH), Standing::Valid);
    }

    #[test]
    fn the_worst_that_is_known_counts() {
        let fences = fences();
        let (slots, mark) = (item(&fences), fences.mark(at(0)));
        fences.expire(&slots);
        assert_eq!(fences.standing(&slots, mark, PATH), Standing::Expired);
        fences.invalidate(&slots);
        assert_eq!(fences.standing(&slots, mark, PATH), Standing::Invalidated);
        fences.raise(&slots);
        assert_eq!(fences.standing(&slots, mark, PATH), Standing::Unsettled);
    }

    #[test]
    fn a_prefix_fences_what_begins_with_it() {
        let fences = fences();
        let (slots, mark) = (item(&fences), fences.mark(at(0)));
        let standing = |path| fences.standing(&slots, mark, path);
        fences.invalidate_prefix("/items/", true);
        assert_eq!((standing("/items/5"), standing("/items")), (Standing::Expired, Standing::Valid));
        fences.invalidate_prefix("/items/", false);
        assert_eq!((standing("/items/5"), standing("/items")), (Standing::Invalidated, Standing::Valid));
        // A soft purge after a hard one takes nothing back.
        fences.invalidate_prefix("/items/", true);
        assert_eq!(standing("/items/5"), Standing::Invalidated);
        assert_eq!(fences.standing(&slots, fences.mark(at(0)), "/items/5"), Standing::Valid);
    }

    #[test]
    fn the_prefix_that_was_not_named_for_longest_makes_room_and_becomes_everything() {
        for soft in [false, true] {
            let fences = fences();
            let (slots, before) = (item(&fences), fences.mark(at(0)));
            let fell = if soft { Standing::Expired } else { Standing::Invalidated };
            for number in 0..MAX_PREFIXES {
                fences.invalidate_prefix(&format!("/{number}/"), soft);
            }
            // The first is named again, so that the second is the oldest.
            fences.invalidate_prefix("/0/", soft);
            let between = fences.mark(at(0));
            assert_eq!(fences.standing(&slots, before, PATH), Standing::Valid);
            fences.invalidate_prefix("/new/", soft);
            assert_eq!(fences.standing(&slots, before, PATH), fell);
            assert_eq!(fences.standing(&slots, between, PATH), Standing::Valid);
            assert_eq!(fences.standing(&slots, before, "/0/x"), fell);
            assert_eq!(fences.standing(&slots, before, "/1/x"), fell);
            assert_eq!(fences.prefixes.read().expect("nobody panics").len(), MAX_PREFIXES);
        }
    }

    #[test]
    fn a_flight_is_joined_only_if_nothing_began_or_ended_since() {
        let fences = fences();
        let slots = item(&fences);
        let joins = |then| fences.may_join(&slots, then, PATH);
        let then = fences.epoch(&slots);
        fences.invalidate(&one(&fences, FenceKey::Entity(OTHERS)));
        fences.raise(&one(&fences, FenceKey::Entity(OTHERS)));
        fences.invalidate_prefix("/others", false);
        fences.invalidate_prefix("/items", true);
        assert!(joins(then), "nothing of it");
        fences.raise(&slots);
        assert!(!joins(then), "a mutation began");
        let during = fences.epoch(&slots);
        assert!(joins(during));
        fences.lower(&slots);
        assert!(joins(during) && !joins(then), "an end alone changes nothing, nor does it undo the beginning");
        fences.invalidate(&slots);
        assert!(!joins(during), "it was invalidated");
        let after = fences.epoch(&slots);
        fences.invalidate_prefix("/items", false);
        assert!(!joins(after), "its prefix was purged");
        assert!(joins(fences.epoch(&slots)));
    }

    #[test]
    fn what_was_fetched_before_an_invalidation_is_handed_only_to_who_came_before_it() {
        type Invalidate = fn(&Fences, &Slots) -> u64;
        let ways: [Invalidate; 2] = [Fences::invalidate, |fences, _| fences.invalidate_prefix("/items", false)];
        for invalidate in ways {
            let fences = fences();
            let slots = item(&fences);
            let (mark, early) = (fences.mark(at(0)), fences.epoch(&slots));
            let handed = |mark, joined| fences.may_hand_over(&slots, mark, joined, PATH);
            assert!(handed(mark, early));
            invalidate(&fences, &slots);
            let late = fences.epoch(&slots);
            assert!(handed(mark, early));
            assert!(!handed(mark, late));
            assert!(handed(fences.mark(at(0)), late));
            assert!(handed(fences.mark(at(0)), early));
        }
    }

    #[test]
    fn a_soft_purge_stops_no_handing_over() {
        let fences = fences();
        let (slots, mark) = (item(&fences), fences.mark(at(0)));
        fences.expire(&slots);
        fences.invalidate_prefix("/items", true);
        assert!(fences.may_hand_over(&slots, mark, fences.epoch(&slots), PATH));
    }

    /// Boot time, which never jumps, bounds a quarantine.
    #[test]
    fn a_corrected_wall_clock_ends_no_quarantine() {
        let fences = fences();
        let slots = item(&fences);
        fences.quarantine(&slots, at(0) + Duration::from_secs(60));
        let jumped = Timestamp { wall_ms: i64::MAX, ..at(1) };
        assert_eq!(fences.standing(&slots, fences.mark(jumped), PATH), Standing::Unsettled);
    }
}
