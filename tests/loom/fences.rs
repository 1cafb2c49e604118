//! Fetches, mutations, purges and readers meet at the fences.
//!
//! The origin has versions, in one order. `told` is the newest that anybody was told, or that a mutation was acknowledged
//! to have made: whoever begins after that is told no older one (P1).

use crate::Model;
use crate::policy::EntityId;
use crate::semantics::invalidation::FenceKey;
use crate::semantics::reuse::Standing;
use crate::semantics::sample::at;
use crate::store::fences::{Fences, Mark, Slots};
use crate::store::sync::{AtomicU64, SeqCst};
use loom::thread;
use std::sync::Arc;

pub const MODELS: &[Model] = &[
    Model {
        name: "nothing fetched before a mutation ended is used by whoever comes after it",
        holds: || overtaken(Order::Right),
        fails: &[
            ("the barrier is lowered before the fences are told", || overtaken(Order::LoweredFirst)),
            ("no barrier is raised", || overtaken(Order::NotRaised)),
            ("invalidated before it is sent, and not after", || overtaken(Order::InvalidatedFirst)),
            ("acknowledged before it has invalidated", || overtaken(Order::ToldFirst)),
            ("the sequence is noted once the origin has answered", || overtaken(Order::MarkedLate)),
        ],
    },
    Model {
        name: "two mutations end, and what stands is what there is",
        holds: || two_mutations(true),
        fails: &[("only the first of them invalidates", || two_mutations(false))],
    },
    Model {
        name: "what a mutation of unknown outcome may still change is not used until it has settled",
        holds: || unknown(Some(true)),
        fails: &[
            ("without a quarantine", || unknown(None)),
            ("the quarantine begins once the barrier is down", || unknown(Some(false))),
        ],
    },
    Model {
        name: "a purged prefix that makes room becomes everything without a gap",
        holds: || rotation(true, false),
        fails: &[("what is stored does not fall with everything", || rotation(false, false))],
    },
    Model {
        name: "no flight from before a purge is joined while its prefix makes room",
        holds: || rotation(true, true),
        fails: &[("what flies does not fall with everything", || rotation(false, true))],
    },
];

/// The path of what is asked for.
pub const PATH: &str = "/a/x";

pub struct World {
    pub fences: Fences,
    /// The version that there is.
    origin: AtomicU64,
    told: AtomicU64,
}

impl World {
    pub fn new() -> Arc<World> {
        Arc::new(World { fences: Fences::new(1), origin: AtomicU64::new(0), told: AtomicU64::new(0) })
    }

    /// What the responses stand behind: a key that stands in two slots, as one that has its own slot is no harder.
    pub fn slots(&self) -> Slots {
        self.fences.slots(&[FenceKey::Path(PATH.into())])
    }

    /// The origin is asked. It answers with what there is, whoever else asks and changes.
    pub fn ask(&self) -> u64 {
        self.origin.fetch_add(0, SeqCst)
    }

    /// The origin applies a change; the version that it makes.
    pub fn apply(&self) -> u64 {
        self.origin.fetch_add(1, SeqCst) + 1
    }

    pub fn tell(&self, version: u64) {
        self.told.fetch_max(version, SeqCst);
    }

    /// What whoever begins now must not fall behind.
    pub fn floor(&self) -> u64 {
        self.told.fetch_add(0, SeqCst)
    }

    /// A mutation as the pipeline carries it out.
    pub fn mutate(&self, slots: &Slots) {
        self.fences.raise(slots);
        self.send(slots);
    }

    /// What follows once its barrier is up.
    pub fn send(&self, slots: &Slots) {
        let version = self.apply();
        self.fences.invalidate(slots);
        self.fences.lower(slots);
        self.tell(version);
    }

    /// Somebody comes, who is answered with what is stored if it stands.
    fn serve(&self, version: u64, mark: Mark) {
        let floor = self.floor();
        if self.fences.standing(&self.slots(), mark, PATH) == Standing::Valid {
            assert!(version >= floor, "version {version} after {floor} was told");
        }
    }

    /// Nothing is under way any more: what stands is what there is, and what is fetched from here on stands.
    fn rests(&self, version: u64, mark: Mark) {
        self.serve(version, mark);
        let standing = |mark| self.fences.standing(&self.slots(), mark, PATH);
        assert!(standing(mark) != Standing::Valid || version == self.ask());
        assert_eq!(standing(self.fences.mark(at(60))), Standing::Valid);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Right,
    LoweredFirst,
    NotRaised,
    InvalidatedFirst,
    ToldFirst,
    MarkedLate,
}

fn overtaken(order: Order) {
    let world = World::new();
    let slots = world.slots();
    let (one, other) = (world.clone(), world.clone());
    let mutation = thread::spawn(move || {
        let (fences, slots) = (&one.fences, &one.slots());
        match order {
            Order::Right | Order::MarkedLate => one.mutate(slots),
            Order::LoweredFirst => {
                fences.raise(slots);
                let version = one.apply();
                fences.lower(slots);
                fences.invalidate(slots);
                one.tell(version);
            }
            Order::NotRaised => {
                let version = one.apply();
                fences.invalidate(slots);
                one.tell(version);
            }
            Order::InvalidatedFirst => {
                fences.raise(slots);
                fences.invalidate(slots);
                let version = one.apply();
                fences.lower(slots);
                one.tell(version);
            }
            Order::ToldFirst => {
                fences.raise(slots);
                let version = one.apply();
                one.tell(version);
                fences.lower(slots);
                fences.invalidate(slots);
            }
        }
    });
    // One whose fetch is told to nobody else.
    let alone = thread::spawn(move || other.tell(other.ask()));
    let early = world.fences.mark(at(0));
    let version = world.ask();
    let mark = if order == Order::MarkedLate { world.fences.mark(at(0)) } else { early };
    world.serve(version, mark);
    mutation.join().expect("it ends");
    alone.join().expect("it ends");
    assert_eq!(world.fences.begun(&slots) > 0, order != Order::NotRaised);
    world.rests(version, mark);
}

fn two_mutations(both_invalidate: bool) {
    let world = World::new();
    let threads = [true, both_invalidate].map(|invalidates| {
        let world = world.clone();
        world.fences.raise(&world.slots());
        thread::spawn(move || {
            if invalidates {
                return world.send(&world.slots());
            }
            let version = world.apply();
            world.fences.lower(&world.slots());
            world.tell(version);
        })
    });
    let mark = world.fences.mark(at(0));
    let version = world.ask();
    // Somebody asks for themselves alone.
    world.tell(world.ask());
    world.serve(version, mark);
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
    world.rests(version, mark);
}

/// `quarantine`: whether it begins before the barrier is down; there may be none.
fn unknown(quarantine: Option<bool>) {
    let world = World::new();
    world.fences.raise(&world.slots());
    let (one, other) = (world.clone(), world.clone());
    let mutation = thread::spawn(move || {
        let (fences, slots) = (&one.fences, one.slots());
        if quarantine == Some(true) {
            fences.quarantine(&slots, at(60));
        }
        fences.invalidate(&slots);
        fences.lower(&slots);
        if quarantine == Some(false) {
            fences.quarantine(&slots, at(60));
        }
    });
    // The origin goes on with it whenever it likes, and somebody sees it.
    let origin = thread::spawn(move || other.tell(other.apply()));
    let mark = world.fences.mark(at(5));
    let version = world.ask();
    world.serve(version, mark);
    mutation.join().expect("it ends");
    origin.join().expect("it ends");
    world.rests(version, mark);
}

/// `everything`: whether responses fall with everything, as all do.
fn rotation(everything: bool, joins: bool) {
    let world = World::new();
    let keys = if everything { vec![FenceKey::All] } else { vec![FenceKey::Entity(EntityId(0))] };
    let slots = world.fences.slots(&keys);
    let (began, mark) = (world.fences.epoch(&slots), world.fences.mark(at(0)));
    let purger = world.clone();
    let purges = thread::spawn(move || {
        purger.fences.invalidate_prefix("/a/", false);
        purger.tell(1);
        // One more than there is room for.
        purger.fences.invalidate_prefix("/b/", false);
    });
    let purged = world.floor() == 1;
    let used = match joins {
        true => world.fences.may_join(&slots, began, PATH),
        false => world.fences.standing(&slots, mark, PATH) == Standing::Valid,
    };
    assert!(!(purged && used), "what was purged is used");
    purges.join().expect("it ends");
}
